import * as pulumi from "@pulumi/pulumi";
import { connect } from "../../base/connect";
import { deployment } from "../../base/deployment";
import { serviceHost } from "../../base/endpoint";
import { type ContainerSize, serviceAccount } from "../../base/pod";
import { autoscale } from "../../base/scale";
import { statefulSet } from "../../base/stateful-pod";
import type { Volume } from "../../base/volume";
import {
  type ClusterArgs,
  clusterPorts,
  CLEAN,
  type Clusters,
  HEAD_PORTS,
  headFlags,
  headTemplate,
  podsOf,
  workerFlags,
  workerTemplate,
} from "./pods";

const STORAGE = "ray-storage";

/** Inputs of a standalone cluster. */
export interface Standalone {
  readonly kind: "standalone";
  readonly head: ContainerSize & { readonly volume: Volume };
}

/** Makes the head, a StatefulSet, and its workers, Deployments that are scaled by CPU. The same cluster serves applications. */
export function standaloneCluster(
  parent: pulumi.Resource,
  { head }: Standalone,
  { pods, environment, groups, talksTo, after }: ClusterArgs,
): Clusters {
  const { name, namespace } = pods.head;
  const account = serviceAccount(pods.all, { parent });
  const wires = connect(parent, { from: pods.all, talksTo: [clusterPorts(pods.all), ...talksTo] });
  const gcs = pulumi.interpolate`${serviceHost(name, namespace)}:${HEAD_PORTS.gcs}`;
  const headSet = statefulSet(
    pods.head,
    headTemplate(pods.head, {
      environment,
      size: head,
      command: startCommand({ head: true, ...headFlags(head) }),
      mounts: { "/tmp/ray": STORAGE },
      sessionMiB: head.volume.sizeGiB * 1024,
    }),
    { name: STORAGE, ...head.volume },
    { parent, dependsOn: [account, ...wires, ...after] },
  );

  const opts = { parent, dependsOn: [headSet, ...wires] };
  for (const { workers, component, labels } of groups) {
    const worker = podsOf(pods.all, component);
    const flags = { address: gcs, ...workerFlags(workers), ...(labels && { labels: labelFlag(labels) }) };
    const template = workerTemplate(worker, {
      environment,
      gcs,
      waits: true,
      workers,
      command: startCommand(flags),
    });
    // Up immediately, down by one every five minutes after ten quiet minutes.
    autoscale(deployment(worker, { template }, opts), worker, workers, opts, {
      scaleDown: { stabilizationWindowSeconds: 600, policies: [{ type: "Pods", value: 1, periodSeconds: 300 }] },
    });
  }
  return { jobs: headSet, serving: headSet, headPod: `${name}-0` };
}

function startCommand(flags: Readonly<Record<string, pulumi.Input<string | number> | true>>): pulumi.Input<string>[] {
  const given = Object.entries(flags);
  const options = given.map(([flag, v]) => (v === true ? `--${flag}` : pulumi.interpolate`--${flag}=${v}`));
  return ["bash", "-c", `${CLEAN}; exec ray start "$@"`, "ray", ...options];
}

function labelFlag(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
