import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "mocha";
import { ensureDebian, hasDebian } from "../../rehearsal/software/debian";

/** Prometheus' own checker; where there is none the test is pending and says why. */
export async function promtool(test: Context): Promise<(directory: string, ...args: string[]) => void> {
  // The first time it is fetched.
  test.timeout(180_000);
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  const programs = hasDebian() ? [path.join(await ensureDebian("prometheus", console.log), "bin")] : folders;
  const file = programs.map((folder) => path.join(folder, "promtool")).find((candidate) => fs.existsSync(candidate));
  if (file === undefined) {
    console.log("      pending: promtool is not on PATH; Prometheus' releases have it");
    return test.skip();
  }
  return (directory, ...args) => {
    execFileSync(file, args, { cwd: directory, encoding: "utf8", stdio: "pipe" });
  };
}
