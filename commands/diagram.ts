import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { instance } from "@viz-js/viz";
import { evaluateStack } from "../rehearsal/program/charts";
import { ROOT, STACKS, type Evaluation } from "../rehearsal/program/evaluate";
import {
  type Arrow,
  type System,
  type Wire,
  type WireEnd,
  type Wiring,
  wiresOf,
  wiringOf,
} from "../rehearsal/program/wiring";
import { table } from "../rehearsal/simulation/tables";
import { command, run } from "./cli";

/** The committed diagram. */
export const WIRING_FILE = path.join(ROOT, "docs/wiring.svg");

interface Layer {
  readonly title: string;
  readonly fill: string;
  readonly line: string;
}

/** The groups of the diagram, one per directory of components, from what people use down to what everything depends on. */
export const LAYERS: Readonly<Record<string, Layer>> = {
  edge: { title: "Edge", fill: "#fdf2f8", line: "#be185d" },
  observability: { title: "Observability", fill: "#f5f3ff", line: "#6d28d9" },
  analytics: { title: "Analytics", fill: "#fffbeb", line: "#b45309" },
  catalog: { title: "Catalog", fill: "#ecfeff", line: "#0e7490" },
  ml: { title: "Machine learning", fill: "#eff6ff", line: "#1d4ed8" },
  data: { title: "Data", fill: "#f0fdf4", line: "#15803d" },
  ground: { title: "Ground", fill: "#f8fafc", line: "#475569" },
};

// Whichever the reader's machine has; boxes leave room for the widest.
const FONT = "Helvetica,Arial,sans-serif";
const GREY = "#64748b";

const LEGEND =
  "Numbers are the ports that pods listen on. Dashed: scrapes, checks, calls from outside and webhook calls, which nothing waits for.";

/** The wiring in Graphviz DOT. */
export function toDot({ systems, arrows }: Wiring): string {
  const clusters = Object.entries(LAYERS).flatMap(([layer, { title, fill, line }]) => {
    const members = systems.filter((system) => system.layer === layer);
    if (members.length === 0) return [];
    return [
      `subgraph "cluster_${layer}" {`,
      // On the right, since arrows arrive from the left. STYLE's bold 13 px need the width of 15.
      `label="${title}"; labelloc=t; labeljust=r; fontsize=15; fontcolor="${line}";`,
      `color="${line}"; fillcolor="${fill}"; style="rounded,filled"; margin=16;`,
      ...members.map((system) => node(system, `color="${line}"`)),
      "}",
    ];
  });
  const outside = systems.filter(({ layer }) => layer === undefined || !(layer in LAYERS));
  return [
    "digraph wiring {",
    `graph [rankdir=LR, bgcolor="#ffffff", pad=0.3, nodesep=0.3, ranksep=0.9, fontname="${FONT}"];`,
    `graph [label="${LEGEND}", labelloc=b, labeljust=l, fontsize=10, fontcolor="${GREY}"];`,
    `node [shape=box, style="rounded,filled", fillcolor="#ffffff", fontname="${FONT}", fontsize=13, margin="0.25,0.12", penwidth=1.4];`,
    `edge [fontname="${FONT}", fontsize=10, fontcolor="#334155", color="${GREY}", arrowsize=0.7, penwidth=1.2];`,
    ...clusters,
    ...outside.map((system) => node(system, `color="#94a3b8", style="rounded,filled,dashed"`)),
    ...arrows.map(edge),
    "}",
  ].join("\n");
}

function node({ name, namespaces }: System, look: string): string {
  return `"${name}" [label="${[name, namespaces.join(" · ")].filter((line) => line !== "").join("\\n")}", ${look}];`;
}

function edge({ from, to, ports, observes }: Arrow): string {
  // Paler and without influence on the layout: a scraper reaches nearly everything.
  const look = observes ? `, style=dashed, weight=0, penwidth=1, color="#94a3b8", fontcolor="#94a3b8"` : "";
  return `"${from}" -> "${to}" [label="${ports.join(", ")}"${look}];`;
}

// Graphviz supports neither different fonts within a label nor label backgrounds.
const STYLE = [
  ".node text, .cluster text { font-weight: bold; font-size: 13px; }",
  `.node text + text { font-weight: normal; font-size: 10px; fill: ${GREY}; }`,
  ".edge text { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; }",
].join("\n");

/** The wiring as a self-contained SVG. */
export async function toSvg(wiring: Wiring): Promise<string> {
  const viz = await instance();
  const svg = viz.renderString(toDot(wiring), { format: "svg", engine: "dot" });
  return svg.replace(/(<svg [^>]*>)/, `$1\n<style>\n${STYLE}\n</style>`);
}

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

/** Every row of the wiring table: pods, their destination, and the reason. */
export function toTable(wires: readonly Wire[]): string {
  const rows = wires.map(({ from, to, ports, why }) => [placed(from), placed(to), ports.join(", "), why]);
  return `${table(
    ["from", "to", "ports", "what for"],
    rows.sort((a, b) => (a.join() < b.join() ? -1 : 1)),
  )}\n`;
}

function placed({ name, namespace }: WireEnd): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

const FORMATS = {
  svg: (evaluation: Evaluation) => toSvg(wiringOf(evaluation)),
  mermaid: (evaluation: Evaluation) => toMermaid(wiringOf(evaluation)),
  table: (evaluation: Evaluation) => toTable(wiresOf(evaluation)),
};

/** The command line. */
export const program = command(
  "diagram",
  "Draws or lists which pods may connect to which, from the program's wiring table.",
  ["npm run diagram", "npm run --silent diagram -- --format table"],
)
  .option("--stack <name>", `the stack: ${STACKS.join(" or ")}`, "prod")
  .option("--out <file>", `output file (default: ${path.relative(ROOT, WIRING_FILE)}, or standard output (-) for text)`)
  .option("--format <format>", "svg, mermaid or table", "svg")
  .addHelpText("after", "\nExit codes: 0 drawn, 2 wrong usage or config.")
  .action(async ({ stack, format, ...given }: { stack: string; out?: string; format: string }) => {
    if (!(format in FORMATS)) {
      throw new pulumi.RunError(`--format ${format}: unknown; allowed are ${Object.keys(FORMATS).join(", ")}`);
    }
    const text = await FORMATS[format as keyof typeof FORMATS](await evaluateStack(stack));
    const { out = format === "svg" ? path.relative(ROOT, WIRING_FILE) : "-" } = given;
    if (out === "-") {
      process.stdout.write(text);
      return;
    }
    fs.mkdirSync(path.dirname(out), { recursive: true });
    fs.writeFileSync(out, text);
    console.log(`Wrote the wiring of ${stack} to ${out}.`);
  });

if (require.main === module) void run(program);
