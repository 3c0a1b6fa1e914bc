import type { V1Pod } from "@kubernetes/client-node";
import type { PodGroup } from "../../rehearsal/program/demand";
import { isReadyOrDone } from "../../rehearsal/simulation/report";
import type { Fault, Question } from "./check";
import type { ClusterView } from "./cluster";
import { type Expected, ofKind } from "./expected";

/** The ready pods of a Ray cluster, by role. */
export interface RayPods {
  readonly heads: number;
  readonly workers: number;
}

interface RayCluster {
  /** Label `app` of its pods: the custom resource's name, or `ray` if there is none. */
  readonly app: string;
  readonly groups: readonly PodGroup[];
}

/** Whether each Ray cluster has its head, and as many workers as the config allows. */
export function ray(expected: Expected, cluster: ClusterView): Question[] {
  return rayClusters(expected).map(({ app, groups }) => {
    const { start: min, most: max } = workersOf(groups);
    return {
      topic: "Ray",
      name: `nodes of ${app} as the config wants them`,
      ask: async () => {
        const { heads, workers } = rayPods(await cluster.pods(), app);
        const next = `kubectl get pods -A -l app=${app}`;
        const faults: Fault[] = [];
        if (heads !== 1) faults.push({ what: `${heads} heads are ready, expected 1`, next });
        if (workers < min)
          faults.push({ what: `${workers} workers are ready, the config wants at least ${min}`, next });
        if (workers > max) faults.push({ what: `${workers} workers are ready, the config allows ${max}`, next });
        return { found: `${heads} head and ${workers} workers ready (${min}–${max})`, faults };
      },
    };
  });
}

const STANDALONE = "ray";

/** KubeRay's clusters by their custom resources, or the standalone one. */
function rayClusters(expected: Expected): RayCluster[] {
  const named = (kind: string, name: string) =>
    expected.groups.filter((group) => group.kind === kind && group.name.startsWith(`${name}-`));
  const operated = (["RayCluster", "RayService"] as const).flatMap((kind) =>
    ofKind(expected, kind).map(({ name }) => ({ app: name, groups: named(kind, name) })),
  );
  if (operated.length > 0) return operated;
  const groups = [...named("StatefulSet", STANDALONE), ...named("Deployment", STANDALONE)];
  return groups.length === 0 ? [] : [{ app: STANDALONE, groups }];
}

function workersOf(groups: readonly PodGroup[]): { start: number; most: number } {
  const workers = groups.filter(({ name }) => !name.endsWith("-head"));
  const counts = workers.flatMap(({ pods }) => (pods === "each node" ? [] : [pods]));
  const sum = (of: "start" | "most") => counts.reduce((total, count) => total + count[of], 0);
  return { start: sum("start"), most: sum("most") };
}

/** The Ray cluster behind the dashboard; KubeRay's serving cluster is a separate one. */
export function dashboardApp(expected: Expected): string {
  return ofKind(expected, "RayCluster")[0]?.name ?? STANDALONE;
}

/** Counts a cluster's ready pods; all but the head are workers. */
export function rayPods(pods: readonly V1Pod[], app: string): RayPods {
  const ready = pods.filter(
    (pod) =>
      pod.metadata?.labels?.["app"] === app && isReadyOrDone(pod) && pod.metadata.deletionTimestamp === undefined,
  );
  const isHead = ({ metadata }: V1Pod): boolean =>
    (metadata?.labels?.["ray.io/node-type"] ?? metadata?.labels?.["component"]) === "head";
  const heads = ready.filter(isHead).length;
  return { heads, workers: ready.length - heads };
}
