import type {
  V1CronJob,
  V1DaemonSet,
  V1Deployment,
  V1Job,
  V1PersistentVolumeClaim,
  V1Service,
  V1StatefulSet,
  V1Toleration,
  V2HorizontalPodAutoscaler,
} from "@kubernetes/client-node";
import { type ContainerSize, resources } from "../../components/base/pod";
import { customKind, isOperated } from "../operators";
import {
  type Claim,
  claim,
  type Container,
  type CustomResource,
  type Footprint,
  type PodSet,
  type PodSpec,
} from "../operators/operator";
import { type DeclaredRelease, namespaceOf, releasesOf } from "./charts";
import type { Evaluation, Registration } from "./evaluate";
import { bytes, cores } from "./quantity";

/** Amounts by the names that a ResourceQuota gives them: cores, bytes or things. */
export type Amounts = Readonly<Record<string, number>>;

/** Pods of one workload, which are all alike. */
export interface PodGroup {
  /** The outermost component that it belongs to. */
  readonly system: string;
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  /** Name of the object of that kind: an operator may run several groups for one. */
  readonly object: string;
  /** Pods at the start, and the most that an autoscaler may make of them. A DaemonSet has one for each node. */
  readonly pods: { readonly start: number; readonly most: number } | "each node";
  /** Pods that a rollout adds for a while. */
  readonly surge: number;
  /** Runs to an end and goes: a Job's. */
  readonly isTransient: boolean;
  /** What one pod takes from quota and node. */
  readonly pod: Amounts;
  /** The most that one of its containers takes. */
  readonly largestContainer: Amounts;
  /** Its PriorityClass. @default none */
  readonly priority?: string | undefined;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly V1Toleration[];
  /** Bytes of each volume that one pod claims for itself. */
  readonly volumes: readonly number[];
}

/** What objects take from the quota of their namespace, besides pods. */
export interface ObjectDemand {
  readonly system: string;
  readonly namespace: string;
  readonly amounts: Amounts;
}

/** Everything that a program asks of a cluster. */
export interface Demand {
  readonly groups: readonly PodGroup[];
  readonly objects: readonly ObjectDemand[];
  /** Custom resources of which no operator in `rehearsal/operators/` says what it runs. */
  readonly unknown: readonly string[];
}

export const GPU = "nvidia.com/gpu";

/** Adds amounts up. */
export function total(all: readonly Amounts[]): Amounts {
  const sums: Record<string, number> = {};
  for (const [key, amount] of all.flatMap((one) => Object.entries(one))) sums[key] = (sums[key] ?? 0) + amount;
  return sums;
}

/** An amount, `factor` times. */
export function times(amounts: Amounts, factor: number): Amounts {
  return Object.fromEntries(Object.entries(amounts).map(([key, amount]) => [key, amount * factor]));
}

/** Reads from an evaluation what its workloads, custom resources and charts will run. */
export function demandOf(evaluation: Evaluation): Demand {
  const objects = evaluation.registrations.filter(({ type }) => type.startsWith("kubernetes:"));
  const all = objects.map((object) => ({ kind: shortKind(object), ...object.inputs }) as unknown as CustomResource);
  const made = [...objects.flatMap((object) => ofObject(object, all)), ...releasesOf(evaluation).flatMap(ofRelease)];
  return {
    groups: made.flatMap((one) => (one.podSets ?? []).map((set) => group(one, set))),
    objects: made.map(({ system, namespace, podSets = [], services = 0, amounts = {} }) => ({
      ...{ system, namespace },
      amounts: total([{ services }, amounts, ...podSets.map(claimed)]),
    })),
    unknown: objects
      .filter((object) => isCustom(kindOf(object)) && customKind(kindOf(object)) === undefined)
      .map((object) => `${shortKind(object)} ${object.name}`)
      .sort(),
  };
}

/** What comes of an object, or of a part of a release. */
interface Made extends Footprint {
  readonly system: string;
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  /** What it takes besides pods, their claims and Services. */
  readonly amounts?: Amounts;
}

