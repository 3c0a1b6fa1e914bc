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
import type { ChartDeclaration } from "../../components/base/chart-release";
import { resources } from "../../components/base/pod";
import { elasticsearch } from "../operators/eck/demand";
import type { Evaluation, Registration } from "./evaluate";
import { kafka, kafkaNodePool } from "../operators/strimzi/demand";
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
  /** Custom resources of which nobody said here whether their operators make pods. */
  readonly unknown: readonly string[];
}

export const GPU = "nvidia.com/gpu";

interface Container {
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
  readonly restartPolicy?: string;
}

/** What is read of a pod's specification. */
interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly V1Toleration[];
}

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
  const autoscalers = objects
    .filter(({ type }) => type === "kubernetes:autoscaling/v2:HorizontalPodAutoscaler")
    .map(({ inputs }) => inputs as unknown as V2HorizontalPodAutoscaler);
  const made = objects.flatMap((object) => MAKERS[kindOf(object)]?.(object, autoscalers, objects) ?? []);
  return {
    groups: [...made.flatMap(({ groups = [] }) => groups), ...chartGroups(evaluation)],
    objects: [...made.flatMap(({ objects: amounts = [] }) => amounts), ...chartObjects(evaluation)],
    unknown: objects
      .filter((object) => isCustom(object) && !(kindOf(object) in MAKERS))
      .map(describe)
      .sort(),
  };
}

interface Made {
  readonly groups?: readonly PodGroup[];
  readonly objects?: readonly ObjectDemand[];
}
type Maker = (
  object: Registration,
  autoscalers: readonly V2HorizontalPodAutoscaler[],
  objects: readonly Registration[],
) => Made;

const NOTHING: Maker = () => ({});

/** What comes of an object, by `<group>/<version>:<Kind>` of its type. */
const MAKERS: Readonly<Record<string, Maker>> = {
  "apps/v1:Deployment": deployment,
  "apps/v1:StatefulSet": statefulSet,
  "apps/v1:DaemonSet": daemonSet,
  "batch/v1:Job": (object) => job(object, (object.inputs as unknown as V1Job).spec?.template.spec),
  "batch/v1:CronJob": (object) =>
    job(object, (object.inputs as unknown as V1CronJob).spec?.jobTemplate.spec?.template.spec),
  "core/v1:Service": service,
  "core/v1:PersistentVolumeClaim": claim,
  "barmancloud.cnpg.io/v1:ObjectStore": NOTHING,
  "postgresql.cnpg.io/v1:Cluster": postgresCluster,
  "postgresql.cnpg.io/v1:Database": NOTHING,
  "postgresql.cnpg.io/v1:DatabaseRole": NOTHING,
  "postgresql.cnpg.io/v1:ScheduledBackup": NOTHING,
  "elasticsearch.k8s.elastic.co/v1:Elasticsearch": (object) => elasticsearch(object, { group, withClaims }),
  "ray.io/v1:RayCluster": rayCluster,
  "ray.io/v1:RayService": rayService,
  "kafka.strimzi.io/v1:Kafka": (object) => kafka(object, { group, countedIn }),
  "kafka.strimzi.io/v1:KafkaNodePool": (object) => kafkaNodePool(object, { group, withClaims }),
  "kafka.strimzi.io/v1:KafkaTopic": NOTHING,
  "kafka.strimzi.io/v1:KafkaUser": NOTHING,
  "monitoring.coreos.com/v1:PodMonitor": NOTHING,
  "monitoring.coreos.com/v1:PrometheusRule": NOTHING,
  "monitoring.coreos.com/v1:ServiceMonitor": NOTHING,
  "cert-manager.io/v1:Certificate": NOTHING,
  "cert-manager.io/v1:ClusterIssuer": NOTHING,
  "cert-manager.io/v1:Issuer": NOTHING,
  "gateway.networking.k8s.io/v1:Gateway": NOTHING,
  "gateway.networking.k8s.io/v1:GatewayClass": NOTHING,
  "gateway.networking.k8s.io/v1:HTTPRoute": NOTHING,
};

function kindOf({ type }: Registration): string {
  return type.replace(/^kubernetes:/, "");
}

// Groups of Kubernetes itself: none, or a name without a dot, or one that ends in .k8s.io.
function isCustom({ type }: Registration): boolean {
  const group = /^kubernetes:([^/]+)\//.exec(type)?.[1] ?? "";
  return (
    group.includes(".") && (!group.endsWith(".k8s.io") || group === "gateway.networking.k8s.io") && group !== "helm.sh"
  );
}

function describe(object: Registration): string {
  return `${kindOf(object).replace(/^.*:/, "")} ${object.name}`;
}

interface Metadata {
  readonly name: string;
  readonly namespace: string;
}

function metadataOf({ inputs }: Registration): Metadata {
  return inputs["metadata"] as Metadata;
}

function systemOf({ path, name }: Registration): string {
  return path[0] ?? name;
}

