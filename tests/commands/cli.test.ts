import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as tty from "node:tty";
import { promisify, stripVTControlCharacters } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import type { Command } from "commander";
import * as capacity from "../../commands/capacity";
import * as chartsCheck from "../../commands/charts-check";
import * as chartsKeys from "../../commands/charts-keys";
import * as chartsPull from "../../commands/charts-pull";
import { command, run } from "../../commands/cli";
import * as diagram from "../../commands/diagram";
import * as drift from "../../commands/drift";
import * as local from "../../commands/local";
import * as render from "../../commands/render";
import * as schema from "../../commands/schema";
import * as secrets from "../../commands/secrets";
import * as verify from "../../commands/verify";
import { ROOT } from "../../rehearsal/program/evaluate";
import { bar, folded, table } from "../../rehearsal/simulation/tables";
import { temporaryDirectory } from "../support/temporary";

const PROGRAMS = {
  local: local.program,
  render: render.program,
  diagram: diagram.program,
  capacity: capacity.program,
  secrets: secrets.program,
  verify: verify.program,
  drift: drift.program,
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
      assert.deepEqual(
        stdout.split("\n").filter(({ length }) => length > 100),
        [],
      );
    });
  }

  const faulty = () =>
    command("example", "Fails.", ["npm run example"]).action(() => {
      throw new pulumi.RunError("--stack x: there is none");
    });

  it("ends with 2 and one line about a fault of the user, without a stack trace", async () => {
    assert.deepEqual(await runHere(faulty()), { code: 2, stdout: "", stderr: "error: --stack x: there is none\n" });
  });

  it("folds what is too long for a terminal between its words, and nothing that a file or another command gets", () => {
    const fault = "  dev, kafka: /charts/strimzi-kafka-operator: does not exist, but 1.2.0 is pinned";
    const terminal = { isTTY: true, columns: 40 };
    assert.equal(
      folded(`short\n${fault}`, terminal),
      ["short", "  dev, kafka:", "    /charts/strimzi-kafka-operator: does", "    not exist, but 1.2.0 is pinned"].join(
        "\n",
      ),
    );
    assert.equal(folded(fault, { columns: 40 }), fault);
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

  it("writes JSON beside the text with --json FILE", async () => {
    const file = path.join(temporaryDirectory(), "secrets.json");
    assert.match((await runHere(secrets.program, "--stack", "dev", "--json", file)).stdout, /credentials/);
    assert.equal((JSON.parse(fs.readFileSync(file, "utf8")) as { stack: string }).stack, "dev");
  });

  it("has colours where they are wanted, and none in a pipe or with NO_COLOR", async () => {
    const text = async (terminal: boolean, env: NodeJS.ProcessEnv = {}) => {
      const restore = [pretend(process.env, { NO_COLOR: undefined, FORCE_COLOR: undefined, ...env })];
      // As at a desk: where `CI` is set, Node takes no terminal for coloured.
      const getColorDepth = () => tty.WriteStream.prototype.getColorDepth({ TERM: "xterm", ...env });
      restore.push(pretend(process.stdout, { isTTY: terminal, getColorDepth }));
      try {
        return (await runHere(secrets.program, "--stack", "dev")).stdout;
      } finally {
        for (const one of restore) one();
      }
    };
    const ESCAPE = "\u001b[";
    assert.ok((await text(true)).includes(ESCAPE), "a terminal gets no colours");
    assert.ok(!(await text(true, { NO_COLOR: "1" })).includes(ESCAPE), "NO_COLOR is not heard");
    assert.ok(!(await text(false)).includes(ESCAPE), "a pipe gets colours");
    assert.ok((await text(false, { FORCE_COLOR: "1" })).includes(ESCAPE), "FORCE_COLOR is not heard");
  });
});

describe("a table", () => {
  const lines = (head: readonly string[], rows: readonly (readonly string[])[]) =>
    stripVTControlCharacters(table(head, rows, 40)).split("\n");

  it("fits the width: long cells break between words and at the marks of a name", () => {
    assert.deepEqual(
      lines(["name", "what for"], [["data-platform/ray-head", "the nodes among themselves, and others"]]),
      [
        "name                what for",
        "───────────────────────────────────",
        "data-platform/ray-  the nodes among",
        "head                themselves, and",
        "                    others",
      ],
    );
  });

  it("has numbers to the right, also those with a bar's colour beside them, and titles across", () => {
    assert.deepEqual(lines(["node", "pods", "used"], [["here"], ["a", "7", bar(0.5)], ["b", "12", bar(1)]]), [
      "node  pods  used",
      "────────────────────────────",
      "here",
      "a        7  █████░░░░░  50 %",
      "b       12  ██████████ 100 %",
    ]);
  });
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process. */
async function runHere(program: Command, ...args: string[]): Promise<Ended> {
  const before = process.exitCode;
  let [stdout, stderr] = ["", ""];
  const writeOut = (text: string) => (stdout += text);
  const writeErr = (text: string) => (stderr += text);
  program.configureOutput({ writeOut, writeErr });
  const restore = pretend(console, {
    log: (text: string) => writeOut(`${text}\n`),
    error: (text: string) => writeErr(`${text}\n`),
  });
  process.exitCode = 0;
  try {
    await run(program, ["node", "command", ...args]);
    return { code: process.exitCode, stdout, stderr };
  } finally {
    restore();
    process.exitCode = before ?? 0;
  }
}

/** Gives an object other properties; undefined takes one away. Returns what gives it its own back. */
function pretend(target: object, properties: Readonly<Record<string, unknown>>): () => void {
  const own = Object.keys(properties).map((key) => [key, Object.getOwnPropertyDescriptor(target, key)] as const);
  for (const [key, value] of Object.entries(properties)) {
    Reflect.deleteProperty(target, key);
    if (value !== undefined) Reflect.set(target, key, value);
  }
  return () => {
    for (const [key, descriptor] of own) {
      Reflect.deleteProperty(target, key);
      if (descriptor) Object.defineProperty(target, key, descriptor);
    }
  };
}
