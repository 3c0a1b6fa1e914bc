import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect } from "../base/connect";
import {
  type Bucket,
  type Endpoint,
  type PodIdentity,
  type PortRange,
  s3ClientEnv,
  s3ClientSecret,
  serviceHost,
  url,
} from "../base/endpoint";
import { container, type ContainerSize, podTemplate, serviceAccount } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { images } from "../base/versions";

const HEAD_PORTS = { gcs: 6379, dashboard: 8265, client: 10001, serve: 8000, metrics: 8080 };
const WORKER_PORTS = { metrics: HEAD_PORTS.metrics };

// Ray picks these at random unless they are pinned, and a policy cannot follow that.
const NODE_PORTS = {
  "object-manager-port": 8076,
  "node-manager-port": 8077,
  "dashboard-agent-grpc-port": 8078,
  "runtime-env-agent-port": 8079,
};
const AGENT_PORT = 52365;
// One port for each Ray worker process and driver on a node.
const PROCESS_PORTS = { port: 10010, endPort: 10999 };

const RAY_UID = 1000;
// Ray's own default share of the memory for the object store.
const OBJECT_STORE_SHARE = 0.3;
// What a Ray task may still take when its pod is deleted.
const DRAIN_SECONDS = 300;

/** Inputs of {@link Ray}. */
export interface RayArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly head: ContainerSize & {
    readonly volume: { readonly storageClass: string; readonly sizeGiB: number };
  };
  /** Workers: autoscaled between `min` and `max` by CPU. */
  readonly workers: ContainerSize & { readonly min: number; readonly max: number };
  /** What every node and client must show: without it Ray runs the code of anybody who reaches it. */
  readonly token: pulumi.Output<string>;
  readonly tracking: Endpoint<"http">;
  /** Bucket of the user that tasks act as. */
  readonly artifacts: Bucket;
  readonly metrics: Metrics;
}

/** A Ray cluster without an operator: a head, and workers that join it and are drained before they go. */
export class Ray extends pulumi.ComponentResource {
  /** Dashboard and job API. */
  readonly dashboard: Endpoint<"http">;
  /** The global control store: what `ray start --address` joins. */
  readonly gcs: Endpoint<"grpc">;
  /** The Ray client: what `ray.init("ray://…")` talks to. */
  readonly client: Endpoint<"ray">;
  /** The HTTP proxy of Ray Serve, once an application is deployed. */
  readonly serve: Endpoint<"http">;
  /** Name of the Secret with the token, under the variable that clients read. */
  readonly authSecret: string;

