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

/** One wire of the program: an arrow, and the name of the component that is it. */
export interface WireBetween extends Arrow {
  readonly name: string;
}

/** Reads the recorded wires. Flows inside a system are left out. */
export function wiresOf(evaluation: Evaluation): WireBetween[] {
  const owners = new Map(demandOf(evaluation).groups.map(({ name, system }) => [name, system]));
  // An identity that several workloads share bears its system's name; what has no workload is a peer from outside.
  const systemOf = (pods: string): string => owners.get(pods) ?? pods;
  return evaluation.registrations
    .filter(({ type }) => type === "carbon:base:Wire")
    .map(({ inputs, path, name }) => {
      const wire = inputs as { from: string; to: string; ports: string[] };
      const from = systemOf(wire.from);
      // A client's wires are part of its own system; an observer's are part of the observed one.
      return { name, from, to: systemOf(wire.to), ports: wire.ports, observes: path[0] !== from };
    })
    .filter(({ from, to }) => from !== to);
}

/** Who may talk to whom, with the wires between two systems as one arrow. */
export function wiringOf(evaluation: Evaluation): Wiring {
  const { registrations } = evaluation;
  const { groups } = demandOf(evaluation);
  const layers = new Map(registrations.filter(({ path, custom }) => path.length === 0 && !custom).map(layerOf));

  const arrows = new Map<string, Arrow>();
  for (const { from, to, observes, ...wire } of wiresOf(evaluation)) {
    const key = `${from} ${to}`;
    const ports = [...new Set([...(arrows.get(key)?.ports ?? []), ...wire.ports])];
    arrows.set(key, { from, to, ports: ports.sort((a, b) => Number.parseInt(a) - Number.parseInt(b)), observes });
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
