import type { z } from "zod";
import type { RayWorkers } from "../../components/ml/ray/pods";
import { nodeLabels } from "./cluster";
import type { Ray } from "./ml";

/** What a GPU can run, by the product name that the inventory gives it. */
interface GpuCard {
  readonly computeCapability: string;
  /** The last driver branch that supports it. */
  readonly driver: string;
  /** The newest CUDA toolkit that supports it, as [major, minor]. */
  readonly newestCuda: readonly [number, number];
}

/**
 * The known cards. R470 is the last driver branch for Kepler (NVIDIA's Unix driver archive), and CUDA 12.0
 * removed compute capability 3.x (its release notes); toolkits up to 11.8 run on R470 by CUDA's minor-version compatibility.
 */
const CARDS: Readonly<Record<string, GpuCard>> = {
  "Tesla-K80": { computeCapability: "3.7", driver: "R470", newestCuda: [11, 8] },
};

/** A group of workers, and the nodes of the inventory. */
interface GpuPlan {
  readonly workers: Pick<RayWorkers, "image" | "gpusPerWorker" | "max" | "nodeSelector">;
  readonly nodes: Readonly<
    Record<
      string,
      {
        readonly gpus?: { readonly product: string; readonly count: number } | undefined;
        readonly labels?: Readonly<Record<string, string>>;
      }
    >
  >;
}

/** A fault: the key, the reason, and what to do. */
export interface GpuFault {
  readonly path: readonly string[];
  readonly message: string;
}

/** Faults in all groups of workers that the GPUs of the inventory cannot run. */
export function rayGpuFaults(ray: z.output<typeof Ray>, nodes: GpuPlan["nodes"]): GpuFault[] {
  const groups = (path: readonly string[], all: Readonly<Record<string, GpuPlan["workers"]>>) =>
    Object.entries(all).map(([name, workers]) => ({ path: [...path, name], workers }));
  return [
    ...groups(["ray"], ray.gpuWorkers ? { gpuWorkers: ray.gpuWorkers } : {}),
    ...groups(["ray", "workerGroups"], ray.workerGroups),
    ...(ray.mode === "kuberay" ? groups(["ray", "serving", "workerGroups"], ray.serving.workerGroups) : []),
  ].flatMap(({ path, workers }) =>
    gpuFaults({ workers, nodes }).map((fault) => ({ ...fault, path: [...path, ...fault.path] })),
  );
}

/** Faults in a group of workers, with keys below its own. */
export function gpuFaults({ workers, nodes }: GpuPlan): GpuFault[] {
  const { image, gpusPerWorker, max, nodeSelector = {} } = workers;
  if (gpusPerWorker === undefined) return [];
  const gpus = Object.entries(nodes).flatMap(([name, node]) => {
    const labels = nodeLabels(name, node);
    const isSelected = Object.entries(nodeSelector).every(([key, value]) => labels[key] === value);
    return isSelected && node.gpus ? [node.gpus] : [];
  });
  if (gpus.length === 0) {
    const which =
      Object.keys(nodeSelector).length > 0 ? "no node of cluster.nodes that it selects" : "no node of cluster.nodes";
    return [{ path: [], message: `${which} has GPUs; remove it, or add GPUs to a node` }];
  }
  if (image === undefined) {
    return [{ path: ["image"], message: "is missing: the platform's has no CUDA libraries; name one that has them" }];
  }
  const images = [...new Set(gpus.map(({ product }) => product))].flatMap((product) => imageFault(image, product));
  const most = Math.max(...gpus.map(({ count }) => count));
  if (gpusPerWorker > most) {
    const message = `${gpusPerWorker} is more than any node has, which is ${most}; lower it`;
    return [...images, { path: ["gpusPerWorker"], message }];
  }
  const fitting = gpus.reduce((sum, { count }) => sum + Math.floor(count / gpusPerWorker), 0);
  if (max <= fitting) return images;
  const message = `${max} workers with ${gpusPerWorker} GPUs each do not fit cluster.nodes, at most ${fitting} do; lower it`;
  return [...images, { path: ["max"], message }];
}

function imageFault(image: string, product: string): GpuFault[] {
  const fault = (message: string): GpuFault[] => [{ path: ["image"], message: `"${image}" ${message}` }];
  const card = CARDS[product];
  if (card === undefined) {
    const known = Object.keys(CARDS).join(", ");
    return fault(
      `cannot be checked: ${product} is unknown; known are ${known}; add it to stacks/config/gpus.ts or correct it`,
    );
  }
  const { computeCapability, driver, newestCuda } = card;
  const allowed = `a ${product} (compute ${computeCapability}, driver ${driver}) runs CUDA ${newestCuda[0]}.0 to ${newestCuda.join(".")}`;
  const cuda = cudaOf(image);
  if (cuda === undefined) {
    return fault(
      `does not say its CUDA version: ${allowed}; name an image whose tag has -cu${newestCuda.join("")} or lower`,
    );
  }
  if (cuda[0] === newestCuda[0] && cuda[1] <= newestCuda[1]) return [];
  return fault(
    `is for CUDA ${cuda.join(".")}: ${allowed}; name an image whose tag has -cu${newestCuda.join("")} or lower`,
  );
}

/** The CUDA version in an image tag: 11.8 for `…-cu118`. */
function cudaOf(image: string): readonly [number, number] | undefined {
  const [, major, minor] = /:[^/]*-cu(\d\d)(\d)(?![\d])/.exec(image) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}
