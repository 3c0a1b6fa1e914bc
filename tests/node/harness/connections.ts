import type { V1Pod } from "@kubernetes/client-node";
import { setTimeout as sleep } from "node:timers/promises";
import type { Wire, WireEnd } from "../../../rehearsal/program/wiring";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import type { Labels } from "../../live/harness/rendered";
import { type Outcome, Probe } from "./probe";

const NOBODY = { app: "nobody" };
const ATTEMPTS = 4; // what decides may not have seen the labels yet

interface Server {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly address: string;
}

/**
 * Tries, as each kind of pod in a namespace and as one that the program does not know (or as one of them alone), every port that any
 * wire leads to, and answers with what is not as the wires say: `mlflow -> redis-0:6379: open, but no wire says so`.
 */
export async function wrongConnections(
  rehearsal: Rehearsal,
  wires: readonly Wire[],
  namespace: string,
  asWhom?: string,
): Promise<string[]> {
  const { items } = await rehearsal.api.core.listPodForAllNamespaces();
  const servers = items.filter(isRunning).map(serverOf);
  const clients = new Map<string, Labels>([["nobody", NOBODY]]);
  for (const { from } of wires) if (from.namespace === namespace && from.labels) clients.set(from.name, from.labels);
  if (asWhom !== undefined) for (const name of clients.keys()) if (name !== asWhom) clients.delete(name);
  const targets = servers.flatMap((server) => portsOf(server, wires).map((port) => ({ server, port })));
  const addresses = targets.map(({ server, port }) => `${server.address}:${port}`);
  const probe = await Probe.start(rehearsal, namespace, NOBODY);
  const ends = new Map(wires.map(({ to }) => [to.name, to]));
  const wrong = [...ends.values()]
    .filter((to) => to.namespace === namespace && to.labels && !servers.some((server) => isOf(to, server)))
    .map(({ name }) => `${name}: no pod has the labels to which wires lead`);
  for (const [client, labels] of clients) {
    await probe.be(labels);
    let faults: string[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      await sleep(200);
      const outcomes = await probe.try(addresses);
      faults = targets.flatMap(({ server, port }) => {
        const declared = wires.some((wire) => leads(wire, { namespace, labels }, server, port));
        const fault = faultOf(outcomes.get(`${server.address}:${port}`), declared);
        return fault === undefined ? [] : [`${client} -> ${server.name}:${port}: ${fault}`];
      });
      if (faults.length === 0) break;
    }
    wrong.push(...faults);
  }
  await probe.stop();
  return wrong;
}

function faultOf(outcome: Outcome | undefined, isDeclared: boolean): string | undefined {
  if (outcome === undefined) return "was not tried";
  if (isDeclared) return outcome === "blocked" ? "blocked, but a wire says that it passes" : undefined;
  return outcome === "blocked" ? undefined : `${outcome}, but no wire says so`;
}

function leads({ from, to, ports }: Wire, client: Omit<WireEnd, "name">, server: Server, port: number): boolean {
  return (
    from.namespace === client.namespace &&
    covers(from.labels, client.labels ?? {}) &&
    isOf(to, server) &&
    ports.some((range) => within(range, port))
  );
}

/** The first of each wire's ports that leads to a pod. */
function portsOf(server: Server, wires: readonly Wire[]): number[] {
  const mine = wires.filter(({ to }) => isOf(to, server));
  return [...new Set(mine.flatMap(({ ports }) => ports.map((range) => Number.parseInt(range))))];
}

/** Whether a pod is what wires lead to. */
function isOf(to: WireEnd, server: Server): boolean {
  return to.namespace === server.namespace && covers(to.labels, server.labels);
}

function within(range: string, port: number): boolean {
  const [first = 0, last = first] = range.split("-").map(Number);
  return first <= port && port <= last;
}

function covers(selector: Labels | undefined, labels: Labels): boolean {
  return selector !== undefined && Object.entries(selector).every(([key, value]) => labels[key] === value);
}

function isRunning({ status }: V1Pod): boolean {
  return status?.phase === "Running";
}

function serverOf({ metadata, status }: V1Pod): Server {
  return {
    name: metadata?.name ?? "",
    namespace: metadata?.namespace ?? "",
    labels: metadata?.labels ?? {},
    address: status?.podIP ?? "",
  };
}
