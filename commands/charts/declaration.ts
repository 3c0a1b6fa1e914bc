import type { V1PodSpec, V1PodTemplateSpec } from "@kubernetes/client-node";
import type { DeclaredHook, DeclaredService, DeclaredWorkload } from "../../components/base/chart-release";
import { resources } from "../../components/base/pod";
import { isBytes } from "../../rehearsal/program/units";
import { customKind } from "../../rehearsal/operators";
import type { Claim, CustomResource, Manifest, PodSpec } from "../../rehearsal/operators/operator";
import type { DeclaredRelease } from "../../rehearsal/program/charts";
import { amountsOf } from "../../rehearsal/program/demand";
import type { PodTemplate } from "../../rehearsal/program/pod-rules";
import { bytes } from "../../rehearsal/program/quantity";

/** A workload of a rendered chart, or one that an operator makes from a custom resource of the chart. */
export interface RunWorkload {
  readonly kind: string;
  readonly name: string;
  /** When Helm runs it, if it is a hook. */
  readonly hook?: DeclaredHook["when"];
  /** Undefined if an operator writes it. */
  readonly template?: PodTemplate;
  /** What determines its size. */
  readonly pod: PodSpec;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  /** Undefined if the nodes or an autoscaler decide. */
  readonly replicas?: number;
  readonly claims: readonly Claim[];
}

interface WorkloadSpec {
  readonly replicas?: number;
  readonly template: V1PodTemplateSpec & { readonly spec: V1PodSpec };
  readonly volumeClaimTemplates?: readonly Claim[];
  readonly jobTemplate?: { readonly spec: WorkloadSpec };
}

const WORKLOADS = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"];

/** Every workload of a rendered chart. */
export function workloadsOf(objects: readonly Manifest[]): RunWorkload[] {
  return objects.flatMap((object) => {
    if (WORKLOADS.includes(object.kind)) return [workload(object, objects)];
    if (object.kind === "Pod") return [pod(object)];
    return operated(object, objects);
  });
}

function workload({ kind, metadata, spec }: Manifest, objects: readonly Manifest[]): RunWorkload {
  const own = spec as WorkloadSpec;
  const { template, replicas = 1, volumeClaimTemplates: claims = [] } = own.jobTemplate?.spec ?? own;
  const isScaled = objects.some((object) => {
    const { scaleTargetRef } = (object["spec"] ?? {}) as { scaleTargetRef?: { kind: string; name: string } };
    return scaleTargetRef?.kind === kind && scaleTargetRef.name === metadata.name;
  });
  const isCounted = ["Deployment", "StatefulSet"].includes(kind) && !isScaled;
  const hook = metadata.annotations?.["helm.sh/hook"];
  return {
    kind,
    name: metadata.name,
    ...(hook !== undefined && { hook: hookTime(hook) }),
    template: {
      metadata: template.metadata ?? {},
      spec: template.spec,
      claims: claims.map((claim) => claim.metadata?.name ?? ""),
    },
    pod: template.spec,
    labels: template.metadata?.labels ?? {},
    serviceAccount: template.spec.serviceAccountName ?? "default",
    ...(isCounted && { replicas }),
    claims,
  };
}

function hookTime(hook: string): DeclaredHook["when"] {
  if (hook.includes("delete")) return "on delete";
  if (hook.includes("pre-install")) return "before";
  return hook.includes("upgrade") ? "after" : "after install";
}

function pod({ kind, metadata, spec }: Manifest): RunWorkload {
  const template = { metadata, spec: spec as V1PodSpec };
  return {
    kind,
    name: metadata.name,
    template,
    pod: template.spec,
    labels: metadata.labels ?? {},
    serviceAccount: template.spec.serviceAccountName ?? "default",
    claims: [],
  };
}

/** The StatefulSets and DaemonSets that an operator makes from a custom resource. */
function operated(object: Manifest, objects: readonly Manifest[]): RunWorkload[] {
  const demand = customKind(`${object.apiVersion}/${object.kind}`)?.demand(object as CustomResource, objects);
  return (demand?.podSets ?? []).map(({ name = object.metadata.name, replicas, labels = {}, spec, claims = [] }) => ({
    ...{ kind: replicas === "each node" ? "DaemonSet" : "StatefulSet", name, labels, claims },
    pod: spec ?? { containers: [] },
    serviceAccount: spec?.serviceAccountName ?? "default",
    ...(typeof replicas === "number" && { replicas }),
  }));
}

/** A declared hook as a workload: its pods have the label of the Job controller. */
function hookWorkload({ when, ...hook }: DeclaredHook): Expected {
  return { ...hook, kind: when === "on demand" ? "CronJob" : "Job", labels: {}, replicas: 1 };
}

