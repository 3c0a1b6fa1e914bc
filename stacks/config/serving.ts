import type { z } from "zod";
import { logicalCpus, logicalMemoryMiB, type RayWorkers } from "../../components/ml/ray/pods";
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

/** Faults in replicas and training jobs that need more of a resource than a worker has: Ray would wait for ever. */
export function serveFaults(ray: z.output<typeof Ray>, { applications }: z.output<typeof Serve>): ServeFault[] {
  const { workers, gpuWorkers } = ray;
  // The cluster that KubeRay serves with has no GPUs.
  const serving = ray.mode === "kuberay" ? { workers: ray.serving.workers } : { workers, gpuWorkers };
  return Object.entries(applications).flatMap(([application, { deployments, training }]) => {
    const faultsOf = (part: string, all: Readonly<Record<string, Asked>>, nodes: Nodes): ServeFault[] =>
      Object.entries(all).flatMap(([name, asked]) =>
        faultsAt(["serve", "applications", application, part, name], asked, nodes),
      );
    return [
      ...faultsOf("deployments", deployments, serving),
      ...faultsOf("training", training, { workers, gpuWorkers }),
    ];
  });
}

interface Nodes {
  readonly workers: RayWorkers;
  readonly gpuWorkers?: (RayWorkers & { readonly gpusPerWorker: number }) | undefined;
}

function faultsAt(path: readonly string[], asked: Asked, { workers, gpuWorkers }: Nodes): ServeFault[] {
  const { gpus = 0 } = asked;
  const perWorker = gpuWorkers?.gpusPerWorker ?? 0;
  if (gpus > perWorker) {
    const message = `${gpus} is more than the ${perWorker} GPUs of a worker there; lower it, or raise ray.gpuWorkers.gpusPerWorker`;
    return [{ path: [...path, "gpus"], message }];
  }
  const worker = gpus > 0 && gpuWorkers ? gpuWorkers : workers;
  const limits = [
    { key: "cpu", most: logicalCpus(worker), unit: "logical CPUs", raise: "cpu.limit" },
    { key: "memoryMiB", most: logicalMemoryMiB(worker), unit: "MiB beside the object store", raise: "memoryMiB.limit" },
  ] as const;
  return limits
    .filter(({ key, most }) => (asked[key] ?? 0) > most)
    .map(({ key, most, unit, raise }) => ({
      path: [...path, key],
      message: `${asked[key]} is more than the ${most} ${unit} of a worker; lower it, or raise ${raise} of the workers`,
    }));
}
