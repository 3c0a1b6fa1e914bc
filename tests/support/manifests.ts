import { isDeepStrictEqual } from "node:util";
import { CLIENT_LABEL } from "../../components/ground/binding";
import { customKind } from "../../rehearsal/operators";
import { all, only, type Registered } from "./mocks";

/** Labels, as selectors match them. */
export type Labels = Readonly<Record<string, string>>;

/** The rows of the wiring table, sorted: `CLIENT -> SERVER PORT,PORT`. */
export function wires(seen: readonly Registered[]): string[] {
  const rows: any[] = only(seen, "carbon:base:Wires").inputs.wires;
  return rows.map(({ from, to, ports }) => `${from.name} -> ${to.name} ${ports.join()}`).sort();
}

/** Pods that something in the program brings about. */
export interface Pods {
  readonly owner: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly serviceAccount: string;
  /** Undefined for the pods of operators and charts: their containers are not ours. */
  readonly template?: any;
  /** Container ports by name. */
  readonly ports?: Readonly<Record<string, number>>;
  readonly replicas: number;
}

const WORKLOADS = [
  "apps/v1:Deployment",
  "apps/v1:StatefulSet",
  "apps/v1:DaemonSet",
  "batch/v1:Job",
  "batch/v1:CronJob",
];

/** Kubernetes objects that the program makes. */
export function objects(seen: readonly Registered[]): Registered[] {
  return seen.filter(({ read, inputs }) => !read && inputs.kind !== undefined && inputs.metadata !== undefined);
}

/** `kind namespace/name`, for messages. */
export function label({ inputs }: Registered): string {
  return `${inputs.kind} ${inputs.metadata.namespace ?? ""}/${inputs.metadata.name}`;
}

/** Pods whose template the program writes. */
export function ourPods(
  seen: readonly Registered[],
): (Pods & { readonly template: any; readonly resource: Registered })[] {
  const workloads = WORKLOADS.flatMap((kind) => all(seen, `kubernetes:${kind}`)).map((resource) => {
    const { template, replicas = autoscaledFrom(seen, resource) ?? 1 } =
      resource.inputs.spec.jobTemplate?.spec ?? resource.inputs.spec;
    return { resource, owner: label(resource), template, labels: template.metadata.labels, replicas };
  });
  return [...workloads, ...rayPods(seen)].map((pods) => {
    const containers: any[] = pods.template.spec.containers;
    return {
      ...pods,
      namespace: pods.resource.inputs.metadata.namespace,
      serviceAccount: pods.template.spec.serviceAccountName,
      ports: Object.fromEntries(containers.flatMap((c) => c.ports ?? []).map((p) => [p.name, p.containerPort])),
    };
  });
}

function autoscaledFrom(seen: readonly Registered[], { inputs: { kind, metadata } }: Registered): number | undefined {
  return all(seen, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler").find(({ inputs }) => {
    const { scaleTargetRef } = inputs.spec;
    return (
      inputs.metadata.namespace === metadata.namespace &&
      scaleTargetRef.kind === kind &&
      scaleTargetRef.name === metadata.name
    );
  })?.inputs.spec.minReplicas;
}

/** The pods that KubeRay makes of our templates, with the labels that it adds. */
function rayPods(seen: readonly Registered[]) {
  const kinds = ["RayCluster", "RayService"].flatMap((kind) => all(seen, `kubernetes:ray.io/v1:${kind}`));
  return kinds.flatMap((resource) => {
    const { rayClusterConfig, ...own } = resource.inputs.spec;
    const { headGroupSpec, workerGroupSpecs } = rayClusterConfig ?? own;
    const added = { "ray.io/is-ray-node": "yes", ...(rayClusterConfig && { "ray.io/serve": "true" }) };
    return [headGroupSpec, ...workerGroupSpecs].map(({ template, groupName = "head" }: any) => ({
      resource,
      owner: `${label(resource)}, ${String(groupName)}`,
      template,
      labels: { ...template.metadata.labels, ...added },
      replicas: 1,
    }));
  });
}

