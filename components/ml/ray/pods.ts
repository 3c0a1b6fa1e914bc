import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Destination } from "../../base/connect";
import type { PodIdentity, PodPorts, RedisAccess, RedisLogin } from "../../base/endpoint";
import { GPU_NODES, GPU_TOLERATIONS, withGpus } from "../../base/gpus";
import { container, type ContainerSize, type PodArgs, podTemplate, type SizedContainer } from "../../base/pod";
import { type TaintMatch, tolerationsOf } from "../../base/pod-settings";
import { REDIS_CA } from "../../base/redis-client";
import { S3_AND_PUBLIC_BUNDLE } from "../../base/s3-client";
import type { PodRange } from "../../base/scale";
import type { EnvSecret } from "../../base/secret";
import { clientVersions, images } from "../../base/versions";

/** The head's ports, by the names that Services and KubeRay use. */
export const HEAD_PORTS = { gcs: 6379, dashboard: 8265, client: 10001, serve: 8000, metrics: 8080 };
const AGENT_PORT = 52365;
const WORKER_PORTS = { metrics: HEAD_PORTS.metrics, agent: AGENT_PORT };

// By default Ray picks these at random, which policies cannot follow.
const NODE_PORTS = {
  "object-manager-port": 8076,
  "node-manager-port": 8077,
  "dashboard-agent-grpc-port": 8078,
  "runtime-env-agent-port": 8079,
};
// One port for each Ray worker process and driver on a node.
const PROCESS_PORTS = { port: 10010, endPort: 10999 };

const RAY_UID = 1000;
// Ray's own default share of the memory for the object store.
const OBJECT_STORE_SHARE = 0.3;
// The disk for objects that are spilled, as a multiple of the object store. Ray has no limit of its own but 95 % of the file
// system, which is the node's.
const SPILL_FACTOR = 2;
// Runtime environments, and the logs of a node.
export const SESSION_MIB = 2048;
const SPILL = "/tmp/spill";
// How long a task may still run when its pod is deleted.
const DRAIN_SECONDS = 300;
// As long as KubeRay's own probes wait: a busy node is not a dead one, and what runs on it ends with it.
const LIVENESS_SECONDS = 600;

/** Identical workers, autoscaled between `min` and `max`. */
export interface RayWorkers extends ContainerSize, PodRange {
  /** @default the platform's */
  readonly image?: string | undefined;
  /** @default 0 */
  readonly gpusPerWorker?: number | undefined;
  /** Labels of the nodes where they run. @default any */
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** Taints that they put up with. @default none */
  readonly tolerations?: readonly TaintMatch[];
}

/** The workers of one cluster. */
export interface WorkerGroups {
  readonly workers: RayWorkers;
  /** Workers with GPUs, and an image that has the CUDA libraries. @default none */
  readonly gpuWorkers?: RayWorkers | undefined;
  /** Further groups, by name. @default none */
  readonly workerGroups?: Readonly<Record<string, RayWorkers>> | undefined;
}

