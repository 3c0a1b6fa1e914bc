import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { command, print, run } from "../../commands/cli";
import { renderObjects, writeObjects } from "../../commands/render";
import { evaluateStack } from "../../rehearsal/program/charts";
import { ROOT, STACKS } from "../../rehearsal/program/evaluate";
import { table } from "../../rehearsal/simulation/tables";
import { ensureTool } from "../../rehearsal/software/venvs";

/** A check that objects may fail. */
export interface Waiver {
  readonly check: string;
  /** A regular expression of `Kind.namespace.name`. */
  readonly objects: string;
  readonly reason: string;
  /** A file of the repository: once it exists, the waiver has expired. */
  readonly until?: string;
}

/** A check that an object fails. */
export interface Finding {
  readonly check: string;
  readonly name: string;
  readonly object: string;
}

/** How often each waiver holds, and what none covers or needs. */
export function judge(
  findings: readonly Finding[],
  waivers: readonly Waiver[],
  exists: (file: string) => boolean,
): { readonly counts: readonly number[]; readonly faults: readonly string[] } {
  const counts = waivers.map(() => 0);
  const faults: string[] = [];
  const standing = waivers.map(({ until }) => until === undefined || !exists(until));
  for (const { check, name, object } of findings) {
    const index = waivers.findIndex(
      (waiver, at) => standing[at] && waiver.check === check && new RegExp(`^${waiver.objects}$`).test(object),
    );
    if (index < 0) faults.push(`${object}: ${check}, ${name}`);
    else counts[index] = (counts[index] ?? 0) + 1;
  }
  for (const [index, { check, objects, until }] of waivers.entries()) {
    const title = `tests/lint/waivers.yaml: ${check} of ${objects}`;
    if (!standing[index]) faults.push(`${title} has expired with ${until ?? ""}; take it out`);
    else if (counts[index] === 0) faults.push(`${title} holds nowhere; take it out`);
  }
  return { counts, faults };
}

interface Report {
  readonly results: {
    readonly failed_checks: readonly {
      readonly check_id: string;
      readonly check_name: string;
      readonly resource: string;
    }[];
  };
}

/** What checkov finds in the objects of every stack file. */
async function examine(): Promise<Finding[]> {
  const checkov = await ensureTool("checkov", console.log);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-objects-"));
  try {
    for (const stack of STACKS) {
      writeObjects(path.join(directory, stack), renderObjects(await evaluateStack(stack)));
    }
    const args = [
      "--framework",
      "kubernetes",
      "--quiet",
      "--compact",
      "--soft-fail",
      "--skip-download",
      "--output",
      "json",
    ];
    const output = execFileSync(checkov, ["--directory", directory, ...args], {
      env: { ...process.env, LOG_LEVEL: "ERROR" },
      maxBuffer: 2 ** 28,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    const report = JSON.parse(output) as Report;
    return report.results.failed_checks.map(({ check_id: check, check_name: name, resource: object }) => ({
      check,
      name,
      object,
    }));
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

const program = command("lint:objects", "Runs checkov over the objects of every stack file.", ["npm run lint:objects"])
  .addHelpText(
    "after",
    "\nThe first run installs checkov from PyPI.\nExit codes: 0 nothing but waivers, 1 faults found.",
  )
  .action(async () => {
    const waivers = parse(fs.readFileSync(path.join(__dirname, "waivers.yaml"), "utf8")) as Waiver[];
    const { counts, faults } = judge(await examine(), waivers, (file) => fs.existsSync(path.join(ROOT, file)));
    print(
      table(
        ["waived", "times", "reason"],
        waivers.map(({ check, reason }, index) => [check, `${counts[index] ?? 0}`, reason]),
      ),
    );
    for (const fault of faults) console.log(fault);
    if (faults.length > 0) process.exitCode = 1;
  });

if (require.main === module) void run(program);
