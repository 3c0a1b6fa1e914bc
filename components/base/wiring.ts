import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { PodIdentity, PortRange } from "./endpoint";
import { objectName } from "./names";
import { isWithin } from "./networks";
import { isProxied, type Outside, type OutsideServer, proxyEnd } from "./outside";

/** One end of a wire. Who is no pod is known by its networks. */
export type WireEnd =
  | ({ readonly kind: "pods" } & PodIdentity)
  | {
      readonly kind: "networks";
      readonly name: string;
      readonly cidrs: readonly string[];
      /** What is asked there, if it is outside the cluster. */
      readonly outside?: OutsideServer;
    };

/** One row of the table: who may reach whom, and what for. */
export interface Wire {
  readonly from: WireEnd;
  readonly to: WireEnd;
  readonly ports: readonly PortRange[];
  /** What is spoken or done there, in a word or two. */
  readonly why: string;
  /** Whether it comes and goes as it likes: a client starts after its server, an observer does not. */
  readonly observes: boolean;
}

const POLICY_TYPES = { egress: "Egress", ingress: "Ingress" } as const;
type Direction = keyof typeof POLICY_TYPES;

/** The mesh, as far as policies know it. */
export interface Mesh {
  /** Its CRDs. */
  readonly crds: pulumi.Resource;
  /** The part of each identity that names the mesh. */
  readonly trustDomain: string;
}

// Where ztunnel takes in what pods of the mesh send each other (https://istio.io/latest/docs/ambient/usage/networkpolicy).
const HBONE = { port: 15008 };

/** Leads to a cluster, and carries the wiring of all that is made there. */
export class ClusterProvider extends k8s.Provider {
  readonly wiring = new Wiring(this);
}

/**
 * The one table of who may talk to whom. Components add rows while the program runs; when it is complete, all pods that
 * bear one name get one egress and one ingress policy from it, and in a mesh one AuthorizationPolicy. What waits for a policy waits until then. Where the program
 * throws, the table stays open: a policy with half of its rows would cut off the others.
 */
export class Wiring {
  private readonly wires: Wire[] = [];
  private readonly policies = new Map<string, { readonly pods: PodIdentity; readonly made: pulumi.Resource[] }>();
  private readonly plaintext = new Map<string, pulumi.Resource>();
  private mesh: Mesh | undefined;
  private inside: readonly string[] = [];
  private outside: Outside = {};
  private readonly component: pulumi.ComponentResource;
  private readonly completed: Promise<void>;
  private finish?: (() => void) | undefined;

  constructor(provider: k8s.Provider) {
    this.completed = new Promise((resolve) => {
      this.finish = resolve;
    });
    this.component = new pulumi.ComponentResource("carbon:base:Wiring", "wiring", {}, { provider });
    // An input, so that a preview shows changed rows and an evaluation under mocks can read them. Not the parent of the
    // policies: its rows name namespaces, and those of the mesh wait for policies.
    new pulumi.ComponentResource(
      "carbon:base:Wires",
      "wires",
      { wires: this.onceComplete(() => this.wires.map(record)) },
      { parent: this.component },
    );
  }

  /** Adds a row. Returns the policies without which nothing passes. */
  add(wire: Wire): pulumi.Resource[] {
    return waysOf(wire, this.outside).flatMap((way) => this.addOne(way));
  }

  private addOne(wire: Wire): pulumi.Resource[] {
    const { from, to } = wire;
    if (this.finish === undefined) {
      throw new Error(
        `${from.name} gets ${to.name} when the wiring is complete: hand over in constructors, not in apply`,
      );
    }
    this.wires.push(wire);
    return [...this.policy("egress", from), ...this.policy("ingress", to), ...this.admitPlaintext(wire)];
  }

  /** From here on servers get policies of the mesh, too. */
  join(mesh: Mesh): void {
    this.mesh = mesh;
  }

  /** The networks of the cluster itself, which are not meant where a wire leads to a wider one, such as 0.0.0.0/0. */
  surround(networks: readonly string[]): void {
    this.inside = networks;
  }

  /** From here on wires to servers outside lead to the proxy, if there is one. */
  leaveBy(outside: Outside): void {
    this.outside = outside;
  }

  /** The servers outside that pods with these labels ask, as far as they were handed over. */
  outsideOf(labels: Readonly<Record<string, string>>): OutsideServer[] {
    return this.wires.flatMap(({ from, to }) => {
      if (from.kind !== "pods" || to.kind !== "networks" || to.outside === undefined) return [];
      const isOne = Object.entries(from.matchLabels).every(([key, value]) => labels[key] === value);
      return isOne ? [to.outside] : [];
    });
  }

