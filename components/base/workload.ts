import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "./connect";
import { deployment } from "./deployment";
import { type Endpoint, type PodIdentity, podsNamed, type Protocol, serviceEndpoint } from "./endpoint";
import {
  container,
  type ContainerArgs,
  type PodArgs,
  podTemplate,
  type PriorityClassName,
  serviceAccount,
} from "./pod";
import { disruptionBudget } from "./scale";
import { service } from "./service";

/** Inputs of {@link Workload}. */
export interface WorkloadArgs extends ContainerArgs, Pick<PodArgs, "volumes" | "files"> {
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
    const { namespace, ports, replicas, uid, priorityClass, tmpMiB = 256, talksTo, volumes = [], files = {} } = args;
    this.identity = podsNamed(name, namespace);
    this.ports = ports;

    const account = serviceAccount(this.identity, { parent: this });
    const wires = connect(this, { from: this.identity, talksTo });
    const entry = service(name, this.identity, ports, { parent: this });
    const pods = deployment(
      this.identity,
      {
        replicas,
        template: podTemplate(this.identity, {
          containers: [container(name, { ...args, mounts: { "/tmp": "tmp", ...args.mounts } })],
          uid,
          priorityClass,
          secretEnv: args.secretEnv ?? [],
          scratch: { tmp: { sizeMiB: tmpMiB } },
          volumes,
          files,
        }),
      },
      {
        parent: this,
        dependsOn: [account, ...wires, ...[...(args.secretEnv ?? []), ...Object.values(files)].map((s) => s.resource)],
      },
    );
    disruptionBudget(this.identity, replicas, { parent: this });
    this.ready = [entry, pods];
    this.registerOutputs();
  }

  /** The endpoint of a named port. */
  endpoint<P extends Protocol>(port: string, protocol: P): Endpoint<P> {
    const number = this.ports[port];
    if (number === undefined) throw new Error(`${this.identity.name} has no port ${port}`);
    return serviceEndpoint(protocol, number, { server: this.identity, ready: this.ready });
  }
}
