import type { V1Container, V1PodSpec, V1Probe } from "@kubernetes/client-node";
import { bytes, cores } from "./quantity";

/** A pod as a workload describes it. */
export interface PodTemplate {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: V1PodSpec;
  /** Names of the volumes that its StatefulSet claims for it. */
  readonly claims?: readonly string[];
}

const ALLOWED_VOLUMES = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
];

/** Violations of the platform's rules for its own pods. */
export function podFaults(template: PodTemplate, { longRunning }: { readonly longRunning: boolean }): string[] {
  const { spec } = template;
  return [
    ...securityFaults(spec),
    ...soundnessFaults(template),
    ...(spec.automountServiceAccountToken === false ? [] : ["mounts a token"]),
    ...(typeof spec.priorityClassName === "string" ? [] : ["has no priority"]),
    ...(longRunning ? spec.containers.flatMap(probeFaults) : []),
  ];
}

/** Violations of Pod Security `restricted` (Kubernetes 1.36). */
export function securityFaults(pod: V1PodSpec): string[] {
  const sharesHost = pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC ?? false;
  const volumes = (pod.volumes ?? []).flatMap(({ name, ...source }) => {
    const kinds = Object.keys(source);
    return kinds.every((kind) => ALLOWED_VOLUMES.includes(kind)) ? [] : [`volume ${name} is a ${kinds.join()}`];
  });
  const containers = containersOf(pod).flatMap((container) => {
    const context = container.securityContext ?? {};
    const { capabilities } = context;
    const { runAsNonRoot, runAsUser, seccompProfile } = pod.securityContext ?? {};
    const profile = context.seccompProfile ?? seccompProfile;
    return faultsOf(container, {
      "may run as root": (context.runAsNonRoot ?? runAsNonRoot) !== true || (context.runAsUser ?? runAsUser) === 0,
      "has no seccomp profile": !["RuntimeDefault", "Localhost"].includes(profile?.type ?? ""),
      "may gain privileges": context.allowPrivilegeEscalation !== false || context.privileged === true,
      "keeps capabilities": capabilities?.drop?.includes("ALL") !== true,
      "adds capabilities": capabilities?.add?.some((one) => one !== "NET_BIND_SERVICE") ?? false,
      "unmasks /proc": ![undefined, "Default"].includes(context.procMount),
      "takes a port of the host": container.ports?.some(({ hostPort }) => hostPort !== undefined) ?? false,
    });
  });
  return [...(sharesHost ? ["shares a namespace of the host"] : []), ...volumes, ...containers];
}

/** Violations of the rules for all pods: sizes, exact and read-only images, existing mounts, no host aliases. */
export function soundnessFaults({ spec, claims = [] }: PodTemplate): string[] {
  const volumes = [...(spec.volumes ?? []).map(({ name }) => name), ...claims];
  const containers = containersOf(spec).flatMap((container) => {
    const { image = "", resources, securityContext, volumeMounts = [] } = container;
    const isSized = (resource: string, amount: (quantity: string | number) => number): boolean => {
      const [request, limit] = [resources?.requests?.[resource], resources?.limits?.[resource]];
      return request !== undefined && limit !== undefined && amount(request) <= amount(limit);
    };
    return [
      ...faultsOf(container, {
        "may write to its image": securityContext?.readOnlyRootFilesystem !== true,
        "has no exact image tag": !/:[^:/@]+(@sha256:[0-9a-f]{64})?$/.test(image) || /:latest(@|$)/.test(image),
        [`runs an image of Bitnami, ${image}`]: isBitnami(image),
        "has no sound size of cpu": !isSized("cpu", cores),
        "has no sound size of memory": !isSized("memory", bytes),
      }),
      ...volumeMounts
        .filter(({ name }) => !volumes.includes(name))
        .map(({ name }) => `${container.name} mounts ${name}, which no volume is`),
    ];
  });
  const { fsGroup, fsGroupChangePolicy } = spec.securityContext ?? {};
  return [
    // Aliases precede DNS: a chart's example would hide a Service.
    ...((spec.hostAliases ?? []).length > 0 ? ["has host aliases"] : []),
    ...(fsGroup === undefined || fsGroupChangePolicy === "OnRootMismatch"
      ? []
      : ["has the owner of every file changed at each start: set fsGroupChangePolicy to OnRootMismatch"]),
    ...containers,
  ];
}

/** Whether an image is Bitnami's, whose free images are gone or frozen. */
function isBitnami(image: string): boolean {
  return /(^|\/)bitnami/.test(image);
}

function probeFaults(container: V1Container): string[] {
  const ports = container.ports ?? [];
  const isSound = (probe: V1Probe | undefined): boolean => {
    const { httpGet, tcpSocket, grpc, exec, timeoutSeconds = 0 } = probe ?? {};
    const asks =
      ports.some(({ name }) => name !== undefined && name === (httpGet ?? tcpSocket)?.port) ||
      ports.some(({ containerPort }) => containerPort === grpc?.port) ||
      (exec?.command ?? []).length > 0;
    return timeoutSeconds > 0 && asks;
  };
  const probes = ["startupProbe", "readinessProbe", "livenessProbe"] as const;
  return probes.filter((kind) => !isSound(container[kind])).map((kind) => `${container.name} has no sound ${kind}`);
}

function containersOf({ initContainers = [], containers }: V1PodSpec): V1Container[] {
  return [...initContainers, ...containers];
}

function faultsOf({ name }: V1Container, faults: Readonly<Record<string, boolean>>): string[] {
  return Object.entries(faults).flatMap(([fault, isThere]) => (isThere ? [`${name} ${fault}`] : []));
}
