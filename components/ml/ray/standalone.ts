import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect } from "../../base/connect";
import { type PodIdentity, serviceHost } from "../../base/endpoint";
import { type ContainerSize, serviceAccount } from "../../base/pod";
import { autoscale } from "../../base/scale";
import { keptVolume, type Volume } from "../../base/volume";
import {
  type ClusterArgs,
  clusterPorts,
  type Clusters,
  HEAD_PORTS,
  headFlags,
  headTemplate,
  type RayWorkers,
  workerFlags,
  workerTemplate,
} from "./pods";

/** Inputs of a standalone cluster. */
export interface Standalone {
  readonly kind: "standalone";
  readonly head: ContainerSize & { readonly volume: Volume };
}

/** Makes the head, a StatefulSet, and its workers, Deployments that are scaled by CPU. The same cluster serves applications. */
export function standaloneCluster(
  parent: pulumi.Resource,
  { head }: Standalone,
  { pods, environment, workers, gpuWorkers, talksTo, after }: ClusterArgs,
): Clusters {
  const { name, namespace, matchLabels } = pods.head;
  const account = serviceAccount(pods.all, { parent });
  const wires = connect(parent, { from: pods.all, talksTo: [clusterPorts(pods.all), ...talksTo] });
  const gcs = pulumi.interpolate`${serviceHost(name, namespace)}:${HEAD_PORTS.gcs}`;
  const headSet = new k8s.apps.v1.StatefulSet(
    name,
    {
      metadata: { name, namespace, labels: matchLabels },
      spec: {
        serviceName: name,
        replicas: 1,
        selector: { matchLabels },
        template: headTemplate(pods.head, {
          environment,
          size: head,
          command: startCommand({ head: true, ...headFlags(head) }),
          mounts: { "/tmp/ray": "ray-storage" },
        }),
        ...keptVolume("ray-storage", head.volume),
      },
    },
    { parent, dependsOn: [account, ...wires, ...after] },
  );

  const opts = { parent, dependsOn: [headSet, ...wires] };
  const shared = { environment, gcs, waits: true };
  workerSet(
    pods.worker,
    workers,
    workerTemplate(pods.worker, {
      ...shared,
      size: workers,
      command: startCommand({ address: gcs, ...workerFlags(workers) }),
    }),
    opts,
  );
  if (gpuWorkers !== undefined) {
    const { image, gpusPerWorker } = gpuWorkers;
    workerSet(
      pods.gpuWorker,
      gpuWorkers,
      workerTemplate(pods.gpuWorker, {
        ...shared,
        size: gpuWorkers,
        gpus: { image, count: gpusPerWorker },
        command: startCommand({ address: gcs, ...workerFlags(gpuWorkers, gpusPerWorker) }),
      }),
      opts,
    );
  }
  return { jobs: headSet, serving: headSet, headPod: `${name}-0` };
}

function startCommand(flags: Readonly<Record<string, pulumi.Input<string | number> | true>>): pulumi.Input<string>[] {
  const given = Object.entries(flags);
  return ["ray", "start", ...given.map(([flag, v]) => (v === true ? `--${flag}` : pulumi.interpolate`--${flag}=${v}`))];
}

/** Workers, scaled by CPU: up immediately, down by one every five minutes after ten quiet minutes. */
function workerSet(
  pods: PodIdentity,
  workers: RayWorkers,
  template: k8s.types.input.core.v1.PodTemplateSpec,
  opts: pulumi.CustomResourceOptions,
): void {
  const { name, namespace, matchLabels } = pods;
  const deployment = new k8s.apps.v1.Deployment(
    name,
    {
      metadata: { name, namespace, labels: matchLabels },
      spec: {
        // No replicas: the autoscaler below owns them.
        selector: { matchLabels },
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        template,
      },
    },
    opts,
  );
  autoscale(deployment, pods, workers, opts, {
    scaleDown: { stabilizationWindowSeconds: 600, policies: [{ type: "Pods", value: 1, periodSeconds: 300 }] },
  });
}
