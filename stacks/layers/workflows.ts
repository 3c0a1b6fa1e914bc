import { DolphinScheduler } from "../../components/analytics/dolphinscheduler";
import type { Endpoint, ExternalPeer } from "../../components/base/endpoint";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import type { TaskSystem } from "../config/workflows";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Secrets } from "../config/secrets";
import type { Sql } from "./sql";

/** DolphinScheduler, whose tasks can reach the deployed systems that the config lists. */
export function workflows(
  config: PlatformConfig,
  secrets: Secrets,
  { postgres, objectStore, ...others }: Data & Pick<Ml & Sql, TaskSystem>,
  { at, namespaces, metrics }: Foundation,
): { readonly dolphinscheduler: DolphinScheduler | undefined } {
  if (config.dolphinscheduler === undefined) return { dolphinscheduler: undefined };
  const { tasksReach, alertsReach, ...settings } = config.dolphinscheduler;
  const systems: Readonly<Record<TaskSystem, Endpoint | undefined>> = {
    mlflow: others.mlflow?.tracking,
    feast: others.feast?.http,
    trino: others.trino?.endpoint,
  };
  const dolphinscheduler = new DolphinScheduler(
    "dolphinscheduler",
    {
      namespace: namespaces["data-platform"],
      store: needed(postgres).database("dolphinscheduler"),
      registry: needed(postgres).guest("dolphinscheduler-worker"),
      adminPassword: secrets.get("dolphinschedulerAdminPassword"),
      resources: needed(objectStore).bucket("dolphinscheduler", "dolphinscheduler"),
      ...settings,
      tasksReach: [...tasksReach.systems.flatMap((system) => systems[system] ?? []), ...peers(tasksReach.outside)],
      alertsReach: peers(alertsReach),
      metrics,
    },
    at("dolphinscheduler"),
  );
  return { dolphinscheduler };
}

function peers(outside: Readonly<Record<string, Pick<ExternalPeer, "cidrs" | "port">>>): ExternalPeer[] {
  return Object.entries(outside).map(([name, { cidrs, port }]) => ({
    kind: "external",
    name,
    cidrs,
    port,
    why: "outside the cluster",
  }));
}
