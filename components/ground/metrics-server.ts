import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, type DeclaredWorkload, type HelmValue, podsOf } from "../base/chart-release";
import { admitApiServer } from "../base/connect";
import type { ApiServer, ExternalPeer } from "../base/endpoint";
import { type ContainerSize, resources } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { charts } from "../base/versions";

/** Name of the release, its objects and its job. */
const RELEASE = "metrics-server";
const PORT = 10250;

/** Inputs of {@link MetricsServer}. */
export interface MetricsServerArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** The cluster's DNS domain. */
  readonly clusterDomain: string;
  /** Node networks, where the kubelets answer. */
  readonly nodeCidrs: readonly string[];
  /** Whether an authority that the cluster knows signed the kubelets' certificates. */
  readonly kubeletCertificates: "signed" | "self-signed";
  readonly size: ContainerSize;
  readonly metrics: Metrics;
}

/** metrics-server, which tells autoscalers and `kubectl top` what pods use. Its certificate is cert-manager's. */
export class MetricsServer extends pulumi.ComponentResource {
  /** Files with its alerts. */
  readonly alerts = [path.join(__dirname, "metrics-server.alerts.yaml")];

  constructor(name: string, args: MetricsServerArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:MetricsServer", name, {}, opts);
    const { namespace, chartDirectory, kubeApi, nodeCidrs, size, metrics } = args;
    const workload: DeclaredWorkload = {
      kind: "Deployment",
      name: RELEASE,
      labels: { "app.kubernetes.io/name": RELEASE, "app.kubernetes.io/instance": RELEASE },
      podLabels: { app: RELEASE },
      serviceAccount: RELEASE,
      replicas: 1,
      ports: { https: PORT },
      size,
    };
    const pods = podsOf(workload, namespace);
    const kubelets: ExternalPeer = {
      kind: "external",
      name: "kubelets",
      cidrs: nodeCidrs,
      port: 10250,
      why: "usage of pods and nodes",
    };
    const entry = admitApiServer(this, kubeApi, {
      kind: "pods",
      server: pods,
      ports: [{ port: PORT }],
      why: "metrics.k8s.io",
    });
    new ChartRelease(
      RELEASE,
      charts.metricsServer,
      {
        namespace,
        directory: chartDirectory,
        values: values(args, workload),
        declares: {
          workloads: [workload],
          services: [{ name: RELEASE, port: 443, podPort: PORT, workload: RELEASE }],
          crds: [],
        },
        talksTo: { [RELEASE]: [kubeApi, kubelets] },
      },
      { parent: this, dependsOn: entry },
    );
    scrape(this, { pods, port: { name: "https", number: PORT }, tls: "unverified", by: metrics });
    this.registerOutputs();
  }
}

/** The keys of the chart that we set. */
type MetricsServerValues = { readonly [key: string]: HelmValue };

function values(
  { size, clusterDomain, kubeletCertificates }: MetricsServerArgs,
  { podLabels = {} }: DeclaredWorkload,
): MetricsServerValues {
  return {
    resources: resources(size),
    priorityClassName: "critical-services",
    podLabels,
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    args: kubeletCertificates === "self-signed" ? ["--kubelet-insecure-tls"] : [],
    // The API server verifies what it asks.
    tls: { type: "cert-manager", clusterDomain },
    apiService: { insecureSkipTLSVerify: false },
    // Admits Prometheus without a token.
    metrics: { enabled: true },
  };
}
