import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** Prometheus' pods, with the prometheus-operator's labels and the chart's service account. */
export function prometheus(namespace: pulumi.Input<string>): PodIdentity {
  return {
    name: "prometheus",
    namespace,
    matchLabels: { "app.kubernetes.io/name": "prometheus" },
    serviceAccount: "prometheus",
  };
}