type Expected = Omit<DeclaredWorkload, "kind"> & { readonly kind: string };

/** Differences between a rendered chart and its declaration, on which policies, quota and capacity depend. */
export function declarationFaults(release: DeclaredRelease, objects: readonly Manifest[]): string[] {
  const { declares } = release;
  const { hooks = [] } = declares;
  const run = workloadsOf(objects);
  const titles = run.map(title);
  const expected: Expected[] = [...declares.workloads, ...hooks.map(hookWorkload)];
  return [
    ...run
      .filter((one) => !expected.some((declared) => title(declared) === title(one)))
      .map(
        (one) =>
          `declares.${one.hook ? "hooks" : "workloads"}: lacks ${title(one)}, which the chart runs; declare it, or switch it off`,
      ),
    ...expected.flatMap((declared) => {
      const found = run.find((one) => title(one) === title(declared));
      if (found !== undefined) return workloadFaults(declared, found, run);
      return [`declares.workloads: ${title(declared)} is not run by the chart, which runs ${listed(titles)}`];
    }),
    ...hooks.flatMap(({ name, when }) => {
      const hook = run.find((one) => one.kind === "Job" && one.name === name)?.hook;
      return hook === undefined || hook === when
        ? []
        : [`declares.hooks[${name}].when: ${when} is declared, not ${hook}`];
    }),
    ...accountFaults(release, objects),
    ...serviceFaults(release, objects, run),
    ...claimFaults(objects),
    ...crdFaults(release, objects),
  ];
}

