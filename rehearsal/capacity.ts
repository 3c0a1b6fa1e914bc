import type { V1Toleration } from "@kubernetes/client-node";
import type { PlatformConfig } from "../stacks/config";
import { type Amounts, type Demand, demandOf, GPU, type PodGroup, times, total } from "./demand";
import type { Evaluation, Registration } from "./evaluate";
import { bytes, cores } from "./quantity";

/** What a program asks for against what its quotas and nodes have. */
export interface Capacity {
  readonly systems: readonly SystemDemand[];
  readonly quotas: readonly QuotaCheck[];
  readonly nodes: readonly NodeLoad[];
  readonly lostNodes: readonly LostNode[];
  /** Custom resources of which nobody said whether their operators make pods. */
  readonly notCounted: readonly string[];
  /** What does not fit, each with its numbers and what to change; none when all is well. */
  readonly faults: readonly string[];
}

/** What one system asks for in one namespace. */
export interface SystemDemand {
  readonly system: string;
  readonly namespace: string;
  /** Of all pods with every autoscaler at its maximum, without Jobs. */
  readonly most: Amounts;
  /** Pods that run at first. */
  readonly startPods: number;
  /** Added while it is rolled out. */
  readonly surge: Amounts;
  readonly jobs: Amounts;
}

/** One resource of one quota. */
export interface QuotaCheck {
  readonly quota: string;
  readonly namespace: string;
  readonly resource: string;
  /** Once everything runs. */
  readonly start: number;
  /** With every autoscaler at its maximum. */
  readonly most: number;
  /** Added while every Deployment is rolled out at once. */
  readonly surge: number;
  /** Added while every Job runs at once. */
  readonly jobs: number;
  readonly allowed: number;
}

/** A node of the inventory, and what the pods take that come to lie on it at the peak. */
export interface NodeLoad {
  readonly name: string;
  readonly allocatable: Amounts;
  readonly used: Amounts;
}

/** What the loss of one node means, roughly: volumes are taken to lie where the peak's placement has them. */
export interface LostNode {
  readonly name: string;
  /** How many pods other nodes take over. */
  readonly moving: number;
  /** Pods that fit on no other node. */
  readonly homeless: readonly string[];
  /** Pods whose volumes lie on it: they wait until it is back. */
  readonly waiting: readonly string[];
}

interface PlacedPod {
  readonly group: PodGroup;
  readonly role: "running" | "surge" | "job";
}

/** Checks quotas and nodes: the faults alone, for a rehearsal to stop at before its first call. */
export function checkCapacity(evaluation: Evaluation, config: PlatformConfig): string[] {
  return [...capacity(evaluation, config).faults];
}

/**
 * Works out what fits. Every autoscaler is taken at its maximum, every rollout and every Job at the same time: a quota
 * that admits less stops a rollout half-way. Pods that are shutting down are left out, since they go by themselves.
 */
export function capacity(evaluation: Evaluation, config: PlatformConfig): Capacity {
  const demand = demandOf(evaluation);
  const nodes = Object.entries(config.cluster.nodes).map(([name, node]) => emptyNode(name, node));
  const groups = demand.groups.map((group) => counted(group, nodes));
  const quotas = evaluation.registrations
    .filter(({ type }) => type === "kubernetes:core/v1:ResourceQuota")
    .flatMap((quota) => checkQuota(quota, groups, demand));
  const limits = evaluation.registrations.filter(({ type }) => type === "kubernetes:core/v1:LimitRange");

  const peak = groups.flatMap(({ group, most, surge }) => [
    ...repeat({ group, role: group.isTransient ? "job" : "running" }, most),
    ...repeat({ group, role: "surge" }, surge),
  ]);
  const homeless = place(peak, nodes);
  return {
    systems: systemDemands(groups, demand),
    quotas,
    nodes: nodes.map(({ name, allocatable, used }) => ({ name, allocatable, used })),
    lostNodes: nodes.map((lost) => lose(lost, nodes)),
    notCounted: demand.unknown,
    faults: [
      ...quotas.filter((check) => peakOf(check) > check.allowed + TOLERANCE).map((check) => quotaFault(check, groups)),
      ...limits.flatMap((range) => limitFaults(range, demand.groups)),
      ...nodeFaults(homeless, nodes),
    ],
  };
}

// 0.1 + 0.2 of a core is not 0.3.
const TOLERANCE = 1e-6;

