import { Superset } from "../../components/analytics/superset";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";
import { mailServer } from "./mail";
import { signOn } from "./sign-on";
import type { Sql } from "./sql";

/** Superset, which queries Trino if that is deployed. */
export function bi(
  platform: PlatformConfig,
  secrets: Secrets,
  stores: Data & Pick<Sql, "trino">,
  { at, namespaces, publicHost }: Foundation,
): { readonly superset: Superset | undefined } {
  const { superset: config } = platform;
  if (config === undefined) return { superset: undefined };
  const postgres = needed(stores.postgres);
  const { replicas, processes, threads, ...webSize } = config.web;
  const { replicas: workers, concurrency, ...workerSize } = config.worker;
  const superset = new Superset(
    "superset",
    {
      namespace: namespaces["data-platform"],
      store: postgres.database("superset"),
      redis: needed(stores.redis).login("superset"),
      secretKey: secrets.get("supersetSecretKey"),
      adminPassword: secrets.get("supersetAdminPassword"),
      reader: postgres.reader("superset"),
      ...(stores.trino && { trino: stores.trino.endpoint }),
      web: { replicas, processes, threads, size: webSize },
      worker: { replicas: workers, concurrency, size: workerSize },
      retentionDays: config.retentionDays,
      beat: config.beat,
      setup: config.setup,
      mail: mailServer(platform, secrets),
      publicHost: publicHost("superset"),
      ...signOn(platform, "superset", secrets),
    },
    at("superset"),
  );
  return { superset };
}
