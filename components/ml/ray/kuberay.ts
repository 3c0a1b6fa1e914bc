import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "../../base/connect";
import { url } from "../../base/endpoint";
import {
  API_TOKEN_DIRECTORY,
  apiToken,
  type ContainerSize,
  resources,
  RESTRICTED,
  serviceAccount,
} from "../../base/pod";
import { service } from "../../base/service";
import { clientVersions } from "../../base/versions";
import { type OperatorArgs, rayOperator } from "./operator";
import {
  type ClusterArgs,
  clusterPorts,
  type Clusters,
  groupsOf,
  HEAD_PORTS,
  headFlags,
  headTemplate,
  podsOf,
  type RayEnvironment,
  type RayFlags,
  type RayPods,
  type RayState,
  type RayWorkers,
  SESSION_MIB,
  stateName,
  type WorkerGroup,
  workerFlags,
  workerTemplate,
} from "./pods";

/** Inputs of a KubeRay cluster. */
export interface KubeRay {
  readonly kind: "kuberay";
  readonly operator: OperatorArgs;
  readonly head: ContainerSize;
  /** Size of the autoscaler, a sidecar of each head. */
  readonly autoscaler: ContainerSize;
  /** The separate cluster that runs Ray Serve. @default none */
  readonly serving?: {
    readonly head: ContainerSize;
    readonly workers: RayWorkers;
    readonly workerGroups?: Readonly<Record<string, RayWorkers>>;
    /** Ray Serve's config, as YAML. */
    readonly config: pulumi.Output<string>;
  };
}

/** Makes the operator, a RayCluster for jobs and, if there are applications, a RayService. */
export function kuberayClusters(parent: pulumi.Resource, mode: KubeRay, args: ClusterArgs): Clusters {
  const { pods, servers, environment, groups, authSecret, state, after } = args;
  const { namespace } = pods.all;
  const { operator, head, autoscaler, serving } = mode;

  // It deploys the applications and checks the head's proxy.
  const asked: Destination = {
    kind: "pods",
    server: servers.head,
    ports: [{ port: HEAD_PORTS.dashboard }, { port: HEAD_PORTS.serve }],
    why: "operation",
  };
  const ready = rayOperator(parent, operator, {
    namespace,
    talksTo: serving ? [asked] : [],
    cleansUp: state !== undefined,
  });
  const clusters = serving ? [pods, servers] : [pods];
  const surroundings = clusters.flatMap((cluster) => surround(parent, cluster, mode, args));
  const dependsOn = [...ready, ...after, ...surroundings];
  const shared = { environment, authSecret, autoscaler, state };

  // In addition to the operator's `<cluster>-head-svc`.
  service(pods.head.name, pods.head, HEAD_PORTS, { parent }, { headless: true });
  const jobs = new k8s.apiextensions.CustomResource(
    pods.all.name,
    {
      apiVersion: "ray.io/v1",
      kind: "RayCluster",
      metadata: {
        name: pods.all.name,
        namespace,
        annotations: {
          "pulumi.com/waitFor": '["jsonpath={.status.state}=ready", "condition=HeadPodReady"]',
          // To the API server the list of worker groups is one field, and the autoscaler writes to it.
          "pulumi.com/patchForce": "true",
        },
      },
      spec: {
        ...clusterSpec(pods, { ...shared, head, groups, stateName: stateName(pods.all) }),
        // Otherwise a changed image, size or token would never reach a pod.
        upgradeStrategy: { type: "Recreate" },
      },
    },
    {
      parent,
      dependsOn,
      // KubeRay 1.7 takes its finalizer from no cluster whose options of the state are gone: that one could never be deleted.
      replacementTrigger: state !== undefined,
      deleteBeforeReplace: true,
    },
  );
  if (serving === undefined) return { jobs, serving: jobs, headPod: pods.head.name };
  const { name } = servers.all;
  const rayService = new k8s.apiextensions.CustomResource(
    name,
    {
      apiVersion: "ray.io/v1",
      kind: "RayService",
      metadata: {
        name,
        namespace,
        // Ready means that something answers, which is the old cluster while a new one is built.
        annotations: { "pulumi.com/waitFor": '["condition=Ready", "condition=UpgradeInProgress=False"]' },
      },
      spec: {
        serveConfigV2: serving.config,
        rayClusterConfig: clusterSpec(servers, {
          ...shared,
          head: serving.head,
          groups: groupsOf(serving),
          serves: true,
        }),
        // A new cluster is built while the old one still serves, which needs twice the resources.
        upgradeStrategy: { type: "NewCluster" },
      },
    },
    { parent, dependsOn },
  );
  return { jobs, serving: rayService, headPod: pods.head.name };
}

