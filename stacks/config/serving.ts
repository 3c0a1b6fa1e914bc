import type { z } from "zod";
import {
  groupsOf,
  logicalCpus,
  logicalMemoryMiB,
  type RayWorkers,
  type WorkerGroups,
} from "../../components/ml/ray/pods";
import type { Ray, Serve } from "./ml";

/** A fault: the key, the reason, and what to do. */
export interface ServeFault {
  readonly path: readonly string[];
  readonly message: string;
}

interface Asked {
  readonly cpu?: number | undefined;
  readonly gpus?: number | undefined;
  readonly memoryMiB?: number | undefined;
}

/** Faults in replicas and training jobs that need more than any worker has: Ray would wait for ever. */
export function serveFaults(ray: z.output<typeof Ray>, { applications }: z.output<typeof Serve>): ServeFault[] {
  // KubeRay serves with a cluster of its own.
  const serving = ray.mode === "kuberay" ? ray.serving : ray;
  return Object.entries(applications).flatMap(([application, { deployments, training }]) => {
    const faultsOf = (part: string, all: Readonly<Record<string, Asked>>, workers: WorkerGroups): ServeFault[] =>
      Object.entries(all).flatMap(([name, asked]) =>
        faultsAt(["serve", "applications", application, part, name], asked, workers),
      );
    return [...faultsOf("deployments", deployments, serving), ...faultsOf("training", training, ray)];
  });
}

// What is asked of a worker, and what it has of that.
const RESOURCES = [
  {
    key: "gpus",
    of: ({ gpusPerWorker = 0 }: RayWorkers) => gpusPerWorker,
    unit: "GPUs",
    raise: "gpusPerWorker of a group",
  },
  { key: "cpu", of: logicalCpus, unit: "logical CPUs", raise: "cpu.limit of the workers" },
  {
    key: "memoryMiB",
    of: logicalMemoryMiB,
    unit: "MiB beside the object store",
    raise: "memoryMiB.limit of the workers",
  },
] as const;

/** The first resource of which none of the workers that have enough of those before has enough. */
function faultsAt(path: readonly string[], asked: Asked, groups: WorkerGroups): ServeFault[] {
  let fitting = groupsOf(groups).map(({ workers }) => workers);
  for (const { key, of, unit, raise } of RESOURCES) {
    const wanted = asked[key] ?? 0;
    const most = Math.max(...fitting.map(of));
    if (wanted > most) {
      const message = `${wanted} is more than the ${most} ${unit} of a worker; lower it, or raise ${raise}`;
      return [{ path: [...path, key], message }];
    }
    fitting = fitting.filter((workers) => of(workers) >= wanted);
  }
  return [];
}
