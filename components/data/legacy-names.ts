import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Endpoint } from "../base/endpoint";

/** Inputs of {@link LegacyNames}. */
export interface LegacyNamesArgs {
  /** Namespace of the names; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** What each name leads to: endpoints of one host. */
  readonly aliases: Readonly<Record<string, readonly Endpoint[]>>;
}

/**
 * The names under which clients of the platform before this one know its services: each an alias in DNS, so that whoever may
 * reach a service may reach it by either name. Ports, logins and TLS are those of the service.
 */
export class LegacyNames extends pulumi.ComponentResource {
  constructor(name: string, { namespace, aliases }: LegacyNamesArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:LegacyNames", name, {}, opts);
    for (const [alias, endpoints] of Object.entries(aliases)) {
      const [first, ...more] = endpoints;
      if (first === undefined) continue;
      const ports = endpoints.map(({ port }) => ({ port, ...(more.length > 0 && { name: `port-${port}` }) }));
      new k8s.core.v1.Service(
        alias,
        {
          metadata: { name: alias, namespace, annotations: { "pulumi.com/skipAwait": "true" } },
          spec: { type: "ExternalName", externalName: first.host, ports },
        },
        { parent: this },
      );
    }
    this.registerOutputs();
  }
}
