import type { Endpoint, PostgresDatabase } from "../components/base/endpoint";
import { Superset } from "../components/analytics/superset";
import type { PlatformConfig } from "./config";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** What people look at data with. */
export interface Bi {
  readonly superset: Superset;
}

/** What they may query from the start, as far as it is deployed. */
export interface DataSources {
  readonly trino?: Endpoint<"http"> | undefined;
  readonly postgres?: PostgresDatabase | undefined;
}

/** Superset on PostgreSQL and Redis; undefined where the config has none. */
export function bi(
  config: PlatformConfig,
  secrets: Secrets,
  { postgres, redis }: Data,
  sources: DataSources,
  { opts, namespaces }: Foundation,
): Bi | undefined {
  if (config.superset === undefined) return undefined;
  const { beat, setup } = config.superset;
  const { replicas, processes, threads, ...webSize } = config.superset.web;
  const { replicas: workers, concurrency, ...workerSize } = config.superset.worker;
  const superset = new Superset(
    "superset",
    {
      namespace: namespaces["data-platform"],
      database: postgres.database("superset"),
      redis: redis.login("superset"),
      secretKey: secrets.get("supersetSecretKey"),
      adminPassword: secrets.get("supersetAdminPassword"),
      ...(sources.trino && { trino: sources.trino }),
      ...(sources.postgres && { postgres: sources.postgres }),
      web: { replicas, processes, threads, size: webSize },
      worker: { replicas: workers, concurrency, size: workerSize },
      beat,
      setup,
    },
    opts,
  );
  return { superset };
}
