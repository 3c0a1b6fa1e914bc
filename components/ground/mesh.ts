import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import {
  ChartRelease,
  type ChartReleaseArgs,
  type DeclaredWorkload,
  type HelmValue,
  podsOf,
} from "../base/chart-release";
import { admitApiServer } from "../base/connect";
import type { ApiServer, PodPorts } from "../base/endpoint";
import type { Offer } from "../base/offer";
import { type ContainerSize, resources } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { type ChartPin, charts } from "../base/versions";
import type { Mesh as Joined } from "../base/wiring";

const PORTS = { xds: 15012, webhook: 15017, metrics: 15014, ztunnelMetrics: 15020 };
const OWN_PODS = "they are the mesh";
const CNI = "istio-cni";

/** Inputs of {@link Mesh}. */
export interface MeshArgs {
  /** Namespace of every object made here, and the mesh's root namespace; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** The cluster's DNS domain, which names the mesh in identities. */
  readonly clusterDomain: string;
  readonly istiod: ContainerSize;
  readonly cni: ContainerSize;
  readonly ztunnel: ContainerSize;
}

/**
 * Istio in ambient mode: whatever pods of the mesh send each other is encrypted and carries the sender's identity, and a
 * server admits whom an AuthorizationPolicy names (docs/mesh.md).
 */
export class Mesh extends pulumi.ComponentResource implements Joined {
  readonly crds: pulumi.Resource;
  readonly trustDomain: string;
  /** Resolves once new pods join. */
  readonly ready: pulumi.Output<unknown>;
  readonly offers: Offer = { alerts: [path.join(__dirname, "mesh.alerts.yaml")] };
  private readonly workloads: Readonly<Record<"istiod" | "cni" | "ztunnel", DeclaredWorkload>>;
  private readonly namespace: pulumi.Input<string>;

  constructor(name: string, args: MeshArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Mesh", name, {}, opts);
    const { namespace, kubeApi } = args;
    this.namespace = namespace;
    this.trustDomain = args.clusterDomain;
    this.workloads = declaredWorkloads(args);
    const { istiod, cni, ztunnel } = this.workloads;
    const onIstiod = (port: number, why: string): PodPorts => ({
      kind: "pods",
      server: podsOf(istiod, namespace),
      ports: [{ port }],
      why,
    });
    const webhook = admitApiServer(this, kubeApi, onIstiod(PORTS.webhook, "webhook"));

    this.crds = this.release("istio-base", charts.istioBase, args, { values: { global: ONE_CLUSTER }, crds: CRDS });
    const dependsOn = [this.crds, ...webhook];
    const installed = [
      this.release("istiod", charts.istiod, args, {
        values: {
          profile: "ambient",
          meshConfig: { trustDomain: this.trustDomain },
          resources: resources(args.istiod),
          // One is enough: without it nothing new joins, and what runs goes on for the life of its certificates, a day.
          autoscaleEnabled: false,
          global: {
            ...ONE_CLUSTER,
            priorityClassName: "critical-services",
            defaultPodDisruptionBudget: { enabled: false },
          },
          // It would take the right to make Deployments in every namespace, for gateways that are not Istio's here.
          env: { PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER: "false" },
          seccompProfile: { type: "RuntimeDefault" },
        },
        workload: istiod,
        services: istiodServices(istiod),
        talksTo: [kubeApi],
        dependsOn,
      }),
      this.release(CNI, charts.istioCni, args, {
        values: {
          profile: "ambient",
          resources: resources(args.cni),
          // Its own file, which outlasts a restart of the node: the network's agent writes its file anew then, and pods would
          // start beside the mesh until Istio's has added itself again (istio#55968).
          istioOwnedCNIConfig: true,
          // The annotation is the form of before Kubernetes 1.30.
          useAppArmorAnnotation: false,
        },
        workload: cni,
        talksTo: [kubeApi],
        dependsOn,
      }),
      this.release("ztunnel", charts.ztunnel, args, {
        values: { resources: resources(args.ztunnel) },
        workload: ztunnel,
        talksTo: [onIstiod(PORTS.xds, "identities and policies")],
        dependsOn,
      }),
    ];
    this.ready = pulumi.all(installed.map((release) => release.installed));

    // In the root namespace both hold for the whole mesh. A policy that allows and has no rule admits nobody.
    this.policy("PeerAuthentication", "default", { mtls: { mode: "STRICT" } });
    this.policy("AuthorizationPolicy", "deny-by-default", { action: "ALLOW" });
    this.registerOutputs();
  }

