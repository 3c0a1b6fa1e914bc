import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { ApiServer, Endpoint, ExternalPeer, PodIdentity, PodPorts, PortRange } from "./endpoint";
import { objectName } from "./names";

/** What pods may talk to. */
export type Destination = Endpoint | PodPorts | ExternalPeer;

export interface ConnectArgs {
  readonly from: PodIdentity;
  readonly talksTo: readonly Destination[];
}

/**
 * Lets pods reach what they were handed, and nothing else: per wire one egress policy beside the client and one ingress
 * policy beside the server, each an object of its own, so that wires add up without knowing each other.
 * Returns the wires; a workload starts after its own.
 */
export function connect(parent: pulumi.Resource, { from, talksTo }: ConnectArgs): Wire[] {
  return talksTo.map((to) => new Wire(from, to, { parent }));
}

/**
 * Lets an observer (scraper, gateway, verification) reach pods. Its labels are constants of observers.ts, its
 * pods may not exist yet, and nothing waits for it: so no cycle arises.
 */
export function observe(parent: pulumi.Resource, by: PodIdentity, to: PodPorts): void {
  new Wire(by, to, { parent });
}

/** One arrow of the wiring, as policies. Its inputs name both ends: `npm run diagram` draws them. */
export class Wire extends pulumi.ComponentResource {
  constructor(from: PodIdentity, to: Destination, opts: pulumi.ComponentResourceOptions) {
    const target = "server" in to ? to.server.name : to.name;
    const ports = portsOf(to);
    const name = objectName(from.name, "to", target);
    super("carbon:base:Wire", name, { from: from.name, to: target, ports: ports.map(describePort) }, opts);

    const policyPorts = ports.map((range) => ({ protocol: "TCP", ...range }));
    const egressTo = "server" in to ? [peer(to.server)] : to.cidrs.map((cidr) => ({ ipBlock: { cidr } }));
    new k8s.networking.v1.NetworkPolicy(
      `${name}-egress`,
      {
        metadata: { name, namespace: from.namespace },
        spec: {
          podSelector: { matchLabels: from.matchLabels },
          policyTypes: ["Egress"],
          egress: [{ to: egressTo, ports: policyPorts }],
        },
      },
      { parent: this },
    );
    if ("server" in to) {
      new k8s.networking.v1.NetworkPolicy(
        `${name}-ingress`,
        {
          metadata: { name: objectName(target, "from", from.name), namespace: to.server.namespace },
          spec: {
            podSelector: { matchLabels: to.server.matchLabels },
            policyTypes: ["Ingress"],
            ingress: [{ from: [peer(from)], ports: policyPorts }],
          },
        },
        { parent: this },
      );
    }
    this.registerOutputs();
  }
}

/** Lets the API server, which is no pod, call a webhook of ours. */
export function admitApiServer(
  parent: pulumi.Resource,
  apiServer: ApiServer,
  { server, ports }: PodPorts,
): k8s.networking.v1.NetworkPolicy {
  const name = objectName(server.name, "from", apiServer.name);
  return new k8s.networking.v1.NetworkPolicy(
    name,
    {
      metadata: { name, namespace: server.namespace },
      spec: {
        podSelector: { matchLabels: server.matchLabels },
        policyTypes: ["Ingress"],
        ingress: [
          {
            from: apiServer.callsFrom.map((cidr) => ({ ipBlock: { cidr } })),
            ports: ports.map((range) => ({ protocol: "TCP", ...range })),
          },
        ],
      },
    },
    { parent },
  );
}

function portsOf(to: Destination): readonly PortRange[] {
  if ("ports" in to) return to.ports;
  return [{ port: "podPort" in to ? to.podPort : to.port }];
}

function describePort({ port, endPort }: PortRange): string {
  return endPort === undefined ? `${port}` : `${port}-${endPort}`;
}

function peer(pods: PodIdentity): object {
  return {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": pods.namespace } },
    podSelector: { matchLabels: pods.matchLabels },
  };
}
