import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { CA_KEY, type ServerCertificate } from "./certificate";
import { observe } from "./connect";
import type { PodIdentity } from "./endpoint";
import { objectName } from "./names";
import { service } from "./service";

/** The scraper, and what it needs. */
export interface Metrics {
  /** The pods that scrape; they need not exist yet, but their namespace must. */
  readonly scraper: PodIdentity;
  /** The CRDs of the prometheus-operator. */
  readonly crds: pulumi.Resource;
}

/** Inputs of {@link scrape}. */
export interface ScrapeArgs {
  readonly pods: PodIdentity;
  /** Name and number of the metrics port. */
  readonly port: { readonly name: string; readonly number: number };
  /** Path of the metrics. @default "/metrics" */
  readonly path?: string;
  /** Where the pods speak TLS: their certificate and a name in it, or nothing to verify them by. */
  readonly tls?: { readonly certificate: ServerCertificate; readonly host: pulumi.Input<string> } | "unverified";
  /** Query parameters. */
  readonly params?: Readonly<Record<string, readonly string[]>>;
  /** The job of pods of a chart that gives them no label `app`. @default that label */
  readonly job?: string;
  readonly by: Metrics;
}

/**
 * Lets Prometheus scrape every pod of a workload. Rules select series by `job`, which is the pods' label `app` regardless of the
 * monitor's name, and by `component` if a system has several kinds of pods.
 */
export function scrape(parent: pulumi.Resource, args: ScrapeArgs): void {
  monitor(parent, args, "PodMonitor", {
    selector: { matchLabels: args.pods.matchLabels },
    podMetricsEndpoints: [metricsOf(args)],
  });
}

/** {@link scrape} with a ServiceMonitor and its own Service, for pods whose other Services select only some of them. */
export function scrapeByService(parent: pulumi.Resource, args: ScrapeArgs): void {
  const { pods, port } = args;
  // Other Services of these pods also have the port, and a pod must not be scraped twice.
  const labels = { component: "metrics" };
  const ports = { [port.name]: port.number };
  service(objectName(pods.name, "metrics"), pods, ports, { parent }, { headless: true, labels });
  monitor(parent, args, "ServiceMonitor", {
    selector: { matchLabels: { ...pods.matchLabels, ...labels } },
    endpoints: [metricsOf(args)],
  });
}

function monitor(
  parent: pulumi.Resource,
  { pods, port, tls, by }: ScrapeArgs,
  kind: "PodMonitor" | "ServiceMonitor",
  spec: object,
): void {
  observe(parent, by.scraper, { kind: "pods", server: pods, ports: [{ port: port.number }], why: "metrics" });
  new k8s.apiextensions.CustomResource(
    objectName(pods.name, "metrics"),
    {
      apiVersion: "monitoring.coreos.com/v1",
      kind,
      metadata: { name: pods.name, namespace: pods.namespace },
      spec: { ...spec, jobLabel: "app", podTargetLabels: ["component"] },
    },
    // The operator leaves out a monitor whose CA is not there yet, and looks again only when another monitor changes.
    { parent, dependsOn: [by.crds, ...(typeof tls === "object" ? [tls.certificate.resource] : [])] },
  );
}

function metricsOf({ port, path = "/metrics", params, tls, job }: ScrapeArgs): object {
  return {
    port: port.name,
    path,
    ...(tls && { scheme: "https", tlsConfig: tlsConfig(tls) }),
    ...(params && { params }),
    relabelings: [
      // The operator's name of the port: what a server calls so, as Feast its paths, would be renamed to `exported_endpoint`.
      { action: "labeldrop", regex: "endpoint" },
      ...(job !== undefined ? [{ targetLabel: "job", replacement: job }] : []),
    ],
    interval: "30s",
  };
}

function tlsConfig(tls: NonNullable<ScrapeArgs["tls"]>): object {
  if (tls === "unverified") return { insecureSkipVerify: true };
  return {
    ca: { secret: { name: tls.certificate.trust.volume.secret.secretName, key: CA_KEY } },
    serverName: tls.host,
  };
}