function title({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind} ${name}`;
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}

function workloadFaults(declared: Expected, found: RunWorkload, all: readonly RunWorkload[]): string[] {
  const at = `declares.workloads[${declared.name}]`;
  const faults: string[] = [];
  const compare = (what: string, own: unknown, real: unknown): void => {
    if (own !== real) faults.push(`${at}.${what}: ${String(own)} is declared, the chart has ${String(real)}`);
  };
  compare("serviceAccount", declared.serviceAccount, found.serviceAccount);
  const { labels, podLabels = {}, ports = {} } = declared;
  for (const [key, value] of Object.entries(labels)) compare(`labels["${key}"]`, value, found.labels[key]);
  for (const [key, value] of Object.entries(podLabels)) compare(`podLabels["${key}"]`, value, found.labels[key]);
  for (const [name, port] of Object.entries(found.template ? ports : {})) {
    compare(`ports.${name}`, port, numberOf(name, found.template?.spec));
  }
  // Policies for one would also apply to the others; those for the pods of a Job select its name.
  const isJob = ["Job", "CronJob"].includes(found.kind);
  const others = isJob ? [] : all.filter((one) => one !== found && isSelected(one.labels, labels));
  for (const other of others) faults.push(`${at}.labels: also select the pods of ${title(other)}`);
  if (found.replicas !== undefined) compare("replicas", declared.replicas, found.replicas);
  for (const [key, value] of Object.entries(declared.nodeSelector ?? {})) {
    compare(`nodeSelector["${key}"]`, value, found.pod.nodeSelector?.[key]);
  }
  if (declared.tolerations) compare("tolerations", listOf(declared.tolerations), listOf(found.pod.tolerations));
  compareSize(declared, found.pod, compare);
  compare("volume", volumeOf(declared), found.claims.map(claimOf).join(" and ") || NO_VOLUME);
  return faults;
}

function listOf(objects: readonly object[] = []): string {
  return JSON.stringify(objects.map((one) => Object.entries(one).sort()));
}

function isSelected(labels: Readonly<Record<string, string>>, selector: Readonly<Record<string, string>>): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

function compareSize(
  { size }: Expected,
  pod: PodSpec,
  compare: (what: string, own: number | undefined, real: number | undefined) => void,
): void {
  const own = amountsOf({ containers: [{ resources: resources(size) }] }).pod;
  const real = amountsOf(pod).pod;
  const places = {
    "size.cpu.request": "requests.cpu",
    "size.cpu.limit": "limits.cpu",
    "size.memoryMiB.request": "requests.memory",
    "size.memoryMiB.limit": "limits.memory",
    "size.scratchMiB": "requests.ephemeral-storage",
  };
  for (const [place, resource] of Object.entries(places)) {
    const unit = isBytes(resource) ? MIB : 1;
    compare(place, inUnits(own[resource], unit), inUnits(real[resource], unit));
  }
}

const MIB = 2 ** 20;

/** Rounds away binary floating-point errors: 0.12, not 0.12000000000000001. */
function inUnits(amount = 0, unit: number): number {
  return Math.round((amount / unit) * 1000) / 1000;
}

const NO_VOLUME = "none";

function volumeOf({ volume }: Expected): string {
  if (volume === undefined) return NO_VOLUME;
  return `${volume.name} of ${volume.sizeGiB} GiB in ${volume.storageClass}`;
}

function claimOf({ metadata, spec }: Claim): string {
  const sizeGiB = bytes(spec?.resources?.requests?.["storage"] ?? "0") / 2 ** 30;
  return `${metadata?.name} of ${sizeGiB} GiB in ${spec?.storageClassName}`;
}

/** A service account must not be made by both the chart and the program. */
function accountFaults({ declares }: DeclaredRelease, objects: readonly Manifest[]): string[] {
  if (declares.serviceAccounts !== "program") return [];
  return objects
    .filter(({ kind }) => kind === "ServiceAccount")
    .map(({ metadata: { name } }) => `declares.serviceAccounts: the chart makes ${name} itself; switch that off`);
}

/** The program's protection of data does not cover claims that a chart makes. */
function claimFaults(objects: readonly Manifest[]): string[] {
  return objects
    .filter(({ kind }) => kind === "PersistentVolumeClaim")
    .map(({ metadata: { name } }) => `PersistentVolumeClaim ${name}: nothing declares it; switch it off in the values`);
}

interface ServiceSpec {
  readonly selector?: Readonly<Record<string, string>>;
  readonly type?: string;
  readonly ports?: readonly { readonly port: number; readonly targetPort?: number | string; readonly name?: string }[];
}

function serviceFaults(
  { declares }: DeclaredRelease,
  objects: readonly Manifest[],
  run: readonly RunWorkload[],
): string[] {
  const services = objects.filter(({ kind }) => kind === "Service");
  const names = services.map(({ metadata }) => metadata.name);
  return [
    ...names
      .filter((name) => !declares.services.some((declared) => declared.name === name))
      .map((name) => `declares.services: lacks ${name}, which the chart makes; declare it, or switch it off`),
    ...declares.services.flatMap((declared) => {
      const service = services.find(({ metadata }) => metadata.name === declared.name);
      if (service !== undefined) return portFaults(declared, service["spec"] as ServiceSpec, run);
      return [`declares.services: ${declared.name} is not made by the chart, which makes ${listed(names)}`];
    }),
  ];
}

function portFaults(
  { name, port, podPort, workload }: DeclaredService,
  { type = "ClusterIP", ports = [], selector = {} }: ServiceSpec,
  run: readonly RunWorkload[],
): string[] {
  const at = `declares.services[${name}]`;
  const faults: string[] = [];
  if (type !== "ClusterIP") faults.push(`${at}: is of type ${type}; set ClusterIP in the values`);
  const behind = run.find((one) => one.name === workload);
  if (behind !== undefined && !isSelected(behind.labels, selector)) {
    faults.push(`${at}.workload: ${workload} is declared, but its pods lack the labels ${JSON.stringify(selector)}`);
  }
  const found = ports.find((one) => one.port === port);
  if (found === undefined) {
    faults.push(`${at}.port: ${port} is declared, the chart has ${listed(ports.map((one) => String(one.port)))}`);
  } else if (behind?.template !== undefined) {
    const target = numberOf(found.targetPort ?? port, behind.template.spec);
    if (target !== podPort) faults.push(`${at}.podPort: ${podPort} is declared, the chart leads to ${String(target)}`);
  }
  return faults;
}

/** The number of a pod's port; its name if no container has such a port. */
function numberOf(target: number | string, spec: V1PodSpec | undefined): number | string {
  const { containers = [], initContainers = [] } = spec ?? {};
  const ports = [...containers, ...initContainers].flatMap((container) => container.ports ?? []);
  return ports.find(({ name }) => name === target)?.containerPort ?? target;
}

function crdFaults({ declares }: DeclaredRelease, objects: readonly Manifest[]): string[] {
  const made = objects.filter(({ kind }) => kind === "CustomResourceDefinition");
  const names = made.map(({ metadata }) => metadata.name);
  return [
    ...names
      .filter((name) => !declares.crds.includes(name))
      .map((name) => `declares.crds: lacks ${name}, which the chart installs`),
    ...declares.crds.filter((name) => !names.includes(name)).map((name) => `declares.crds: ${name} is not installed`),
    // Deleting the CRD would delete all its objects.
    ...made
      .filter(({ metadata }) => metadata.annotations?.["helm.sh/resource-policy"] !== "keep")
      .map(({ metadata: { name } }) => `CRD ${name}: is deleted with its release; set the values to keep it`),
  ];
}
