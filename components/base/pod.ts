import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";
import type { MountedFiles } from "./files";
import type { EnvSecret } from "./secret";

type Container = k8s.types.input.core.v1.Container;

/** The request and limit of one resource. */
export interface RequestLimit {
  readonly request: number;
  readonly limit: number;
}

/** The size of one container: CPU in cores, memory in MiB. */
export interface ContainerSize {
  readonly cpu: RequestLimit;
  readonly memoryMiB: RequestLimit;
  /** Scratch volumes of a chart's pod, in MiB; {@link podTemplate} adds up its own. @default unknown, and not limited */
  readonly scratchMiB?: number;
}

/**
 * A size in Kubernetes' format as Kubernetes itself writes it: `1Gi`, not `1024Mi`. An operator that writes a custom resource of
 * ours again (CloudNativePG does) writes it so, and another form would be drift for ever.
 */
export function mebibytes(size: number): string {
  const units = ["Mi", "Gi", "Ti"];
  let [amount, unit] = [size, 0];
  while (amount % 1024 === 0 && unit + 1 < units.length) [amount, unit] = [amount / 1024, unit + 1];
  return `${amount}${units[unit]}`;
}

/** A size in Kubernetes' format, for containers and charts. */
export function resources({ cpu, memoryMiB, scratchMiB }: ContainerSize): ResourceQuantities {
  const quantities = {
    requests: { cpu: cores(cpu.request), memory: mebibytes(memoryMiB.request) },
    limits: { cpu: cores(cpu.limit), memory: mebibytes(memoryMiB.limit) },
  };
  return scratchMiB === undefined ? quantities : withScratch(quantities, scratchMiB);
}

// The kubelet rotates a container's log at 10 MiB and keeps five files; a sixth is being written while it does so.
const LOGS_MIB = 64;

/** The quantities with the node's disk that a container's log and its scratch volumes take. */
function withScratch({ requests, limits }: ResourceQuantities, scratchMiB: number): ResourceQuantities {
  const disk = { "ephemeral-storage": mebibytes(LOGS_MIB + scratchMiB) };
  return { requests: { ...requests, ...disk }, limits: { ...limits, ...disk } };
}

/** Requests and limits as Kubernetes quantities. */
export type ResourceQuantities = {
  readonly requests: { readonly cpu: string; readonly memory: string };
  readonly limits: { readonly cpu: string; readonly memory: string };
};

/** The total size of several containers, which is their pod's. */
export function total(...sizes: readonly ContainerSize[]): ContainerSize {
  const sum = (part: (size: ContainerSize) => number): number => sizes.reduce((all, size) => all + part(size), 0);
  return {
    cpu: { request: sum(({ cpu }) => cpu.request), limit: sum(({ cpu }) => cpu.limit) },
    memoryMiB: { request: sum(({ memoryMiB }) => memoryMiB.request), limit: sum(({ memoryMiB }) => memoryMiB.limit) },
  };
}

function cores(count: number): string {
  return Number.isInteger(count) ? `${count}` : `${Math.round(count * 1000)}m`;
}

