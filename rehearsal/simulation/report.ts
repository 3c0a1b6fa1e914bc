import type { CoreV1Api, V1Node, V1PersistentVolumeClaim, V1Pod, V1ResourceQuota } from "@kubernetes/client-node";
import type { FilledChart } from "../program/charts";
import type { EngineResult } from "./engine";
import { UNCHANGED } from "./events";
import type { Plugins } from "./plugins";
import { GPU, type PodGroup, total } from "../program/demand";
import { lose, type Node, type PlacedPod } from "../program/placement";
import { bytes, cores } from "../program/quantity";
import { versions } from "./toolchain";

/** The result of a rehearsal, as `--json` writes it; keys are added, never changed. */
export interface Report {
  readonly stack: string;
  readonly ok: boolean;
  /** The reasons why `ok` is false. */
  readonly faults: readonly string[];
  /** Where the kubernetes plugin came from. */
  readonly plugin: Plugins["kubernetes"];
  /** Who signed the certificates: `simulated`, or a version of the real one. */
  readonly certManager: string;
  /** Charts and manifest files of the stack, and whether upstream published what was installed. */
  readonly charts: readonly FilledChart[];
  /** The simulated Kubernetes version, and that of the stack's cluster. */
  readonly kubernetes: { readonly simulated: string; readonly declared: string };
  /** Number of the stack's resources according to the engine. */
  readonly resources: number;
  readonly pods: { readonly total: number; readonly ready: number };
  readonly claims: { readonly total: number; readonly bound: number };
  readonly secondUp: { readonly changes: number } | null;
  readonly seconds: {
    readonly tools: number;
    readonly controlPlane: number;
    readonly up: number;
    readonly secondUp: number;
    readonly perResource: number;
    readonly total: number;
  };
  /** Null if the operating system does not report it. */
  readonly peakMemoryMiB: number | null;
  readonly outputs: unknown;
  readonly quotas: readonly QuotaUse[];
  readonly nodes: readonly NodeUse[];
  readonly volumes: readonly VolumeUse[];
  readonly lostNodes: readonly LostNode[];
  /** Present if the rehearsal was kept. */
  readonly kubeconfig?: string;
  readonly envFile?: string | undefined;
}

interface QuotaUse {
  readonly name: string;
  readonly resource: string;
  readonly used: string;
  readonly hard: string;
  readonly share: number;
}

interface NodeUse {
  readonly name: string;
  readonly pods: number;
  /** Requested and allocatable cores. */
  readonly cpu: { readonly requested: number; readonly allocatable: number };
  readonly memoryGiB: { readonly requested: number; readonly allocatable: number };
  readonly gpus: { readonly requested: number; readonly allocatable: number };
}

interface VolumeUse {
  readonly claim: string;
  readonly sizeGiB: number;
  readonly node: string;
}

/** The effect of losing one node on the pods that run at the end, by workload: `2 × kafka-broker`. */
interface LostNode {
  readonly name: string;
  /** Those that fit on no other node. */
  readonly homeless: readonly string[];
  /** Those whose volumes are on the node and that wait until it is back. */
  readonly stranded: readonly string[];
  /** Replicated systems that lose half or more of their members. */
  readonly brokenQuorums: readonly string[];
}

/** The sources of a report. */
export interface Inspected {
  readonly stack: string;
  readonly plugins: Plugins;
  readonly certManager: string;
  readonly charts: readonly FilledChart[];
  readonly config: { readonly cluster: { readonly kubernetesVersion: string } };
  readonly api: { readonly core: CoreV1Api };
  readonly seconds: { readonly tools: number; readonly controlPlane: number };
}

interface Course {
  readonly up: EngineResult;
  readonly settled: readonly string[];
  readonly secondUp?: EngineResult;
  readonly outputs: unknown;
  readonly peakMemoryMiB: number | null;
  readonly totalSeconds: number;
}

