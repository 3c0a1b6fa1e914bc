import type { PodIdentity } from "./endpoint";

/** Prometheus, as kube-prometheus-stack's operator labels its pods. */
export const prometheus: PodIdentity = {
  name: "prometheus",
  namespace: "monitoring",
  matchLabels: { "app.kubernetes.io/name": "prometheus" },
  serviceAccount: "prometheus",
};
