import { spawn } from "node:child_process";
import * as path from "node:path";
import { ROOT } from "../rehearsal/program/evaluate";

/** How a command of the Pulumi CLI ended. */
export interface PulumiResult {
  readonly ok: boolean;
  readonly stdout: string;
  /** What it said besides. */
  readonly stderr: string;
}

/** Runs the Pulumi CLI in the repository, with the shell's backend, passphrase and kubeconfig. It never asks. */
export function pulumiCli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<PulumiResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(ROOT, "node_modules", ".bin", "pulumi"), [...args, "--non-interactive"], {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    signal?.addEventListener("abort", () => child.kill());
    child.once("error", reject);
    child.once("close", (code) => {
      resolve({ ok: code === 0, stdout, stderr });
    });
  });
}
