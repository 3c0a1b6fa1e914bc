import * as fs from "node:fs";
import * as path from "node:path";
import type { KubernetesObject, V1CustomResourceDefinition, V1Node, V1StorageClass } from "@kubernetes/client-node";
import * as yaml from "yaml";
import type { Operator } from "../../operators/operator";
import { versions } from "../toolchain";

/** A node of the inventory, as the scheduler is to see it. */
export interface SimulatedNode {
  readonly name: string;
  /** Logical CPUs. */
  readonly cpu: number;
  readonly memoryGiB: number;
  /** Allocatable disk for scratch space and logs. */
  readonly ephemeralStorageGiB: number;
  readonly pods: number;
  readonly gpus?: { readonly resource: string; readonly count: number };
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  /** What the system keeps for itself: allocatable is capacity less this. */
  readonly reserved: { readonly cpu: number; readonly memoryMiB: number };
}

/** A StorageClass that is in the cluster before the program runs; classes that the program makes are served as well. */
export interface SimulatedStorageClass {
  readonly name: string;
  readonly provisioner: string;
  readonly reclaimPolicy: "Delete" | "Retain";
  readonly default: boolean;
}

/** The CRD of KWOK's Stages, as far as the API server needs to know it. */
export const STAGE_CRD: V1CustomResourceDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "stages.kwok.x-k8s.io" },
  spec: {
    group: "kwok.x-k8s.io",
    scope: "Cluster",
    names: { kind: "Stage", listKind: "StageList", plural: "stages", singular: "stage" },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", x_kubernetes_preserve_unknown_fields: true } },
      },
    ],
  },
};

/** What KWOK does in place of kubelets, controllers and these operators. */
export function stages(operators: readonly Operator[]): KubernetesObject[] {
  const folders = operators.map(({ name }) => path.join(__dirname, "../../operators", name));
  return [path.join(__dirname, "../stages"), ...folders]
    .flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((file) => file.endsWith(".yaml"))
    .flatMap((file) => yaml.parseAllDocuments(fs.readFileSync(file, "utf8")))
    .map((document) => document.toJS() as KubernetesObject);
}

/** The object that a cluster with this class has. */
export function storageClass(declared: SimulatedStorageClass): V1StorageClass {
  const { name, provisioner, reclaimPolicy, default: isDefault } = declared;
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name, annotations: { "storageclass.kubernetes.io/is-default-class": String(isDefault) } },
    provisioner,
    reclaimPolicy,
    volumeBindingMode: "WaitForFirstConsumer",
  };
}

/** The object that a cluster with this node has. */
export function node(declared: SimulatedNode, index: number): V1Node {
  const { name, cpu, memoryGiB, ephemeralStorageGiB, pods, gpus, labels, taints, reserved } = declared;
  const both = {
    pods: String(pods),
    "ephemeral-storage": `${ephemeralStorageGiB}Gi`,
    ...(gpus && { [gpus.resource]: String(gpus.count) }),
  };
  const architecture = "amd64";
  const version = versions.kubernetes;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      annotations: { "kwok.x-k8s.io/node": "fake" },
      labels: {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        ...labels,
      },
    },
    spec: { podCIDR: `10.${64 + index}.0.0/16`, podCIDRs: [`10.${64 + index}.0.0/16`], taints: [...taints] },
    status: {
      capacity: { cpu: String(cpu), memory: `${memoryGiB}Gi`, ...both },
      allocatable: {
        cpu: `${Math.round((cpu - reserved.cpu) * 1000)}m`,
        memory: `${Math.round(memoryGiB * 1024 - reserved.memoryMiB)}Mi`,
        ...both,
      },
      addresses: [
        { type: "InternalIP", address: `10.63.0.${index + 1}` },
        { type: "Hostname", address: name },
      ],
      nodeInfo: {
        architecture,
        operatingSystem: "linux",
        kubeletVersion: version,
        kubeProxyVersion: version,
        containerRuntimeVersion: "simulated",
        kernelVersion: "simulated",
        osImage: "simulated",
        machineID: "",
        systemUUID: "",
        bootID: "",
      },
    },
  };
}
