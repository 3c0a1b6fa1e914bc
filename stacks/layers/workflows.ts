import { DolphinScheduler } from "../../components/analytics/dolphinscheduler";
import type { Endpoint, ExternalPeer } from "../../components/base/endpoint";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import type { TaskSystem } from "../config/workflows";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";

/** Workflows; undefined where the config has none. `systems` is what tasks may be let to, as far as it is deployed. */
export function workflows(
  config: PlatformConfig,
  secrets: Secrets,
  { postgres, objectStore }: Data,
  systems: Readonly<Record<TaskSystem, Endpoint | undefined>>,
  { opts, namespaces, metrics }: Foundation,
): DolphinScheduler | undefined {
  if (config.dolphinscheduler === undefined) return undefined;
  const { tasksReach, alertsReach, ...sizes } = config.dolphinscheduler;
  return new DolphinScheduler(
    "dolphinscheduler",
    {
      namespace: namespaces["data-platform"],
      store: needed(postgres).database("dolphinscheduler"),
      adminPassword: secrets.get("dolphinschedulerAdminPassword"),
      resources: needed(objectStore).bucket("dolphinscheduler"),
      ...sizes,
      tasksReach: [...tasksReach.systems.flatMap((system) => systems[system] ?? []), ...peers(tasksReach.outside)],
      alertsReach: peers(alertsReach),
      metrics,
    },
    opts,
  );
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
