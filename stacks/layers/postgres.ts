import * as pulumi from "@pulumi/pulumi";
import { type Bucket, type Credential, externalPeer } from "../../components/base/endpoint";
import type { ObjectStore } from "../../components/data/object-store";
import { ExternalPostgres } from "../../components/data/postgres/external";
import { Postgres } from "../../components/data/postgres";
import type { OwnDatabase, PostgresServer, PostgresUser, PostgresUsers } from "../../components/data/postgres/users";
import { BACKUPS, DATABASES } from "../config/own-names";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import { postgresConnections } from "../config/systems";
import { tenantGrants } from "../config/tenants";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";

type Database = (typeof DATABASES)[number];
type Reader = "trino" | "ingestion" | "superset";
type Guest = "dolphinscheduler-worker";
type BackupStore = Pick<ObjectStore<typeof BACKUPS, typeof BACKUPS>, "bucket">;

/** PostgreSQL with the databases of all services, even undeployed ones, so that a system that is switched off finds its data again. */
export function postgresOf(
  platform: PlatformConfig,
  secrets: Secrets,
  objectStore: BackupStore | undefined,
  {
    at,
    namespaces,
    kubeApi,
    chartDirectory,
    certManager,
    authority,
    clusterDomain,
    clusterUid,
    metrics,
    volumeOf,
    isProtected,
  }: Foundation,
): PostgresServer<Database, Reader, Guest> | undefined {
  const { postgres: config } = platform;
  if (config === undefined) return undefined;
  const users: PostgresUsers<Database, Reader, Guest> = {
    databases: databasesOf(platform, secrets),
    readers: readersOf(platform, secrets),
    guests: guestsOf(platform, secrets),
  };
  if (config.kind === "external") {
    const { setup, database, ...server } = config;
    const login = {
      username: secrets.get("postgresAdministrator"),
      password: secrets.get("postgresAdministratorPassword"),
    };
    return new ExternalPostgres<Database, Reader, Guest>(
      "postgres",
      {
        namespace: namespaces["data-platform"],
        ...server,
        ...users,
        administrator: { login, database },
        mark: pulumi.interpolate`carbon ${clusterUid}`,
        setupSize: setup,
      },
      at("postgres"),
    );
  }
  const { operator, setup, volume, backups, restoreFrom, ...server } = config;
  return new Postgres<Database, Reader, Guest>(
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
      volume: volumeOf(volume),
      parameters: server.parameters,
      ...users,
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
    at("postgres"),
  );
}

// As many as a reader has.
const TENANT_CONNECTIONS = 20;

/** The database of each service and of tenants, with the connections of those that are deployed. */
function databasesOf(platform: PlatformConfig, secrets: Secrets): Record<Database, OwnDatabase> {
  const connections = postgresConnections(platform);
  const own = (database: Database, password: pulumi.Output<string>): OwnDatabase => ({
    password,
    connections: connections[database] ?? 0,
  });
  return {
    mlflow: own("mlflow", secrets.get("postgresMlflowPassword")),
    feast: own("feast", secrets.get("postgresFeastPassword")),
    superset: own("superset", secrets.get("postgresSupersetPassword")),
    datahub: own("datahub", secrets.get("postgresDatahubPassword")),
    dolphinscheduler: own("dolphinscheduler", secrets.get("postgresDolphinschedulerPassword")),
    polaris: own("polaris", secrets.get("postgresPolarisPassword")),
    ...Object.fromEntries(
      tenantGrants(platform, "database").map(({ user, name }) => [
        name,
        { password: secrets.ofTenant(user), connections: TENANT_CONNECTIONS, tenant: true },
      ]),
    ),
  };
}

/** The login of PostgreSQL's own bucket in the object store, if its backups go there. */
export function backupUser({ postgres }: PlatformConfig, secrets: Secrets): Credential | undefined {
  if (postgres === undefined || postgres.kind === "external") return undefined;
  return postgres.backups?.target.kind === "object-store" ? backupLogin(secrets) : undefined;
}

function backupLogin(secrets: Secrets): Credential {
  return { username: secrets.get("backupAccessKey"), password: secrets.get("backupSecretKey") };
}

type OwnPostgres = Exclude<NonNullable<PlatformConfig["postgres"]>, { readonly kind: "external" }>;
type BackupTarget = NonNullable<OwnPostgres["backups"]>["target"];

function targetOf(target: BackupTarget, secrets: Secrets, objectStore: BackupStore | undefined): Bucket {
  if (target.kind === "object-store") return needed(objectStore).bucket(BACKUPS, BACKUPS);
  const { url, cidrs, region, bucket } = target;
  const destination = externalPeer("backups", url, cidrs);
  return { name: bucket, store: { url: pulumi.output(url), region, destination, login: backupLogin(secrets) } };
}

/** The readers of DataHub's database. */
function readersOf(config: PlatformConfig, secrets: Secrets): Partial<Record<Reader, PostgresUser>> {
  const database = "datahub";
  return {
    ...("trino" in config && { trino: { database, password: secrets.get("postgresTrinoReaderPassword") } }),
    ...("datahub" in config && { ingestion: { database, password: secrets.get("postgresIngestionReaderPassword") } }),
    ...("superset" in config && { superset: { database, password: secrets.get("postgresSupersetReaderPassword") } }),
  };
}

/** DolphinScheduler's workers, which use a part of its database: the registry. */
function guestsOf(config: PlatformConfig, secrets: Secrets): Partial<Record<Guest, PostgresUser>> {
  if (config.dolphinscheduler === undefined) return {};
  const password = secrets.get("postgresDolphinschedulerWorkerPassword");
  return { "dolphinscheduler-worker": { database: "dolphinscheduler", password } };
}
