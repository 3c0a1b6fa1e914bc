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
 * Lets pods reach the endpoints that they were handed, and nothing else. Returns what the workload depends on: the policies for
 * it, including the servers', and what must be ready there.
 */
export function connect(parent: pulumi.Resource, { from, talksTo }: ConnectArgs): pulumi.Resource[] {
  const wiring = wiringOf(parent);
  const needs = talksTo.flatMap((to) => [
    ...wiring.add({ from: { kind: "pods", ...from }, observes: false, ...reached(to) }),
    ...(to.kind === "pods" ? [] : (to.ready ?? [])),
  ]);
  return [...new Set(needs)];
}

/**
 * Lets an observer (scraper, gateway, verification) reach pods. There are no cycles: its labels are constants in observers.ts, its
 * pods need not exist yet, and nothing waits for it. Returns the policies.
 */
export function observe(parent: pulumi.Resource, by: PodIdentity, to: Endpoint | PodPorts): pulumi.Resource[] {
  return wiringOf(parent).add({ from: { kind: "pods", ...by }, observes: true, ...reached(to) });
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

/** Lets everybody, in the cluster and outside, reach pods. Returns the policy for it. */
export function admitEverybody(parent: pulumi.Resource, to: PodPorts): pulumi.Resource[] {
  return wiringOf(parent).add({
    from: { kind: "networks", name: "world", cidrs: ["0.0.0.0/0"] },
    observes: true,
    ...reached(to),
  });
}

function reached(to: Destination): Pick<Wire, "to" | "ports" | "why"> {
  switch (to.kind) {
    case "endpoint":
      return { to: { ...to.server, kind: "pods" }, ports: [{ port: to.podPort }], why: to.protocol };
    case "pods":
      return { to: { ...to.server, kind: "pods" }, ports: to.ports, why: to.why };
    case "external":
      return {
        to: { kind: "networks", name: to.name, cidrs: to.cidrs, ...(to.outside && { outside: to.outside }) },
        ports: [{ port: to.port }],
        why: to.why,
      };
  }
}
