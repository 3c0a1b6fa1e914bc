import * as pulumi from "@pulumi/pulumi";
import { Minio } from "../components/data/minio";
import { ObjectStore, type ObjectStoreArgs } from "../components/data/object-store";
import { url } from "../components/base/endpoint";
import { Postgres, type PostgresReader } from "../components/data/postgres";
import { Redis } from "../components/data/redis";
import { onlineStoreAccess } from "../components/ml/feast";
import type { PlatformConfig } from "./config";
import { FEATURES } from "./features";
import type { Foundation } from "./foundation";
import type { SecretName, Secrets } from "./secrets";

const BUCKETS = ["mlflow-artifacts", "ray-applications", "feast-offline", "dolphinscheduler"];

/** What the layers above keep their data in. */
export interface Data {
  readonly postgres: Postgres;
  readonly objectStore: ObjectStore;
  readonly redis: Redis;
}

/** The data stores, each protected unless the config lifts it by name. */
export function data(config: PlatformConfig, secrets: Secrets, ground: Foundation): Data {
  const { opts, namespaces, kubeApi, chartDirectory, storageClass, isProtected } = ground;
  const namespace = namespaces["data-platform"];
  const volume = (sizeGiB: number) => ({ storageClass, sizeGiB });

  const { operator, setup, volume: postgresVolume, ...server } = config.postgres;
  const postgres = new Postgres(
    "postgres",
    {
      namespace,
      operatorNamespace: namespaces["cnpg-system"],
      chartDirectory,
      kubeApi,
      instances: server.instances,
      size: server,
      operatorSize: operator,
      volume: volume(postgresVolume.sizeGiB),
      passwords: {
        mlflow: secrets.get("postgresMlflowPassword"),
        feast: secrets.get("postgresFeastPassword"),
        superset: secrets.get("postgresSupersetPassword"),
        datahub: secrets.get("postgresDatahubPassword"),
        dolphinscheduler: secrets.get("postgresDolphinschedulerPassword"),
        polaris: secrets.get("postgresPolarisPassword"),
      },
      readers: {
        ...("trino" in config && { trino: readsDatahub("postgresTrinoReaderPassword") }),
        ...("datahub" in config && { ingestion: readsDatahub("postgresIngestionReaderPassword") }),
        ...("superset" in config && { superset: readsDatahub("postgresSupersetReaderPassword") }),
      },
      setupSize: setup,
      protect: isProtected("postgres"),
    },
    opts,
  );

  const objectStore = new ObjectStore(
    "object-store",
    {
      namespace,
      region: config.objectStore.region,
      login: { username: secrets.get("objectStoreAccessKey"), password: secrets.get("objectStoreSecretKey") },
      buckets: BUCKETS,
      setupSize: config.objectStore.setup,
      ...s3Server(),
    },
    opts,
  );

  const { volume: redisVolume, ...redisSize } = config.redis;
  const redis = new Redis(
    "redis",
    {
      namespace,
      size: redisSize,
      volume: volume(redisVolume.sizeGiB),
      clients: { feast: { password: secrets.get("redisFeastPassword"), ...onlineStoreAccess(FEATURES.project) } },
      protect: isProtected("redis"),
    },
    opts,
  );
  return { postgres, objectStore, redis };

  function readsDatahub(password: SecretName): PostgresReader {
    return { database: "datahub", password: secrets.get(password) };
  }

  function s3Server(): Pick<ObjectStoreArgs, "url" | "destination" | "administrator"> {
    const store = config.objectStore;
    if (store.kind === "external") {
      const { port, protocol } = new URL(store.url);
      const defaultPort = protocol === "https:" ? 443 : 80;
      return {
        url: pulumi.output(store.url),
        destination: { name: "s3", cidrs: store.cidrs, port: Number(port || defaultPort) },
      };
    }
    const root = { username: secrets.get("minioRootUser"), password: secrets.get("minioRootPassword") };
    const minio = new Minio(
      "minio",
      {
        namespace,
        size: store,
        volume: volume(store.volume.sizeGiB),
        root,
        protect: isProtected("object-store"),
      },
      opts,
    );
    return { url: url(minio.s3), destination: minio.s3, administrator: root };
  }
}
