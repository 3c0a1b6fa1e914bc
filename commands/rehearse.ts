import * as fs from "node:fs";
import { collect, command, isUserFault, JSON_OPTION, progress, run, show } from "./cli";
import { STACKS } from "../rehearsal/program/evaluate";
import { rehearse, takeDown } from "../rehearsal/simulation/rehearse";
import { picture } from "../rehearsal/simulation/report-picture";
import { render } from "../rehearsal/simulation/report-text";
import { BUILD_SECONDS } from "../rehearsal/simulation/toolchain";

interface Options {
  readonly stack: string;
  readonly config: Readonly<Record<string, string>>;
  readonly charts?: string;
  readonly keep: boolean;
  readonly down: boolean;
  readonly json?: string | true;
  readonly svg?: string;
  readonly all: boolean;
}

const INTERRUPTED = 130;

const program = command(
  "rehearse",
  "Brings a stack up twice on a real Kubernetes control plane with simulated nodes, and reports the result.",
  [
    "npm run rehearse -- --stack dev",
    "npm run rehearse -- --stack prod --config ray.workers.max=3 --json report.json",
    "npm run rehearse -- --stack dev --config serve=null --config ray=null",
    "npm run rehearse -- --stack dev --charts .charts",
    "npm run rehearse -- --stack dev --keep",
    "npm run rehearse -- --stack dev --down",
  ],
)
  .requiredOption("--stack <name>", `the stack: ${STACKS.join(" or ")}`)
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
Exit codes: 0 no faults, 1 the rehearsal found faults, 2 wrong usage or config, 130 interrupted.`,
  )
  .action(async (options: Options) => {
    process.exitCode = options.down ? await down(options.stack) : await bringUp(options);
  });

void run(program).finally(() => {
  // Streams of a cancelled engine may keep the process alive for a moment.
  process.exit();
});

async function bringUp({ stack, config, charts, keep, json, svg, all }: Options): Promise<number> {
  const interruption = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      // On a second signal, do not wait for the engine to save a state that nobody needs.
      if (interruption.signal.aborted) process.exit(INTERRUPTED);
      progress(`${signal}: taking everything down`);
      interruption.abort(new Error("interrupted"));
    });
  }
  try {
    const report = await rehearse(
      { stack, overrides: config, ...(charts && { charts }), keep, progress },
      interruption.signal,
    );
    if (svg !== undefined) fs.writeFileSync(svg, picture(report));
    show(json, report, render(report, all));
    return report.ok ? 0 : 1;
  } catch (error) {
    if (interruption.signal.aborted) return INTERRUPTED;
    if (isUserFault(error)) throw error;
    console.error(error);
    return 1;
  }
}

async function down(stack: string): Promise<number> {
  const ended = await takeDown(stack);
  console.log(ended ? `Ended the kept rehearsal of ${stack}.` : `There is no kept rehearsal of ${stack}.`);
  return 0;
}
