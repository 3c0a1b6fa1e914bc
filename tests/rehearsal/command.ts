import * as assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import type { Socket } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";
import type { EngineResult } from "../../rehearsal/simulation/engine";
import { countChanges, type Report } from "../../rehearsal/simulation/report";
import { SYSTEMS } from "../../stacks/config/systems";
import { cacheDirectory } from "../../rehearsal/simulation/toolchain";

/** What takes every system out of a stack but some: for tests of the engine, which need not wait for what else there is. */
export function only(...systems: readonly string[]): Readonly<Record<string, string>> {
  const others = Object.keys(SYSTEMS).filter((system) => !systems.includes(system));
  return Object.fromEntries(others.map((system) => [system, "null"]));
}

/** Two stores and who keeps his data in both: custom resources, releases, Jobs and plain workloads. */
export const SMALL_STACK = only("postgres", "objectStore", "mlflow");
/** {@link SMALL_STACK} on a command line. */
export const SMALL_STACK_FLAGS = Object.entries(SMALL_STACK).flatMap(([key, value]) => ["--config", `${key}=${value}`]);
/** An engine command that did nothing, and did not fail either. */
export function assertUnchanged(result: EngineResult): void {
  assert.deepEqual(result.errors, []);
  assert.equal(countChanges(result), 0, result.output);
}

/** How a command of this project ended. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Starts one of the project's commands as `npm run` does, in a process of its own. */
export function start(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, ["-r", "ts-node/register", file, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Waits for the end of a command and returns what it printed. */
export function end(child: ChildProcess): Promise<Ended> {
  return new Promise((resolve) => {
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("close", (code) => {
      resolve({ code, output });
    });
  });
}

/** A cache of a test's own beside the same tools, so that what is left in its `runs` is that test's. */
export function ownCache(): string {
  const cache = cacheDirectory();
  fs.mkdirSync(cache, { recursive: true });
  const own = fs.mkdtempSync(path.join(cache, "test-"));
  fs.mkdirSync(path.join(own, "runs"));
  for (const shared of ["tools", "plugins"]) {
    fs.mkdirSync(path.join(cache, shared), { recursive: true });
    fs.symlinkSync(path.join(cache, shared), path.join(own, shared));
  }
  return own;
}

/** Runs `npm run rehearse` and reads the report it wrote. */
export async function rehearsed(
  stack: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Ended & { readonly report: Report }> {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "carbon-report-")), "report.json");
  const ended = await end(start("commands/rehearse.ts", ["--stack", stack, "--json", file, ...args], env));
  if (!fs.existsSync(file)) throw new Error(`no report was written:\n${ended.output}`);
  const report = JSON.parse(fs.readFileSync(file, "utf8")) as Report;
  fs.rmSync(path.dirname(file), { recursive: true });
  return { ...ended, report };
}

/**
 * Ends the clusters below a directory together with the tests, however these end: after Ctrl-C nobody else would end one
 * that was kept.
 */
export function endWithTests(runs: string): void {
  const code = `
    process.stdin.resume().once("end", async () => {
      require("ts-node/register/transpile-only");
      const { stopClusterAt } = require("./rehearsal/simulation/cluster/guardian");
      for (const name of require("node:fs").readdirSync(${JSON.stringify(runs)})) {
        await stopClusterAt(${JSON.stringify(runs)} + "/" + name).catch(() => undefined);
      }
    });`;
  const watch = spawn(process.execPath, ["-e", code], {
    cwd: ROOT,
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watch.unref();
  (watch.stdin as Socket).unref();
}
