/**
 * Fields whose change takes a new object, per kind: those of the official plugin (provider/pkg/provider/diff.go of
 * pulumi-kubernetes 4.29), which is shorter than what the API server refuses to change.
 */
import { at, textAt, type Properties } from "../../program/values";

const workload = ["spec.selector"];
const claimKinds = ["spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"];

const POD_FIELDS = [
  "affinity",
  "automountServiceAccountToken",
  "dnsConfig",
  "dnsPolicy",
  "enableServiceLinks",
  "hostAliases",
  "hostIPC",
  "hostNetwork",
  "hostPID",
  "hostname",
  "imagePullSecrets",
  "nodeName",
  "nodeSelector",
  "overhead",
  "preemptionPolicy",
  "priority",
  "priorityClassName",
  "readinessGates",
  "restartPolicy",
  "runtimeClassName",
  "schedulerName",
  "securityContext",
  "serviceAccount",
  "serviceAccountName",
  "shareProcessNamespace",
  "subdomain",
  "terminationGracePeriodSeconds",
  "volumes",
];
const CONTAINER_FIELDS = [
  "args",
  "command",
  "env",
  "image",
  "imagePullPolicy",
  "lifecycle",
  "livenessProbe",
  "ports",
  "readinessProbe",
  "resources",
  "securityContext",
  "stdin",
  "stdinOnce",
  "terminationMessagePath",
  "terminationMessagePolicy",
  "tty",
  "volumeDevices",
  "volumeMounts",
  "workingDir",
];
const VOLUME_SOURCES = [
  "awsElasticBlockStore",
  "azureDisk",
  "azureFile",
  "cephfs",
  "cinder",
  "csi",
  "fc",
  "flexVolume",
  "flocker",
  "gcePersistentDisk",
  "glusterfs",
  "hostPath",
  "iscsi",
  "local",
  "nfs",
  "photonPersistentDisk",
  "portworxVolume",
  "quobyte",
  "rbd",
  "scaleIO",
  "storageos",
  "vsphereVolume",
];

const BY_KIND: Readonly<Record<string, readonly string[]>> = {
  "apps/v1/DaemonSet": workload,
  "apps/v1/Deployment": workload,
  "apps/v1/StatefulSet": [
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.selector",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
  ],
  "batch/v1/Job": ["spec.completions", "spec.parallelism", "spec.selector", "spec.template"],
  "rbac.authorization.k8s.io/v1/ClusterRoleBinding": ["roleRef"],
  "rbac.authorization.k8s.io/v1/RoleBinding": ["roleRef"],
  "storage.k8s.io/v1/StorageClass": ["parameters", "provisioner"],
  "v1/PersistentVolume": VOLUME_SOURCES.map((source) => `spec.${source}`),
  "v1/PersistentVolumeClaim": claimKinds,
  "v1/Pod": [
    ...POD_FIELDS.map((field) => `spec.${field}`),
    ...CONTAINER_FIELDS.flatMap((field) => [`spec.containers[*].${field}`, `spec.initContainers[*].${field}`]),
  ],
  "v1/ResourceQuota": ["spec.scopes"],
  "v1/Secret": ["type"],
  "v1/Service": ["spec.clusterIP"],
};

/** Which kinds are changed in place although a Pod that has read them does not notice. */
export interface Mutability {
  readonly secrets: boolean;
  readonly configMaps: boolean;
}

/** Paths of an object that cannot be changed in place. */
export function immutableFields(object: Properties, mutable: Mutability): readonly string[] {
  const kind = `${textAt(object, "apiVersion")}/${textAt(object, "kind")}`;
  const identity = ["metadata.name", "metadata.namespace"];
  const frozen = at(object, "immutable") === true;
  if (kind === "v1/Secret" && (!mutable.secrets || frozen)) {
    return [...identity, "type", "stringData", "data"];
  }
  if (kind === "v1/ConfigMap" && (!mutable.configMaps || frozen)) {
    return [...identity, "binaryData", "data"];
  }
  return [...identity, ...(BY_KIND[kind] ?? [])];
}