/** What Ray reserves for an actor or a job: logical CPUs and GPUs, and memory. */
export interface RayResources {
  readonly cpu: number;
  readonly gpus?: number | undefined;
  readonly memoryMiB?: number | undefined;
  /** Labels of Ray's nodes where it runs. @default any */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** What Pod Security demands of the pods of a namespace. */
export type PodSecurityLevel = "restricted" | "baseline" | "privileged";

export type PriorityClassName = "critical-services" | "standard-services" | "low-priority-batch";

/** The check for start and readiness. */
export type Probe = (HttpCheck | GrpcCheck | CommandCheck) & {
  /** How long the start may take, in seconds. @default 120 */
  readonly startupSeconds?: number;
  /** What liveness asks, where readiness asks for something that a restart does not bring back. @default the same */
  readonly liveness?: HttpCheck | TcpCheck;
  /** How long liveness may fail before the container is restarted, in seconds. @default 60 */
  readonly livenessSeconds?: number;
};

interface HttpCheck {
  readonly kind: "http";
  readonly path: string;
  /** Name of the container's port. */
  readonly port: string;
  /** The kubelet does not verify certificates. @default "HTTP" */
  readonly scheme?: "HTTPS";
}

/** Whether connections are accepted. */
interface TcpCheck {
  readonly kind: "tcp";
  /** Name of the container's port. */
  readonly port: string;
}

/** Uses gRPC's standard health service. */
interface GrpcCheck {
  readonly kind: "grpc";
  readonly port: number;
}

/** Runs a command in the container. */
interface CommandCheck {
  readonly kind: "command";
  readonly command: readonly string[];
}

export interface ContainerArgs {
  readonly image: string;
  readonly size: ContainerSize;
  readonly command?: readonly pulumi.Input<string>[];
  readonly args?: readonly pulumi.Input<string>[];
  readonly ports?: Readonly<Record<string, number>>;
  readonly env?: Readonly<Record<string, pulumi.Input<string>>>;
  readonly secretEnv?: readonly EnvSecret[];
  readonly probe?: Probe;
  /** Mounted volumes: path to volume name. */
  readonly mounts?: Readonly<Record<string, string>>;
  /** Mounted volumes that it may not write to. */
  readonly readOnlyMounts?: Readonly<Record<string, string>>;
}

/** A container with a size. */
export type SizedContainer = Omit<Container, "resources"> & { readonly resources: ResourceQuantities };

/** A container for Pod Security `restricted`, with a read-only root file system. */
export function container(name: string, args: ContainerArgs): SizedContainer {
  const { image, size, command, ports = {}, env = {}, secretEnv = [], probe, mounts = {}, readOnlyMounts = {} } = args;
  return {
    name,
    image,
    ...(command && { command: [...command] }),
    ...(args.args && { args: [...args.args] }),
    ports: Object.entries(ports).map(([portName, containerPort]) => ({ name: portName, containerPort })),
    env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
    envFrom: secretEnv.map((secret) => ({ secretRef: { name: secret.name } })),
    resources: resources(size),
    ...(probe && probes(probe)),
    volumeMounts: [
      ...Object.entries(mounts).map(([mountPath, volume]) => ({ name: volume, mountPath })),
      ...Object.entries(readOnlyMounts).map(([mountPath, volume]) => ({ name: volume, mountPath, readOnly: true })),
    ],
    securityContext: RESTRICTED,
  };
}

/** The security context for Pod Security `restricted` with a read-only root file system, for containers that charts or operators make. */
export const RESTRICTED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

export interface PodArgs {
  readonly containers: readonly SizedContainer[];
  readonly initContainers?: readonly SizedContainer[];
  /** User and group of every process; the image must not need root. */
  readonly uid: number;
  readonly priorityClass: PriorityClassName;
  /** Secrets that roll the pods when they change. */
  readonly secretEnv?: readonly EnvSecret[];
  /** Memory-backed or disk scratch space: volume name to its limit in MiB. */
  readonly scratch?: Readonly<Record<string, { readonly sizeMiB: number; readonly medium?: "Memory" }>>;
  /** Volume name to its files; the pods roll when these change. */
  readonly files?: Readonly<Record<string, MountedFiles>>;
  readonly terminationGracePeriodSeconds?: number;
  /** For the pods of a Job: `Never` keeps the log of a failed pod. */
  readonly restartPolicy?: "OnFailure" | "Never";
  /** Volumes besides the scratch space and the claims of a StatefulSet. */
  readonly volumes?: readonly k8s.types.input.core.v1.Volume[];
  /** Node selector. */
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** Tolerated taints. */
  readonly tolerations?: readonly k8s.types.input.core.v1.Toleration[];
}

/** The pod template of a workload: spread over nodes, and without a service account token. */
export function podTemplate(identity: PodIdentity, args: PodArgs): k8s.types.input.core.v1.PodTemplateSpec {
  const { containers, initContainers = [], uid, priorityClass, secretEnv = [], scratch = {}, files = {} } = args;
  const checksums = [...secretEnv, ...Object.values(files)].map(
    (one) => [`checksum.254carbon.com/${one.name}`, one.checksum] as const,
  );
  return {
    metadata: {
      labels: { ...identity.matchLabels },
      ...(checksums.length > 0 && { annotations: Object.fromEntries(checksums) }),
    },
    spec: {
      serviceAccountName: identity.serviceAccount,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      priorityClassName: priorityClass,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: uid,
        runAsGroup: uid,
        fsGroup: uid,
        // Else the kubelet would change the owner of every file of a volume at each start.
        fsGroupChangePolicy: "OnRootMismatch",
        seccompProfile: { type: "RuntimeDefault" },
      },
      // Preferred, never required: with two nodes a required spread would block the replacement of pods from a lost node.
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: "kubernetes.io/hostname",
          whenUnsatisfiable: "ScheduleAnyway",
          labelSelector: { matchLabels: { ...identity.matchLabels } },
        },
      ],
      ...(args.terminationGracePeriodSeconds !== undefined && {
        terminationGracePeriodSeconds: args.terminationGracePeriodSeconds,
      }),
      ...(args.restartPolicy && { restartPolicy: args.restartPolicy }),
      ...(args.nodeSelector && { nodeSelector: { ...args.nodeSelector } }),
      ...(args.tolerations && { tolerations: [...args.tolerations] }),
      initContainers: initContainers.map((one) => ({ ...one, resources: withScratch(one.resources, 0) })),
      // The kubelet compares the use of all volumes with the sum of the limits.
      containers: containers.map((one, index) => ({
        ...one,
        resources: withScratch(one.resources, index === 0 ? onDisk(scratch) : 0),
      })),
      volumes: [
        ...Object.entries(scratch).map(([name, { sizeMiB, medium }]) => ({
          name,
          emptyDir: { sizeLimit: `${sizeMiB}Mi`, ...(medium && { medium }) },
        })),
        ...(args.volumes ?? []),
        ...Object.entries(files).map(([name, { volume }]) => ({ name, ...volume })),
      ],
    },
  };
}