function group(
  object: Registration,
  spec: PodSpec | undefined,
  own: Pick<PodGroup, "pods"> & Partial<PodGroup>,
): PodGroup {
  const { name, namespace } = metadataOf(object);
  return {
    system: systemOf(object),
    namespace,
    kind: kindOf(object).replace(/^.*:/, ""),
    name,
    surge: 0,
    isTransient: false,
    ...amountsOf(spec),
    nodeSelector: spec?.nodeSelector ?? {},
    tolerations: spec?.tolerations ?? [],
    volumes: [],
    ...own,
  };
}

function deployment(object: Registration, autoscalers: readonly V2HorizontalPodAutoscaler[]): Made {
  const { spec } = object.inputs as unknown as V1Deployment;
  const { name, namespace } = metadataOf(object);
  const autoscaler = autoscalers.find(
    ({ metadata, spec: own }) => metadata?.namespace === namespace && own?.scaleTargetRef.name === name,
  )?.spec;
  const start = autoscaler?.minReplicas ?? spec?.replicas ?? 1;
  const most = autoscaler?.maxReplicas ?? start;
  const strategy = spec?.strategy;
  // Pods that take long to go, as drained Ray workers do, all still count while their successors run.
  const lingers = (spec?.template.spec?.terminationGracePeriodSeconds ?? 0) > LONG_GRACE_SECONDS;
  // Kubernetes' own default is a quarter, rounded up.
  const rolling = lingers ? most : share(strategy?.rollingUpdate?.maxSurge ?? "25%", most);
  const surge = strategy?.type === "Recreate" ? 0 : rolling;
  return { groups: [group(object, spec?.template.spec, { pods: { start, most }, surge })] };
}

// Kubernetes' default is 30 s: such pods are gone before the next ones are ready.
const LONG_GRACE_SECONDS = 60;

function share(value: number | string, of: number): number {
  return typeof value === "string" ? Math.ceil((Number.parseFloat(value) / 100) * of) : value;
}

function statefulSet(object: Registration): Made {
  const { spec } = object.inputs as unknown as V1StatefulSet;
  const start = spec?.replicas ?? 1;
  const volumes = (spec?.volumeClaimTemplates ?? []).map(sizeOf);
  const pods = { start, most: start };
  return withClaims(group(object, spec?.template.spec, { pods, volumes }), start);
}

function daemonSet(object: Registration): Made {
  const { spec } = object.inputs as unknown as V1DaemonSet;
  return { groups: [group(object, spec?.template.spec, { pods: "each node" })] };
}

function job(object: Registration, spec: PodSpec | undefined): Made {
  return { groups: [group(object, spec, { pods: { start: 1, most: 1 }, isTransient: true })] };
}

function service(object: Registration): Made {
  const { spec } = object.inputs as unknown as V1Service;
  const isBalanced = spec?.type === "LoadBalancer";
  const hasNodePorts = spec?.type === "NodePort" || (isBalanced && spec.allocateLoadBalancerNodePorts !== false);
  return countedIn(object, {
    services: 1,
    "services.loadbalancers": isBalanced ? 1 : 0,
    "services.nodeports": hasNodePorts ? (spec.ports?.length ?? 0) : 0,
  });
}

function claim(object: Registration): Made {
  const size = sizeOf(object.inputs);
  return countedIn(object, { persistentvolumeclaims: 1, "requests.storage": size });
}

function countedIn(object: Registration, amounts: Amounts): Made {
  return { objects: [{ system: systemOf(object), namespace: metadataOf(object).namespace, amounts }] };
}

function sizeOf({ spec }: V1PersistentVolumeClaim): number {
  return bytes(spec?.resources?.requests?.["storage"] ?? "0");
}

function withClaims(pods: PodGroup, count: number, services = 0): Made {
  const { system, namespace, volumes } = pods;
  const storage = volumes.reduce((sum, size) => sum + size, 0);
  const amounts = { persistentvolumeclaims: volumes.length * count, "requests.storage": storage * count, services };
  return { groups: [pods], objects: [{ system, namespace, amounts }] };
}

interface CnpgSpec {
  readonly instances: number;
  readonly resources?: Container["resources"];
  readonly storage: { readonly size: string };
  readonly walStorage?: { readonly size: string };
  readonly plugins?: readonly { readonly parameters?: { readonly barmanObjectName?: string } }[];
}

interface BarmanSpec {
  readonly instanceSidecarConfiguration?: { readonly resources?: Container["resources"] };
}

// <cluster>-rw, -ro and -r.
const CNPG_SERVICES = 3;

/**
 * The operator makes a pod and a claim for each instance; a rollout replaces them one after the other. Where it is backed up,
 * barman runs beside it, in the size that the store names.
 */
