import type { V1Pod } from "@kubernetes/client-node";
import { isReadyOrDone } from "../../rehearsal/report";
import type { Fault, Question } from "./check";
import type { ClusterView } from "./cluster";
import type { Expected } from "./expected";

/** The pods of Ray's nodes that are ready, by role. */
export interface RayPods {
  readonly heads: number;
  readonly workers: number;
}

/** Whether Ray has its head, and as many workers as the config allows. */
export function ray({ config }: Expected, cluster: ClusterView): Question[] {
  const { min, max } = config.ray.workers;
  return [
    {
      topic: "Ray",
      name: "nodes as the config wants them",
      ask: async () => {
        const { heads, workers } = rayPods(await cluster.pods());
        const next = "kubectl get pods -A -l 'app in (ray, ray-cluster)'";
        const faults: Fault[] = [];
        if (heads !== 1) faults.push({ what: `${heads} heads are ready, it takes 1`, next });
        if (workers < min) faults.push({ what: `${workers} workers are ready, ray.workers.min is ${min}`, next });
        if (workers > max) faults.push({ what: `${workers} workers are ready, ray.workers.max is ${max}`, next });
        return { found: `${heads} head and ${workers} workers ready (${min}–${max})`, faults };
      },
    },
  ];
}

/** Counts Ray's ready pods: those of ours by `component`, those of KubeRay by its own label. */
export function rayPods(pods: readonly V1Pod[]): RayPods {
  const roles = pods
    .filter((pod) => isReadyOrDone(pod) && pod.metadata?.deletionTimestamp === undefined)
    .flatMap(({ metadata }) => {
      const { app = "", component, "ray.io/node-type": type } = metadata?.labels ?? {};
      return ["ray", "ray-cluster"].includes(app) ? [type ?? component] : [];
    });
  const count = (role: string): number => roles.filter((one) => one === role).length;
  return { heads: count("head"), workers: count("worker") };
}
