import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { observe } from "./connect";
import type { PodIdentity } from "./endpoint";
import { objectName } from "./names";

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
  /** The container port that answers `/metrics`, by name and number. */
  readonly port: { readonly name: string; readonly number: number };
  readonly by: Metrics;
}

/**
 * Has every pod of a workload scraped, and lets the scraper in. Rules tell series apart by `job`, the pods' label `app`
 * whatever their monitor is called, and by `component` where a system has several kinds of pods.
 */
export function scrape(parent: pulumi.Resource, { pods, port, by }: ScrapeArgs): void {
  observe(parent, by.scraper, { server: pods, ports: [{ port: port.number }] });
  new k8s.apiextensions.CustomResource(
    objectName(pods.name, "metrics"),
    {
      apiVersion: "monitoring.coreos.com/v1",
      kind: "PodMonitor",
      metadata: { name: pods.name, namespace: pods.namespace },
      spec: {
        selector: { matchLabels: pods.matchLabels },
        jobLabel: "app",
        podTargetLabels: ["component"],
        podMetricsEndpoints: [{ port: port.name, path: "/metrics", interval: "30s" }],
      },
    },
    { parent, dependsOn: by.crds },
  );
}
