import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";

/** A process that another run can recognise: a pid alone may have gone to somebody else since. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When the process started, in whatever form this system tells it; only good for comparing. */
  readonly started: string;
}

/** The identity of a living process; undefined when there is none with this pid (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  const started = process.platform === "linux" ? startedOnLinux(pid) : startedByPs(pid);
  return started === undefined ? undefined : { pid, started };
}

/** Whether exactly this process, and not a later one with its pid, still lives. */
export function isAlive({ pid, started }: ProcessIdentity): boolean {
  return identify(pid)?.started === started;
}

/** Not `ps`: slim container images come without it. */
function startedOnLinux(pid: number): string | undefined {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // no such process
  }
  // The second field is the program's name in parentheses, which may hold spaces: count from behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTime] = [fields[0], fields[19]];
  return state === "Z" || state === "X" ? undefined : startTime;
}

function startedByPs(pid: number): string | undefined {
  try {
    const [state = "", ...started] = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    })
      .trim()
      .split(/\s+/);
    return state.startsWith("Z") ? undefined : started.join(" ");
  } catch {
    return undefined; // ps exits with 1 when there is no such process
  }
}

/**
 * A command under a shell that kills it, with all that it has started, as soon as our end of the pipe closes: so that not
 * even our death by SIGKILL leaves it running.
 */
const GUARDED = '{ read -r _; kill -KILL 0; } <&3 3<&- & "$@" 3<&- </dev/null; code=$?; kill $!; exit $code';

/** Runs a command that does not outlive this process; returns its exit code and the last lines of its standard error. */
export async function runGuarded(
  command: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<{ readonly code: number | null; readonly complaints: string }> {
  const child = spawn("sh", ["-c", GUARDED, "carbon", ...command], {
    ...options,
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  let complaints = "";
  child.stderr?.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => child.stdio[3]?.destroy());
    child.once("close", resolve);
  });
  return { code, complaints: complaints.trim().split("\n").slice(-20).join("\n") };
}
