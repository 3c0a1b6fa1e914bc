import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { ServerCertificate } from "./certificate";
import { ROLLOUT_TIMEOUTS } from "./deployment";
import { type PodIdentity, podsNamed, type ServiceTarget } from "./endpoint";
import { container, type ContainerArgs, type PodArgs, podTemplate, serviceAccount } from "./pod";
import { service } from "./service";
import { claim, keptVolume, type NamedVolume, type Volume } from "./volume";

/** Inputs of {@link statefulPod}. */
export interface StatefulPodArgs
  extends ContainerArgs, Pick<PodArgs, "uid" | "scratch" | "files" | "volumes" | "terminationGracePeriodSeconds"> {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Ports that the Service leads to. */
  readonly ports: Readonly<Record<string, number>>;
  /** Ports that only probes ask. */
  readonly probePorts?: Readonly<Record<string, number>>;
  /** Its certificate; the pod mounts it as one of `volumes`. */
  readonly certificate?: ServerCertificate;
  /** Mounted at `/data`. */
  readonly volume: Volume;
  /** Refuses to delete or replace the server. */
  readonly protect: boolean;
}

/** Makes a server of one pod that keeps its data on a volume: a StatefulSet, a Service and a ServiceAccount of its name. */
export function statefulPod(name: string, args: StatefulPodArgs, parent: pulumi.Resource): ServiceTarget {
  const { namespace, ports, probePorts, certificate, volume, protect, secretEnv = [], files = {} } = args;
  const server = podsNamed(name, namespace);
  const account = serviceAccount(server, { parent });
  const entry = service(name, server, ports, { parent });
  const template = podTemplate(server, {
    ...args,
    containers: [
      container(name, { ...args, ports: { ...ports, ...probePorts }, mounts: { "/data": "data", ...args.mounts } }),
    ],
    priorityClass: "critical-services",
  });
  const made = [...secretEnv, ...Object.values(files), ...(certificate ? [certificate] : [])].map(
    (one) => one.resource,
  );
  const set = statefulSet(
    server,
    template,
    { name: "data", ...volume },
    {
      parent,
      protect,
      dependsOn: [account, entry, ...made],
    },
  );
  return { server, ready: [entry, set], ...(certificate && { trust: certificate.trust }) };
}

// What Kubernetes lets nobody change: sets that were made with other values, such as those of 0.1.0, stay as they are.
const FIXED = ["spec.podManagementPolicy", "spec.volumeClaimTemplates[0].spec.resources.requests.storage"];

/** Makes the StatefulSet of one pod that keeps its data on a volume. */
export function statefulSet(
  { name, namespace, matchLabels }: PodIdentity,
  template: k8s.types.input.core.v1.PodTemplateSpec,
  volume: NamedVolume,
  opts: pulumi.CustomResourceOptions & { readonly parent: pulumi.Resource },
): k8s.apps.v1.StatefulSet {
  claim({ name, namespace }, volume, { parent: opts.parent });
  return new k8s.apps.v1.StatefulSet(
    name,
    {
      metadata: { name, namespace, labels: matchLabels },
      spec: {
        serviceName: name,
        replicas: 1,
        // Otherwise a pod that never became ready stays after its template was corrected, until somebody deletes it.
        podManagementPolicy: "Parallel",
        selector: { matchLabels },
        template,
        ...keptVolume(volume),
      },
    },
    { ...opts, customTimeouts: ROLLOUT_TIMEOUTS, ignoreChanges: FIXED },
  );
}
