import type { CoreV1Api, V1Node, V1PersistentVolumeClaim, V1Pod, V1ResourceQuota } from "@kubernetes/client-node";
import type { FilledChart } from "../program/charts";
import { type EngineResult, UNCHANGED } from "./engine";
import type { Plugins } from "./plugins";
import { bytes, cores } from "../program/quantity";
import { bar, table } from "./tables";
import { versions } from "./toolchain";

/** The result of a rehearsal, as `--json` writes it; keys are added, never changed. */
export interface Report {
  readonly stack: string;
  readonly ok: boolean;
  /** The reasons why `ok` is false. */
  readonly faults: readonly string[];
  /** Where the kubernetes plugin came from. */
  readonly plugin: Plugins["kubernetes"];
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
  readonly envFile?: string;
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

/** The effect of losing one node. */
interface LostNode {
  readonly name: string;
  /** Pods that fit on no other node. */
  readonly homeless: readonly string[];
  /** Pods whose volumes are on the node and that wait until it is back. */
  readonly stranded: readonly string[];
  /** Replicated systems that lose half or more of their members. */
  readonly brokenQuorums: readonly string[];
}

/** The sources of a report. */
export interface Inspected {
  readonly stack: string;
  readonly plugins: Plugins;
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
    lostNodes: nodes.items.map((node) => lostNode(node, nodes.items, pods.items)),
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

const GPU = "nvidia.com/gpu";
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

function lostNode(lost: V1Node, nodes: readonly V1Node[], pods: readonly V1Pod[]): LostNode {
  const name = lost.metadata?.name ?? "";
  const active = activePods(pods);
  const gone = active.filter(({ spec }) => spec?.nodeName === name);
  const stranded = gone.filter((pod) => claimsOf(pod).length > 0);
  const room = nodes.filter((node) => node !== lost).map((node) => freeRoom(node, active));
  // Largest first, which places the most pods.
  const movers = gone
    .filter((pod) => !stranded.includes(pod))
    .sort((a, b) => podRequests(b).memory - podRequests(a).memory);
  const homeless = movers.filter((pod) => !place(pod, room));
  return {
    name,
    homeless: homeless.map(podName),
    stranded: stranded.map(podName),
    brokenQuorums: brokenQuorums(active, name),
  };
}

interface Room {
  cpu: number;
  memory: number;
  gpus: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly tainted: boolean;
}

function freeRoom(node: V1Node, active: readonly V1Pod[]): Room {
  const here = active.filter(({ spec }) => spec?.nodeName === node.metadata?.name).map(podRequests);
  const { cpu = "0", memory = "0", [GPU]: gpus = "0" } = node.status?.allocatable ?? {};
  return {
    cpu: cores(cpu) - sum(here.map((r) => r.cpu)),
    memory: bytes(memory) - sum(here.map((r) => r.memory)),
    gpus: cores(gpus) - sum(here.map((r) => r.gpus)),
    labels: node.metadata?.labels ?? {},
    tainted: node.spec?.taints?.some(({ effect }) => effect !== "PreferNoSchedule") ?? false,
  };
}

function place(pod: V1Pod, rooms: Room[]): boolean {
  const need = podRequests(pod);
  const selector = Object.entries(pod.spec?.nodeSelector ?? {});
  const room = rooms.find(
    (r) =>
      need.cpu <= r.cpu &&
      need.memory <= r.memory &&
      need.gpus <= r.gpus &&
      selector.every(([key, value]) => r.labels[key] === value) &&
      (!r.tainted ||
        (pod.spec?.tolerations ?? []).some(({ key }) => key === undefined || !key.startsWith("node.kubernetes.io"))),
  );
  if (room === undefined) return false;
  room.cpu -= need.cpu;
  room.memory -= need.memory;
  room.gpus -= need.gpus;
  return true;
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

function podName({ metadata }: V1Pod): string {
  return metadata?.name ?? "";
}

const NOT_SHOWN = [
  "containers do not run: no images are pulled, no probes are called, and Jobs do no work",
  "operators are simulated from the specs of their custom resources; webhooks are not called",
  "network policies are stored but not enforced; there is no traffic, DNS or certificates",
  "volumes are objects without a disk",
];

/** How many charts were upstream's, and the names of the stand-ins. */
export function chartSummary(charts: readonly FilledChart[], separator = ", "): string {
  const standIns = charts
    .filter(({ source }) => source === "stand-in")
    .map(({ name, version }) => `${name} ${version}`);
  const real = `${charts.length - standIns.length} of ${charts.length} as upstream published them`;
  return [real, ...(standIns.length === 0 ? [] : [`${standIns.length} stand-ins: ${standIns.join(separator)}`])].join(
    separator,
  );
}

/** Formats the report for people. */
export function render(report: Report): string {
  const { pods, claims, seconds, secondUp } = report;
  const verdict = report.ok ? "all of it works" : `${report.faults.length} fault(s)`;
  const sections = [
    `Rehearsal of ${report.stack}: ${verdict}`,
    ...report.faults.map((fault) => `  ✗ ${fault}`),
    table(
      ["result", ""],
      [
        ["resources", `${report.resources} in ${seconds.up} s (${seconds.perResource} s each)`],
        ["pods", `${pods.ready} of ${pods.total} Ready or done`],
        ["claims", `${claims.bound} of ${claims.total} bound`],
        ["second up", secondUp === null ? "not run" : `${secondUp.changes} changes in ${seconds.secondUp} s`],
        ["time", `${seconds.total} s (tools ${seconds.tools} s, control plane ${seconds.controlPlane} s)`],
        ["memory", report.peakMemoryMiB === null ? "unknown" : `${report.peakMemoryMiB} MiB at most`],
        ["Kubernetes", `${report.kubernetes.simulated} simulated, ${report.kubernetes.declared} declared`],
        ["kubernetes plugin", report.plugin],
        ["charts", chartSummary(report.charts, "\n")],
      ],
    ),
    table(
      ["quota", "resource", "used", "hard", ""],
      report.quotas.filter(({ share }) => share > 0).map((q) => [q.name, q.resource, q.used, q.hard, bar(q.share)]),
    ),
    table(
      ["node", "pods", "CPU requested", "memory requested", "GPUs"],
      report.nodes.map((n) => [n.name, `${n.pods}`, share(n.cpu, "cores"), share(n.memoryGiB, "GiB"), gpus(n.gpus)]),
    ),
    table(
      ["volume", "size", "on node"],
      report.volumes.map((v) => [v.claim, `${v.sizeGiB} GiB`, v.node || "–"]),
    ),
    table(
      ["when this node is lost", "have nowhere to go", "wait for its volumes", "lose their quorum"],
      report.lostNodes.map((n) => [n.name, list(n.homeless), list(n.stranded), list(n.brokenQuorums)]),
    ),
    table(["endpoint", "inside the cluster"], endpointRows(report.outputs)),
    `What a rehearsal cannot show:\n${NOT_SHOWN.map((line) => `  - ${line}`).join("\n")}`,
    ...(report.envFile === undefined ? [] : [kept(report.envFile, report.stack)]),
  ];
  return sections.join("\n");
}

// A character of a monospace font at 14 px, and its line.
const CELL = { width: 8.43, height: 18 };
const MARGIN = 16;

/** The report as an SVG of the text, for pull requests and documents. */
export function picture(report: Report): string {
  const lines = render(report).split("\n");
  const width = Math.ceil(Math.max(...lines.map(({ length }) => length)) * CELL.width) + 2 * MARGIN;
  const height = lines.length * CELL.height + 2 * MARGIN;
  const text = lines.map((line, index) => {
    const y = MARGIN + (index + 0.8) * CELL.height;
    const length = `textLength="${(line.length * CELL.width).toFixed(1)}" lengthAdjust="spacingAndGlyphs"`;
    return line === ""
      ? ""
      : `<text x="${MARGIN}" y="${y.toFixed(1)}" ${length} xml:space="preserve">${escape(line)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ` font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="#d7dde4">`,
    `<rect width="100%" height="100%" rx="8" fill="#1b222b"/>`,
    ...text,
    "</svg>\n",
  ].join("\n");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function kept(envFile: string, stack: string): string {
  return [
    "The rehearsal is still running. To use it, run in this directory:",
    `  source ${envFile}`,
    `  npx pulumi preview -s ${stack}`,
    `To end it: npm run rehearse -- --stack ${stack} --down`,
  ].join("\n");
}

function endpointRows(outputs: unknown, prefix = ""): string[][] {
  if (typeof outputs !== "object" || outputs === null) return [];
  return Object.entries(outputs).flatMap(([key, value]) => {
    const name = prefix === "" ? key : `${prefix}.${key}`;
    const { url } = (value ?? {}) as { url?: unknown };
    return typeof url === "string" ? [[name, url]] : endpointRows(value, name);
  });
}

function share({ requested, allocatable }: { requested: number; allocatable: number }, unit: string): string {
  const part = requested / Math.max(allocatable, 1e-9);
  return `${bar(part)}, ${requested} of ${allocatable} ${unit}`;
}

function gpus({ requested, allocatable }: { requested: number; allocatable: number }): string {
  return allocatable === 0 ? "–" : `${requested} of ${allocatable}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "–" : names.join("\n");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function round(number: number): number {
  return Math.round(number * 10) / 10;
}
