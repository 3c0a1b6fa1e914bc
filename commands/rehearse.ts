import * as fs from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { collect, command, interruptibly, JSON_OPTION, progress, run, show } from "./cli";
import { STACKS } from "../rehearsal/program/evaluate";
import { previewAgainst } from "../rehearsal/simulation/against";
import { toMarkdown } from "../rehearsal/simulation/against/markdown";
import { verdict } from "../rehearsal/simulation/colours";
import { rehearse, takeDown } from "../rehearsal/simulation/rehearse";
import { picture } from "../rehearsal/simulation/report-picture";
import { render } from "../rehearsal/simulation/report-text";
import { BUILD_SECONDS } from "../rehearsal/simulation/toolchain";

interface Options {
  readonly stack?: readonly string[];
  readonly against?: string;
  readonly againstCharts?: string;
  readonly markdown?: string;
  readonly config: Readonly<Record<string, string>>;
  readonly charts?: string;
  readonly keep: boolean;
  readonly down: boolean;
  readonly json?: string | true;
  readonly svg?: string;
  readonly all: boolean;
}

const program = command(
  "rehearse",
  "Brings a stack up twice on a real Kubernetes control plane with simulated nodes, and reports the result.",
  [
    "npm run rehearse -- --stack dev",
    "npm run rehearse -- --stack prod --config ray.workers.max=3 --json report.json",
    "npm run rehearse -- --stack dev --config serve=null --config ray=null",
    "npm run rehearse -- --stack dev --charts .charts",
    "npm run rehearse -- --against main",
    "npm run rehearse -- --stack prod --against HEAD~1 --markdown preview.md",
    "npm run rehearse -- --stack dev --keep",
    "npm run rehearse -- --stack dev --down",
  ],
)
  .option("--stack <name...>", `the stack: ${STACKS.join(" or ")}; with --against some, or all by default`)
  .option(
    "--against <commit>",
    "bring up what that commit has, deploy the working tree over it, and say what it does, as Markdown",
  )
  .option(
    "--against-charts <dir>",
    "directory of the real charts that the commit pins (default: its stacks', else stand-ins)",
  )
  .option(
    "--markdown <file>",
    "with --against: also write the Markdown whole, which is printed in at most 60,000 characters",
  )
  .option(
    "--config <path=value>",
    "override a value of the stack file, or remove it (null); may be repeated",
    collect,
    {},
  )
  .option(
    "--charts <dir>",
    "directory of the real charts, filled by `npm run charts:pull` (default: the stack's, else stand-ins)",
  )
  .option("--keep", "keep it running, and print how to use it", false)
  .option("--down", "end the kept rehearsal of the stack", false)
  .option(...JSON_OPTION)
  .option("--svg <file>", "also write the report as a picture")
  .option("--all", "report volumes, endpoints and what a rehearsal cannot show, too", false)
  .addHelpText(
    "after",
    `
The first run downloads its tools or, where it cannot, builds them (about ${Math.round(BUILD_SECONDS / 60)} minutes on two
cores); later ones take about a minute.
With --against, --config holds for both programs. docs/pull-requests.md says what is refused.
Exit codes: 0 no faults, 1 the rehearsal found faults or --against a refusal, 2 wrong usage or config, 130 interrupted.`,
  )
  .action(async (options: Options) => {
    if (options.against !== undefined) {
      process.exitCode = await interruptibly((signal) => comparedWith(options.against ?? "", options, signal));
      return;
    }
    const [stack, ...others] = options.stack ?? [];
    if (stack === undefined || others.length > 0) {
      throw new pulumi.RunError("--stack: name one stack; only with --against there may be several, or none for all");
    }
    process.exitCode = options.down
      ? await down(stack)
      : await interruptibly((signal) => bringUp(stack, options, signal));
  });

void run(program).finally(() => {
  // Streams of a cancelled engine may keep the process alive for a moment.
  process.exit();
});

async function bringUp(
  stack: string,
  { config, charts, keep, json, svg, all }: Options,
  signal: AbortSignal,
): Promise<number> {
  const report = await rehearse({ stack, overrides: config, ...(charts && { charts }), keep, progress }, signal);
  if (svg !== undefined) fs.writeFileSync(svg, picture(report));
  show(json, report, render(report, all));
  return report.ok ? 0 : 1;
}

async function comparedWith(
  ref: string,
  { stack, config, charts, againstCharts, markdown, json }: Options,
  signal: AbortSignal,
): Promise<number> {
  const preview = await previewAgainst(
    {
      ...{ ref, overrides: config, progress },
      ...(stack && { stacks: stack }),
      ...(charts && { charts }),
      ...(againstCharts && { refCharts: againstCharts }),
    },
    signal,
  );
  const { text, whole, reasons } = toMarkdown(preview);
  if (markdown !== undefined) fs.writeFileSync(markdown, whole);
  show(json, { ...preview, reasons }, text);
  const [reason] = reasons;
  console.error(
    reason === undefined
      ? verdict("ok", `nothing is refused over ${ref}. Next: read what changes`)
      : verdict("failed", `refused: ${reason}`),
  );
  return reason === undefined ? 0 : 1;
}

async function down(stack: string): Promise<number> {
  const ended = await takeDown(stack);
  console.log(ended ? `Ended the kept rehearsal of ${stack}.` : `There is no kept rehearsal of ${stack}.`);
  return 0;
}
