import type { ChartDeclaration, DeclaredWorkload, HelmValue } from "../../base/chart-release";
import type { S3Store, Trust } from "../../base/endpoint";
import { type ContainerSize, resources, RESTRICTED } from "../../base/pod";
import { S3_AND_PUBLIC_CAS, S3_CA, s3Trust } from "../../base/s3-client";

/** Port of the coordinator and the workers. */
export const HTTP_PORT = 8080;
export const COORDINATOR = "trino-coordinator";
const WORKER = "trino-worker";

// The user of Trino's image.
const TRINO_UID = 1000;
// How long a terminating worker still accepts work: longer than the interval at which the coordinator polls its state.
const SHUTDOWN_GRACE_SECONDS = 15;
// How long a running task may still take after that.
const WORKER_STOP_SECONDS = 300;
const GIB = 1024;

/** The chart's default catalogs, which values cannot remove through Pulumi. */
export const CHART_CATALOGS = ["tpcds", "tpch"];

/** The size of the pods. */
export interface Topology {
  readonly coordinator: ContainerSize;
  /** With 0 replicas the coordinator runs the queries itself. */
  readonly workers: ContainerSize & { readonly replicas: number };
}

/** Inputs of the values. */
export interface ValuesArgs extends Topology {
  readonly serviceAccount: string;
  /** Catalogs as properties files, by name. */
  readonly catalogs: Readonly<Record<string, HelmValue>>;
  /** Secret with the variables that properties refer to. */
  readonly env: string;
  /** The object store that it uses. @default none */
  readonly objectStore?: S3Store;
  /** Checksums that roll the pods when a Secret changes. */
  readonly annotations: Readonly<Record<string, HelmValue>>;
  /** Volumes besides the scratch space: path to volume. */
  readonly volumes: Readonly<Record<string, { readonly name: string; readonly [source: string]: HelmValue }>>;
}

/** The division of a pod's memory, in MiB. */
export interface Memory {
  readonly heap: number;
  /** Heap reserved for untracked allocations. */
  readonly headroom: number;
  /** Heap that one query may use. */
  readonly query: number;
}

/**
 * The heap is three quarters of the pod's limit, but leaves at least 1 GiB, half of which is the code cache. Trino does not
 * start if headroom and a query's memory together exceed the heap.
 */
export function memory({ memoryMiB: { limit } }: ContainerSize): Memory {
  const heap = Math.floor(Math.min(limit * 0.75, limit - GIB));
  return { heap, headroom: Math.floor(heap * 0.3), query: Math.floor(heap * 0.5) };
}

/** The values of the chart. */
export function values(args: ValuesArgs): { readonly [key: string]: HelmValue } {
  const { coordinator, workers, catalogs, env, serviceAccount, objectStore } = args;
  // A query's total memory is the sum over all working nodes.
  const alone = workers.replicas === 0;
  const nodes = alone ? { ...coordinator, replicas: 1 } : workers;
  return {
    // The Service name that clients use; the chart would name it after the release.
    fullnameOverride: COORDINATOR,
    coordinatorNameOverride: COORDINATOR,
    workerNameOverride: WORKER,
    serviceAccount: { create: false, name: serviceAccount },
    securityContext: {
      runAsNonRoot: true,
      runAsUser: TRINO_UID,
      runAsGroup: TRINO_UID,
      fsGroup: TRINO_UID,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    containerSecurityContext: RESTRICTED,
    ...(objectStore && s3Trust(objectStore) && { initContainers: initContainers() }),
    envFrom: [{ secretRef: { name: env } }],
    additionalCatalogs: catalogs,
    additionalConfigProperties: [
      "internal-communication.shared-secret=${ENV:TRINO_SHARED_SECRET}",
      // Else it answers 406 to what a gateway passes on with X-Forwarded headers.
      "http-server.process-forwarded=true",
      `catalog.disabled-catalogs=${CHART_CATALOGS.filter((name) => !(name in catalogs)).join(",")}`,
      // Prometheus sends no user name: anybody who reaches the port may read metrics. Nothing else uses this name.
      "management.user=management",
    ],
    server: {
      workers: workers.replicas,
      config: { query: { maxMemory: `${memory(nodes).query * nodes.replicas}MB` } },
      workerExtraConfig: `shutdown.grace-period=${SHUTDOWN_GRACE_SECONDS}s\n`,
    },
    coordinator: {
      ...pod("coordinator", coordinator, args),
      config: { nodeScheduler: { includeCoordinator: alone }, ...limits(coordinator) },
    },
    worker: {
      ...pod("worker", workers, args),
      config: limits(workers),
      // Draining a node must not end its queries: the worker is told to finish them and then to exit.
      terminationGracePeriodSeconds: WORKER_STOP_SECONDS,
      lifecycle: { preStop: { exec: { command: ["/bin/sh", "-c", STOP] } } },
      additionalConfigFiles: {
        "access-control.properties": "access-control.name=file\nsecurity.config-file=/etc/trino/management.json\n",
        "management.json": JSON.stringify({
          system_information: [{ user: "management", allow: ["read", "write"] }],
        }),
      },
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: "kubernetes.io/hostname",
          whenUnsatisfiable: "ScheduleAnyway",
          labelSelector: { matchLabels: labels("worker") },
        },
      ],
    },
  };
}

