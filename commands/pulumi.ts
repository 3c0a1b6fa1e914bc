import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { ROOT } from "../rehearsal/program/evaluate";
import { followEvents, type Progress } from "../rehearsal/simulation/events";

/** How a command of the Pulumi CLI ended. */
export interface PulumiResult {
  readonly ok: boolean;
  readonly stdout: string;
  /** What it said besides. */
  readonly stderr: string;
}

/** Settings of {@link pulumiCli}. */
export interface PulumiOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Called twice a second, for a command of the engine. */
  readonly progress?: (progress: Progress) => void;
}

/** Runs the Pulumi CLI in the repository, with the shell's backend, passphrase and kubeconfig. It never asks. */
export async function pulumiCli(args: readonly string[], options: PulumiOptions = {}): Promise<PulumiResult> {
  const { env = {}, signal, progress } = options;
  if (progress === undefined) return spawned([...args, "--non-interactive"], env, signal);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-pulumi-"));
  const log = path.join(directory, "events.json");
  const course = followEvents(log);
  const ticker = setInterval(() => {
    progress(course());
  }, 500);
  try {
    // The event log is a command for debugging.
    const debugging = { ...env, PULUMI_DEBUG_COMMANDS: "true" };
    return await spawned([...args, "--non-interactive", "--event-log", log], debugging, signal);
  } finally {
    clearInterval(ticker);
    fs.rmSync(directory, { recursive: true });
  }
}

function spawned(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<PulumiResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(path.join(ROOT, "node_modules", ".bin", "pulumi"), args, {
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