  /** Makes the policies: the program has handed over everything. */
  complete(): void {
    this.finish?.();
    this.finish = undefined;
  }

  private policy(direction: Direction, pods: WireEnd): pulumi.Resource[] {
    if (pods.kind === "networks" || pods.foreign === true) return [];
    const name = objectName(pods.name, direction);
    const known = this.policies.get(name);
    if (known !== undefined) {
      refuseNamesake(known.pods, pods);
      return known.made;
    }
    const rules = () => rulesOf(this.wires, direction, pods.name, this.mesh !== undefined);
    const policy = new k8s.networking.v1.NetworkPolicy(
      name,
      {
        metadata: {
          name,
          namespace: pods.namespace,
          annotations: { "254carbon.com/wires": this.onceComplete(() => rules().map(describe).join("\n")) },
        },
        spec: {
          podSelector: { matchLabels: pods.matchLabels },
          policyTypes: [POLICY_TYPES[direction]],
          [direction]: this.onceComplete(() => rules().map((rule) => policyRule(direction, rule, this.inside))),
        },
      },
      { parent: this.component },
    );
    const made = [policy, ...(direction === "ingress" ? this.authorize(pods) : [])];
    this.policies.set(name, { pods, made });
    return made;
  }

  /** Lets those in by their identity whom a server has a wire from: ztunnel asks, with or without a CNI that enforces. */
  private authorize(server: PodIdentity): pulumi.Resource[] {
    if (this.mesh === undefined || server.outsideMesh !== undefined) return [];
    const { crds, trustDomain } = this.mesh;
    const { name, namespace, matchLabels } = server;
    const rules = () => rulesOf(this.wires, "ingress", name, true);
    return [
      new k8s.apiextensions.CustomResource(
        objectName(name, "callers"),
        {
          apiVersion: "security.istio.io/v1",
          kind: "AuthorizationPolicy",
          metadata: { name, namespace },
          spec: {
            selector: { matchLabels },
            action: "ALLOW",
            rules: this.onceComplete(() => rules().map((rule) => authorizationRule(rule, trustDomain))),
          },
        },
        { parent: this.component, dependsOn: crds },
      ),
    ];
  }

  /** The mesh takes nothing without mTLS; who is not a pod, such as the API server, has none to offer. */
  private admitPlaintext({ from, to }: Wire): pulumi.Resource[] {
    if (this.mesh === undefined || from.kind === "pods" || to.kind === "networks" || to.outsideMesh !== undefined) {
      return [];
    }
    const known = this.plaintext.get(to.name);
    if (known !== undefined) return [known];
    const ports = () =>
      this.wires.filter((wire) => wire.from.kind === "networks" && wire.to.name === to.name).flatMap((w) => w.ports);
    const exception = new k8s.apiextensions.CustomResource(
      objectName(to.name, "plaintext"),
      {
        apiVersion: "security.istio.io/v1",
        kind: "PeerAuthentication",
        metadata: { name: to.name, namespace: to.namespace },
        spec: {
          selector: { matchLabels: to.matchLabels },
          mtls: { mode: "STRICT" },
          portLevelMtls: this.onceComplete(() =>
            Object.fromEntries(ports().map(({ port }) => [`${port}`, { mode: "PERMISSIVE" }])),
          ),
        },
      },
      { parent: this.component, dependsOn: this.mesh.crds },
    );
    this.plaintext.set(to.name, exception);
    return [exception];
  }

  private onceComplete<T>(make: () => T): pulumi.Output<pulumi.Unwrap<T>> {
    return pulumi.output(this.completed.then(make));
  }
}

/** A wire, or that to the proxy in its place; both where only a credential tells which of them is taken. */
function waysOf(wire: Wire, outside: Outside): Wire[] {
  const { to } = wire;
  if (to.kind === "pods" || to.outside === undefined || !isProxied(to.outside, outside)) return [wire];
  const { to: proxy, ...others } = proxyEnd(outside.proxy);
  const led = { ...wire, ...others, to: { ...proxy, outside: to.outside } };
  return to.outside.host === undefined ? [wire, led] : [led];
}

/** The wiring of the cluster that a component is part of. */
export function wiringOf(component: pulumi.Resource): Wiring {
  const provider = component.getProvider("kubernetes:networking.k8s.io/v1:NetworkPolicy");
  if (provider instanceof ClusterProvider) return provider.wiring;
  throw new pulumi.ResourceError("it has no wiring: hand it the provider of its cluster", component);
}

// A policy stands for all pods of one name: others of that name would get their rules.
function refuseNamesake(known: PodIdentity, pods: PodIdentity): void {
  const labels = [known, pods].map(({ matchLabels }) => JSON.stringify(Object.entries(matchLabels).sort()));
  if (labels[0] === labels[1] && known.namespace === pods.namespace) return;
  throw new Error(`two kinds of pods are called ${pods.name}, and a policy is known by that name: rename one of them`);
}