/** All pods that there will be: ours, those of charts, and those of operators. */
export function allPods(seen: readonly Registered[]): Pods[] {
  const charts = all(seen, "carbon:base:ChartRelease").flatMap(({ name, inputs }) => {
    const release = all(seen, "kubernetes:helm.sh/v3:Release").find((one) => one.name === name);
    const { workloads, hooks = [] } = inputs.declares;
    const jobs = hooks.map((hook: any) => ({
      name: hook.name,
      serviceAccount: hook.serviceAccount,
      labels: { "batch.kubernetes.io/job-name": hook.name },
      replicas: 1,
    }));
    return [...workloads, ...jobs].map(({ name: pod, labels, podLabels, ...more }: any) => ({
      owner: `chart ${name}, ${String(pod)}`,
      namespace: more.namespace ?? release?.inputs.namespace,
      labels: { ...labels, ...podLabels },
      serviceAccount: more.serviceAccount,
      replicas: more.replicas,
      ports: more.ports,
    }));
  });
  const made = objects(seen).map((resource) => resource.inputs);
  const operated = objects(seen).flatMap((resource) => {
    const { apiVersion, kind, metadata } = resource.inputs;
    // The pods of Ray are ours: KubeRay takes our templates.
    const custom = apiVersion === "ray.io/v1" ? undefined : customKind(`${apiVersion}/${kind}`);
    return (custom?.demand(resource.inputs, made).podSets ?? []).map(({ labels = {}, ports = {}, replicas, spec }) => {
      const count = typeof replicas === "number" ? replicas : 1;
      const { serviceAccountName: serviceAccount = "default" } = spec ?? {};
      return { owner: label(resource), namespace: metadata.namespace, labels, serviceAccount, ports, replicas: count };
    });
  });
  return [...ourPods(seen), ...charts, ...operated, ...tenantPods(seen)];
}

/** The pods that members of a tenant run: those that say that they use the platform, and others. */
export function tenantPods(seen: readonly Registered[]): Pods[] {
  const wires: any[] = only(seen, "carbon:base:Wires").inputs.wires;
  return tenantNamespaces(seen).flatMap((namespace) => {
    const isClient = ({ from }: any) => from.namespace === namespace && isDeepStrictEqual(from.labels, CLIENT_LABEL);
    const { labels } = wires.find(isClient)?.from ?? { labels: {} };
    const pods = { namespace, serviceAccount: "default", replicas: 1 };
    return [
      { ...pods, owner: `clients of ${namespace}`, labels },
      { ...pods, owner: `others of ${namespace}`, labels: {} },
    ];
  });
}

/** The namespaces whose people run pods of their own. */
export function tenantNamespaces(seen: readonly Registered[]): string[] {
  const quotas = all(seen, "kubernetes:core/v1:ResourceQuota").map(({ inputs }) => inputs.metadata);
  return quotas.filter(({ name }) => name === "priorities").map(({ namespace }) => namespace);
}

/** Whom policies name although nothing in the program makes them: the cluster's DNS, and what answers for cert-manager. */
export const OBSERVERS: readonly Pods[] = [
  {
    owner: "challenges",
    namespace: "gateway",
    labels: { "acme.cert-manager.io/http01-solver": "true" },
    serviceAccount: "default",
    replicas: 1,
  },
  {
    owner: "DNS",
    namespace: "kube-system",
    labels: { "k8s-app": "kube-dns" },
    serviceAccount: "coredns",
    replicas: 1,
  },
];

/** The pods that a selector finds. */
export function selected<P extends Pods>(pods: readonly P[], namespace: string, selector: Labels): P[] {
  return pods.filter(
    (pod) => pod.namespace === namespace && Object.entries(selector).every(([key, value]) => pod.labels[key] === value),
  );
}
