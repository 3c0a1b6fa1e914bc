import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { observe } from "./connect";
import type { PodIdentity } from "./endpoint";
import { objectName } from "./names";
import { prometheus } from "./observers";

/** Inputs of {@link scrape}. */
export interface ScrapeArgs {
  readonly pods: PodIdentity;
  /** The container port that answers `/metrics`, by name and number. */
  readonly port: { readonly name: string; readonly number: number };
  /** The CRDs of the prometheus-operator. */
  readonly crds: pulumi.Resource;
}

/** Has Prometheus scrape every pod of a workload, and lets it in. */
export function scrape(parent: pulumi.Resource, { pods, port, crds }: ScrapeArgs): void {
  observe(parent, prometheus, { server: pods, ports: [{ port: port.number }] });
  new k8s.apiextensions.CustomResource(
    objectName(pods.name, "metrics"),
    {
      apiVersion: "monitoring.coreos.com/v1",
      kind: "PodMonitor",
      metadata: { name: pods.name, namespace: pods.namespace },
      spec: {
        selector: { matchLabels: pods.matchLabels },
        podMetricsEndpoints: [{ port: port.name, path: "/metrics", interval: "30s" }],
      },
    },
    { parent, dependsOn: crds },
  );
}