/** The accounts and wires of a cluster's pods. */
function surround(
  parent: pulumi.Resource,
  { all, head }: RayPods,
  { operator }: KubeRay,
  { talksTo, state }: ClusterArgs,
): pulumi.Resource[] {
  return [
    serviceAccount(all, { parent }),
    serviceAccount(head, { parent }),
    ...connect(parent, { from: all, talksTo: [clusterPorts(all), ...talksTo] }),
    // The autoscaler runs in the head's pod.
    ...connect(parent, { from: head, talksTo: [operator.kubeApi, ...(state ? [state.server] : [])] }),
  ];
}

interface ClusterSpecArgs {
  readonly environment: RayEnvironment;
  readonly authSecret: string;
  readonly head: ContainerSize;
  readonly autoscaler: ContainerSize;
  readonly groups: readonly WorkerGroup[];
  readonly state: RayState | undefined;
  /** Whose state it is. @default the custom resource's, by its UID: a RayService has two clusters while it replaces one */
  readonly stateName?: string;
  readonly serves?: boolean;
}

const LOGS = "ray-logs";
// Nothing that holds a token shares a writable path with the head's container, where drivers of jobs run. KubeRay would mount the
// head's /tmp/ray, if the autoscaler had none of its own; only the logs of the autoscaler go there, and also to its output.
const AUTOSCALER = "autoscaler";
// In the autoscaler alone.
const TOKEN = "autoscaler-token";

function clusterSpec(pods: RayPods, args: ClusterSpecArgs): object {
  const { environment, authSecret, head, autoscaler, groups, state, serves = false } = args;
  return {
    rayVersion: clientVersions.ray,
    authOptions: { mode: "token", secretName: authSecret },
    ...(state && { gcsFaultToleranceOptions: stateOptions(state, args.stateName) }),
    enableInTreeAutoscaling: true,
    autoscalerOptions: {
      version: "v2",
      idleTimeoutSeconds: 600,
      resources: resources(autoscaler),
      securityContext: RESTRICTED,
      env: [
        { name: "HOME", value: "/tmp" },
        { name: "RAY_USAGE_STATS_ENABLED", value: "0" },
        { name: "RAY_ROTATION_MAX_BYTES", value: `${32 * 1024 ** 2}` },
      ],
      volumeMounts: [
        { name: AUTOSCALER, mountPath: "/tmp" },
        { name: AUTOSCALER, mountPath: "/tmp/ray", subPath: "ray" },
        { name: TOKEN, mountPath: API_TOKEN_DIRECTORY, readOnly: true },
      ],
    },
    headGroupSpec: {
      rayStartParams: startParams(headFlags(head)),
      template: headTemplate(pods.head, {
        environment,
        size: head,
        mounts: { "/tmp/ray": LOGS },
        scratch: { [LOGS]: { sizeMiB: SESSION_MIB }, [AUTOSCALER]: { sizeMiB: 256 } },
        sessionMiB: SESSION_MIB,
        volumes: [apiToken(TOKEN)],
        state,
      }),
    },
    // Without `replicas`, which the autoscaler sets, starting with `minReplicas`.
    workerGroupSpecs: groups.map(({ name, workers, component, labels }) => ({
      groupName: name,
      minReplicas: workers.min,
      maxReplicas: workers.max,
      ...(labels && { labels }),
      rayStartParams: startParams(workerFlags(workers)),
      // KubeRay makes workers wait for their head and passes them its address.
      template: workerTemplate(podsOf(pods.all, component), { environment, serves, workers, gcs: "$RAY_ADDRESS" }),
    })),
  };
}

function stateOptions({ server, login }: RayState, name: string | undefined): object {
  const from = (key: string) => ({ valueFrom: { secretKeyRef: { name: login.name, key } } });
  return {
    redisAddress: url(server),
    redisUsername: from("REDIS_USERNAME"),
    redisPassword: from("REDIS_PASSWORD"),
    ...(name !== undefined && { externalStorageNamespace: name }),
  };
}

function startParams(flags: RayFlags): Record<string, string> {
  return Object.fromEntries(Object.entries(flags).map(([flag, value]) => [flag, String(value)]));
}
