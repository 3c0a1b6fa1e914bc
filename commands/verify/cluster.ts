import {
  AdmissionregistrationV1Api,
  ApiextensionsV1Api,
  ApiException,
  AppsV1Api,
  AuthorizationV1Api,
  BatchV1Api,
  CoreV1Api,
  DiscoveryV1Api,
  type KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  RbacAuthorizationV1Api,
  StorageV1Api,
  VersionApi,
} from "@kubernetes/client-node";

/** A lazy view of a cluster, which reads each list once. */
export type ClusterView = ReturnType<typeof lookAt>;

/** Reads a cluster. A failed read rejects where it is used. */
export function lookAt(kubeconfig: KubeConfig) {
  const client = <T extends Parameters<typeof kubeconfig.makeApiClient>[0]>(api: T) =>
    kubeconfig.makeApiClient(api) as InstanceType<T>;
  const [core, apps, batch] = [client(CoreV1Api), client(AppsV1Api), client(BatchV1Api)];
  const rbac = client(RbacAuthorizationV1Api);
  const admission = client(AdmissionregistrationV1Api);
  const objects = KubernetesObjectApi.makeApiClient(kubeconfig);
  const read = new Map<string, Promise<KubernetesObject | undefined>>();
  const list = <T>(load: () => Promise<{ readonly items: T[] }>) => once(async () => (await load()).items);
  return {
    core,
    batch,
    authorization: client(AuthorizationV1Api),
    version: once(() => client(VersionApi).getCode()),
    namespaces: list(() => core.listNamespace()),
    nodes: list(() => core.listNode()),
    pods: list(() => core.listPodForAllNamespaces()),
    services: list(() => core.listServiceForAllNamespaces()),
    endpointSlices: list(() => client(DiscoveryV1Api).listEndpointSliceForAllNamespaces()),
    claims: list(() => core.listPersistentVolumeClaimForAllNamespaces()),
    volumes: list(() => core.listPersistentVolume()),
    quotas: list(() => core.listResourceQuotaForAllNamespaces()),
    deployments: list(() => apps.listDeploymentForAllNamespaces()),
    statefulSets: list(() => apps.listStatefulSetForAllNamespaces()),
    daemonSets: list(() => apps.listDaemonSetForAllNamespaces()),
    jobs: list(() => batch.listJobForAllNamespaces()),
    cronJobs: list(() => batch.listCronJobForAllNamespaces()),
    roles: list(() => rbac.listRoleForAllNamespaces()),
    clusterRoles: list(() => rbac.listClusterRole()),
    roleBindings: list(() => rbac.listRoleBindingForAllNamespaces()),
    clusterRoleBindings: list(() => rbac.listClusterRoleBinding()),
    storageClasses: list(() => client(StorageV1Api).listStorageClass()),
    crds: list(() => client(ApiextensionsV1Api).listCustomResourceDefinition()),
    validatingWebhooks: list(() => admission.listValidatingWebhookConfiguration()),
    mutatingWebhooks: list(() => admission.listMutatingWebhookConfiguration()),
    read: (header: ObjectHeader) => {
      const { apiVersion, kind, namespace = "", name } = header;
      const key = [apiVersion, kind, namespace, name].join("|");
      const reading = read.get(key) ?? readObject(objects, header);
      read.set(key, reading);
      return reading;
    },
  };
}

/** How the provider's field managers begin. */
export const FIELD_MANAGER = "pulumi-kubernetes";

/** What identifies an object. */
export interface ObjectHeader {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/** An object as it is; undefined where it does not exist, or its kind, before its CRD is there. */
export async function readObject(
  api: KubernetesObjectApi,
  header: ObjectHeader,
): Promise<KubernetesObject | undefined> {
  const { apiVersion, kind, namespace, name } = header;
  try {
    return await api.read({ apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) } });
  } catch (error) {
    if (error instanceof ApiException && error.code === 404) return undefined;
    if (error instanceof Error && error.message.includes("Unrecognized API version and kind")) return undefined;
    throw error;
  }
}

function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined;
  return () => (loaded ??= load());
}

/** `namespace/name`, or just the name of a cluster-scoped object. */
export function nameOf({ metadata }: KubernetesObject): string {
  const { namespace, name = "" } = metadata ?? {};
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The phases of pods that run no more. */
export const ENDED: ReadonlySet<string> = new Set(["Succeeded", "Failed"]);
