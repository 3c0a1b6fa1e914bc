import type * as pulumi from "@pulumi/pulumi";
import type { ApiServer, Endpoint, ExternalPeer, PodIdentity, PodPorts } from "./endpoint";
import { type Wire, wiringOf } from "./wiring";

/** What pods may reach. */
export type Destination = Endpoint | PodPorts | ExternalPeer;

export interface ConnectArgs {
  readonly from: PodIdentity;
  readonly talksTo: readonly Destination[];
}

/**
 * Lets pods reach the endpoints that they were handed, and nothing else. Returns the policies for it, including the servers', on
 * which the workload depends.
 */
export function connect(parent: pulumi.Resource, { from, talksTo }: ConnectArgs): pulumi.Resource[] {
  const wiring = wiringOf(parent);
  const policies = talksTo.flatMap((to) =>
    wiring.add({ from: { kind: "pods", ...from }, observes: false, ...reached(to) }),
  );
  return [...new Set(policies)];
}

/**
 * Lets an observer (scraper, gateway, verification) reach pods. There are no cycles: its labels are constants in observers.ts, its
 * pods need not exist yet, and nothing waits for it.
 */
export function observe(parent: pulumi.Resource, by: PodIdentity, to: Endpoint | PodPorts): void {
  wiringOf(parent).add({ from: { kind: "pods", ...by }, observes: true, ...reached(to) });
}

/** Lets the API server, which is not a pod, call one of our webhooks. Returns the policy for it. */
export function admitApiServer(parent: pulumi.Resource, apiServer: ApiServer, webhook: PodPorts): pulumi.Resource[] {
  const { name, callsFrom } = apiServer;
  return wiringOf(parent).add({
    from: { kind: "networks", name, cidrs: callsFrom },
    observes: true,
    ...reached(webhook),
  });
}

function reached(to: Destination): Pick<Wire, "to" | "ports" | "why"> {
  switch (to.kind) {
    case "endpoint":
      return { to: { ...to.server, kind: "pods" }, ports: [{ port: to.podPort }], why: to.protocol };
    case "pods":
      return { to: { ...to.server, kind: "pods" }, ports: to.ports, why: to.why };
    case "external":
      return { to: { kind: "networks", name: to.name, cidrs: to.cidrs }, ports: [{ port: to.port }], why: to.why };
  }
}
