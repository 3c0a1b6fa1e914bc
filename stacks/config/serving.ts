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

/** Faults in applications: what no worker has, for which Ray would wait for ever, and what is nowhere. */
export function serveFaults(ray: z.output<typeof Ray>, { applications }: z.output<typeof Serve>): ServeFault[] {
  // KubeRay serves with a cluster of its own.
  const [serving, key] = ray.mode === "kuberay" ? [ray.serving, "ray.serving.workerGroups"] : [ray, JOBS];
  return Object.entries(applications).flatMap(([name, { deployments, training, packages, workerGroup }]) => {
    const at = (...path: string[]) => ["serve", "applications", name, ...path];
    const partFaults = (part: string, all: Readonly<Record<string, Asked>>, groups: WorkerGroups, where: string) => {
      const workers = workersFor(workerGroup, groups);
      if (workers.length > 0) {
        return Object.entries(all).flatMap(([one, asked]) => faultsAt(at(part, one), asked, workers));
      }
      const message = `${workerGroup} is no group of ${where}; add it there, or name another`;
      return Object.keys(all).length > 0 ? [{ path: at("workerGroup"), message }] : [];
    };
    const unsized = Object.entries(deployments).filter(([, { cpu }]) => workerGroup !== undefined && cpu === undefined);
    return [
      ...partFaults("deployments", deployments, serving, key),
      ...partFaults("training", training, ray, JOBS),
      ...unsized.map(([one]) => ({
        path: at("deployments", one, "cpu"),
        message: "is missing beside workerGroup; add it: they replace what the code says as a whole",
      })),
      ...(packages.length > 0 && ray.packageIndex === undefined
        ? [{ path: at("packages"), message: "come from nowhere; add ray.packageIndex" }]
        : []),
    ];
  });
}

const JOBS = "ray.workerGroups";

/** The workers of a cluster where an application may run. */
function workersFor(workerGroup: string | undefined, groups: WorkerGroups): RayWorkers[] {
  return groupsOf(groups).flatMap(({ name, labels, workers }) =>
    workerGroup === undefined || (labels !== undefined && name === workerGroup) ? [workers] : [],
  );
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
function faultsAt(path: readonly string[], asked: Asked, workers: readonly RayWorkers[]): ServeFault[] {
  let fitting = workers;
  for (const { key, of, unit, raise } of RESOURCES) {
    const wanted = asked[key] ?? 0;
    const most = Math.max(...fitting.map(of));
    if (wanted > most) {
      const message = `${wanted} is more than the ${most} ${unit} of a worker; lower it, or raise ${raise}`;
      return [{ path: [...path, key], message }];
    }
    fitting = fitting.filter((one) => of(one) >= wanted);
  }
  return [];
}
