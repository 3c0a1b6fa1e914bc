import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { identify, isAlive, type ProcessIdentity } from "../processes";

/** A process of a cluster. */
export interface NamedProcess extends ProcessIdentity {
  readonly name: string;
}

const RECORD = "processes.json";

/**
 * Stops the cluster in a directory and removes the directory; does nothing when it is not there.
 *
 * @throws Error when the directory is not a cluster's: it is left alone.
 */
export async function stopClusterAt(directory: string): Promise<void> {
  if (!fs.existsSync(directory)) return;
  const processes = readRecord(directory);
  if (processes === undefined) {
    throw new Error(`${directory}: no cluster was started here (it has no ${RECORD}); nothing was stopped or removed`);
  }
  const guardian = processes[0];
  if (guardian !== undefined && isAlive(guardian)) {
    process.kill(guardian.pid, "SIGTERM");
    await gone([guardian]);
  }
  // Without its guardian (killed, or stuck) each process is ended by itself.
  for (const member of processes.filter(isAlive)) process.kill(member.pid, "SIGKILL");
  await gone(processes);
  fs.rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
}

/** Waits for the end of processes, for at most five seconds. */
async function gone(processes: readonly NamedProcess[]): Promise<void> {
  for (let waited = 0; waited < 5000 && processes.some(isAlive); waited += 50) await sleep(50);
}

/**
 * Removes what dead runs left under a directory: every cluster without a living guardian. Directories that hold no
 * cluster are left alone, and so are those of other runs and kept ones.
 *
 * @returns the directories that were removed.
 */
export async function sweep(runsDirectory: string): Promise<string[]> {
  const removed: string[] = [];
  const entries = fs.existsSync(runsDirectory) ? fs.readdirSync(runsDirectory, { withFileTypes: true }) : [];
  for (const entry of entries.filter((candidate) => candidate.isDirectory())) {
    const directory = path.join(runsDirectory, entry.name);
    const guardian = readRecord(directory)?.[0];
    if (guardian === undefined || isAlive(guardian)) continue;
    await stopClusterAt(directory);
    removed.push(directory);
  }
  return removed;
}

/** What a directory says of the cluster in it; undefined when it holds none. */
export function readRecord(directory: string): NamedProcess[] | undefined {
  const file = path.join(directory, RECORD);
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as NamedProcess[]) : undefined;
}

/**
 * The parent of the control plane: a shell in a session of its own that starts what it reads from its standard input and
 * kills everything at the end of it. That end comes with the death of our process, by whatever signal, since the system
 * closes the pipe; no polling and no lock is needed, and no process can start without somebody to end it. (`kwokctl`
 * gives each component a session of its own and writes down its pid later, so a kill in between leaves processes behind;
 * its components also all listen on TCP ports, which it looks for long before they take them.)
 */
const GUARDIAN = `
dir=$1 pids=
stop() { trap - EXIT; kill -KILL $pids; wait; rm -rf "$dir"; exit; }
trap stop EXIT TERM
trap '' HUP INT
exec 2>/dev/null
while IFS= read -r line; do eval "$line"; done
`;

/** Starts, watches and ends the processes of one cluster. */
export class Guardian {
  readonly processes: NamedProcess[] = [];
  private readonly shell: ChildProcess;
  private readonly pids: AsyncIterator<string>;

  constructor(
    bin: string,
    readonly directory: string,
    private readonly interrupted?: AbortSignal,
  ) {
    this.shell = spawn("sh", ["-c", GUARDIAN, "carbon-rehearsal", directory], {
      cwd: directory,
      detached: true,
      // Nothing of the user's: no configuration in the home, no proxy between the components.
      env: { PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}`, HOME: directory },
      stdio: ["pipe", "pipe", "ignore"],
    });
    this.shell.unref();
    // A guardian that was killed shows as the death of its components, which is reported where it is noticed.
    this.shell.stdin?.on("error", () => undefined);
    const { pid, stdout } = this.shell;
    if (pid === undefined || !stdout) throw new Error("sh: cannot be started; it must be in PATH");
    this.pids = readline.createInterface(stdout)[Symbol.asyncIterator]();
    this.record("guardian", pid);
  }

  /** Starts a tool, or another program under its name, with its output in `<name>.log`. */
  async run(
    name: string,
    args: readonly string[],
    { file = name, env = {} }: { readonly file?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<NamedProcess> {
    const variables = Object.entries(env).map(([key, value]) => `${key}=${quote(value)}`);
    const command = [...variables, ...[file, ...args].map(quote)].join(" ");
    this.tell(`${command} </dev/null >${quote(`${name}.log`)} 2>&1 & pids="$pids $!"; echo $!`);
    const started = await this.pids.next();
    if (started.done) throw new Error(`${name}: the rehearsal's guardian process was killed; run it again`);
    return this.record(name, Number(started.value));
  }

  async stop(): Promise<void> {
    const ended = this.shell.exitCode !== null || this.shell.signalCode !== null;
    if (!ended) {
      const exit = new Promise((resolve) => this.shell.once("exit", resolve));
      this.shell.ref();
      this.tell("exit");
      await exit;
    }
    if (fs.existsSync(this.directory)) await stopClusterAt(this.directory);
  }

  async keep(): Promise<void> {
    this.tell("trap - EXIT; echo kept; wait");
    const { done } = await this.pids.next();
    if (done) throw new Error(`${this.directory}: the cluster has already stopped and cannot be kept; run it again`);
    this.shell.stdin?.destroy();
    this.shell.stdout?.destroy();
  }

  /** Makes sure that a process has ended; nobody misses it any more. */
  forget(member: NamedProcess): void {
    if (isAlive(member)) process.kill(member.pid, "SIGKILL");
    this.processes.splice(this.processes.indexOf(member), 1);
  }

  /** The end of a component's log, for error messages. */
  log(name: string): string {
    const file = path.join(this.directory, `${name}.log`);
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trimEnd().split("\n").slice(-15).join("\n") : "";
  }

  /** @throws Error when a component has died, except for one, or when nobody wants the cluster any more. */
  check(except?: NamedProcess): void {
    this.interrupted?.throwIfAborted();
    const dead = this.processes.find((member) => member !== except && !isAlive(member));
    if (dead) throw new Error(`${dead.name}: died\n${this.log(dead.name)}`);
  }

  private tell(line: string): void {
    this.shell.stdin?.write(`${line}\n`);
  }

  private record(name: string, pid: number): NamedProcess {
    // A component that died before it could be identified is as dead as one that died after.
    const member = { name, ...(identify(pid) ?? { pid, started: "never" }) };
    this.processes.push(member);
    const file = path.join(this.directory, RECORD);
    fs.writeFileSync(`${file}.part`, JSON.stringify(this.processes));
    fs.renameSync(`${file}.part`, file); // another run's sweep reads it whole
    return member;
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
