import * as pulumi from "@pulumi/pulumi";
import { connect } from "../../base/connect";
import { deployment } from "../../base/deployment";
import { serviceHost, url } from "../../base/endpoint";
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
  type RayPods,
  type RayState,
  stateName,
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
  { pods, environment, groups, state, talksTo, after }: ClusterArgs,
): Clusters {
  const { name, namespace } = pods.head;
  const { env, secretEnv } = environment;
  const account = serviceAccount(pods.all, { parent });
  const wires = connect(parent, { from: pods.all, talksTo: [clusterPorts(pods.all), ...talksTo] });
  const toState = state ? connect(parent, { from: pods.head, talksTo: [state.server] }) : [];
  const gcs = pulumi.interpolate`${serviceHost(name, namespace)}:${HEAD_PORTS.gcs}`;
  const headSet = statefulSet(
    pods.head,
    headTemplate(pods.head, {
      environment: state
        ? { ...environment, env: { ...env, ...stateEnv(pods, state) }, secretEnv: [...secretEnv, state.login] }
        : environment,
      size: head,
      command: startCommand({ head: true, ...headFlags(head) }, state && STATE_LOGIN),
      state,
      mounts: { "/tmp/ray": STORAGE },
      sessionMiB: head.volume.sizeGiB * 1024,
    }),
    { name: STORAGE, ...head.volume },
    { parent, dependsOn: [account, ...wires, ...toState, ...after] },
  );

  const opts = { parent, dependsOn: [headSet, ...wires] };
  for (const { workers, component, labels } of groups) {
    const worker = podsOf(pods.all, component);
    const flags = { address: gcs, ...workerFlags(workers), ...(labels && { labels: labelFlag(labels) }) };
    const template = workerTemplate(worker, {
      environment: state ? { ...environment, env: { ...env, ...OUTLIVES_HEAD } } : environment,
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

// Ray has no other way in, and hands them on to its control store in the same way.
const STATE_LOGIN = ' --redis-username="$REDIS_USERNAME" --redis-password="$REDIS_PASSWORD"';

function stateEnv({ all }: RayPods, { server }: RayState): Record<string, pulumi.Input<string>> {
  return { RAY_REDIS_ADDRESS: url(server), RAY_external_storage_namespace: stateName(all) };
}

// As KubeRay has it: by default a worker ends after a minute without the head, with all that runs on it.
const OUTLIVES_HEAD = { RAY_gcs_rpc_server_reconnect_timeout_s: "600" };

function startCommand(
  flags: Readonly<Record<string, pulumi.Input<string | number> | true>>,
  login = "",
): pulumi.Input<string>[] {
  const given = Object.entries(flags);
  const options = given.map(([flag, v]) => (v === true ? `--${flag}` : pulumi.interpolate`--${flag}=${v}`));
  return ["bash", "-c", `${CLEAN}; exec ray start${login} "$@"`, "ray", ...options];
}

function labelFlag(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
