import { BlockList } from "node:net";
import {
  BatchV1Api,
  type CoreV1Api,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
  type V1PodSpec,
} from "@kubernetes/client-node";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import type { Wire, WireEnd } from "../../../rehearsal/program/wiring";
import { admits, type Match, policiesOf, type Policy, type Pushed, type Workload } from "./ztunnel";

/** Who connects, or is connected to: a pod, or an address of somebody who is none. */
export interface Party {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly labels?: Readonly<Record<string, string>>;
  readonly account?: string;
  readonly address: string;
  readonly inMesh: boolean;
  /** Whether it is a pod that runs. */
  readonly runs?: boolean;
  readonly ports?: readonly number[];
}

// What the agent on a node writes on a pod that it has taken in, and istiod goes by.
const TAKEN_IN = "ambient.istio.io/redirection";
const MODE = "istio.io/dataplane-mode";
const SOMEWHERE = "203.0.113.7";

/** Does what the agents on the nodes do: takes the pods in whose namespaces say so, and lets go of all others. */
export async function enroll({ api: { core } }: Rehearsal): Promise<void> {
  const [ambient, pods] = await Promise.all([ambientOf(core), core.listPodForAllNamespaces()]);
  for (const { metadata, spec } of pods.items) {
    const isMeant =
      ambient.includes(metadata?.namespace) && metadata?.labels?.[MODE] !== "none" && spec?.hostNetwork !== true;
    if (isMeant === (metadata?.annotations?.[TAKEN_IN] === "enabled")) continue;
    const body = { metadata: { annotations: { [TAKEN_IN]: isMeant ? "enabled" : null } } };
    const pod = { name: metadata?.name ?? "", namespace: metadata?.namespace ?? "", body };
    await core.patchNamespacedPod(pod, setHeaderOptions("Content-Type", PatchStrategy.MergePatch));
  }
}

async function ambientOf(core: CoreV1Api): Promise<(string | undefined)[]> {
  const { items } = await core.listNamespace({ labelSelector: `${MODE}=ambient` });
  return items.map(({ metadata }) => metadata?.name);
}

/** The pods of a rehearsal, those that CronJobs will make included, and some of whom nobody knows. */
export async function partiesOf({ api: { core }, cluster }: Rehearsal, wires: readonly Wire[]): Promise<Party[]> {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(cluster.kubeconfig);
  const batch = kubeconfig.makeApiClient(BatchV1Api);
  const [ambient, pods, jobs] = await Promise.all([
    ambientOf(core),
    core.listPodForAllNamespaces(),
    batch.listCronJobForAllNamespaces(),
  ]);
  const networks = new Set(wires.flatMap(({ from }) => from.cidrs ?? []));
  return [
    ...pods.items.map(({ metadata, spec, status }) => ({
      name: `${metadata?.namespace}/${metadata?.name}`,
      namespace: metadata?.namespace,
      labels: metadata?.labels ?? {},
      address: status?.podIP ?? SOMEWHERE,
      inMesh: metadata?.annotations?.[TAKEN_IN] === "enabled",
      runs: status?.phase === "Running",
      ...known(spec),
    })),
    ...jobs.items.map(({ metadata, spec }) => ({
      name: `${metadata?.namespace}/${metadata?.name}`,
      namespace: metadata?.namespace,
      labels: {
        ...spec?.jobTemplate.spec?.template.metadata?.labels,
        // Of the chart's own, somebody starts Jobs of that name.
        "batch.kubernetes.io/job-name": metadata?.name ?? "",
      },
      address: SOMEWHERE,
      inMesh: ambient.includes(metadata?.namespace),
      ...known(spec?.jobTemplate.spec?.template.spec),
    })),
    ...[...networks].map((network) => ({ name: network, address: network.replace(/\/.*/, ""), inMesh: false })),
    { name: "somebody", address: SOMEWHERE, inMesh: false },
    { name: "another pod", namespace: "default", labels: {}, account: "default", address: SOMEWHERE, inMesh: true },
  ];
}

function known(spec: V1PodSpec | undefined): Pick<Party, "account" | "ports"> {
  const ports = (spec?.containers ?? []).flatMap((one) => one.ports ?? []).map(({ containerPort }) => containerPort);
  return { account: spec?.serviceAccountName ?? "default", ports };
}

/** The accounts of pods that run, and that istiod does not have in the mesh. */
export function outsideMesh({ workloads }: Pushed, parties: readonly Party[]): string[] {
  const meshed = workloads.filter(({ tunnelProtocol }) => tunnelProtocol === "HBONE").map(nameOf);
  const outside = parties.filter(({ name, runs }) => runs && !meshed.includes(name));
  return [...new Set(outside.map(({ namespace, account }) => `${namespace}/${account}`))].sort();
}