  /**
   * Has its pods scraped. Under names of their own, since the policies of the others must not wait for the scraper's
   * namespace, which waits for the mesh.
   */
  observedBy(metrics: Metrics): void {
    const { istiod, cni, ztunnel } = this.workloads;
    const pods = (workload: DeclaredWorkload) => ({
      ...podsOf(workload, this.namespace),
      name: `${workload.name}-metrics`,
    });
    const by = metrics;
    scrape(this, { pods: pods(istiod), port: { name: "http-monitoring", number: PORTS.metrics }, by });
    scrape(this, { pods: pods(cni), port: { name: "metrics", number: PORTS.metrics }, job: CNI, by });
    const port = { name: "ztunnel-stats", number: PORTS.ztunnelMetrics };
    scrape(this, { pods: pods(ztunnel), port, path: "/stats/prometheus", by });
  }

  private release(
    name: string,
    pin: ChartPin,
    { namespace, chartDirectory: directory }: MeshArgs,
    chart: {
      readonly values: ChartReleaseArgs["values"];
      readonly crds?: readonly string[];
      readonly workload?: DeclaredWorkload;
      readonly services?: ChartReleaseArgs["declares"]["services"];
      readonly talksTo?: ChartReleaseArgs["talksTo"][string];
      readonly dependsOn?: readonly pulumi.Resource[];
    },
  ): ChartRelease {
    const { values, crds = [], workload, services = [], talksTo = [], dependsOn = [] } = chart;
    const workloads = workload ? [workload] : [];
    return new ChartRelease(
      name,
      pin,
      {
        namespace,
        directory,
        values,
        declares: { workloads, services, crds },
        talksTo: Object.fromEntries(workloads.map((one) => [one.name, talksTo])),
      },
      { parent: this, dependsOn: [...dependsOn] },
    );
  }

  private policy(kind: string, name: string, spec: Readonly<Record<string, HelmValue>>): void {
    new k8s.apiextensions.CustomResource(
      name,
      { apiVersion: "security.istio.io/v1", kind, metadata: { name, namespace: this.namespace }, spec },
      { parent: this, dependsOn: this.crds },
    );
  }
}

// Without the account with which the istiod of another cluster would read this one, Secrets included.
const ONE_CLUSTER = { enableReaderRBAC: false };

const CRDS = [
  "authorizationpolicies.security.istio.io",
  "destinationrules.networking.istio.io",
  "envoyfilters.networking.istio.io",
  "gateways.networking.istio.io",
  "peerauthentications.security.istio.io",
  "proxyconfigs.networking.istio.io",
  "requestauthentications.security.istio.io",
  "serviceentries.networking.istio.io",
  "sidecars.networking.istio.io",
  "telemetries.telemetry.istio.io",
  "trafficextensions.extensions.istio.io",
  "virtualservices.networking.istio.io",
  "wasmplugins.extensions.istio.io",
  "workloadentries.networking.istio.io",
  "workloadgroups.networking.istio.io",
];

function declaredWorkloads(args: MeshArgs): Mesh["workloads"] {
  const shared = { replicas: 1, outsideMesh: OWN_PODS };
  return {
    istiod: {
      ...shared,
      kind: "Deployment",
      name: "istiod",
      labels: { app: "istiod", istio: "pilot" },
      serviceAccount: "istiod",
      ports: { "http-monitoring": PORTS.metrics },
      size: args.istiod,
    },
    cni: {
      ...shared,
      kind: "DaemonSet",
      name: "istio-cni-node",
      labels: { "k8s-app": "istio-cni-node" },
      serviceAccount: CNI,
      ports: { metrics: PORTS.metrics },
      size: args.cni,
    },
    ztunnel: {
      ...shared,
      kind: "DaemonSet",
      name: "ztunnel",
      labels: { app: "ztunnel" },
      serviceAccount: "ztunnel",
      ports: { "ztunnel-stats": PORTS.ztunnelMetrics },
      size: args.ztunnel,
    },
  };
}

function istiodServices({ name }: DeclaredWorkload): ChartReleaseArgs["declares"]["services"] {
  return [
    { name, port: 15010, podPort: 15010, workload: name },
    { name, port: PORTS.xds, podPort: PORTS.xds, workload: name },
    { name, port: 443, podPort: PORTS.webhook, workload: name },
    { name, port: PORTS.metrics, podPort: PORTS.metrics, workload: name },
  ];
}
