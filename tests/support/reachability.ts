import { BlockList, isIPv6 } from "node:net";

/** Whom policies tell apart: pods, or a network that holds none of them. */
export type Party =
  | { readonly name: string; readonly namespace: string; readonly labels: Labels; readonly serviceAccount: string }
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
    const { except = [] } = ipBlock;
    if (!("labels" in peer)) return holds(ipBlock.cidr, peer.cidr) && !except.some((one) => holds(one, peer.cidr));
    if (except.some((one) => holds(one, podCidr))) return false;
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

/** The policies of an ambient mesh, as far as ours go: what is not here is refused. */
export interface MeshPolicies {
  /** Namespaces whose pods are in the mesh, and the one whose policies hold for all of them. */
  readonly namespaces: readonly string[];
  readonly root: string;
  readonly authorizations: readonly AuthorizationPolicy[];
  readonly authentications: readonly PeerAuthentication[];
}
interface AuthorizationPolicy {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: { readonly selector?: Selector; readonly action: string; readonly rules?: readonly MeshRule[] };
}
interface MeshRule {
  readonly from: readonly { readonly source: Source }[];
  readonly to: readonly { readonly operation: { readonly ports: readonly string[] } }[];
}
interface Source {
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  readonly ipBlocks?: readonly string[];
}
interface PeerAuthentication {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly selector?: Selector;
    readonly mtls: { readonly mode: string };
    readonly portLevelMtls?: Readonly<Record<string, { readonly mode: string }>>;
  };
}

/** Where ztunnel takes in what pods of the mesh send each other. */
export const HBONE = 15008;

/**
 * {@link reachability} with a mesh, as ztunnel reads its policies. `enforced`: whether the CNI heeds NetworkPolicies; without,
 * whoever knows an address may call it, and the mesh alone refuses.
 */
export function meshReachability(
  policies: readonly Policy[],
  mesh: MeshPolicies,
  parties: readonly Party[],
  { podCidr, enforced }: { readonly podCidr: string; readonly enforced: boolean },
): string[] {
  const isIn = (party: Party): boolean => "labels" in party && mesh.namespaces.includes(party.namespace);
  return parties
    .flatMap((from) =>
      parties.flatMap((to) => {
        if (!("labels" in from) && !("labels" in to)) return [];
        const passes = enforced
          ? allowed(policies, from, "Egress", to, podCidr).flatMap((one) =>
              allowed(policies, to, "Ingress", from, podCidr).flatMap((other) => overlap(one, other)),
            )
          : [EVERY_PORT];
        if (!("labels" in to) || !isIn(to)) return flows(from, to, passes);
        const admitted = authorized(mesh, from, to, podCidr);
        // Inside the mesh a connection arrives at one port, whatever port it is for.
        if (isIn(from)) return passes.some(([a, b]) => a <= HBONE && HBONE <= b) ? flows(from, to, admitted) : [];
        const plain = plaintext(mesh, to);
        const open = passes.flatMap((one) =>
          admitted
            .flatMap((other) => overlap(one, other))
            .flatMap((one) => plain.flatMap((port) => overlap(one, port))),
        );
        return flows(from, to, open);
      }),
    )
    .sort();
}

/** The ports of a pod that AuthorizationPolicies open to somebody. */
function authorized(
  { authorizations, root, namespaces }: MeshPolicies,
  from: Party,
  to: Extract<Party, { readonly labels: Labels }>,
  podCidr: string,
): Ports[] {
  const about = authorizations.filter(({ metadata: { namespace }, spec: { selector } }) =>
    selector === undefined
      ? [root, to.namespace].includes(namespace)
      : namespace === to.namespace && matches(selector, to.labels),
  );
  if (about.length === 0) return [EVERY_PORT];
  const isMeant = ({ principals, notPrincipals, ipBlocks = [] }: Source): boolean => {
    if (notPrincipals !== undefined && notPrincipals.join() !== "*") throw new Error("only * is understood here");
    if (!("labels" in from)) return principals === undefined && ipBlocks.some((block) => holds(block, from.cidr));
    const identity = `cluster.local/ns/${from.namespace}/sa/${from.serviceAccount}`;
    if (principals !== undefined) return principals.includes(identity);
    if (notPrincipals !== undefined && namespaces.includes(from.namespace)) return false;
    return ipBlocks.some((block) => holds(block, podCidr) || holds(podCidr, block));
  };
  return about.flatMap(({ spec: { action, rules = [] } }) => {
    if (action !== "ALLOW") throw new Error(`action ${action} is not understood here`);
    return rules
      .filter((rule) => rule.from.some(({ source }) => isMeant(source)))
      .flatMap((rule) => rule.to.flatMap(({ operation }) => operation.ports.map((port): Ports => [+port, +port])));
  });
}

/** The ports of a pod that take connections without mTLS. */
export function plaintext(
  { authentications, root }: MeshPolicies,
  to: Extract<Party, { readonly labels: Labels }>,
): Ports[] {
  const whole = authentications.find(({ metadata, spec }) => metadata.namespace === root && !spec.selector);
  if (whole?.spec.mtls.mode !== "STRICT") return [EVERY_PORT];
  return authentications
    .filter(
      ({ metadata, spec }) => metadata.namespace === to.namespace && spec.selector && matches(spec.selector, to.labels),
    )
    .flatMap(({ spec: { portLevelMtls = {} } }) =>
      Object.entries(portLevelMtls).flatMap(([port, { mode }]) =>
        mode === "PERMISSIVE" ? [[+port, +port] as Ports] : [],
      ),
    );
}
