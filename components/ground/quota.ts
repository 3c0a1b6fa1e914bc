import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { RequestLimit } from "../base/pod";

/** Inputs of {@link Quota}. */
export interface QuotaArgs {
  readonly namespace: pulumi.Input<string>;
  /** Sum over all pods, in cores. */
  readonly cpu: RequestLimit;
  /** Sum over all pods, in GiB. */
  readonly memoryGiB: RequestLimit;
  readonly pods: number;
  readonly services: number;
  readonly loadBalancers: number;
  readonly nodePorts: number;
  readonly claims: number;
  /** Sum over all claims, in GiB. */
  readonly storageGiB: number;
  /** Defaults for containers without a size, and the maximum for any container. */
  readonly container: {
    readonly cpu: RequestLimit & { readonly max: number };
    readonly memoryMiB: RequestLimit & { readonly max: number };
  };
}

/** The quota of a namespace, with defaults for containers without a size. */
export class Quota extends pulumi.ComponentResource {
  constructor(name: string, args: QuotaArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Quota", name, {}, opts);
    const { namespace, cpu, memoryGiB, container } = args;
    new k8s.core.v1.ResourceQuota(
      name,
      {
        metadata: { name, namespace },
        spec: {
          hard: {
            "requests.cpu": `${cpu.request}`,
            "limits.cpu": `${cpu.limit}`,
            "requests.memory": `${memoryGiB.request}Gi`,
            "limits.memory": `${memoryGiB.limit}Gi`,
            "requests.storage": `${args.storageGiB}Gi`,
            persistentvolumeclaims: `${args.claims}`,
            pods: `${args.pods}`,
            services: `${args.services}`,
            "services.loadbalancers": `${args.loadBalancers}`,
            "services.nodeports": `${args.nodePorts}`,
          },
        },
      },
      { parent: this },
    );
    // A quota on limits rejects containers without limits; this gives them defaults.
    new k8s.core.v1.LimitRange(
      name,
      {
        metadata: { name: "container-defaults", namespace },
        spec: {
          limits: [
            {
              type: "Container",
              defaultRequest: { cpu: `${container.cpu.request}`, memory: `${container.memoryMiB.request}Mi` },
              default: { cpu: `${container.cpu.limit}`, memory: `${container.memoryMiB.limit}Mi` },
              max: { cpu: `${container.cpu.max}`, memory: `${container.memoryMiB.max}Mi` },
            },
          ],
        },
      },
      { parent: this },
    );
    this.registerOutputs();
  }
}
