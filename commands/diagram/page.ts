import type { Evaluation } from "../../rehearsal/program/evaluate";
import { systemsOf, type Wire, wiresOf, wiringOf } from "../../rehearsal/program/wiring";
import { byLayer } from "./layers";
import { rowsOf } from "./text";

const introduction = (stack: string) => `<!-- Written by \`npm run diagram\`. -->

# Who may connect to whom in ${stack}

![Which systems may connect to which, and on which ports](wiring.svg)

Below, each system stands between those that may connect to it, on the left, and those that it may connect to. Numbers are the
ports that pods listen on. Dashed lines are scrapes, checks, calls from outside and webhook calls, which nothing waits for. The
tables name the pods behind a system's own connections, those within the system too. \`npm run --silent diagram -- --format table\`
lists all of them, and \`npm run diagram -- --stack dev --out out/dev\` writes this page for another stack.
`;

/** A page in Markdown: the picture of all (`wiring.svg`), and a picture (`wiring/<system>.svg`) and a table of each system, by layer. */
export function toPage(stack: string, evaluation: Evaluation): string {
  const { systems } = wiringOf(evaluation);
  const systemOf = systemsOf(evaluation);
  const wires = wiresOf(evaluation);
  return [
    introduction(stack),
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