/** A group of workers, with its name. */
export interface WorkerGroup {
  readonly name: string;
  readonly workers: RayWorkers;
  /** The label `component` of its pods. */
  readonly component: string;
  /** What tasks select it by. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Every group of a cluster. */
export function groupsOf({ workers, gpuWorkers, workerGroups = {} }: WorkerGroups): WorkerGroup[] {
  return [
    { name: "workers", workers, component: "worker" },
    ...(gpuWorkers ? [{ name: "gpu-workers", workers: gpuWorkers, component: "gpu-worker" }] : []),
    ...Object.entries(workerGroups).map(([name, group]) => ({
      name,
      workers: group,
      component: `${name}-worker`,
      labels: groupLabels(name),
    })),
  ];
}

/** The label of Ray's nodes by which tasks select a group of `workerGroups`. Ray's own, `ray.io/node-group`, does not start one from zero. */
export function groupLabels(name: string): Readonly<Record<string, string>> {
  return { "worker-group": name };
}

/** The identities of one Ray cluster's pods: all of them, and the head. */
export interface RayPods {
  readonly all: PodIdentity;
  readonly head: PodIdentity;
}

/** The identities of a cluster; a head that needs rights has its own service account. */
export function rayPods(name: string, namespace: pulumi.Input<string>, headAccount = name): RayPods {
  const all: PodIdentity = {
    ...{ name, namespace, matchLabels: { app: name }, serviceAccount: name },
    ...(headAccount !== name && { otherAccounts: [headAccount] }),
  };
  return { all, head: { ...podsOf(all, "head"), serviceAccount: headAccount } };
}

/** The pods of a cluster that are its head, or one of its groups of workers. */
export function podsOf(all: PodIdentity, component: string): PodIdentity {
  return { ...all, name: `${all.name}-${component}`, matchLabels: { app: all.name, component } };
}

/** Common settings of all pods of a cluster. */
export interface RayEnvironment {
  readonly env: Readonly<Record<string, pulumi.Input<string>>>;
  readonly secretEnv: readonly EnvSecret[];
  /** Volumes of the CAs of servers, and where they are mounted. */
  readonly mounts: Readonly<Record<string, string>>;
  readonly volumes: NonNullable<PodArgs["volumes"]>;
  /** Whether it asks others over TLS besides an object store with a CA of its own. */
  readonly needsBundle: boolean;
}

/** Common inputs of both modes. */
export interface ClusterArgs {
  /** The cluster for jobs. */
  readonly pods: RayPods;
  /** The cluster that serves: the same one, or a separate one. */
  readonly servers: RayPods;
  readonly environment: RayEnvironment;
  /** Name of the Secret with the token. */
  readonly authSecret: string;
  /** The workers of the cluster for jobs. */
  readonly groups: readonly WorkerGroup[];
  /** Where the head keeps what it knows of the cluster. @default in its memory */
  readonly state?: RayState;
  /** The endpoints that tasks may reach. */
  readonly talksTo: readonly Destination[];
  /** What must exist before the first pod. */
  readonly after: readonly pulumi.Resource[];
}

/** The Redis from which a head that starts again takes up what the last one knew. */
export interface RayState extends Pick<RedisLogin, "server" | "trust"> {
  /** REDIS_USERNAME and REDIS_PASSWORD. */
  readonly login: EnvSecret;
}

/** The rights of a head in Redis. It deletes a key DUMMY when it connects, to find the leader of a cluster of servers. */
export function stateAccess(): RedisAccess {
  const commands = ["hdel", "hexists", "hget", "hmget", "hscan", "hset", "hsetnx", "incrby"];
  return { keys: ["RAY*", "DUMMY"], commands: [...commands, "ping", "info", "scan", "del", "unlink"] };
}

/** What a head keeps in Redis is its own version's: one of another starts with nothing. */
export function stateName({ name }: PodIdentity): string {
  return `${name}-${clientVersions.ray}`;
}

/** The result of a mode. */
export interface Clusters {
  /** Ready once jobs can run. */
  readonly jobs: pulumi.Resource;
  /** Ready once requests can be answered. */
  readonly serving: pulumi.Resource;
  /** Name of the head's pod for jobs. */
  readonly headPod: string;
}

/** The ports between the nodes of a cluster. */
export function clusterPorts(server: PodIdentity): PodPorts {
  const single = [HEAD_PORTS.gcs, HEAD_PORTS.dashboard, HEAD_PORTS.client, ...Object.values(NODE_PORTS), AGENT_PORT];
  const ports = [...single.map((port) => ({ port })), PROCESS_PORTS];
  return { kind: "pods", server, ports, why: "nodes among themselves" };
}

/** Flags of `ray start` for every node, without the head's address. */
export type RayFlags = Readonly<Record<string, string | number | true>>;

/** The flags of a head, which runs no tasks, since one that exhausts memory would bring down the cluster. */
export function headFlags(size: ContainerSize): RayFlags {
  return {
    port: HEAD_PORTS.gcs,
    "dashboard-host": "0.0.0.0",
    "dashboard-port": HEAD_PORTS.dashboard,
    "ray-client-server-port": HEAD_PORTS.client,
    "num-cpus": 0,
    ...sharedFlags(size),
  };
}

/** The flags of a worker. */
export function workerFlags(workers: RayWorkers): RayFlags {
  const { gpusPerWorker = 0 } = workers;
  return {
    "num-cpus": logicalCpus(workers),
    ...(gpusPerWorker > 0 && { "num-gpus": gpusPerWorker }),
    memory: logicalMemoryMiB(workers) * 1024 ** 2,
    ...sharedFlags(workers),
  };
}

/** The logical CPUs of a worker; Ray requires whole numbers. */
export function logicalCpus({ cpu }: Pick<ContainerSize, "cpu">): number {
  return Math.max(1, Math.floor(cpu.limit));
}

/** The memory that a worker offers to tasks, in MiB: what the object store leaves. */
export function logicalMemoryMiB(size: Pick<ContainerSize, "memoryMiB">): number {
  return size.memoryMiB.limit - objectStoreMiB(size);
}

function sharedFlags(size: ContainerSize): RayFlags {
  return {
    block: true,
    "metrics-export-port": HEAD_PORTS.metrics,
    "dashboard-agent-listen-port": AGENT_PORT,
    ...NODE_PORTS,
    "min-worker-port": PROCESS_PORTS.port,
    "max-worker-port": PROCESS_PORTS.endPort,
    "object-store-memory": objectStoreMiB(size) * 1024 * 1024,
    "object-spilling-directory": SPILL,
  };
}

/**
 * Removes what earlier runs of the container left, since each starts a session of its own: all that they spilled, and their logs
 * except those of the last one, which may tell why it ended.
 */
export const CLEAN = `rm -rf ${SPILL}; ls -dt /tmp/ray/session_2* 2>/dev/null | tail -n +2 | xargs -r rm -rf`;

/** Ray's settings for the rotation of logs, so that a session's take half of the space, and the last one's the other. */
function logRotation(spaceMiB: number): Readonly<Record<string, string>> {
  return {
    RAY_ROTATION_MAX_BYTES: `${Math.floor((spaceMiB * 1024 ** 2) / (2 * LOG_FILES * (1 + LOG_BACKUPS)))}`,
    RAY_ROTATION_BACKUP_COUNT: `${LOG_BACKUPS}`,
  };
}

// Of the components of a head; a worker has fewer, and a few of its tasks' processes.
const LOG_FILES = 16;
const LOG_BACKUPS = 1;

/**
 * Keeps all logs within half of the space. Ray rotates the logs of a process, but lets those of ended ones lie (ray#62961), and does
 * not rotate that of a job's driver (ray#64528). Files are emptied, since what a process writes to a deleted one would go on taking space.
 */
function keptLogs(spaceMiB: number): k8s.types.input.core.v1.LifecycleHandler {
  const logs = "/tmp/ray/session_2*/logs";
  const oldest = `find ${logs} -type f -size +0 -printf '%T@ %p\\n' | sort -n | head -n 1 | cut -d ' ' -f 2-`;
  const script = `while sleep 60; do
  while [ "$(du -cm ${logs} | tail -n 1 | cut -f 1)" -gt ${Math.floor(spaceMiB / 2)} ]; do
    file=$(${oldest}); [ -n "$file" ] || break
    : > "$file"
  done
done > /dev/null 2>&1 &`;
  return { exec: { command: ["bash", "-c", script] } };
}

function objectStoreMiB({ memoryMiB }: Pick<ContainerSize, "memoryMiB">): number {
  return Math.floor(memoryMiB.limit * OBJECT_STORE_SHARE);
}

interface NodeArgs {
  readonly environment: RayEnvironment;
  readonly command?: readonly pulumi.Input<string>[];
}

/** The differences between the modes' heads. */
export interface HeadArgs extends NodeArgs {
  readonly size: ContainerSize;
  /** Room for logs and runtime environments at /tmp/ray. */
  readonly sessionMiB: number;
  /** Mounts besides /tmp and /dev/shm: path to volume name. */
  readonly mounts?: Readonly<Record<string, string>>;
  readonly scratch?: PodArgs["scratch"];
  readonly volumes?: PodArgs["volumes"];
  readonly state?: RayState | undefined;
}

/** The pod of a head. */
export function headTemplate(head: PodIdentity, args: HeadArgs): k8s.types.input.core.v1.PodTemplateSpec {
  const { environment, size, sessionMiB, command, mounts, volumes = [], state } = args;
  return podTemplate(head, {
    initContainers: bundling(environment, images.ray),
    containers: [
      {
        ...container(head.name, {
          ...environment,
          env: {
            ...variables(environment),
            ...logRotation(sessionMiB),
            ...(state && { RAY_REDIS_CA_CERT: REDIS_CA.file }),
          },
          ...(command && { command }),
          image: images.ray,
          size,
          ports: HEAD_PORTS,
          probe: { kind: "http", path: "/api/gcs_healthz", port: "dashboard", livenessSeconds: LIVENESS_SECONDS },
          mounts: { ...mountsOf(environment), ...mounts, ...(state && REDIS_CA.mounts) },
        }),
        lifecycle: { postStart: keptLogs(sessionMiB) },
      },
    ],
    uid: RAY_UID,
    priorityClass: "standard-services",
    secretEnv: [...environment.secretEnv, ...(state ? [state.login] : [])],
    scratch: { ...scratch(environment, size), ...args.scratch },
    volumes: [...environment.volumes, ...volumes, ...(state ? [REDIS_CA.volume(state.trust)] : [])],
  });
}

/** The differences between kinds of workers. */
export interface WorkerArgs extends NodeArgs {
  readonly workers: RayWorkers;
  /** Shell expression of the control store's address. */
  readonly gcs: pulumi.Input<string>;
  /** Init container that waits for the head, if nothing else does. */
  readonly waits?: boolean;
  /** Whether it serves Ray Serve requests, and is ready only when it can. */
  readonly serves?: boolean;
}

/** The pod of a worker, which is drained before it stops. */
export function workerTemplate(worker: PodIdentity, args: WorkerArgs): k8s.types.input.core.v1.PodTemplateSpec {
  const { environment, workers, command, gcs, waits = false, serves = false } = args;
  const { image = images.ray, gpusPerWorker: gpus = 0, nodeSelector = {}, tolerations = [] } = workers;
  const env = { ...variables(environment), ...logRotation(SESSION_MIB) };
  const shared = { ...environment, env, image, size: workers, mounts: mountsOf(environment) };
  const selected = { ...(gpus > 0 && GPU_NODES), ...nodeSelector };
  const tolerated = [...(gpus > 0 ? GPU_TOLERATIONS : []), ...tolerationsOf(tolerations)];
  const main: SizedContainer = {
    ...container(worker.name, {
      ...shared,
      ...(command && { command }),
      ports: serves ? { ...WORKER_PORTS, serve: HEAD_PORTS.serve } : WORKER_PORTS,
      probe: { kind: "http", path: "/api/local_raylet_healthz", port: "agent", livenessSeconds: LIVENESS_SECONDS },
    }),
    lifecycle: {
      postStart: keptLogs(SESSION_MIB),
      preStop: { exec: { command: ["bash", "-c", pulumi.interpolate`export GCS=${gcs}; ${DRAIN}`] } },
    },
    ...(gpus > 0 && { resources: withGpus(workers, gpus) }),
    // The proxy has no replica until an application runs.
    ...(serves && { readinessProbe: { ...PROXY_PROBE, httpGet: { path: "/-/healthz", port: "serve" } } }),
  };
  return podTemplate(worker, {
    initContainers: [
      ...bundling(environment, image),
      ...(waits
        ? [
            container("wait-for-head", {
              ...shared,
              command: ["bash", "-c", pulumi.interpolate`GCS=${gcs}; ${WAIT_FOR_HEAD}`],
            }),
          ]
        : []),
    ],
    containers: [main],
    uid: RAY_UID,
    priorityClass: "low-priority-batch",
    secretEnv: environment.secretEnv,
    scratch: scratch(environment, workers),
    volumes: environment.volumes,
    terminationGracePeriodSeconds: DRAIN_SECONDS + 30,
    ...(Object.keys(selected).length > 0 && { nodeSelector: selected }),
    ...(tolerated.length > 0 && { tolerations: tolerated }),
  });
}

function variables({ env, needsBundle }: RayEnvironment): RayEnvironment["env"] {
  return { ...env, ...(needsBundle && S3_AND_PUBLIC_BUNDLE.env) };
}

function bundling({ needsBundle }: RayEnvironment, image: string): SizedContainer[] {
  return needsBundle ? [container("trust", { ...S3_AND_PUBLIC_BUNDLE.container, image })] : [];
}

function mountsOf({ mounts, needsBundle }: RayEnvironment): Readonly<Record<string, string>> {
  return { "/tmp": "tmp", "/dev/shm": "shm", ...mounts, ...(needsBundle && S3_AND_PUBLIC_BUNDLE.mounts) };
}

const PROXY_PROBE = { periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 1 };

function scratch({ needsBundle }: RayEnvironment, size: ContainerSize): NonNullable<PodArgs["scratch"]> {
  // Plasma needs slightly more than the objects.
  const store = objectStoreMiB(size);
  return {
    tmp: { sizeMiB: SPILL_FACTOR * store + SESSION_MIB },
    shm: { sizeMiB: store + 64, medium: "Memory" },
    ...(needsBundle && S3_AND_PUBLIC_BUNDLE.scratch),
  };
}

const WAIT_FOR_HEAD =
  "for attempt in $(seq 60); do ray health-check --address $GCS && exit; sleep 5; done; " +
  'echo "no Ray head at $GCS for five minutes" >&2; exit 1';

// Prints the ID of this pod's node.
const NODE_ID = `import os, socket
from ray.util.state import list_nodes
here = [("node_ip", "=", socket.gethostbyname(socket.gethostname())), ("state", "=", "ALIVE")]
print(list_nodes(address=os.environ["GCS"], filters=here)[0].node_id)`;

// A draining raylet takes no new task, finishes what it runs and exits; only then may Kubernetes stop the container. It is
// drained by its ID, which Ray picks at random. Without a head there is nothing to drain.
const DRAIN =
  `NODE=$(python -c '${NODE_ID}') || exit 0; ` +
  `ray drain-node --address $GCS --node-id $NODE --reason DRAIN_NODE_REASON_PREEMPTION ` +
  `--reason-message "the pod is being deleted" --deadline-remaining-seconds ${DRAIN_SECONDS} && ` +
  `while python -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:${AGENT_PORT}` +
  `/api/local_raylet_healthz", timeout=5)' 2>/dev/null; do sleep 2; done`;
