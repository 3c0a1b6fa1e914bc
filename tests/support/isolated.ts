import { spawn } from "node:child_process";
import * as os from "node:os";
import { ROOT } from "../../rehearsal/program/evaluate";
import { NAMESPACES } from "../../rehearsal/node/isolated";
import { mochaArguments } from "./mocha-arguments";

/**
 * Mocha in namespaces of its own: it sees no network but the one that it makes, and when it ends, in whatever way, the
 * kernel ends every process, mount and interface that it left.
 */
export function isolated(
  config: string,
  mochaArgs: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const mocha = [process.execPath, require.resolve("mocha/bin/mocha.js"), ...mochaArguments(config, mochaArgs)];
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "unshare", ...NAMESPACES, "--", ...mocha], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: "inherit",
  });
  // unshare blocks these two while it waits; its death takes all the rest along.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill("SIGKILL"));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      resolve(code ?? 128 + os.constants.signals[signal ?? "SIGKILL"]);
    });
  });
}
