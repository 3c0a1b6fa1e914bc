import type * as pulumi from "@pulumi/pulumi";
import { ChartCrds, ChartRelease, type DeclaredWorkload, type HelmValue } from "../../base/chart-release";
import type { Destination } from "../../base/connect";
import type { ApiServer, PodPorts } from "../../base/endpoint";
import { type ContainerSize, type ResourceQuantities, resources } from "../../base/pod";
import { type Metrics, scrape } from "../../base/scrape";
import { charts } from "../../base/versions";

// The chart uses this name for its Deployment, Service and account, whatever the release's name.
const CONTROLLER = "envoy-gateway";
// The chart's name follows the release's.
const CERTGEN = `${CONTROLLER}-gateway-helm-certgen`;
const XDS_PORT = 18000;
const METRICS_PORT = { name: "metrics", number: 19001 };

/** Inputs of {@link controller}. */
export interface ControllerArgs {
  /** Namespace of the controller and of the proxies that it makes; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** The only namespaces whose routes, policies and Services it reads. */
  readonly watched: readonly pulumi.Input<string>[];
  readonly chartDirectory: string;
  readonly clusterDomain: string;
  readonly size: ContainerSize;
  readonly kubeApi: ApiServer;
  /** Whom it asks besides the API server. */
  readonly talksTo: readonly Destination[];
  readonly metrics: Metrics;
}

/** Installs Envoy Gateway; returns what its custom resources depend on, and where its proxies fetch their configuration. */
export function controller(
  parent: pulumi.Resource,
  { namespace, watched, chartDirectory, clusterDomain, size, kubeApi, talksTo, metrics }: ControllerArgs,
): { readonly ready: pulumi.Resource[]; readonly xds: PodPorts } {
  const crds = new ChartCrds(CONTROLLER, charts.envoyGateway, chartDirectory, { parent });
  const workload: DeclaredWorkload = {
    kind: "Deployment",
    name: CONTROLLER,
    labels: {
      "control-plane": CONTROLLER,
      "app.kubernetes.io/name": "gateway-helm",
      "app.kubernetes.io/instance": CONTROLLER,
    },
    serviceAccount: CONTROLLER,
    ports: { [METRICS_PORT.name]: METRICS_PORT.number },
    replicas: 1,
    size,
  };
  const release = new ChartRelease(
    CONTROLLER,
    charts.envoyGateway,
    {
      namespace,
      directory: chartDirectory,
      values: values(size, watched, clusterDomain),
      declares: {
        workloads: [workload],
        services: [{ name: CONTROLLER, port: XDS_PORT, podPort: XDS_PORT, workload: CONTROLLER }],
        hooks: [{ name: CERTGEN, when: "before", serviceAccount: CERTGEN, size, secrets: [CONTROLLER] }],
        crds: [],
      },
      // The hook makes the certificates with which proxies and controller know each other.
      talksTo: { [CONTROLLER]: [kubeApi, ...talksTo], [CERTGEN]: [kubeApi] },
    },
    { parent, dependsOn: crds },
  );
  scrape(parent, { pods: release.identity(CONTROLLER), port: METRICS_PORT, job: CONTROLLER, by: metrics });
  return {
    ready: [crds, release],
    xds: {
      kind: "pods",
      server: release.identity(CONTROLLER),
      ports: [{ port: XDS_PORT }],
      why: "configuration",
    },
  };
}

const POD = { securityContext: { fsGroupChangePolicy: "OnRootMismatch" } };

/** The keys of the chart that we set. */
type ControllerValues = {
  readonly crds: { readonly enabled: false };
  readonly topologyInjector: { readonly enabled: false };
  readonly kubernetesClusterDomain: string;
  readonly deployment: {
    readonly priorityClassName: string;
    readonly pod: typeof POD;
    readonly envoyGateway: { readonly resources: ResourceQuantities };
  };
  readonly certgen: { readonly job: { readonly pod: typeof POD; readonly resources: ResourceQuantities } };
  readonly config: { readonly envoyGateway: HelmValue };
};

function values(
  size: ContainerSize,
  watched: readonly pulumi.Input<string>[],
  clusterDomain: string,
): ControllerValues {
  return {
    crds: { enabled: false },
    // It tells proxies the zones of their nodes, of which we have none, by a webhook on the binding of pods.
    topologyInjector: { enabled: false },
    kubernetesClusterDomain: clusterDomain,
    deployment: { priorityClassName: "critical-services", pod: POD, envoyGateway: { resources: resources(size) } },
    certgen: { job: { pod: POD, resources: resources(size) } },
    config: {
      envoyGateway: {
        provider: {
          type: "Kubernetes",
          // Otherwise it may read every Secret of the cluster.
          kubernetes: { watch: { type: "Namespaces", namespaces: watched as HelmValue[] } },
        },
      },
    },
  };
}