function ofObject(object: Registration, all: readonly CustomResource[]): Made[] {
  const kind = kindOf(object);
  const inputs = object.inputs as unknown as CustomResource;
  const footprint = customKind(kind)?.demand(inputs, all) ?? BUILT_IN[kind]?.(inputs as never, all);
  if (footprint === undefined) return [];
  const { name, namespace = "" } = inputs.metadata;
  return [{ system: object.path[0] ?? object.name, namespace, kind: shortKind(object), name, ...footprint }];
}

function ofRelease(made: DeclaredRelease): Made[] {
  const { release, system, namespace, declares } = made;
  const { workloads, hooks = [], services } = declares;
  const place = { system, namespace };
  return [
    ...workloads.map(({ kind, name, replicas, size, volume, nodeSelector = {}, tolerations = [], ...workload }) => ({
      ...{ system, namespace: namespaceOf(workload, made), kind, name },
      podSets: [
        {
          replicas: kind === "DaemonSet" ? ("each node" as const) : replicas,
          surge: kind === "Deployment" ? share(DEFAULT_SURGE, replicas) : 0,
          spec: { ...sized(size), nodeSelector, tolerations },
          claims: volume === undefined ? [] : [claim(`${volume.sizeGiB}Gi`)],
        },
      ],
    })),
    // After the first installation there is room for a hook: what needs the release, and comes later, is not there yet.
    ...hooks
      .filter(({ when }) => when !== "after install")
      .map(({ name, when, size, nodeSelector = {}, tolerations = [] }) => ({
        ...{ ...place, kind: when === "on demand" ? "CronJob" : "Job", name },
        podSets: [{ replicas: 1, spec: { ...sized(size), nodeSelector, tolerations } }],
      })),
    { ...place, kind: "Release", name: release, services: services.length },
  ];
}

/** `<group>/<version>/<Kind>`, with the group `core` for objects that have none. */
function kindOf({ type }: Registration): string {
  return type.replace(/^kubernetes:/, "").replace(":", "/");
}

function shortKind({ type }: Registration): string {
  return type.replace(/^.*:/, "");
}

// Groups of Kubernetes itself: none, or a name without a dot, or one that ends in .k8s.io.
function isCustom(kind: string): boolean {
  const [group = ""] = kind.split("/");
  return isOperated(kind) || (group.includes(".") && !group.endsWith(".k8s.io") && group !== "helm.sh");
}

type BuiltIn = (object: never, all: readonly CustomResource[]) => Pick<Made, "podSets" | "services" | "amounts">;

/** What comes of objects of Kubernetes itself. */
const BUILT_IN: Readonly<Record<string, BuiltIn>> = {
  "apps/v1/Deployment": deployment,
  "apps/v1/StatefulSet": ({ spec }: V1StatefulSet) => ({
    podSets: [{ replicas: spec?.replicas ?? 1, spec: spec?.template.spec, claims: spec?.volumeClaimTemplates ?? [] }],
  }),
  "apps/v1/DaemonSet": ({ spec }: V1DaemonSet) => ({
    podSets: [{ replicas: "each node", spec: spec?.template.spec }],
  }),
  "batch/v1/Job": ({ spec }: V1Job) => ({ podSets: [{ replicas: 1, spec: spec?.template.spec }] }),
  "batch/v1/CronJob": ({ spec }: V1CronJob) => ({
    podSets: [{ replicas: 1, spec: spec?.jobTemplate.spec?.template.spec }],
  }),
  "core/v1/Service": service,
  "core/v1/PersistentVolumeClaim": (one: V1PersistentVolumeClaim) => ({
    amounts: claimed({ replicas: 1, claims: [one] }),
  }),
};

function deployment({ metadata, spec }: V1Deployment, all: readonly CustomResource[]): Footprint {
  const autoscaler = (all as readonly V2HorizontalPodAutoscaler[]).find(
    (one) =>
      one.kind === "HorizontalPodAutoscaler" &&
      one.metadata?.namespace === metadata?.namespace &&
      one.spec?.scaleTargetRef.name === metadata?.name,
  )?.spec;
  const start = autoscaler?.minReplicas ?? spec?.replicas ?? 1;
  const most = autoscaler?.maxReplicas ?? start;
  const strategy = spec?.strategy;
  // Pods that take long to go, as drained Ray workers do, all still count while their successors run.
  const lingers = (spec?.template.spec?.terminationGracePeriodSeconds ?? 0) > LONG_GRACE_SECONDS;
  const rolling = lingers ? most : share(strategy?.rollingUpdate?.maxSurge ?? DEFAULT_SURGE, most);
  const surge = strategy?.type === "Recreate" ? 0 : rolling;
  return { podSets: [{ replicas: { start, most }, surge, spec: spec?.template.spec }] };
}