/** The most that a quota must admit. */
export function peakOf({ most, surge, jobs }: Pick<QuotaCheck, "most" | "surge" | "jobs">): number {
  return most + surge + jobs;
}

interface CountedGroup {
  readonly group: PodGroup;
  readonly start: number;
  readonly most: number;
  readonly surge: number;
}

function counted(group: PodGroup, nodes: readonly Node[]): CountedGroup {
  const { pods, surge } = group;
  const each = pods === "each node" ? nodes.filter((node) => admits(node, group)).length : undefined;
  const { start, most } = pods === "each node" ? { start: each ?? 0, most: each ?? 0 } : pods;
  return { group, start, most, surge };
}

type Count = "start" | "most" | "surge";

function sum(groups: readonly CountedGroup[], count: Count): Amounts {
  return total(groups.map((one) => times(one.group.pod, one[count])));
}

interface Sums {
  readonly start: Amounts;
  readonly most: Amounts;
  readonly surge: Amounts;
  readonly jobs: Amounts;
}

function sums(groups: readonly CountedGroup[], objects: Amounts): Sums {
  const running = groups.filter(({ group }) => !group.isTransient);
  return {
    start: total([sum(running, "start"), objects]),
    most: total([sum(running, "most"), objects]),
    surge: sum(running, "surge"),
    jobs: sum(
      groups.filter(({ group }) => group.isTransient),
      "most",
    ),
  };
}

function systemDemands(groups: readonly CountedGroup[], demand: Demand): SystemDemand[] {
  const all = [...groups.map(({ group }) => group), ...demand.objects];
  const keys = [...new Set(all.map(({ system, namespace }) => JSON.stringify([namespace, system])))].sort();
  return keys.map((key) => {
    const [namespace, system] = JSON.parse(key) as [string, string];
    const isHere = (one: { system: string; namespace: string }): boolean =>
      one.system === system && one.namespace === namespace;
    const objects = total(demand.objects.filter(isHere).map(({ amounts }) => amounts));
    const { start, ...rest } = sums(
      groups.filter(({ group }) => isHere(group)),
      objects,
    );
    return { system, namespace, startPods: start["pods"] ?? 0, ...rest };
  });
}

function checkQuota({ inputs }: Registration, groups: readonly CountedGroup[], demand: Demand): QuotaCheck[] {
  const { metadata, spec } = inputs as unknown as {
    metadata: { name: string; namespace: string };
    spec: { hard: Record<string, string> };
  };
  const { namespace } = metadata;
  const objects = total(demand.objects.filter((one) => one.namespace === namespace).map(({ amounts }) => amounts));
  const { start, most, surge, jobs } = sums(
    groups.filter(({ group }) => group.namespace === namespace),
    objects,
  );
  return Object.entries(spec.hard).map(([resource, hard]) => ({
    quota: metadata.name,
    namespace,
    resource,
    start: start[resource] ?? 0,
    most: most[resource] ?? 0,
    surge: surge[resource] ?? 0,
    jobs: jobs[resource] ?? 0,
    allowed: isBytes(resource) ? bytes(hard) : cores(hard),
  }));
}

/** Whether a quota counts a resource in bytes. */
export function isBytes(resource: string): boolean {
  return /memory|storage/.test(resource);
}

/** An amount as people write it: cores, GiB or things. */
export function written(resource: string, amount: number): string {
  const number = isBytes(resource) ? amount / 1024 ** 3 : amount;
  const rounded = `${Math.round(number * 100) / 100}`;
  if (isBytes(resource)) return `${rounded} GiB`;
  return resource.endsWith(".cpu") ? `${rounded} ${rounded === "1" ? "core" : "cores"}` : rounded;
}

// Where each resource of the quota is decided.
const QUOTA_KEYS: Readonly<Record<string, string>> = {
  "requests.cpu": "quota.cpu.request",
  "limits.cpu": "quota.cpu.limit",
  "requests.memory": "quota.memoryGiB.request",
  "limits.memory": "quota.memoryGiB.limit",
  "requests.storage": "quota.storageGiB",
  persistentvolumeclaims: "quota.claims",
  pods: "quota.pods",
  services: "quota.services",
  "services.loadbalancers": "quota.loadBalancers",
  "services.nodeports": "quota.nodePorts",
};

