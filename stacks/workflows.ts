import * as pulumi from "@pulumi/pulumi";
import { DolphinScheduler } from "../components/analytics/dolphinscheduler";
import type { Endpoint, ExternalPeer } from "../components/base/endpoint";
import type { PlatformConfig } from "./config";
import { needed } from "./config/needs";
import type { TaskSystem } from "./config/workflows";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** Workflows; undefined where the config has none. `systems` is what their tasks can be let to. */
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
      tasksReach: [...tasksReach.systems.map(deployed), ...peers(tasksReach.outside)],
      alertsReach: peers(alertsReach),
      metrics,
    },
    opts,
  );

  function deployed(system: TaskSystem): Endpoint {
    const endpoint = systems[system];
    if (endpoint !== undefined) return endpoint;
    throw new pulumi.RunError(
      `dolphinscheduler.tasksReach.systems: ${system} is not deployed; remove it, or deploy ${system}`,
    );
  }
}

function peers(outside: Readonly<Record<string, Omit<ExternalPeer, "name">>>): ExternalPeer[] {
  return Object.entries(outside).map(([name, { cidrs, port }]) => ({ name, cidrs, port }));
}
