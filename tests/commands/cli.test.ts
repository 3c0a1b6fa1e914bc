import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import type { Command } from "commander";
import * as capacity from "../../commands/capacity";
import * as chartsCheck from "../../commands/charts-check";
import * as chartsKeys from "../../commands/charts-keys";
import * as chartsPull from "../../commands/charts-pull";
import { command, run } from "../../commands/cli";
import * as diagram from "../../commands/diagram";
import * as render from "../../commands/render";
import * as schema from "../../commands/schema";
import * as secrets from "../../commands/secrets";
import * as verify from "../../commands/verify";
import { ROOT } from "../../rehearsal/program/evaluate";

const PROGRAMS = {
  render: render.program,
  diagram: diagram.program,
  capacity: capacity.program,
  secrets: secrets.program,
  verify: verify.program,
  schema: schema.program,
  "charts:pull": chartsPull.program,
  "charts:check": chartsCheck.program,
  "charts:keys": chartsKeys.program,
};

describe("a command", () => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  for (const [name, program] of Object.entries(PROGRAMS)) {
    it(`explains itself: npm run ${name} -- --help`, async () => {
      assert.ok(name in scripts, `package.json has no script ${name}: add it, or take the command out of the help`);
      const { code, stdout } = await runHere(program, "--help");
      assert.equal(code, 0);
      assert.ok(stdout.startsWith(`Usage: npm run ${name} -- [options]\n`), stdout);
      assert.match(stdout, new RegExp(`Examples:\n  npm run (--silent )?${name}`));
      assert.match(stdout, /Exit codes: 0/);
    });
  }

  const faulty = () =>
    command("example", "Fails.", ["npm run example"]).action(() => {
      throw new pulumi.RunError("--stack x: there is none");
    });

  it("ends with 2 and one line about a fault of the user, without a stack trace", async () => {
    assert.deepEqual(await runHere(faulty()), { code: 2, stdout: "", stderr: "error: --stack x: there is none\n" });
  });

  it("ends with 2 when a flag is unknown", async () => {
    assert.deepEqual(await runHere(faulty(), "--stak"), {
      code: 2,
      stdout: "",
      stderr: "error: unknown option '--stak'\n",
    });
  });

  it("lets a fault of the program through, with its stack trace", async () => {
    const broken = command("example", "Fails.", []).action(() => {
      throw new Error("broken");
    });
    await assert.rejects(runHere(broken), /broken/);
  });

  it("prints JSON and nothing else with --json, when npm is silent", async () => {
    const words = scripts["secrets"]?.split(" ").slice(1) ?? [];
    const { stdout } = await promisify(execFile)(process.execPath, [...words, "--stack", "dev", "--json"], {
      cwd: ROOT,
    });
    assert.equal((JSON.parse(stdout) as { stack: string }).stack, "dev");
  });
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process. */
async function runHere(program: Command, ...args: string[]): Promise<Ended> {
  const [before, print] = [process.exitCode, console.error];
  let [stdout, stderr] = ["", ""];
  const writeErr = (text: string): void => {
    stderr += text;
  };
  program.configureOutput({ writeOut: (text) => (stdout += text), writeErr });
  console.error = (text: string) => {
    writeErr(`${text}\n`);
  };
  process.exitCode = 0;
  try {
    await run(program, ["node", "command", ...args]);
    return { code: process.exitCode, stdout, stderr };
  } finally {
    console.error = print;
    process.exitCode = before ?? 0;
  }
}
