import { z } from "zod";
import { cidr, kubernetesName, port, requestLimit, sizeWithMax } from "./shapes";

const Taint = z.strictObject({
  key: z.string().min(1),
  value: z.string().optional(),
  effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
});

const nodeFields = z.strictObject({
  cpu: z.int().min(1).meta({ description: "Logical CPUs" }),
  memoryGiB: z.int().min(1),
  ephemeralStorageGiB: z.int().min(1).default(200).meta({
    description: "Disk for the scratch space and logs of pods, in GiB: the node's allocatable ephemeral-storage",
  }),
  pods: z.int().min(1).default(110),
  gpus: z
    .strictObject({ product: z.string(), count: z.int().min(1) })
    .optional()
    .meta({ description: "NVIDIA GPUs as the device plugin counts them: one K80 board is two" }),
  labels: z.record(z.string(), z.string()).default({}),
  taints: z.array(Taint).default([]),
  reserved: z
    .strictObject({ cpu: z.number().min(0), memoryGiB: z.number().min(0) })
    .meta({ description: "Used by the system and by other tenants of the node" }),
});
const Node = (["cpu", "memoryGiB"] as const).reduce(
  (schema, resource) =>
    schema.refine((node) => node.reserved[resource] < node[resource], {
      path: ["reserved", resource],
      error: ({ input }) => {
        const { reserved, [resource]: all } = input as z.output<typeof nodeFields>;
        return `${reserved[resource]} leaves nothing of the node's ${all}; lower it`;
      },
    }),
  nodeFields,
);

/** The labels of a node of the inventory, with those that every node, and every one with GPUs, has by itself. */
export function nodeLabels(name: string, { gpus, labels = {} }: LabelledNode): Readonly<Record<string, string>> {
  return { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", ...(gpus && GPU_LABELS), ...labels };
}

interface LabelledNode {
  readonly gpus?: object | undefined;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Labels that the GPU operator's feature discovery gives nodes with GPUs. */
const GPU_LABELS = { "nvidia.com/gpu.present": "true" };

/** The cluster: how to reach it, and its nodes. */
export const Cluster = z.strictObject({
  context: z.string().min(1).meta({ description: "kubeconfig context of this cluster" }),
  kubernetesVersion: z
    .string()
    .regex(/^1\.[3-9]\d$/, "expected a minor version from 1.30, such as 1.34, in quotes")
    .meta({ description: "Kubernetes minor version of the nodes" }),
  apiServer: z
    .strictObject({ cidrs: z.array(cidr).min(1), port })
    .meta({ description: "Addresses at which pods reach the API server and from which it calls webhooks" }),
  dnsDomain: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, "expected a DNS domain such as cluster.local")
    .default("cluster.local")
    .meta({
      description:
        "DNS domain of the cluster, the kubelets' `clusterDomain`: part of the names in certificates and outputs",
    }),
  podCidr: cidr.meta({ description: "Pod network" }),
  nodeCidrs: z.array(cidr).min(1).meta({ description: "Node networks, where Prometheus scrapes the kubelets" }),
  dnsCaches: z.array(cidr).default([]).meta({
    description:
      "Addresses at which a DNS cache answers on each node (NodeLocal DNSCache: its `-localip`), each as /32. It runs in the nodes' network, so that no policy for pods opens a way to it",
  }),
  nodes: z
    .record(kubernetesName, Node)
    .refine((nodes) => Object.keys(nodes).length > 0, "names no node; describe at least one")
    .meta({ description: "Node inventory: rehearsals simulate it, and capacity checks use it" }),
});

/** Limits for all pods of data-platform together, and for one container. */
export const Quota = z.strictObject({
  cpu: requestLimit.meta({ description: "CPU cores of all pods together" }),
  memoryGiB: requestLimit.meta({ description: "Memory of all pods together, in GiB" }),
  pods: z.int().min(1),
  services: z.int().min(1),
  loadBalancers: z.int().min(0),
  nodePorts: z.int().min(0),
  claims: z.int().min(1),
  storageGiB: z.int().min(1),
  container: z
    .strictObject({ cpu: sizeWithMax, memoryMiB: sizeWithMax })
    .meta({ description: "Defaults for containers without a size, and the maximum for any container" }),
});
