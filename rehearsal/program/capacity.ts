import type { PlatformConfig } from "../../stacks/config/schema";
import { type Amounts, type Demand, demandOf, type PodGroup, times, total } from "./demand";
import type { Evaluation, Registration } from "./evaluate";
import {
  admits,
  emptyNode,
  lose,
  type LostNode,
  type Node,
  nodeFaults,
  type NodeLoad,
  place,
  type PlacedPod,
} from "./placement";
import { bytes, cores } from "./quantity";
import { isBytes, TOLERANCE, written } from "./units";

/** A program's demand compared with its quotas and nodes. */
export interface Capacity {
  readonly systems: readonly SystemDemand[];
  readonly quotas: readonly QuotaCheck[];
  readonly nodes: readonly NodeLoad[];
  readonly lostNodes: readonly LostNode[];
  /** Custom resources for which it is unknown whether their operators create pods. */
  readonly notCounted: readonly string[];
  /** What does not fit, with numbers and what to change. */
  readonly faults: readonly string[];
}

/** The demand of one system in one namespace. */
export interface SystemDemand {
  readonly system: string;
  readonly namespace: string;
  /** All pods with every autoscaler at its maximum, without Jobs. */
  readonly most: Amounts;
  /** Pods that run at first. */
  readonly startPods: number;
  /** Added during a rollout. */
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

/** Checks quotas and nodes, so that a rehearsal can stop before its first call. */
export function checkCapacity(evaluation: Evaluation, config: PlatformConfig): string[] {
  return [...capacity(evaluation, config).faults];
}

/**
 * Calculates what fits, with every autoscaler at its maximum and every rollout and Job at the same time: a smaller quota would
 * stop a rollout half-way. Pods that are shutting down do not count unless they may take minutes.
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
      ...quotas
        .filter((check) => peakOf(check) > check.allowed + TOLERANCE)
        .map((check) => quotaFault(check, groups, config)),
      ...limits.flatMap((range) => limitFaults(range, demand.groups, config)),
      ...nodeFaults(homeless, nodes),
    ],
  };
}

function repeat(pod: PlacedPod, count: number): PlacedPod[] {
  return Array.from({ length: count }, () => pod);
}

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
    spec: { hard: Record<string, string>; scopeSelector?: { matchExpressions: { values: string[] }[] } };
  };
  const { namespace } = metadata;
  // The only scope of the program's quotas is by PriorityClass.
  const [scope] = spec.scopeSelector?.matchExpressions ?? [];
  const isMeant = ({ priority = "" }: PodGroup) => scope === undefined || scope.values.includes(priority);
  const objects = total(demand.objects.filter((one) => one.namespace === namespace).map(({ amounts }) => amounts));
  const { start, most, surge, jobs } = sums(
    groups.filter(({ group }) => group.namespace === namespace && isMeant(group)),
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

// The config key of each quota resource.
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

/** Where the config has the quota of a namespace. */
function quotaOf(namespace: string, { tenants }: PlatformConfig): string {
  return namespace in tenants ? `tenants.${namespace}.` : "";
}

function quotaFault(check: QuotaCheck, groups: readonly CountedGroup[], config: PlatformConfig): string {
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
    `${quotaOf(namespace, config)}${QUOTA_KEYS[resource] ?? resource}: ${written(resource, needed)} needed of ${resource}${parts.length > 1 ? ` (${parts.join(" + ")})` : ""}, ` +
    `but ${quota} allows ${written(resource, allowed)}; raise it by ${written(resource, needed - allowed)}` +
    (largest.length === 0 ? "" : ` or ask for less: ${largest.join(", ")}`)
  );
}

/** Each system's peak demand for a resource, largest first. */
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

/** Containers that exceed the namespace's limit range: the API server would reject their pods. */
function limitFaults({ inputs }: Registration, groups: readonly PodGroup[], config: PlatformConfig): string[] {
  const { metadata, spec } = inputs as unknown as {
    metadata: { namespace: string };
    spec: { limits: { max?: Record<"cpu" | "memory", string> }[] };
  };
  const here = groups.filter(({ namespace }) => namespace === metadata.namespace);
  return spec.limits.flatMap(({ max }) =>
    Object.entries(max ?? {}).flatMap(([name, text]) => {
      const resource = `limits.${name}`;
      const allowed = isBytes(resource) ? bytes(text) : cores(text);
      const key = `${quotaOf(metadata.namespace, config)}quota.container.${isBytes(resource) ? "memoryMiB" : "cpu"}.max`;
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
