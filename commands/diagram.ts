import * as fs from "node:fs";
import * as path from "node:path";
import { stripVTControlCharacters } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { evaluateStack } from "../rehearsal/program/charts";
import { ROOT, STACKS, type Evaluation } from "../rehearsal/program/evaluate";
import { wiresOf, wiringOf } from "../rehearsal/program/wiring";
import { command, JSON_OPTION, print, run, show } from "./cli";
import { toMatrix } from "./diagram/matrix";
import { toPage } from "./diagram/page";
import { toPictures } from "./diagram/pictures";
import { toList, toMermaid, toTable } from "./diagram/text";

/** The committed pages and pictures. */
export const DOCS = path.join(ROOT, "docs");

/**
 * The documentation of a wiring, by file: a page with a picture and a table for each system (`wiring.md`, `wiring/<system>.svg`),
 * and who may connect to whom in one picture (`wiring.svg`).
 */
export async function toDocs(stack: string, evaluation: Evaluation): Promise<Readonly<Record<string, string>>> {
  const wiring = wiringOf(evaluation);
  const pictures = [...(await toPictures(wiring))].map(([name, svg]) => [`wiring/${name}.svg`, svg] as const);
  return { "wiring.md": toPage(stack, evaluation), "wiring.svg": toMatrix(wiring), ...Object.fromEntries(pictures) };
}

const TEXTS = {
  mermaid: (evaluation: Evaluation) => toMermaid(wiringOf(evaluation)),
  table: (evaluation: Evaluation) => toTable(wiresOf(evaluation)),
};

const FORMATS = ["docs", ...Object.keys(TEXTS)];

/** The command line. */
export const program = command(
  "diagram",
  "Draws or lists which pods may connect to which, from the program's wiring table.",
  ["npm run diagram", "npm run diagram -- --stack dev --out out/dev", "npm run --silent diagram -- --format table"],
)
  .option("--stack <name>", `the stack: ${STACKS.join(" or ")}`, "prod")
  .option(
    "--out <path>",
    `the folder of a page with pictures (default: ${path.relative(ROOT, DOCS)}), or a text's file (default: standard output)`,
  )
  .option("--format <format>", "docs (a page with pictures), mermaid or table", "docs")
  .option(...JSON_OPTION)
  .addHelpText("after", "\nExit codes: 0 drawn, 2 wrong usage or config.")
  .action(async ({ stack, format, out, json }: Options) => {
    if (!FORMATS.includes(format)) {
      throw new pulumi.RunError(`--format ${format}: unknown; allowed are ${FORMATS.join(", ")}`);
    }
    const evaluation = await evaluateStack(stack);
    if (json !== undefined) {
      const connections = toList(wiresOf(evaluation));
      const written = json === true ? "" : `Wrote the ${connections.length} connections of ${stack} to ${json}.`;
      show(json, { stack, connections }, written);
      return;
    }
    if (format === "docs") {
      const directory = out ?? path.relative(process.cwd(), DOCS);
      writeDocs(directory, await toDocs(stack, evaluation));
      console.log(`Wrote the wiring of ${stack} to ${path.join(directory, "wiring.md")} and its pictures.`);
      return;
    }
    const text = TEXTS[format as keyof typeof TEXTS](evaluation);
    if (out === undefined) {
      print(text);
      return;
    }
    fs.mkdirSync(path.dirname(out), { recursive: true });
    fs.writeFileSync(out, `${stripVTControlCharacters(text)}\n`);
    console.log(`Wrote the wiring of ${stack} to ${out}.`);
  });

interface Options {
  readonly stack: string;
  readonly out?: string;
  readonly format: string;
  readonly json?: string | true;
}

function writeDocs(directory: string, files: Readonly<Record<string, string>>): void {
  const pictures = path.join(directory, "wiring");
  fs.mkdirSync(pictures, { recursive: true });
  // Those of systems that are no more.
  for (const file of fs.readdirSync(pictures)) {
    if (file.endsWith(".svg")) fs.rmSync(path.join(pictures, file));
  }
  for (const [file, text] of Object.entries(files)) fs.writeFileSync(path.join(directory, file), text);
}

if (require.main === module) void run(program);
