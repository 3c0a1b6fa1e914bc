import * as pulumi from "@pulumi/pulumi";
import { type Credential, externalPeer, type OwnBucket } from "../../components/base/endpoint";
import type { ObjectStore } from "../../components/data/object-store";
import { Postgres, type PostgresReader } from "../../components/data/postgres";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";

/** The bucket that only PostgreSQL uses. */
export const BACKUP_BUCKET = "postgres-backups";

type Database = "mlflow" | "feast" | "superset" | "datahub" | "dolphinscheduler" | "polaris";
type Reader = "trino" | "ingestion" | "superset";
type BackupStore = Pick<ObjectStore<string, typeof BACKUP_BUCKET>, "ownBucket">;

/** PostgreSQL with the databases of all services, even undeployed ones, so that a system that is switched off finds its data again. */
export function postgresOf(
  platform: PlatformConfig,
  secrets: Secrets,
  objectStore: BackupStore | undefined,
  {
    opts,
    namespaces,
    kubeApi,
    chartDirectory,
    certManager,
    authority,
    clusterDomain,
    metrics,
    storageClass,
    isProtected,
  }: Foundation,
): Postgres<Database, Reader> | undefined {
  const { postgres: config } = platform;
  if (config === undefined) return undefined;
  const { operator, setup, volume, backups, restoreFrom, ...server } = config;
  return new Postgres<Database, Reader>(
    "postgres",
    {
      namespace: namespaces["data-platform"],
      operatorNamespace: namespaces["cnpg-system"],
      chartDirectory,
      kubeApi,
      authority,
      clusterDomain,
      instances: server.instances,
      size: server,
      operatorSize: operator,
      volume: { storageClass, ...volume },
      passwords: {
        mlflow: secrets.get("postgresMlflowPassword"),
        feast: secrets.get("postgresFeastPassword"),
        superset: secrets.get("postgresSupersetPassword"),
        datahub: secrets.get("postgresDatahubPassword"),
        dolphinscheduler: secrets.get("postgresDolphinschedulerPassword"),
        polaris: secrets.get("postgresPolarisPassword"),
      },
      readers: readersOf(platform, secrets),
      setupSize: setup,
      ...(backups && {
        backups: {
          target: targetOf(backups.target, secrets, objectStore),
          archive: backups.archive,
          schedule: backups.schedule,
          retentionDays: backups.retentionDays,
          pluginSize: backups.plugin,
          certManager,
          ...(restoreFrom && { restoreFrom }),
        },
      }),
      metrics,
      protect: isProtected("postgres"),
    },
    opts,
  );
}

/** The buckets of the object store that only PostgreSQL uses, each with its login. */
export function backupBuckets(
  { postgres }: PlatformConfig,
  secrets: Secrets,
): Partial<Record<typeof BACKUP_BUCKET, Credential>> {
  return postgres?.backups?.target.kind === "object-store" ? { [BACKUP_BUCKET]: backupLogin(secrets) } : {};
}

function backupLogin(secrets: Secrets): Credential {
  return { username: secrets.get("backupAccessKey"), password: secrets.get("backupSecretKey") };
}

type BackupTarget = NonNullable<NonNullable<PlatformConfig["postgres"]>["backups"]>["target"];

function targetOf(target: BackupTarget, secrets: Secrets, objectStore: BackupStore | undefined): OwnBucket {
  if (target.kind === "object-store") return needed(objectStore).ownBucket(BACKUP_BUCKET);
  const { url, cidrs, region, bucket } = target;
  const destination = externalPeer("backups", url, cidrs);
  return { name: bucket, store: { url: pulumi.output(url), region, destination, login: backupLogin(secrets) } };
}

/** The readers of DataHub's database. */
function readersOf(config: PlatformConfig, secrets: Secrets): Partial<Record<Reader, PostgresReader>> {
  const database = "datahub";
  return {
    ...("trino" in config && { trino: { database, password: secrets.get("postgresTrinoReaderPassword") } }),
    ...("datahub" in config && { ingestion: { database, password: secrets.get("postgresIngestionReaderPassword") } }),
    ...("superset" in config && { superset: { database, password: secrets.get("postgresSupersetReaderPassword") } }),
  };
}
