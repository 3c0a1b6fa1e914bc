import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** Prometheus, as kube-prometheus-stack's operator labels its pods. */
export function prometheus(namespace: pulumi.Input<string>): PodIdentity {
  return {
    name: "prometheus",
    namespace,
    matchLabels: { "app.kubernetes.io/name": "prometheus" },
    serviceAccount: "prometheus",
  };
}