/** Reads the result of a rehearsal from the cluster. */
export async function inspect(rehearsal: Inspected, course: Course): Promise<Report> {
  const { core } = rehearsal.api;
  const [pods, claims, nodes, quotas] = await Promise.all([
    core.listPodForAllNamespaces(),
    core.listPersistentVolumeClaimForAllNamespaces(),
    core.listNode(),
    core.listResourceQuotaForAllNamespaces(),
  ]);
  const { up, secondUp, settled } = course;
  const resources = sum(Object.values(up.changes));
  const changes = secondUp === undefined ? 0 : countChanges(secondUp);
  const faults = [
    ...up.errors,
    ...settled,
    ...(secondUp?.errors ?? []),
    ...(secondUp !== undefined && changes > 0 ? [changedFault(changes, secondUp.changed)] : []),
  ];
  return {
    stack: rehearsal.stack,
    ok: up.ok && faults.length === 0,
    faults,
    plugin: rehearsal.plugins.kubernetes,
    certManager: rehearsal.certManager,
    charts: rehearsal.charts,
    kubernetes: { simulated: versions.kubernetes.slice(1), declared: rehearsal.config.cluster.kubernetesVersion },
    resources,
    pods: { total: pods.items.length, ready: pods.items.filter(isReadyOrDone).length },
    claims: {
      total: claims.items.length,
      bound: claims.items.filter(({ status }) => status?.phase === "Bound").length,
    },
    secondUp: secondUp === undefined ? null : { changes },
    seconds: {
      tools: round(rehearsal.seconds.tools),
      controlPlane: round(rehearsal.seconds.controlPlane),
      up: round(up.seconds),
      secondUp: round(secondUp?.seconds ?? 0),
      perResource: Math.round((up.seconds / Math.max(resources, 1)) * 1000) / 1000,
      total: round(course.totalSeconds),
    },
    peakMemoryMiB: course.peakMemoryMiB,
    outputs: course.outputs,
    quotas: quotas.items.flatMap(quotaUse),
    nodes: nodes.items.map((node) => nodeUse(node, pods.items)),
    volumes: claims.items.map((claim) => volumeUse(claim, pods.items)),
    lostNodes: lostNodes(nodes.items, pods.items),
  };
}

function changedFault(changes: number, changed: readonly string[]): string {
  const more = changed.length > 10 ? [`and ${changed.length - 10} more`] : [];
  return [`the second up changed ${changes} resources:`, ...changed.slice(0, 10), ...more].join("\n    ");
}

/** How many resources an engine command changed; reads do not count. */
export function countChanges({ changes }: EngineResult): number {
  return sum(Object.entries(changes).map(([op, count]) => (UNCHANGED.includes(op) ? 0 : count)));
}

/** Whether a pod is Ready or has completed. */
export function isReadyOrDone({ status }: V1Pod): boolean {
  if (status?.phase === "Succeeded") return true;
  return status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True") ?? false;
}

function quotaUse({ metadata, status }: V1ResourceQuota): QuotaUse[] {
  return Object.entries(status?.hard ?? {}).map(([resource, hard]) => {
    const used = status?.used?.[resource] ?? "0";
    const amount = /memory|storage/.test(resource) ? bytes : cores;
    return { name: metadata?.name ?? "", resource, used, hard, share: amount(used) / Math.max(amount(hard), 1e-9) };
  });
}

const GIB = 1024 ** 3;

function nodeUse(node: V1Node, pods: readonly V1Pod[]): NodeUse {
  const here = activePods(pods).filter((pod) => pod.spec?.nodeName === node.metadata?.name);
  const { cpu = "0", memory = "0", [GPU]: gpus = "0" } = node.status?.allocatable ?? {};
  const requested = here.map(podRequests);
  return {
    name: node.metadata?.name ?? "",
    pods: here.length,
    cpu: { requested: round(sum(requested.map((r) => r.cpu))), allocatable: round(cores(cpu)) },
    memoryGiB: { requested: round(sum(requested.map((r) => r.memory)) / GIB), allocatable: round(bytes(memory) / GIB) },
    gpus: { requested: sum(requested.map((r) => r.gpus)), allocatable: cores(gpus) },
  };
}

function activePods(pods: readonly V1Pod[]): V1Pod[] {
  return pods.filter(({ status }) => status?.phase !== "Succeeded" && status?.phase !== "Failed");
}

/** What the scheduler reserves, in cores and bytes: the sum of the containers, or the largest init container if that is more. */
export function podRequests({ spec }: V1Pod): { cpu: number; memory: number; disk: number; gpus: number } {
  const read = (name: string, amount: (text: string) => number): number => {
    const of = (c: { resources?: { requests?: Record<string, string> } }) =>
      amount(c.resources?.requests?.[name] ?? "0");
    return Math.max(sum((spec?.containers ?? []).map(of)), ...(spec?.initContainers ?? []).map(of));
  };
  return {
    cpu: read("cpu", cores),
    memory: read("memory", bytes),
    disk: read("ephemeral-storage", bytes),
    gpus: read(GPU, cores),
  };
}

function volumeUse({ metadata, spec }: V1PersistentVolumeClaim, pods: readonly V1Pod[]): VolumeUse {
  const user = pods.find(
    (pod) => pod.metadata?.namespace === metadata?.namespace && claimsOf(pod).includes(metadata?.name ?? ""),
  );
  return {
    claim: `${metadata?.namespace}/${metadata?.name}`,
    sizeGiB: round(bytes(spec?.resources?.requests?.["storage"] ?? "0") / GIB),
    node: user?.spec?.nodeName ?? "",
  };
}

