import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** Prometheus, as the prometheus-operator labels its pods, under the service account that we have the chart make. */
export function prometheus(namespace: pulumi.Input<string>): PodIdentity {
  return {
    name: "prometheus",
    namespace,
    matchLabels: { "app.kubernetes.io/name": "prometheus" },
    serviceAccount: "prometheus",
  };
}
