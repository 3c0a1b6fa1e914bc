import { instance } from "@viz-js/viz";
import type { Wiring } from "../../rehearsal/program/wiring";
import { FONT, GREY, layerOf } from "./layers";

// Graphviz does not support different fonts within a label; its boxes have room for 15 px, which bold 13 px need.
const STYLE = [
  ".node text { font-weight: bold; font-size: 13px; }",
  `.node text + text { font-weight: normal; font-size: 10px; fill: ${GREY}; }`,
].join("\n");

/** A picture for each system, by its name: between those that may connect to it, and those that it may connect to, as SVG. */
export async function toPictures(wiring: Wiring): Promise<ReadonlyMap<string, string>> {
  const viz = await instance();
  return new Map(
    wiring.systems.map(({ name }) => {
      const svg = viz.renderString(toDot(wiring, name), { format: "svg", engine: "dot" });
      return [name, svg.replace(/(<svg [^>]*>)/, `$1\n<style>\n${STYLE}\n</style>`)];
    }),
  );
}

function toDot({ systems, arrows }: Wiring, name: string): string {
  const node = (id: string, system: string, below: string, penwidth = 1.4) => {
    const { fill, line } = layerOf(systems.find((one) => one.name === system) ?? {});
    return `"${id}" [label="${system}\\n${below}", color="${line}", fillcolor="${fill}", penwidth=${penwidth}];`;
  };
  const edge = (from: string, to: string, observes: boolean) =>
    `"${from}" -> "${to}"${observes ? " [style=dashed]" : ""};`;
  const namespaces = systems.find((system) => system.name === name)?.namespaces ?? [];
  return [
    "digraph system {",
    `graph [rankdir=LR, bgcolor="#ffffff", pad=0.2, nodesep=0.12, ranksep=1.2];`,
    `node [shape=box, style="rounded,filled", fontname="${FONT}", fontsize=15, margin="0.1,0.06", width=2];`,
    `edge [color="${GREY}", arrowsize=0.7, penwidth=1.2];`,
    node(name, name, namespaces.join(" · ") || " ", 3),
    // What calls it and is called by it stands on both sides, so that no line leads around.
    ...arrows
      .filter(({ to }) => to === name)
      .flatMap(({ from, ports, observes }) => [
        node(`from ${from}`, from, `to ${ports.join(", ")}`),
        edge(`from ${from}`, name, observes),
      ]),
    ...arrows
      .filter(({ from }) => from === name)
      .flatMap(({ to, ports, observes }) => [
        node(`to ${to}`, to, `on ${ports.join(", ")}`),
        edge(name, `to ${to}`, observes),
      ]),
    "}",
  ].join("\n");
}