function postgresCluster(object: Registration, _: unknown, objects: readonly Registration[]): Made {
  const { instances, resources: own, storage, walStorage, plugins = [] } = object.inputs["spec"] as CnpgSpec;
  const sidecars = plugins.flatMap(({ parameters }) =>
    objects
      .filter((one) => kindOf(one) === "barmancloud.cnpg.io/v1:ObjectStore")
      .filter((one) => metadataOf(one).name === parameters?.barmanObjectName)
      .map(({ inputs }) => (inputs["spec"] as BarmanSpec).instanceSidecarConfiguration?.resources),
  );
  const containers = [own, ...sidecars].map((resources) => (resources ? { resources } : {}));
  const volumes = [storage, walStorage].flatMap((volume) => (volume === undefined ? [] : [bytes(volume.size)]));
  const pods = { start: instances, most: instances };
  return withClaims(group(object, { containers }, { pods, volumes }), instances, CNPG_SERVICES);
}

interface RayClusterSpec {
  readonly autoscalerOptions?: { readonly resources?: Container["resources"] };
  readonly headGroupSpec: { readonly template: { readonly spec: PodSpec } };
  readonly workerGroupSpecs: readonly {
    readonly groupName: string;
    readonly minReplicas: number;
    readonly maxReplicas: number;
    readonly template: { readonly spec: PodSpec };
  }[];
}

/** KubeRay makes all pods anew after a change, but only when the old ones are gone. */
function rayCluster(object: Registration): Made {
  const { namespace } = metadataOf(object);
  const objects = [{ system: systemOf(object), namespace, amounts: { services: 1 } }];
  return { groups: rayPods(object, object.inputs["spec"] as RayClusterSpec), objects };
}

/** A changed cluster stands beside the old one until it serves; each has a Service, and the RayService two. */
function rayService(object: Registration): Made {
  const { rayClusterConfig } = object.inputs["spec"] as { rayClusterConfig: RayClusterSpec };
  const groups = rayPods(object, rayClusterConfig).map((group) => ({
    ...group,
    surge: group.pods === "each node" ? 0 : group.pods.most,
  }));
  const { namespace } = metadataOf(object);
  return { groups, objects: [{ system: systemOf(object), namespace, amounts: { services: 4 } }] };
}

function rayPods(object: Registration, spec: RayClusterSpec): PodGroup[] {
  const { autoscalerOptions, headGroupSpec, workerGroupSpecs } = spec;
  const { name } = metadataOf(object);
  const head = headGroupSpec.template.spec;
  const autoscaler = autoscalerOptions?.resources;
  const containers = [...head.containers, ...(autoscaler ? [{ resources: autoscaler }] : [])];
  return [
    group(object, { ...head, containers }, { name: `${name}-head`, pods: { start: 1, most: 1 } }),
    ...workerGroupSpecs.map(({ groupName, minReplicas, maxReplicas, template }) =>
      group(object, template.spec, {
        name: `${name}-${groupName}`,
        pods: { start: minReplicas, most: maxReplicas },
      }),
    ),
  ];
}

interface Release {
  readonly component: Registration;
  readonly namespace: string;
  readonly declares: ChartDeclaration;
}

function releases({ registrations }: Evaluation): Release[] {
  return registrations
    .filter(({ type }) => type === "carbon:base:ChartRelease")
    .map((component) => {
      const release = registrations.find(
        ({ type, name }) => type === "kubernetes:helm.sh/v3:Release" && name === component.name,
      );
      return {
        component,
        namespace: release?.inputs["namespace"] as string,
        declares: component.inputs["declares"] as ChartDeclaration,
      };
    });
}

function chartGroups(evaluation: Evaluation): PodGroup[] {
  return releases(evaluation).flatMap(({ component, namespace, declares }) => [
    ...declares.workloads.map(({ kind, name, replicas, size, volume }) => ({
      system: systemOf(component),
      namespace,
      kind,
      name,
      pods: kind === "DaemonSet" ? ("each node" as const) : { start: replicas, most: replicas },
      // Charts leave Kubernetes' default of a quarter, rounded up.
      surge: kind === "Deployment" ? share("25%", replicas) : 0,
      isTransient: false,
      ...amountsOf({ containers: [{ resources: resources(size) }] }),
      nodeSelector: {},
      tolerations: [],
      volumes: volume === undefined ? [] : [volume.sizeGiB * 1024 ** 3],
    })),
    ...(declares.hooks ?? []).map(({ name, size }) => ({
      system: systemOf(component),
      namespace,
      kind: "Job",
      name,
      pods: { start: 1, most: 1 },
      surge: 0,
      isTransient: true,
      ...amountsOf({ containers: [{ resources: resources(size) }] }),
      nodeSelector: {},
      tolerations: [],
      volumes: [],
    })),
  ]);
}

function chartObjects(evaluation: Evaluation): ObjectDemand[] {
  return releases(evaluation).map(({ component, namespace, declares }) => {
    const claims = declares.workloads.flatMap(({ replicas, volume }) => (volume ? [{ replicas, ...volume }] : []));
    return {
      system: systemOf(component),
      namespace,
      amounts: {
        services: declares.services.length,
        persistentvolumeclaims: claims.reduce((sum, { replicas }) => sum + replicas, 0),
        "requests.storage": claims.reduce((sum, { replicas, sizeGiB }) => sum + replicas * sizeGiB * 1024 ** 3, 0),
      },
    };
  });
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
    [`requests.${GPU}`]: cores(limits[GPU] ?? "0"),
  };
}
