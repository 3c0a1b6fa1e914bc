import type { Wire, WireEnd, Wiring } from "../../rehearsal/program/wiring";
import { table } from "../../rehearsal/simulation/tables";
import { LAYERS } from "./layers";

/** The wiring in Mermaid, which GitHub renders in Markdown. */
export function toMermaid({ systems, arrows }: Wiring): string {
  const groups = Object.entries(LAYERS).flatMap(([layer, { title }]) => {
    const members = systems.filter((system) => system.layer === layer);
    if (members.length === 0) return [];
    return [`  subgraph ${layer}["${title}"]`, ...members.map(({ name }) => `    ${name}`), "  end"];
  });
  const lines = arrows.map(
    ({ from, to, ports, observes }) => `  ${from} ${observes ? "-.->" : "-->"}|"${ports.join(", ")}"| ${to}`,
  );
  return ["flowchart LR", ...groups, ...lines, ""].join("\n");
}

/** Every connection as text, by the pods that make it: their destination, and the reason. */
export function toTable(wires: readonly Wire[]): string {
  const rows = rowsOf(wires);
  const sources = [...new Set(rows.map(([from = ""]) => from))];
  return table(
    ["from, to", "ports", "what for"],
    sources.flatMap((source) => [
      [source],
      ...rows.flatMap(([from, to = "", ...others]) => (from === source ? [[`  ${to}`, ...others]] : [])),
    ]),
  );
}

/** Every connection as data. */
export function toList(wires: readonly Wire[]): Readonly<Record<string, string>>[] {
  return rowsOf(wires).map(([from = "", to = "", ports = "", why = ""]) => ({ from, to, ports, why }));
}

/** The connections in order; those of two routes to the same pods are one. */
export function rowsOf(wires: readonly Wire[]): string[][] {
  const rows = wires.map(({ from, to, ports, why }) => [placed(from), placed(to), ports.join(", "), why]);
  const unique = new Map(rows.map((row) => [row.join("\n"), row]));
  return [...unique.keys()].sort().flatMap((key) => [unique.get(key) ?? []]);
}

function placed({ name, namespace }: WireEnd): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