// Kubernetes' default is 30 s: such pods are gone before the next ones are ready.
const LONG_GRACE_SECONDS = 60;
// Kubernetes' own, rounded up; charts leave it.
const DEFAULT_SURGE = "25%";

function share(value: number | string, of: number): number {
  return typeof value === "string" ? Math.ceil((Number.parseFloat(value) / 100) * of) : value;
}

function service({ spec }: V1Service): Pick<Made, "services" | "amounts"> {
  const isBalanced = spec?.type === "LoadBalancer";
  const hasNodePorts = spec?.type === "NodePort" || (isBalanced && spec.allocateLoadBalancerNodePorts !== false);
  const amounts = {
    "services.loadbalancers": isBalanced ? 1 : 0,
    "services.nodeports": hasNodePorts ? (spec.ports?.length ?? 0) : 0,
  };
  return { services: 1, amounts };
}

function group({ system, namespace, kind, name: object }: Made, set: PodSet): PodGroup {
  const { name = object, surge = 0, spec, claims = [] } = set;
  return {
    ...{ system, namespace, kind, name, object, surge },
    pods: scale(set),
    isTransient: kind === "Job" || kind === "CronJob",
    ...amountsOf(spec),
    priority: spec?.priorityClassName,
    nodeSelector: spec?.nodeSelector ?? {},
    tolerations: spec?.tolerations ?? [],
    volumes: claims.map(sizeOf),
  };
}

function scale({ replicas }: PodSet): PodGroup["pods"] {
  return typeof replicas === "number" ? { start: replicas, most: replicas } : replicas;
}

/** What the volumes of all pods take; a pod that runs on each node has none. */
function claimed(set: PodSet): Amounts {
  const [pods, claims] = [scale(set), set.claims ?? []];
  const storage = claims.reduce((sum, one) => sum + sizeOf(one), 0);
  const each = { persistentvolumeclaims: claims.length, "requests.storage": storage };
  return times(each, pods === "each node" ? 0 : pods.start);
}

function sizeOf({ spec }: Claim): number {
  return bytes(spec?.resources?.requests?.["storage"] ?? "0");
}

function sized(size: ContainerSize): PodSpec {
  return { containers: [{ resources: resources(size) }] };
}

/** What one pod takes: the sum of its containers, or the largest of those that run before them, if that is more. */
export function amountsOf(spec: PodSpec | undefined): Pick<PodGroup, "pod" | "largestContainer"> {
  const { containers = [], initContainers = [] } = spec ?? {};
  const isSidecar = ({ restartPolicy }: Container): boolean => restartPolicy === "Always";
  const running = [...containers, ...initContainers.filter(isSidecar)].map(containerAmounts);
  const before = initContainers.filter((one) => !isSidecar(one)).map(containerAmounts);
  return {
    pod: { ...largest([total(running), ...before]), pods: 1 },
    largestContainer: largest([...running, ...before]),
  };
}

function largest(all: readonly Amounts[]): Amounts {
  const keys = [...new Set(all.flatMap((amounts) => Object.keys(amounts)))];
  return Object.fromEntries(keys.map((key) => [key, Math.max(...all.map((amounts) => amounts[key] ?? 0))]));
}

function containerAmounts({ resources: own }: Container): Amounts {
  const { requests = {}, limits = {} } = own ?? {};
  return {
    "requests.cpu": cores(requests["cpu"] ?? limits["cpu"] ?? "0"),
    "limits.cpu": cores(limits["cpu"] ?? "0"),
    "requests.memory": bytes(requests["memory"] ?? limits["memory"] ?? "0"),
    "limits.memory": bytes(limits["memory"] ?? "0"),
    "requests.ephemeral-storage": bytes(requests["ephemeral-storage"] ?? limits["ephemeral-storage"] ?? "0"),
    [`requests.${GPU}`]: cores(limits[GPU] ?? "0"),
  };
}
