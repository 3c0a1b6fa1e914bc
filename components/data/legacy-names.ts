import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Endpoint } from "../base/endpoint";

/** Inputs of {@link LegacyNames}. */
export interface LegacyNamesArgs {
  /** Namespace of the names; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** What each name leads to. */
  readonly aliases: Readonly<Record<string, Endpoint>>;
}

/**
 * The names under which clients of the platform before this one know its services: each an alias in DNS, so that whoever may
 * reach a service may reach it by either name. Ports, logins and TLS are those of the service.
 */
export class LegacyNames extends pulumi.ComponentResource {
  constructor(name: string, { namespace, aliases }: LegacyNamesArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:LegacyNames", name, {}, opts);
    for (const [alias, { host, port }] of Object.entries(aliases)) {
      new k8s.core.v1.Service(
        alias,
        {
          metadata: { name: alias, namespace, annotations: { "pulumi.com/skipAwait": "true" } },
          spec: { type: "ExternalName", externalName: host, ports: [{ port }] },
        },
        { parent: this },
      );
    }
    this.registerOutputs();
  }
}