const STOP = `curl --fail --silent --show-error --request PUT --header 'Content-Type: application/json' \\
  --data '"SHUTTING_DOWN"' http://localhost:${HTTP_PORT}/v1/info/state && tail --pid=1 --follow /dev/null`;

/** The size of a pod with its scratch volumes: a data directory for the dump of an exhausted heap, /tmp, and a trust store. */
function podSize(size: ContainerSize): ContainerSize {
  return { ...size, scratchMiB: memory(size).heap + 2 * GIB + S3_AND_PUBLIC_CAS.volume.sizeMiB };
}

function limits(size: ContainerSize): { readonly [key: string]: HelmValue } {
  const { headroom, query } = memory(size);
  return { memory: { heapHeadroomPerNode: `${headroom}MB` }, query: { maxMemoryPerNode: `${query}MB` } };
}

function pod(
  component: "coordinator" | "worker",
  size: ContainerSize,
  { annotations, volumes, objectStore }: ValuesArgs,
): { readonly [key: string]: HelmValue } {
  const { heap } = memory(size);
  // The data directory keeps the dump of an exhausted heap until the pod is deleted.
  const scratch = {
    "/data/trino": { name: "data", emptyDir: { sizeLimit: `${heap + GIB}Mi` } },
    "/tmp": { name: "tmp", emptyDir: { sizeLimit: `${GIB}Mi` } },
  };
  const trust = objectStore && s3Trust(objectStore);
  const mounts = Object.entries({ ...scratch, ...(trust && trustVolumes(trust)), ...volumes });
  return {
    labels: podLabels(component),
    annotations,
    resources: resources(podSize(size)),
    priorityClassName: "standard-services",
    jvm: { maxHeapSize: `${heap}M` },
    additionalJVMConfig: trust ? S3_AND_PUBLIC_CAS.javaOptions : [],
    // Twice the start time on just the requested CPU.
    startupProbe: { periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 60 },
    additionalVolumes: mounts.map(([, volume]) => volume),
    additionalVolumeMounts: mounts.map(([mountPath, { name }]) => ({ name, mountPath })),
  };
}

/** What a pod's init container reads, and what it makes. */
function trustVolumes(trust: Trust): ValuesArgs["volumes"] {
  const { directory, volume } = S3_AND_PUBLIC_CAS;
  return {
    [directory]: { name: volume.name, emptyDir: { sizeLimit: `${volume.sizeMiB}Mi` } },
    [S3_CA.directory]: S3_CA.volume(trust),
  };
}

/** The init containers of both kinds of pods; the chart fills in its image. */
function initContainers(): HelmValue {
  const { size, command, mounts } = S3_AND_PUBLIC_CAS.container;
  const adding = {
    name: "trust",
    image: '{{ include "trino.image" . }}',
    command,
    resources: resources(size),
    volumeMounts: Object.entries(mounts).map(([mountPath, name]) => ({ name, mountPath })),
    securityContext: RESTRICTED,
  };
  return { coordinator: [adding], worker: [adding] };
}

function podLabels(component: "coordinator" | "worker") {
  return { app: "trino", component };
}

function labels(component: "coordinator" | "worker"): DeclaredWorkload["labels"] {
  return {
    "app.kubernetes.io/name": "trino",
    "app.kubernetes.io/instance": "trino",
    "app.kubernetes.io/component": component,
  };
}

/** What the chart runs with these values. */
export function declaration({ coordinator, workers }: Topology, serviceAccount: string): ChartDeclaration {
  const deployment = (
    component: "coordinator" | "worker",
    name: string,
  ): Omit<DeclaredWorkload, "replicas" | "size"> => ({
    kind: "Deployment",
    name,
    labels: labels(component),
    podLabels: podLabels(component),
    ports: { http: HTTP_PORT },
    serviceAccount,
  });
  const port = { port: HTTP_PORT, podPort: HTTP_PORT };
  const { replicas } = workers;
  return {
    workloads: [
      { ...deployment("coordinator", COORDINATOR), replicas: 1, size: podSize(coordinator) },
      ...(replicas > 0 ? [{ ...deployment("worker", WORKER), replicas, size: podSize(workers) }] : []),
    ],
    services: [
      { name: COORDINATOR, ...port, workload: COORDINATOR },
      ...(replicas > 0 ? [{ name: `${COORDINATOR}-worker`, ...port, workload: WORKER }] : []),
    ],
    serviceAccounts: "program",
    crds: [],
  };
}
