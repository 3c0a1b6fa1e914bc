import { supersetRedisAccess } from "../../components/analytics/superset";
import { Redis } from "../../components/data/redis";
import { onlineStoreAccess } from "../../components/ml/feast";
import { stateAccess } from "../../components/ml/ray/pods";
import type { PlatformConfig } from "../config/schema";
import { FEATURES } from "./features";
import type { Foundation } from "./foundation";
import { objectStoreOf, type PlatformStore } from "./object-store";
import { postgresOf } from "./postgres";
import type { Secrets } from "../config/secrets";

/** The data stores of the layers above. */
export interface Data {
  readonly postgres: ReturnType<typeof postgresOf>;
  readonly objectStore: PlatformStore | undefined;
  readonly redis: Redis<"feast" | "superset" | "ray"> | undefined;
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

function redisOf(
  config: PlatformConfig,
  secrets: Secrets,
  { at, namespaces, authority, clusterDomain, volumeOf, metrics, isProtected }: Foundation,
): Data["redis"] {
  if (config.redis === undefined) return undefined;
  const { volume, exporter, ...size } = config.redis;
  const clients = {
    ...(config.feast && {
      feast: { password: secrets.get("redisFeastPassword"), ...onlineStoreAccess(FEATURES.project) },
    }),
    ...(config.superset && {
      superset: { password: secrets.get("redisSupersetPassword"), ...supersetRedisAccess() },
    }),
    ...(config.ray?.faultTolerance && {
      ray: { password: secrets.get("redisRayPassword"), ...stateAccess() },
    }),
  };
  return new Redis(
    "redis",
    {
      namespace: namespaces["data-platform"],
      authority,
      clusterDomain,
      size,
      volume: volumeOf(volume),
      clients,
      exporter: { size: exporter, password: secrets.get("redisExporterPassword") },
      metrics,
      protect: isProtected("redis"),
    },
    at("redis"),
  );
}