/** Connections into the mesh: `FROM -> TO PORT`. */
export interface Comparison {
  /** Declared by the wiring table, and refused by what istiod pushes. */
  readonly refused: readonly string[];
  /** Let in by what istiod pushes, and not declared. */
  readonly undeclared: readonly string[];
  /** Declared, and let in. */
  readonly open: readonly string[];
}

/** Compares what istiod pushes with the wiring table, for everybody who might call a pod of the mesh. */
export function compare(pushed: Pushed, parties: readonly Party[], wires: readonly Wire[]): Comparison {
  const lines = pushed.workloads
    .filter(({ tunnelProtocol }) => tunnelProtocol === "HBONE")
    .flatMap((workload) => {
      const server = parties.find(({ name }) => name === nameOf(workload));
      if (server === undefined) throw new Error(`${nameOf(workload)}: istiod has a pod that is not there`);
      const policies = policiesOf(pushed, workload);
      const inbound = wires.filter(({ to }) => selects(to, server));
      const ports = probed(inbound, policies, server);
      // Of all pods of a mesh, the domain is the same.
      const { trustDomain = "cluster.local" } = workload;
      const identityOf = ({ namespace, account }: Party) => `${trustDomain}/ns/${namespace}/sa/${account}`;
      const identities = parties.filter(({ inMesh }) => inMesh).map(identityOf);
      const unknown = principalsOf(policies).filter((principal) => !identities.includes(principal));
      return [
        ...unknown.map((principal) => ({
          line: `${principal}, as which no pod runs -> ${server.name}`,
          isDeclared: false,
          isOpen: true,
        })),
        ...parties.flatMap((client) => {
          const rows = inbound.filter(({ from }) => means(from, client, parties));
          const identity = client.inMesh ? { identity: identityOf(client) } : {};
          return ports.map((port) => ({
            line: `${client.name} -> ${server.name} ${port}`,
            isDeclared: rows.some((row) => row.ports.map(range).some(([first, last]) => first <= port && port <= last)),
            isOpen: admits(policies, { address: client.address, port, ...identity }),
          }));
        }),
      ];
    });
  const only = (declared: boolean, open: boolean): string[] =>
    lines.filter(({ isDeclared, isOpen }) => isDeclared === declared && isOpen === open).map(({ line }) => line);
  return { refused: only(true, false), undeclared: only(false, true), open: only(true, true) };
}

/** Whether an end of a wire means whoever calls: pods of the mesh are known by their account, others by their address. */
function means(end: WireEnd, client: Party, parties: readonly Party[]): boolean {
  if (client.inMesh) return parties.some((one) => one.inMesh && isAlike(one, client) && selects(end, one));
  return selects(end, client) || (end.cidrs ?? []).some((network) => contains(network, client.address));
}

/** The ports that tell whether policies say the same as the table: where either begins or ends, and those of the pod. */
function probed(inbound: readonly Wire[], policies: readonly Policy[], server: Party): number[] {
  const matches = matchesOf(policies);
  const named = matches.flatMap(({ destinationPorts = [], notDestinationPorts = [] }) => [
    ...destinationPorts,
    ...notDestinationPorts,
  ]);
  const all = new Set(named);
  const ends = [...all].filter((port) => !all.has(port - 1) || !all.has(port + 1));
  const near = [...ends, ...inbound.flatMap(({ ports }) => ports.flatMap(range))].flatMap((port) => [
    port - 1,
    port,
    port + 1,
  ]);
  return [...new Set([...near, ...(server.ports ?? [])])];
}

function principalsOf(policies: readonly Policy[]): string[] {
  const principals = matchesOf(policies).flatMap(({ principals = [] }) => principals);
  return [...new Set(principals.flatMap(({ exact }) => exact ?? []))];
}

function matchesOf(policies: readonly Policy[]): Match[] {
  const rules = policies.flatMap(({ groups = [] }) => groups).flatMap(({ rules = [] }) => rules);
  return rules.flatMap(({ matches = [] }) => matches);
}

function nameOf({ namespace, name }: Workload): string {
  return `${namespace}/${name}`;
}

/** Pods of one account are one identity to the mesh. */
function isAlike(one: Party, other: Party): boolean {
  return one.namespace === other.namespace && one.account === other.account;
}

/** Whether an end of a wire means a pod. */
export function selects({ namespace, labels }: WireEnd, party: Party): boolean {
  return (
    labels !== undefined &&
    namespace === party.namespace &&
    Object.entries(labels).every(([key, value]) => party.labels?.[key] === value)
  );
}

function range(ports: string): readonly [number, number] {
  const [first = 0, last = first] = ports.split("-").map(Number);
  return [first, last];
}

function contains(network: string, address: string): boolean {
  const [base = "", length = "32"] = network.split("/");
  const list = new BlockList();
  list.addSubnet(base, Number(length));
  return list.check(address);
}
