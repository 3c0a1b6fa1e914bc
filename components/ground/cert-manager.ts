import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, type DeclaredHook, type DeclaredWorkload, podsOf } from "../base/chart-release";
import { admitApiServer } from "../base/connect";
import type { ApiServer, PodIdentity } from "../base/endpoint";
import { type Outside, type Outward, outward } from "../base/outside";
import { type ContainerSize, type ResourceQuantities, resources } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { charts } from "../base/versions";
import type { ExistingAddOn } from "../base/existing-add-ons";

const WEBHOOK_PORT = 10250;
const METRICS_PORT = 9402;
const METRICS = "http-metrics";

/** Inputs of {@link CertManager}. */
export interface CertManagerArgs {
  /** Its namespace; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** Size of each of its three pods; or the cluster has one, with the names of upstream's manifests, and nothing is installed. */
  readonly size: ContainerSize | "existing";
  readonly metrics: Metrics;
  /** Whether it can prove names to an ACME server, by routes of a Gateway or by DNS. The Gateway API's CRDs must exist. @default false */
  readonly acme?: boolean;
  /** How it reaches an ACME server and the provider of DNS. */
  readonly outside: Outside;
}

/** cert-manager, which issues and renews the certificates of other systems. */
export class CertManager extends pulumi.ComponentResource {
  /** Files with its alerts. */
  readonly alerts = [path.join(__dirname, "cert-manager.alerts.yaml")];
  /** The pods that ask certificate authorities. */
  readonly controller: PodIdentity;

  constructor(name: string, args: CertManagerArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:CertManager", name, {}, opts);
    const { namespace, size, metrics } = args;
    if (size === "existing") {
      this.controller = existingController(namespace);
    } else {
      this.controller = podsOf(workload(name, "controller", size), namespace);
      this.install(name, size, args);
    }
    scrape(this, { pods: this.controller, port: { name: METRICS, number: METRICS_PORT }, by: metrics });
    this.registerOutputs();
  }

  private install(
    name: string,
    size: ContainerSize,
    { namespace, chartDirectory, kubeApi, acme = false, outside }: CertManagerArgs,
  ): void {
    const workloads = ["controller", "webhook", "cainjector"].map((component) => workload(name, component, size));
    const check = startupCheck(name, size);
    const webhook = admitApiServer(this, kubeApi, {
      kind: "pods",
      server: podsOf(workload(name, "webhook", size), namespace),
      ports: [{ port: WEBHOOK_PORT }],
      why: "webhook",
    });

    new ChartRelease(
      name,
      charts.certManager,
      {
        namespace,
        directory: chartDirectory,
        values: values(size, acme ? outside : undefined),
        declares: {
          workloads,
          services: workloads.map((w) => ({
            name: w.name,
            ...(w.name === `${name}-webhook`
              ? { port: 443, podPort: WEBHOOK_PORT }
              : { port: METRICS_PORT, podPort: METRICS_PORT }),
            workload: w.name,
          })),
          hooks: [check],
          crds: CRDS,
        },
        talksTo: Object.fromEntries([...workloads, check].map((one) => [one.name, [kubeApi]])),
      },
      { parent: this, dependsOn: webhook },
    );
  }
}

/** What the cluster has where it has a cert-manager of its own. */
export const existingCertManager: Omit<ExistingAddOn, "key"> = {
  name: "cert-manager",
  crds: ["certificates.cert-manager.io", "issuers.cert-manager.io"],
  versionLabel: "app.kubernetes.io/version",
  oldest: charts.certManager.version,
};

// As the chart and upstream's manifest name them.
function existingController(namespace: pulumi.Input<string>): PodIdentity {
  return {
    name: "cert-manager",
    namespace,
    matchLabels: { "app.kubernetes.io/name": "cert-manager", "app.kubernetes.io/component": "controller" },
    serviceAccount: "cert-manager",
    foreign: true,
    outsideMesh: "is not the platform's",
  };
}

const CRDS = [
  "certificaterequests.cert-manager.io",
  "certificates.cert-manager.io",
  "challenges.acme.cert-manager.io",
  "clusterissuers.cert-manager.io",
  "issuers.cert-manager.io",
  "orders.acme.cert-manager.io",
];

function workload(release: string, component: string, size: ContainerSize): DeclaredWorkload {
  const name = component === "controller" ? release : `${release}-${component}`;
  return {
    kind: "Deployment",
    name,
    labels: {
      "app.kubernetes.io/name": component === "controller" ? "cert-manager" : component,
      "app.kubernetes.io/instance": release,
      "app.kubernetes.io/component": component,
    },
    // The controller's is also its job.
    podLabels: { app: component === "controller" ? "cert-manager" : component },
    serviceAccount: name,
    ports: { [METRICS]: METRICS_PORT },
    replicas: 1,
    size,
  };
}

/**
 * The chart's Job that asks the API for a certificate until the webhook answers: its CA is in the webhook's configuration, and
 * its Service on every node, later than its pod is Ready (pulumi-kubernetes-cert-manager#18, kubernetes#102013).
 */
function startupCheck(release: string, size: ContainerSize): DeclaredHook {
  const name = `${release}-startupapicheck`;
  return { name, when: "after install", serviceAccount: name, size };
}

function values(size: ContainerSize, acme: Outside | undefined): CertManagerValues {
  const pod = { resources: resources(size) };
  return {
    ...pod,
    ...(acme && leaving(outward(acme, [{ http: true }]))),
    webhook: pod,
    cainjector: pod,
    global: { priorityClassName: "critical-services", leaderElection: { namespace: "cert-manager" } },
    crds: { enabled: true, keep: true },
    startupapicheck: pod,
    ...(acme && {
      config: {
        apiVersion: "controller.config.cert-manager.io/v1alpha1",
        kind: "ControllerConfiguration",
        gatewayAPI: { enabled: true },
      },
      // Otherwise it checks DNS-01 challenges at name servers of the internet, where policies let no pod.
      dns01RecursiveNameserversOnly: true,
    }),
  };
}

function leaving({ env, annotations, volumes, mounts }: Outward): Partial<CertManagerValues> {
  if (Object.keys(env).length === 0) return {};
  const extraEnv = Object.entries(env).map(([name, value]) => ({ name, value }));
  return { extraEnv, podAnnotations: annotations, volumes, volumeMounts: mounts };
}

/** The keys of the chart that we set. */
type CertManagerValues = {
  readonly resources: ResourceQuantities;
  readonly webhook: { readonly resources: ResourceQuantities };
  readonly cainjector: { readonly resources: ResourceQuantities };
  readonly global: { readonly priorityClassName: string; readonly leaderElection: { readonly namespace: string } };
  readonly crds: { readonly enabled: true; readonly keep: true };
  readonly startupapicheck: { readonly resources: ResourceQuantities };
  readonly config?: {
    readonly apiVersion: string;
    readonly kind: "ControllerConfiguration";
    readonly gatewayAPI: { readonly enabled: true };
  };
  readonly dns01RecursiveNameserversOnly?: true;
  readonly extraEnv?: readonly { readonly name: string; readonly value: string }[];
  readonly podAnnotations?: Outward["annotations"];
  readonly volumes?: Outward["volumes"];
  readonly volumeMounts?: Outward["mounts"];
};
