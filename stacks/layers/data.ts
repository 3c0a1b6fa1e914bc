import * as pulumi from "@pulumi/pulumi";
import { supersetRedisAccess } from "../../components/analytics/superset";
import { Minio } from "../../components/data/minio";
import { ObjectStore, type ObjectStoreArgs } from "../../components/data/object-store";
import { externalPeer, url } from "../../components/base/endpoint";
import { Redis } from "../../components/data/redis";
import { Seaweedfs } from "../../components/data/seaweedfs";
import { onlineStoreAccess } from "../../components/ml/feast";
import type { PlatformConfig } from "../config/schema";
import { FEATURES } from "./features";
import type { Foundation } from "./foundation";
import { BACKUP_BUCKET, backupBuckets, postgresOf } from "./postgres";
import type { Secrets } from "../config/secrets";

// All of them, regardless of what is deployed: a system that is switched off finds its data again.
const BUCKETS = [
  "mlflow-artifacts",
  "ray-applications",
  "feast-offline",
  "iceberg-warehouse",
  "dolphinscheduler",
] as const;

/** The data stores of the layers above. */
export interface Data {
  readonly postgres: ReturnType<typeof postgresOf>;
  readonly objectStore: ObjectStore<(typeof BUCKETS)[number], typeof BACKUP_BUCKET> | undefined;
  readonly redis: Redis<"feast" | "superset"> | undefined;
}

/** The data stores, each protected unless the config lifts its protection. */
export function data(config: PlatformConfig, secrets: Secrets, ground: Foundation): Data {
  const objectStore = objectStoreOf(config, secrets, ground);
  return {
    postgres: postgresOf(config, secrets, objectStore, ground),
    objectStore,
    redis: redisOf(config, secrets, ground),
  };
}

function objectStoreOf(
  platform: PlatformConfig,
  secrets: Secrets,
  { opts, namespaces, chartDirectory, storageClass, isProtected }: Foundation,
): Data["objectStore"] {
  const { objectStore: config } = platform;
  if (config === undefined) return undefined;
  const namespace = namespaces["data-platform"];
  const login = { username: secrets.get("objectStoreAccessKey"), password: secrets.get("objectStoreSecretKey") };
  const ownBuckets = backupBuckets(platform, secrets);
  const protect = isProtected("object-store");
  return new ObjectStore(
    "object-store",
    {
      namespace,
      region: config.region,
      login,
      buckets: BUCKETS,
      ownBuckets,
      setupSize: config.setup,
      ...s3Server(config),
    },
    opts,
  );

  function s3Server(
    store: NonNullable<PlatformConfig["objectStore"]>,
  ): Pick<ObjectStoreArgs, "url" | "destination" | "administrator"> {
    if (store.kind === "external") {
      return { url: pulumi.output(store.url), destination: externalPeer("s3", store.url, store.cidrs) };
    }
    if (store.kind === "seaweedfs") {
      const { s3 } = store;
      const keeper = ({ volume, ...size }: (typeof store)["volume"]) => ({
        ...size,
        volume: { storageClass, ...volume },
      });
      const administrator = {
        username: secrets.get("seaweedfsAdminAccessKey"),
        password: secrets.get("seaweedfsAdminSecretKey"),
      };
      const seaweedfs = new Seaweedfs(
        "seaweedfs",
        {
          namespace,
          chartDirectory,
          master: keeper(store.master),
          volume: keeper(store.volume),
          filer: keeper(store.filer),
          s3,
          administrator,
          login,
          buckets: BUCKETS,
          ownBuckets,
          protect,
        },
        opts,
      );
      return {
        url: url(seaweedfs.s3),
        destination: seaweedfs.s3,
        administrator: { login: administrator, makesUser: false },
      };
    }
    const root = { username: secrets.get("minioRootUser"), password: secrets.get("minioRootPassword") };
    const volume = { storageClass, ...store.volume };
    const minio = new Minio("minio", { namespace, size: store, volume, root, protect }, opts);
    return { url: url(minio.s3), destination: minio.s3, administrator: { login: root, makesUser: true } };
  }
}

function redisOf(
  config: PlatformConfig,
  secrets: Secrets,
  { opts, namespaces, storageClass, isProtected }: Foundation,
): Data["redis"] {
  if (config.redis === undefined) return undefined;
  const { volume, ...size } = config.redis;
  const clients = {
    ...(config.feast && {
      feast: { password: secrets.get("redisFeastPassword"), ...onlineStoreAccess(FEATURES.project) },
    }),
    ...(config.superset && {
      superset: { password: secrets.get("redisSupersetPassword"), ...supersetRedisAccess() },
    }),
  };
  return new Redis(
    "redis",
    {
      namespace: namespaces["data-platform"],
      size,
      volume: { storageClass, ...volume },
      clients,
      protect: isProtected("redis"),
    },
    opts,
  );
}
