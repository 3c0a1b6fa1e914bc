import type { z } from "zod";
import { logicalCpus } from "../../components/ml/ray/pods";
import type { Ray, Serve } from "./ml";

/** A fault: the key, the reason, and what to do. */
export interface ServeFault {
  readonly path: readonly string[];
  readonly message: string;
}

/** Faults in replicas and training jobs that need more logical CPUs than a worker has: Ray would wait for ever. */
export function serveFaults(ray: z.output<typeof Ray>, { applications }: z.output<typeof Serve>): ServeFault[] {
  const serving = ray.mode === "kuberay" ? ray.serving.workers : ray.workers;
  return Object.entries(applications).flatMap(([application, { deployments, training }]) => {
    const faultsOf = (part: "deployments" | "training", all: typeof deployments | typeof training, most: number) =>
      Object.entries(all)
        .filter(([, { cpu }]) => cpu > most)
        .map(([name, { cpu }]) => ({
          path: ["serve", "applications", application, part, name, "cpu"],
          message: `${cpu} is more than the ${most} logical CPUs of a worker; lower it, or raise cpu.limit of the workers`,
        }));
    return [
      ...faultsOf("deployments", deployments, logicalCpus(serving)),
      ...faultsOf("training", training, logicalCpus(ray.workers)),
    ];
  });
}
