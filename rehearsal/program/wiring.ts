import { demandOf } from "./demand";
import type { Evaluation, Registration } from "./evaluate";

/** A system of the platform: one outermost component that talks or is talked to. */
export interface System {
  readonly name: string;
  /** The layer that it belongs to; undefined for peers outside the program. */
  readonly layer?: string;
  /** Where its pods run. */
  readonly namespaces: readonly string[];
}

/** All that one system may ask of another. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly ports: readonly string[];
  /** Whether nothing waits for it: a scraper's or the gateway's. */
  readonly observes: boolean;
}

/** Who may talk to whom, by system. */
export interface Wiring {
  readonly systems: readonly System[];
  readonly arrows: readonly Arrow[];
}

/** One end of a wire: pods, or networks where there are none. */
export interface WireEnd {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly cidrs?: readonly string[];
}

/** One row of the program's wiring table (components/base/wiring.ts). */
export interface Wire {
  readonly from: WireEnd;
  readonly to: WireEnd;
  readonly ports: readonly string[];
  readonly why: string;
  readonly observes: boolean;
}

/** The program's wiring table. */
export function wiresOf({ registrations }: Pick<Evaluation, "registrations">): readonly Wire[] {
  return registrations.flatMap(({ type, inputs }) =>
    type === "carbon:base:Wires" ? (inputs["wires"] as readonly Wire[]) : [],
  );
}

/** The system that pods belong to, by the name that their wires have. */
export function systemsOf(evaluation: Evaluation): (pods: string) => string {
  const owners = new Map(demandOf(evaluation).groups.map(({ name, system }) => [name, system]));
  // An identity that several workloads share bears its system's name; what has no workload is a peer from outside.
  return (pods) => owners.get(pods) ?? pods;
}

/** Who may talk to whom, with the wires between two systems as one arrow. Flows inside a system are left out. */
export function wiringOf(evaluation: Evaluation): Wiring {
  const { registrations } = evaluation;
  const { groups } = demandOf(evaluation);
  const layers = new Map(registrations.filter(({ path, custom }) => path.length === 0 && !custom).map(layerOf));

  const systemOf = systemsOf(evaluation);
  const arrows = new Map<string, Arrow>();
  for (const wire of wiresOf(evaluation)) {
    const [from, to] = [systemOf(wire.from.name), systemOf(wire.to.name)];
    if (from === to) continue;
    const known = arrows.get(`${from} ${to}`);
    const ports = [...new Set([...(known?.ports ?? []), ...wire.ports])];
    arrows.set(`${from} ${to}`, {
      from,
      to,
      ports: ports.sort((a, b) => Number.parseInt(a) - Number.parseInt(b)),
      observes: wire.observes && (known?.observes ?? true),
    });
  }
  const sorted = [...arrows.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, arrow]) => arrow);
  const names = [...new Set(sorted.flatMap(({ from, to }) => [from, to]))].sort();
  return {
    arrows: sorted,
    systems: names.map((name) => {
      const layer = layers.get(name);
      const namespaces = groups.filter(({ system }) => system === name).map(({ namespace }) => namespace);
      return { name, ...(layer !== undefined && { layer }), namespaces: [...new Set(namespaces)].sort() };
    }),
  };
}

/** `carbon:<layer>:<Kind>` names the layer. */
function layerOf({ name, type }: Registration): readonly [string, string] {
  return [name, type.split(":")[1] ?? ""];
}