/** The disk that scratch volumes may take, in MiB. */
function onDisk(scratch: NonNullable<PodArgs["scratch"]>): number {
  return Object.values(scratch).reduce((sum, { sizeMiB, medium }) => sum + (medium === undefined ? sizeMiB : 0), 0);
}

/** A ServiceAccount without a token, for pods that do not use the API server. */
export function serviceAccount(
  { serviceAccount: name, namespace }: Pick<PodIdentity, "serviceAccount" | "namespace">,
  opts: pulumi.CustomResourceOptions,
): k8s.core.v1.ServiceAccount {
  return new k8s.core.v1.ServiceAccount(
    name,
    { metadata: { name, namespace }, automountServiceAccountToken: false },
    opts,
  );
}

/** Where clients of the API server look for {@link apiToken}. */
export const API_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";

/** A volume with the token of the pod's account, for the containers that ask the API server, and no others. */
export function apiToken(name: string): k8s.types.input.core.v1.Volume {
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      ],
    },
  };
}

const PROBE_PERIOD_SECONDS = 10;

function probes({
  startupSeconds = 120,
  liveness,
  livenessSeconds = 60,
  ...probe
}: Probe): Pick<Container, "startupProbe" | "readinessProbe" | "livenessProbe"> {
  const period = { periodSeconds: PROBE_PERIOD_SECONDS, timeoutSeconds: 5 };
  const check = { ...probeHandler(probe), ...period };
  return {
    startupProbe: { ...check, failureThreshold: Math.ceil(startupSeconds / PROBE_PERIOD_SECONDS) },
    readinessProbe: { ...check, failureThreshold: 2 },
    livenessProbe: {
      ...(liveness ? { ...probeHandler(liveness), ...period } : check),
      failureThreshold: Math.ceil(livenessSeconds / PROBE_PERIOD_SECONDS),
    },
  };
}

function probeHandler(probe: HttpCheck | TcpCheck | GrpcCheck | CommandCheck): k8s.types.input.core.v1.Probe {
  switch (probe.kind) {
    case "http":
      return { httpGet: { path: probe.path, port: probe.port, ...(probe.scheme && { scheme: probe.scheme }) } };
    case "tcp":
      return { tcpSocket: { port: probe.port } };
    case "grpc":
      return { grpc: { port: probe.port } };
    case "command":
      return { exec: { command: [...probe.command] } };
  }
}