function quotaFault(check: QuotaCheck, groups: readonly CountedGroup[]): string {
  const { quota, namespace, resource, most, surge, jobs, allowed } = check;
  const needed = peakOf(check);
  const parts = [
    `${written(resource, most)} with every autoscaler at its maximum`,
    ...(surge > 0 ? [`${written(resource, surge)} while everything is rolled out`] : []),
    ...(jobs > 0 ? [`${written(resource, jobs)} in Jobs`] : []),
  ];
  const largest = bySystem(
    groups.filter(({ group }) => group.namespace === namespace),
    resource,
  ).slice(0, 3);
  return (
    `${QUOTA_KEYS[resource] ?? resource}: ${written(resource, needed)} needed of ${resource} (${parts.join(" + ")}), ` +
    `but ${quota} allows ${written(resource, allowed)}; raise it by ${written(resource, needed - allowed)}` +
    (largest.length === 0 ? "" : ` or ask for less: ${largest.join(", ")}`)
  );
}

/** How much of a resource each system asks for at its peak, the largest first. */
function bySystem(groups: readonly CountedGroup[], resource: string): string[] {
  const sums = new Map<string, number>();
  for (const { group, most, surge } of groups) {
    sums.set(group.system, (sums.get(group.system) ?? 0) + (group.pod[resource] ?? 0) * (most + surge));
  }
  return [...sums]
    .filter(([, amount]) => amount > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([system, amount]) => `${system} ${written(resource, amount)}`);
}

/** Containers that ask for more than the namespace lets one have: the API server would refuse their pods. */
function limitFaults({ inputs }: Registration, groups: readonly PodGroup[]): string[] {
  const { metadata, spec } = inputs as unknown as {
    metadata: { namespace: string };
    spec: { limits: { max?: Record<"cpu" | "memory", string> }[] };
  };
  const here = groups.filter(({ namespace }) => namespace === metadata.namespace);
  return spec.limits.flatMap(({ max }) =>
    Object.entries(max ?? {}).flatMap(([name, text]) => {
      const resource = `limits.${name}`;
      const allowed = isBytes(resource) ? bytes(text) : cores(text);
      const key = isBytes(resource) ? "quota.container.memoryMiB.max" : "quota.container.cpu.max";
      return here.flatMap(({ kind, name: workload, largestContainer }) => {
        const asked = largestContainer[resource] ?? 0;
        if (asked <= allowed + TOLERANCE) return [];
        const [given, most] = [written(resource, asked), written(resource, allowed)];
        return [
          `${key}: a container of ${kind} ${workload} may use ${given}, but ${most} is the most; raise it or lower the limit`,
        ];
      });
    }),
  );
}

interface Node extends NodeLoad {
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: PlatformConfig["cluster"]["nodes"][string]["taints"];
  used: Amounts;
  readonly pods: PlacedPod[];
}

function emptyNode(name: string, node: PlatformConfig["cluster"]["nodes"][string]): Node {
  const { cpu, memoryGiB, pods, gpus, labels, taints, reserved } = node;
  return {
    name,
    labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", ...labels },
    taints,
    allocatable: {
      "requests.cpu": cpu - reserved.cpu,
      "requests.memory": (memoryGiB - reserved.memoryGiB) * 1024 ** 3,
      [`requests.${GPU}`]: gpus?.count ?? 0,
      pods,
    },
    used: {},
    pods: [],
  };
}

/** Whether a node's labels and taints let a pod in. */
function admits({ labels, taints }: Node, { nodeSelector, tolerations }: PodGroup): boolean {
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

/** Places pods, the largest first; returns those for which there is no room. */
function place(pods: readonly PlacedPod[], nodes: readonly Node[]): PlacedPod[] {
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
      // As the scheduler prefers: where fewest of the same workload are, then where most is free.
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

function nodeFaults(homeless: readonly PlacedPod[], nodes: readonly Node[]): string[] {
  const groups = [...new Set(homeless.map(({ group }) => group))];
  return groups.map((group) => {
    const missing = homeless.filter((pod) => pod.group === group).length;
    const candidates = nodes.filter((node) => admits(node, group));
    const needs = nodeResources(group.pod)
      .map(([key, amount]) => written(key, amount))
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
    .map(([key]) => written(key, (allocatable[key] ?? 0) - (used[key] ?? 0)))
    .join(", ");
}

/** What has nowhere to go when a node is lost, of the pods that run for good. */
function lose(lost: Node, nodes: readonly Node[]): LostNode {
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

function repeat(pod: PlacedPod, count: number): PlacedPod[] {
  return Array.from({ length: count }, () => pod);
}