/** What several peers have in common. */
interface Rule {
  readonly ports: readonly PortRange[];
  readonly why: string;
  /** Whether the mesh carries it. */
  readonly meshed: boolean;
  readonly peers: ReadonlyMap<string, WireEnd>;
}

/** The rows of some pods, in an order that does not depend on the program's: equal ports and reasons together. */
function rulesOf(wires: readonly Wire[], direction: Direction, name: string, hasMesh: boolean): Rule[] {
  const rules = new Map<string, Rule & { peers: Map<string, WireEnd> }>();
  for (const { from, to, ports, why } of wires) {
    const [own, peer] = direction === "egress" ? [from, to] : [to, from];
    if (own.kind !== "pods" || own.name !== name) continue;
    const meshed = hasMesh && [own, peer].every((end) => end.kind === "pods" && end.outsideMesh === undefined);
    const key = `${portNames(ports).join()} ${why} ${String(meshed)}`;
    const rule = rules.get(key) ?? { ports, why, meshed, peers: new Map<string, WireEnd>() };
    rules.set(key, rule);
    // Something outside may have several networks.
    rule.peers.set([peer.name, peer.kind, ...(peer.kind === "networks" ? peer.cidrs : [])].join(" "), peer);
  }
  return sorted(rules).map((rule) => ({ ...rule, peers: new Map([...rule.peers].sort(byName)) }));
}

function sorted<T>(entries: ReadonlyMap<string, T>): T[] {
  return [...entries].sort(byName).map(([, one]) => one);
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

// The ports stay open beside the mesh's own: who is not in it yet, or no longer, still reaches what he may.
function policyRule(direction: Direction, { ports, peers, meshed }: Rule, inside: readonly string[]): object {
  // Who comes from outside may bear the address of a node that passed him on.
  const never = direction === "egress" ? inside : [];
  return {
    [direction === "egress" ? "to" : "from"]: [...peers.values()].flatMap((end) => policyPeers(end, never)),
    ports: [...ports, ...(meshed ? [HBONE] : [])].map((range) => ({ protocol: "TCP", ...range })),
  };
}

function authorizationRule({ ports, peers }: Rule, trustDomain: string): object {
  const ends = [...peers.values()];
  const principals = ends.flatMap((end) =>
    end.kind === "networks"
      ? []
      : [end.serviceAccount, ...(end.otherAccounts ?? [])].map(
          (account) => pulumi.interpolate`${trustDomain}/ns/${end.namespace}/sa/${account}`,
        ),
  );
  const ipBlocks = ends.flatMap((end) => (end.kind === "networks" ? end.cidrs : []));
  const sources = [
    // Several kinds of pods may share an account.
    ...(principals.length > 0 ? [{ principals: pulumi.all(principals).apply((all) => [...new Set(all)]) }] : []),
    // Pods that have an identity are known by that, whatever their addresses.
    ...(ipBlocks.length > 0 ? [{ ipBlocks, notPrincipals: ["*"] }] : []),
  ];
  return {
    from: sources.map((source) => ({ source })),
    // It knows no ranges of ports.
    to: [{ operation: { ports: ports.flatMap(eachPort) } }],
  };
}

function eachPort({ port, endPort = port }: PortRange): string[] {
  return Array.from({ length: endPort - port + 1 }, (_, index) => `${port + index}`);
}

function policyPeers(end: WireEnd, never: readonly string[]): object[] {
  if (end.kind === "networks") {
    return end.cidrs.map((cidr) => {
      const except = never.filter((network) => network !== cidr && isWithin(cidr, network));
      return { ipBlock: { cidr, ...(except.length > 0 && { except }) } };
    });
  }
  return [
    {
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": end.namespace } },
      podSelector: { matchLabels: end.matchLabels },
    },
  ];
}

function describe({ ports, why, peers }: Rule): string {
  return `${portNames(ports).join(", ")} (${why}): ${[...peers.values()].map((peer) => peer.name).join(", ")}`;
}

function record({ from, to, ports, ...row }: Wire): object {
  return { from: recordEnd(from), to: recordEnd(to), ports: portNames(ports), ...row };
}

function recordEnd(end: WireEnd): object {
  if (end.kind === "networks") return { name: end.name, cidrs: end.cidrs };
  return { name: end.name, namespace: end.namespace, labels: end.matchLabels };
}

function portNames(ports: readonly PortRange[]): string[] {
  return ports.map(({ port, endPort }) => (endPort === undefined ? `${port}` : `${port}-${endPort}`));
}