  constructor(name: string, args: RayArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ml:Ray", name, {}, opts);
    this.authSecret = `${name}-auth`;
    const { namespace, head, workers, token, tracking, artifacts, metrics } = args;
    const pods: PodIdentity = { name, namespace, matchLabels: { app: name }, serviceAccount: name };
    const headName = `${name}-head`;
    const headPods: PodIdentity = { ...pods, name: headName, matchLabels: { app: name, component: "head" } };
    const workerPods: PodIdentity = {
      ...pods,
      name: `${name}-worker`,
      matchLabels: { app: name, component: "worker" },
    };
    const gcsAddress = pulumi.interpolate`${serviceHost(headName, namespace)}:${HEAD_PORTS.gcs}`;

    const account = serviceAccount(pods, { parent: this });
    const objectStore = envSecret(
      `${name}-object-store`,
      { namespace, data: s3ClientSecret(artifacts.store) },
      { parent: this },
    );
    const auth = envSecret(this.authSecret, { namespace, data: { RAY_AUTH_TOKEN: token } }, { parent: this });
    const secretEnv = [objectStore, auth];
    const wires = connect(this, {
      from: pods,
      talksTo: [{ server: pods, ports: clusterPorts() }, tracking, artifacts.store.destination],
    });
    const environment = {
      env: {
        HOME: "/tmp",
        RAY_USAGE_STATS_ENABLED: "0",
        RAY_AUTH_MODE: "token",
        MLFLOW_TRACKING_URI: url(tracking),
        ...s3ClientEnv(artifacts.store),
      },
      secretEnv,
      image: images.ray,
      mounts: { "/tmp": "tmp", "/dev/shm": "shm" },
    };

    const headService = service(this, headPods, headName, HEAD_PORTS, { headless: true });
    const serveService = service(this, headPods, `${name}-serve`, {
      serve: HEAD_PORTS.serve,
      dashboard: HEAD_PORTS.dashboard,
    });
    const headSet = new k8s.apps.v1.StatefulSet(
      headName,
      {
        metadata: { name: headName, namespace, labels: headPods.matchLabels },
        spec: {
          serviceName: headName,
          replicas: 1,
          selector: { matchLabels: headPods.matchLabels },
          template: podTemplate(headPods, {
            containers: [
              container(headName, {
                ...environment,
                size: head,
                ports: HEAD_PORTS,
                command: startCommand(head, {
                  head: true,
                  port: HEAD_PORTS.gcs,
                  "dashboard-host": "0.0.0.0",
                  "dashboard-port": HEAD_PORTS.dashboard,
                  "ray-client-server-port": HEAD_PORTS.client,
                  // The head stays free of tasks: a task that exhausts memory must not take the cluster along.
                  "num-cpus": 0,
                }),
                probe: { path: "/api/gcs_healthz", port: "dashboard" },
                mounts: { ...environment.mounts, "/tmp/ray": "ray-storage" },
              }),
            ],
            uid: RAY_UID,
            priorityClass: "standard-services",
            secretEnv,
            scratch: scratch(head),
          }),
          persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
          volumeClaimTemplates: [
            {
              metadata: { name: "ray-storage" },
              spec: {
                accessModes: ["ReadWriteOnce"],
                storageClassName: head.volume.storageClass,
                resources: { requests: { storage: `${head.volume.sizeGiB}Gi` } },
              },
            },
          ],
        },
      },
      {
        parent: this,
        dependsOn: [account, objectStore.resource, auth.resource, headService, ...wires, ...tracking.ready],
      },
    );

    const workerContainer = container(workerPods.name, {
      ...environment,
      size: workers,
      ports: { ...WORKER_PORTS, agent: AGENT_PORT },
      command: startCommand(workers, {
        address: gcsAddress, // Whole ones: Ray takes no other.
        "num-cpus": Math.max(1, Math.floor(workers.cpu.limit)),
      }),
      probe: { path: "/api/local_raylet_healthz", port: "agent" },
    });
    const workerSet = new k8s.apps.v1.Deployment(
      workerPods.name,
      {
        metadata: { name: workerPods.name, namespace, labels: workerPods.matchLabels },
        spec: {
          // No replicas: the autoscaler below owns them.
          selector: { matchLabels: workerPods.matchLabels },
          strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          template: podTemplate(workerPods, {
            initContainers: [
              container("wait-for-head", {
                ...environment,
                size: workers,
                command: ["bash", "-c", pulumi.interpolate`GCS=${gcsAddress}; ${WAIT_FOR_HEAD}`],
              }),
            ],
            containers: [
              {
                ...workerContainer,
                lifecycle: {
                  preStop: {
                    exec: { command: ["bash", "-c", pulumi.interpolate`export GCS=${gcsAddress}; ${DRAIN}`] },
                  },
                },
              },
            ],
            uid: RAY_UID,
            priorityClass: "low-priority-batch",
            secretEnv,
            scratch: scratch(workers),
            terminationGracePeriodSeconds: DRAIN_SECONDS + 30,
          }),
        },
      },
      { parent: this, dependsOn: [headSet, ...wires] },
    );
    autoscaler(this, workerSet, workerPods, workers);
    scrape(this, { pods, port: { name: "metrics", number: HEAD_PORTS.metrics }, by: metrics });

    const endpointOf = endpoints(headPods, [headService, serveService, headSet]);
    this.dashboard = endpointOf("http", headName, HEAD_PORTS.dashboard);
    this.gcs = endpointOf("grpc", headName, HEAD_PORTS.gcs);
    this.client = endpointOf("ray", headName, HEAD_PORTS.client);
    this.serve = endpointOf("http", `${name}-serve`, HEAD_PORTS.serve);
    this.registerOutputs();
  }
}

