import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { observe } from "./connect";
import type { PodIdentity } from "./endpoint";
import { objectName } from "./names";
import { service } from "./service";

/** Who collects metrics, and what must stand before it can be asked to. */
export interface Metrics {
  /** The pods that scrape; they may not exist yet, their namespace does. */
  readonly scraper: PodIdentity;
  /** The CRDs of the prometheus-operator. */
  readonly crds: pulumi.Resource;
}

/** Inputs of {@link scrape}. */
export interface ScrapeArgs {
  readonly pods: PodIdentity;
  /** The container port that answers with metrics, by name and number. */
  readonly port: { readonly name: string; readonly number: number };
  /** Where it answers, where that is not `/metrics`. */
  readonly path?: string;
  /** Query parameters, where it takes some. */
  readonly params?: Readonly<Record<string, readonly string[]>>;
  readonly by: Metrics;
}

/**
 * Has every pod of a workload scraped, and lets the scraper in. Rules tell series apart by `job`, the pods' label `app`
 * whatever their monitor is called, and by `component` where a system has several kinds of pods.
 */
export function scrape(parent: pulumi.Resource, args: ScrapeArgs): void {
  monitor(parent, args, "PodMonitor", {
    selector: { matchLabels: args.pods.matchLabels },
    podMetricsEndpoints: [metricsOf(args)],
  });
}

/** As {@link scrape}, by a ServiceMonitor and a Service for it alone: of pods whose own Services select only some of them. */
export function scrapeByService(parent: pulumi.Resource, args: ScrapeArgs): void {
  const { pods, port } = args;
  // Other Services of these pods have the port too, and a pod must not be scraped twice.
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
  { pods, port, by }: ScrapeArgs,
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
    { parent, dependsOn: by.crds },
  );
}

function metricsOf({ port, path = "/metrics", params }: ScrapeArgs): object {
  return { port: port.name, path, ...(params && { params }), interval: "30s" };
}
