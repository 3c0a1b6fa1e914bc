import type { Evaluation } from "../../rehearsal/program/evaluate";
import { systemsOf, type Wire, wiresOf, wiringOf } from "../../rehearsal/program/wiring";
import { byLayer } from "./layers";
import { rowsOf } from "./text";

const INTRODUCTION = `<!-- Written by \`npm run diagram\`. -->

# Who may connect to whom

Every connection of prod, by system: on the left who may connect to it, on the right what it may connect to. Numbers are the
ports that pods listen on. Dashed lines are scrapes, checks, calls from outside and webhook calls, which nothing waits for. The
tables name the pods behind a system's own connections, those within the system too. All of it in one picture is in the
[README](../README.md), as one table with \`npm run --silent diagram -- --format table\`, and for another stack with
\`npm run diagram -- --stack dev --out out/dev\`.
`;

/** A page in Markdown with a picture and a table of each system, by layer. The pictures are \`wiring/<system>.svg\`. */
export function toPage(evaluation: Evaluation): string {
  const { systems } = wiringOf(evaluation);
  const systemOf = systemsOf(evaluation);
  const wires = wiresOf(evaluation);
  return [
    INTRODUCTION,
    ...byLayer(systems).flatMap(({ layer, systems: members }) => [
      `## ${layer.title}\n`,
      ...members.flatMap(({ name }) => [
        `### ${name}\n`,
        `![${name} between those that connect to it and those that it connects to](wiring/${name}.svg)\n`,
        ...toMarkdown(wires.filter(({ from }) => systemOf(from.name) === name)),
      ]),
    ]),
  ].join("\n");
}

function toMarkdown(wires: readonly Wire[]): string[] {
  if (wires.length === 0) return [];
  const rows = rowsOf(wires).map((row) => `| ${row.join(" | ")} |`);
  return ["| from | to | ports | what for |", "|---|---|---|---|", ...rows, ""];
}
