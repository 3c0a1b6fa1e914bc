import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type Endpoint, fullyQualified } from "../base/endpoint";

/** Inputs of {@link LegacyNames}. */
export interface LegacyNamesArgs {
  /** Namespace of the names; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** What each name leads to: endpoints of one host. */
  readonly aliases: Readonly<Record<string, readonly Endpoint[]>>;
  /** The cluster's DNS domain: DNS resolves an alias's target without search domains. */
  readonly clusterDomain: string;
}

/**
 * The old platform's service names, as DNS aliases: every client that may reach a service can use either name. Ports, logins and
 * TLS are the service's.
 */
export class LegacyNames extends pulumi.ComponentResource {
  constructor(
    name: string,
    { namespace, aliases, clusterDomain }: LegacyNamesArgs,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:LegacyNames", name, {}, opts);
    for (const [alias, endpoints] of Object.entries(aliases)) {
      const [first, ...more] = endpoints;
      if (first === undefined) continue;
      const ports = endpoints.map(({ port }) => ({ port, ...(more.length > 0 && { name: `port-${port}` }) }));
      new k8s.core.v1.Service(
        alias,
        {
          metadata: { name: alias, namespace, annotations: { "pulumi.com/skipAwait": "true" } },
          spec: { type: "ExternalName", externalName: fullyQualified(first, clusterDomain).host, ports },
        },
        { parent: this },
      );
    }
    this.registerOutputs();
  }
}
