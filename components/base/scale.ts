import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** The number of a workload's pods. */
export interface PodRange {
  readonly min: number;
  readonly max: number;
}

// Percentage of the pods' requests.
const CPU_PERCENT = 80;

/** Scales the Deployment with the pods' name by CPU. The autoscaler owns its `replicas`, which the Deployment does not set. */
export function autoscale(
  deployment: k8s.apps.v1.Deployment,
  { name, namespace }: PodIdentity,
  { min, max }: PodRange,
  opts: pulumi.CustomResourceOptions,
  behavior?: k8s.types.input.autoscaling.v2.HorizontalPodAutoscalerBehavior,
): void {
  const target = { type: "Utilization", averageUtilization: CPU_PERCENT };
  new k8s.autoscaling.v2.HorizontalPodAutoscaler(
    name,
    {
      // Without metrics-server it stays at the minimum and is not "able to scale"; nothing must wait for that.
      metadata: { name, namespace, annotations: { "pulumi.com/skipAwait": "true" } },
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
        minReplicas: min,
        maxReplicas: max,
        metrics: [{ type: "Resource", resource: { name: "cpu", target } }],
        ...(behavior && { behavior }),
      },
    },
    { ...opts, dependsOn: deployment },
  );
}

/** Lets a drain evict only one of several pods at a time, and any that is not ready anyway. With a single pod, a budget would only block the drain. */
export function disruptionBudget(
  { name, namespace, matchLabels }: PodIdentity,
  replicas: number,
  opts: pulumi.CustomResourceOptions,
): void {
  if (replicas < 2) return;
  new k8s.policy.v1.PodDisruptionBudget(
    name,
    {
      metadata: { name, namespace },
      spec: { maxUnavailable: 1, unhealthyPodEvictionPolicy: "AlwaysAllow", selector: { matchLabels } },
    },
    opts,
  );
}