const WAIT_FOR_HEAD =
  "for attempt in $(seq 60); do ray health-check --address $GCS && exit; sleep 5; done; " +
  'echo "no Ray head at $GCS for five minutes" >&2; exit 1';

// Prints the ID of the node that runs in this pod.
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

function clusterPorts(): PortRange[] {
  const single = [HEAD_PORTS.gcs, HEAD_PORTS.dashboard, HEAD_PORTS.client, ...Object.values(NODE_PORTS), AGENT_PORT];
  return [...single.map((port) => ({ port })), PROCESS_PORTS];
}

type Flags = Readonly<Record<string, pulumi.Input<string | number> | true>>;

function startCommand(size: ContainerSize, own: Flags): pulumi.Input<string>[] {
  const shared: Flags = {
    block: true,
    "metrics-export-port": HEAD_PORTS.metrics,
    "dashboard-agent-listen-port": AGENT_PORT,
    ...NODE_PORTS,
    "min-worker-port": PROCESS_PORTS.port,
    "max-worker-port": PROCESS_PORTS.endPort,
    "object-store-memory": objectStoreMiB(size) * 1024 * 1024,
  };
  const flags = Object.entries({ ...own, ...shared });
  return ["ray", "start", ...flags.map(([flag, v]) => (v === true ? `--${flag}` : pulumi.interpolate`--${flag}=${v}`))];
}

function objectStoreMiB({ memoryMiB }: ContainerSize): number {
  return Math.floor(memoryMiB.limit * OBJECT_STORE_SHARE);
}

function scratch(size: ContainerSize): NonNullable<Parameters<typeof podTemplate>[1]["scratch"]> {
  // Plasma needs a little more than the objects themselves.
  return { tmp: { sizeMiB: 4096 }, shm: { sizeMiB: objectStoreMiB(size) + 64, medium: "Memory" } };
}

function service(
  parent: pulumi.Resource,
  pods: PodIdentity,
  name: string,
  ports: Readonly<Record<string, number>>,
  { headless = false } = {},
): k8s.core.v1.Service {
  return new k8s.core.v1.Service(
    name,
    {
      metadata: {
        name,
        namespace: pods.namespace,
        labels: pods.matchLabels,
        annotations: { "pulumi.com/skipAwait": "true" },
      },
      spec: {
        ...(headless && { clusterIP: "None" }),
        selector: pods.matchLabels,
        ports: Object.entries(ports).map(([portName, port]) => ({ name: portName, port, targetPort: portName })),
      },
    },
    { parent },
  );
}

/** Scales the workers by CPU: up at once, down by one in five minutes after ten quiet ones. */
function autoscaler(
  parent: pulumi.Resource,
  workers: k8s.apps.v1.Deployment,
  { name, namespace }: PodIdentity,
  { min, max }: RayArgs["workers"],
): void {
  new k8s.autoscaling.v2.HorizontalPodAutoscaler(
    name,
    {
      // Without metrics-server it keeps the minimum, and is not "able to scale": nothing must wait for that.
      metadata: { name, namespace, annotations: { "pulumi.com/skipAwait": "true" } },
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
        minReplicas: min,
        maxReplicas: max,
        metrics: [
          { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } },
        ],
        behavior: {
          scaleDown: {
            stabilizationWindowSeconds: 600,
            policies: [{ type: "Pods", value: 1, periodSeconds: 300 }],
          },
        },
      },
    },
    { parent, dependsOn: workers },
  );
}

function endpoints(server: PodIdentity, ready: readonly pulumi.Resource[]) {
  return <P extends Endpoint["protocol"]>(protocol: P, service: string, port: number): Endpoint<P> => ({
    protocol,
    host: serviceHost(service, server.namespace),
    port,
    tls: false,
    server,
    podPort: port,
    ready,
  });
}
