import { type ContainerSize, resources } from "./pod";

/** The nodes that have GPUs, by the labels of the GPU operator's feature discovery. */
export const GPU_NODES = { "nvidia.com/gpu.present": "true" };
/** The taint of such nodes, from the GPU operator's documentation. */
export const GPU_TOLERATIONS = [{ key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" }];

/** A size with GPUs, as Kubernetes counts them. */
export function withGpus(size: ContainerSize, count: number) {
  const { requests, limits } = resources(size);
  return { requests, limits: { ...limits, "nvidia.com/gpu": `${count}` } };
}
