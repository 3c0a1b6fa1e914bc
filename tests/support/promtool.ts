import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "mocha";

/** Prometheus' own checker; where it is not installed the test is pending and says why. */
export function promtool(test: Context): (directory: string, ...args: string[]) => void {
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  const file = folders.map((folder) => path.join(folder, "promtool")).find((candidate) => fs.existsSync(candidate));
  if (file === undefined) {
    console.log("      pending: promtool is not on PATH; the Debian package prometheus has it");
    return test.skip();
  }
  return (directory, ...args) => {
    execFileSync(file, args, { cwd: directory, encoding: "utf8", stdio: "pipe" });
  };
}