function claimsOf({ spec }: V1Pod): string[] {
  return (spec?.volumes ?? []).flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []);
}

/** What the loss of each node leaves of the pods that run now, by the placement that `npm run capacity` uses. */
function lostNodes(nodes: readonly V1Node[], pods: readonly V1Pod[]): LostNode[] {
  const active = activePods(pods);
  const groups = new Map<string, PodGroup>();
  const rooms = nodes.map((node): Node => {
    const here = active.filter(({ spec }) => spec?.nodeName === node.metadata?.name);
    const placed = here.map((pod): PlacedPod => ({
      group: groupOf(pod, groups),
      role: isOfJob(pod) ? "job" : "running",
    }));
    return { ...room(node), used: total(placed.map(({ group }) => group.pod)), pods: placed };
  });
  return rooms.map((lost) => {
    const { homeless, waiting } = lose(lost, rooms);
    return { name: lost.name, homeless, stranded: waiting, brokenQuorums: brokenQuorums(active, lost.name) };
  });
}

function room({ metadata, spec, status }: V1Node): Omit<Node, "used" | "pods"> {
  const {
    cpu = "0",
    memory = "0",
    "ephemeral-storage": disk = "0",
    pods = "0",
    [GPU]: cards = "0",
  } = status?.allocatable ?? {};
  return {
    name: metadata?.name ?? "",
    labels: metadata?.labels ?? {},
    taints: (spec?.taints ?? []) as Node["taints"],
    allocatable: {
      "requests.cpu": cores(cpu),
      "requests.memory": bytes(memory),
      "requests.ephemeral-storage": bytes(disk),
      [`requests.${GPU}`]: cores(cards),
      pods: cores(pods),
    },
  };
}

/** The workload of a pod: pods with one owner are alike. */
function groupOf(pod: V1Pod, groups: Map<string, PodGroup>): PodGroup {
  const { metadata, spec } = pod;
  const [owner = { kind: "Pod", name: metadata?.name ?? "", uid: metadata?.uid ?? "" }] =
    metadata?.ownerReferences ?? [];
  const known = groups.get(owner.uid);
  if (known !== undefined) return known;
  const { cpu, memory, disk, gpus: cards } = podRequests(pod);
  const hash = metadata?.labels?.["pod-template-hash"];
  const name = hash === undefined ? owner.name : owner.name.replace(`-${hash}`, "");
  const group: PodGroup = {
    ...{ system: name, namespace: metadata?.namespace ?? "", kind: owner.kind, name, object: name },
    pods: owner.kind === "DaemonSet" ? "each node" : { start: 1, most: 1 },
    surge: 0,
    isTransient: false,
    pod: {
      ...{ "requests.cpu": cpu, "requests.memory": memory, "requests.ephemeral-storage": disk },
      ...{ [`requests.${GPU}`]: cards, pods: 1 },
    },
    largestContainer: {},
    nodeSelector: spec?.nodeSelector ?? {},
    tolerations: spec?.tolerations ?? [],
    volumes: claimsOf(pod).map(() => 0),
  };
  groups.set(owner.uid, group);
  return group;
}

function isOfJob({ metadata }: V1Pod): boolean {
  return metadata?.ownerReferences?.some(({ kind }) => kind === "Job") ?? false;
}

/** StatefulSets with several members, at least half of which are on the node. */
function brokenQuorums(active: readonly V1Pod[], node: string): string[] {
  const members = new Map<string, V1Pod[]>();
  for (const pod of active) {
    const owner = pod.metadata?.ownerReferences?.[0];
    // PostgreSQL needs no quorum: the operator promotes a remaining replica.
    if (owner?.kind !== "StatefulSet" || pod.metadata?.labels?.["cnpg.io/cluster"] !== undefined) continue;
    const name = `${pod.metadata?.namespace}/${owner.name}`;
    members.set(name, [...(members.get(name) ?? []), pod]);
  }
  return [...members].flatMap(([name, pods]) => {
    const here = pods.filter(({ spec }) => spec?.nodeName === node).length;
    return pods.length > 1 && here * 2 >= pods.length ? [`${name} (${here} of ${pods.length})`] : [];
  });
}

/** How many charts were upstream's, and the names of the stand-ins. */
export function chartSummary(charts: readonly FilledChart[]): string {
  const standIns = charts
    .filter(({ source }) => source === "stand-in")
    .map(({ name, version }) => `${name} ${version}`);
  const real = `${charts.length - standIns.length} of ${charts.length} as upstream published them`;
  return [real, ...(standIns.length === 0 ? [] : [`${standIns.length} stand-ins: ${standIns.join(", ")}`])].join(", ");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function round(number: number): number {
  return Math.round(number * 10) / 10;
}
