import type { V1Toleration } from "@kubernetes/client-node";
import { nodeLabels } from "../../stacks/config/cluster";
import type { PlatformConfig } from "../../stacks/config/schema";
import { type Amounts, GPU, type PodGroup, total } from "./demand";
import { TOLERANCE, written } from "./units";

/** A node of the inventory with its load at the peak. */
export interface NodeLoad {
  readonly name: string;
  readonly allocatable: Amounts;
  readonly used: Amounts;
}

/** The approximate effect of losing one node, with volumes where the peak's placement has their pods. */
export interface LostNode {
  readonly name: string;
  /** Number of pods that move to other nodes. */
  readonly moving: number;
  /** Pods that fit on no other node. */
  readonly homeless: readonly string[];
  /** Pods whose volumes are on the node and that wait until it is back. */
  readonly waiting: readonly string[];
}

/** A pod to place. */
export interface PlacedPod {
  readonly group: PodGroup;
  readonly role: "running" | "surge" | "job";
}

/** A node during placement. */
export interface Node extends NodeLoad {
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: PlatformConfig["cluster"]["nodes"][string]["taints"];
  used: Amounts;
  readonly pods: PlacedPod[];
}

/** An empty node of the inventory, without its reserved resources. */
export function emptyNode(name: string, node: PlatformConfig["cluster"]["nodes"][string]): Node {
  const { cpu, memoryGiB, ephemeralStorageGiB, pods, gpus, taints, reserved } = node;
  return {
    name,
    labels: nodeLabels(name, node),
    taints,
    allocatable: {
      "requests.cpu": cpu - reserved.cpu,
      "requests.memory": (memoryGiB - reserved.memoryGiB) * 1024 ** 3,
      "requests.ephemeral-storage": ephemeralStorageGiB * 1024 ** 3,
      [`requests.${GPU}`]: gpus?.count ?? 0,
      pods,
    },
    used: {},
    pods: [],
  };
}

/** Whether a node's labels and taints admit a pod. */
export function admits({ labels, taints }: Node, { nodeSelector, tolerations }: PodGroup): boolean {
  return (
    Object.entries(nodeSelector).every(([key, value]) => labels[key] === value) &&
    taints.every((taint) => taint.effect === "PreferNoSchedule" || tolerations.some((one) => tolerates(one, taint)))
  );
}

function tolerates({ key, operator, value, effect }: V1Toleration, taint: Node["taints"][number]): boolean {
  if (effect !== undefined && effect !== taint.effect) return false;
  if (key === undefined) return operator === "Exists";
  return key === taint.key && (operator === "Exists" || (value ?? "") === (taint.value ?? ""));
}

function hasRoom({ allocatable, used }: Node, pod: Amounts): boolean {
  return Object.entries(allocatable).every(([key, amount]) => (used[key] ?? 0) + (pod[key] ?? 0) <= amount + TOLERANCE);
}

/** Places pods, largest first; returns those that do not fit. */
export function place(pods: readonly PlacedPod[], nodes: readonly Node[]): PlacedPod[] {
  const size = ({ group }: PlacedPod): number =>
    Math.max(...nodes.flatMap((node) => ["requests.cpu", "requests.memory"].map((key) => share(group.pod, node, key))));
  return [...pods]
    .sort((a, b) => size(b) - size(a))
    .filter((pod) => {
      const isPerNode = pod.group.pods === "each node";
      const fitting = nodes.filter(
        (node) =>
          admits(node, pod.group) &&
          hasRoom(node, pod.group.pod) &&
          !(isPerNode && node.pods.some(({ group }) => group === pod.group)),
      );
      // Like the scheduler: prefer nodes with the fewest pods of the same workload, then those with the most free capacity.
      const [best] = fitting.sort((a, b) => alike(a, pod) - alike(b, pod) || busy(a) - busy(b));
      if (best === undefined) return true;
      best.used = total([best.used, pod.group.pod]);
      best.pods.push(pod);
      return false;
    });
}

function share(pod: Amounts, { allocatable }: Node, key: string): number {
  return (pod[key] ?? 0) / Math.max(allocatable[key] ?? 0, TOLERANCE);
}

function alike({ pods }: Node, { group }: PlacedPod): number {
  return pods.filter((pod) => pod.group === group).length;
}

function busy(node: Node): number {
  return share(node.used, node, "requests.cpu") + share(node.used, node, "requests.memory");
}

/** A fault for each workload with pods that fit on no node. */
export function nodeFaults(homeless: readonly PlacedPod[], nodes: readonly Node[]): string[] {
  const groups = [...new Set(homeless.map(({ group }) => group))];
  return groups.map((group) => {
    const missing = homeless.filter((pod) => pod.group === group).length;
    const candidates = nodes.filter((node) => admits(node, group));
    const needs = nodeResources(group.pod)
      .map(([key, amount]) => named(key, amount))
      .join(", ");
    const where =
      candidates.length === 0
        ? `its node selector and tolerations admit none of ${nodes.map(({ name }) => name).join(", ")}`
        : `free are ${candidates.map((node) => `${freeOn(node, group)} on ${node.name}`).join(" and ")}`;
    return (
      `cluster.nodes: ${missing} pod(s) of ${group.kind} ${group.namespace}/${group.name} have no room: each needs ` +
      `${needs}, but ${where}; lower its requests or its number of pods, or add a node`
    );
  });
}

function nodeResources(pod: Amounts): [string, number][] {
  return Object.entries(pod).filter(([key, amount]) => key.startsWith("requests.") && amount > 0);
}

function freeOn({ allocatable, used }: Node, { pod }: PodGroup): string {
  return nodeResources(pod)
    .map(([key]) => named(key, (allocatable[key] ?? 0) - (used[key] ?? 0)))
    .join(", ");
}

function named(resource: string, amount: number): string {
  return `${written(resource, amount)}${resource.endsWith("ephemeral-storage") ? " of disk" : ""}`;
}

/** The effect of losing a node on the long-running pods. */
export function lose(lost: Node, nodes: readonly Node[]): LostNode {
  const isRunning = ({ role }: PlacedPod): boolean => role === "running";
  const others = nodes
    .filter((node) => node !== lost)
    .map((node) => {
      const pods = node.pods.filter(isRunning);
      return { ...node, pods, used: total(pods.map(({ group }) => group.pod)) };
    });
  const gone = lost.pods.filter((pod) => isRunning(pod) && pod.group.pods !== "each node");
  const waiting = gone.filter(({ group }) => group.volumes.length > 0);
  const homeless = place(
    gone.filter((pod) => !waiting.includes(pod)),
    others,
  );
  const moving = gone.length - waiting.length - homeless.length;
  return { name: lost.name, moving, homeless: names(homeless), waiting: names(waiting) };
}

function names(pods: readonly PlacedPod[]): string[] {
  const counts = new Map<string, number>();
  for (const { group } of pods) counts.set(group.name, (counts.get(group.name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count === 1 ? name : `${count} × ${name}`)).sort();
}
