import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "./connect";
import { type Endpoint, type PodIdentity, type Protocol, serviceHost } from "./endpoint";
import { container, type ContainerArgs, podTemplate, type PriorityClassName, serviceAccount } from "./pod";
import { disruptionBudget } from "./scale";
import { service } from "./service";

/** Inputs of {@link Workload}. */
export interface WorkloadArgs extends ContainerArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly ports: Readonly<Record<string, number>>;
  readonly replicas: number;
  readonly uid: number;
  readonly priorityClass: PriorityClassName;
  /** Size of /tmp, in MiB: the only writable place. @default 256 */
  readonly tmpMiB?: number;
  readonly talksTo: readonly Destination[];
}

/** A stateless service: one Deployment, one Service, one ServiceAccount, its wires and its disruption budget. */
export class Workload extends pulumi.ComponentResource {
  /** The pods, as policies see them. */
  readonly identity: PodIdentity;
  private readonly ports: Readonly<Record<string, number>>;
  private readonly ready: readonly pulumi.Resource[];

  constructor(name: string, args: WorkloadArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:base:Workload", name, {}, opts);
    const { namespace, ports, replicas, uid, priorityClass, tmpMiB = 256, talksTo } = args;
    const matchLabels = { app: name };
    this.identity = { name, namespace, matchLabels, serviceAccount: name };
    this.ports = ports;

    const account = serviceAccount(this.identity, { parent: this });
    const wires = connect(this, { from: this.identity, talksTo });
    const entry = service(name, this.identity, ports, { parent: this });
    const deployment = new k8s.apps.v1.Deployment(
      name,
      {
        metadata: { name, namespace, labels: matchLabels },
        spec: {
          replicas,
          selector: { matchLabels },
          strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          template: podTemplate(this.identity, {
            containers: [container(name, { ...args, mounts: { "/tmp": "tmp", ...args.mounts } })],
            uid,
            priorityClass,
            secretEnv: args.secretEnv ?? [],
            scratch: { tmp: { sizeMiB: tmpMiB } },
          }),
        },
      },
      { parent: this, dependsOn: [account, ...wires, ...(args.secretEnv ?? []).map((s) => s.resource)] },
    );
    disruptionBudget(this.identity, replicas, { parent: this });
    this.ready = [entry, deployment];
    this.registerOutputs();
  }

  /** The endpoint of a named port. */
  endpoint<P extends Protocol>(port: string, protocol: P): Endpoint<P> {
    const number = this.ports[port];
    if (number === undefined) throw new Error(`${this.identity.name} has no port ${port}`);
    return {
      kind: "endpoint",
      protocol,
      host: serviceHost(this.identity.name, this.identity.namespace),
      port: number,
      tls: false,
      server: this.identity,
      podPort: number,
      ready: this.ready,
    };
  }
}
