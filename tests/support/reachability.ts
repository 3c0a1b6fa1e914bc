import { BlockList, isIPv6 } from "node:net";

/** Whom policies tell apart: pods, or a network that holds none of them. */
export type Party =
  | { readonly name: string; readonly namespace: string; readonly labels: Labels }
  | { readonly name: string; readonly cidr: string };
type Labels = Readonly<Record<string, string>>;

/** A NetworkPolicy, as far as ours go: what is not here is refused. */
export interface Policy {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly podSelector: Selector;
    readonly policyTypes: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
  };
}
interface Rule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly { readonly protocol?: string; readonly port?: number; readonly endPort?: number }[];
}
interface Peer {
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
  readonly namespaceSelector?: Selector;
  readonly podSelector?: Selector;
}
interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly unknown[];
}

/** Ports from the first to the last. */
export type Ports = readonly [first: number, last: number];
const EVERY_PORT: Ports = [1, 65535];

/**
 * Who may reach whom over TCP, by NetworkPolicies alone and as Kubernetes reads them: `FROM -> TO FIRST-LAST`, sorted. All pods
 * have addresses in `podCidr`.
 */
export function reachability(policies: readonly Policy[], parties: readonly Party[], podCidr: string): string[] {
  return parties
    .flatMap((from) =>
      parties.flatMap((to) => {
        if (!("labels" in from) && !("labels" in to)) return [];
        const out = allowed(policies, from, "Egress", to, podCidr);
        const into = allowed(policies, to, "Ingress", from, podCidr);
        return flows(
          from,
          to,
          out.flatMap((one) => into.flatMap((other) => overlap(one, other))),
        );
      }),
    )
    .sort();
}

/** One line for each stretch of ports between two parties, in the form of {@link reachability}. */
export function flows(from: Party, to: Party, ports: readonly Ports[]): string[] {
  const merged: [number, number][] = [];
  for (const [first, last] of [...ports].sort(([a], [b]) => a - b)) {
    const before = merged.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged.map(([first, last]) => `${from.name} -> ${to.name} ${first}-${last}`);
}

/** The ports that one side of a connection leaves open. */
function allowed(
  policies: readonly Policy[],
  own: Party,
  type: "Egress" | "Ingress",
  peer: Party,
  podCidr: string,
): Ports[] {
  // Policies are about pods: a network may do what the other side lets it.
  if (!("labels" in own)) return [EVERY_PORT];
  const about = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === own.namespace && spec.policyTypes.includes(type) && matches(spec.podSelector, own.labels),
  );
  if (about.length === 0) return [EVERY_PORT];
  const rules = about.flatMap(({ spec }) => (type === "Egress" ? spec.egress : spec.ingress) ?? []);
  return rules.flatMap((rule) => {
    const peers = type === "Egress" ? rule.to : rule.from;
    const isMeant = peers?.some((one) => isPeer(one, peer, own.namespace, podCidr)) ?? true;
    return isMeant ? portsOf(rule) : [];
  });
}

function portsOf({ ports }: Rule): Ports[] {
  if (ports === undefined) return [EVERY_PORT];
  return ports
    .filter(({ protocol = "TCP" }) => protocol === "TCP")
    .map(({ port, endPort = port }) => (port === undefined || endPort === undefined ? EVERY_PORT : [port, endPort]));
}

function isPeer(
  { ipBlock, namespaceSelector, podSelector }: Peer,
  peer: Party,
  home: string,
  podCidr: string,
): boolean {
  if (ipBlock !== undefined) {
    if (ipBlock.except !== undefined) throw new Error("ipBlock.except is not understood here");
    if (!("labels" in peer)) return holds(ipBlock.cidr, peer.cidr);
    // Which pod has which address is not known: a part of their network may be any of them.
    return holds(ipBlock.cidr, podCidr) || holds(podCidr, ipBlock.cidr);
  }
  if (!("labels" in peer)) return false;
  const isHome = namespaceSelector
    ? matches(namespaceSelector, { "kubernetes.io/metadata.name": peer.namespace })
    : peer.namespace === home;
  return isHome && (podSelector === undefined || matches(podSelector, peer.labels));
}

function matches({ matchLabels = {}, matchExpressions }: Selector, labels: Labels): boolean {
  if (matchExpressions !== undefined) throw new Error("matchExpressions are not understood here");
  return Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
}

function overlap([a, b]: Ports, [c, d]: Ports): Ports[] {
  const [first, last] = [Math.max(a, c), Math.min(b, d)];
  return first <= last ? [[first, last]] : [];
}

/** Whether all of a network lies in another. */
export function holds(cidr: string, other: string): boolean {
  const [address = "", bits] = cidr.split("/");
  const [first = "", otherBits] = other.split("/");
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  const list = new BlockList();
  list.addSubnet(address, Number(bits), family);
  return Number(bits) <= Number(otherBits) && list.check(first, isIPv6(first) ? "ipv6" : "ipv4");
}
