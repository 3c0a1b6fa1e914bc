import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** Inputs of {@link deployment}. */
export interface DeploymentArgs {
  readonly template: k8s.types.input.core.v1.PodTemplateSpec;
  /** Absent where an autoscaler owns them. */
  readonly replicas?: number;
  /** How pods follow each other. @default a new one is ready before an old one ends */
  readonly strategy?: k8s.types.input.apps.v1.DeploymentStrategy;
}

/** Makes a Deployment of the name of its pods. */
export function deployment(
  { name, namespace, matchLabels }: PodIdentity,
  { template, replicas, strategy = ONE_MORE }: DeploymentArgs,
  opts: pulumi.CustomResourceOptions,
): k8s.apps.v1.Deployment {
  return new k8s.apps.v1.Deployment(
    name,
    {
      metadata: { name, namespace, labels: matchLabels },
      spec: {
        ...(replicas !== undefined && { replicas }),
        selector: { matchLabels },
        strategy,
        progressDeadlineSeconds: ROLLOUT_SECONDS,
        template,
      },
    },
    { ...opts, customTimeouts: ROLLOUT_TIMEOUTS },
  );
}

/** The most pods of a Deployment at one time, where they follow each other in the default way. */
export function podsAtOnce(replicas: number): number {
  return replicas + ONE_MORE.rollingUpdate.maxSurge;
}

// An image of 5 GB takes seven minutes at 100 Mbit/s, and a node pulls one after the other.
const ROLLOUT_SECONDS = 1800;
/** How long an `up` waits for the pods of a workload. */
export const ROLLOUT_TIMEOUTS = { create: `${ROLLOUT_SECONDS}s`, update: `${ROLLOUT_SECONDS}s` };

const ONE_MORE = { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
