import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import type { Piece } from "../../../rehearsal/software/images";

/** A process that runs as in a container. */
export interface SandboxArgs {
  readonly name: string;
  /** Whose network it shares: the pod's. */
  readonly pod: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly uid: number;
  /** Name of the user, where the image has one of this number. */
  readonly user?: string;
  readonly pieces: readonly Piece[];
  /** A directory for what belongs to this container alone. */
  readonly scratch: string;
  readonly log: string;
  readonly hosts: string;
}

/** How to run a command beside a process. */
export interface ExecOptions {
  /** Its standard input. */
  readonly input?: string;
  readonly timeoutSeconds?: number;
}

const SCRIPT = path.join(__dirname, "container.sh");
const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS = {
  fd: "/proc/self/fd",
  stdin: "/proc/self/fd/0",
  stdout: "/proc/self/fd/1",
  stderr: "/proc/self/fd/2",
};

// What programs of this machine look for in /etc; whatever a pod mounts there finds its place beside it.
const ETC = ["alternatives", "group", "ld.so.cache", "localtime", "mime.types", "nsswitch.conf", "services", "ssl"];

/** How long a signalled process may take before it is killed, unless its pod says so. */
const GRACE_SECONDS = 30;

/**
 * A process with a network, mounts, users and processes like those of a container: it sees a read-only root with the programs of
 * this machine, the volumes at their paths, no other process, and no network but the pods'.
 */
export class Sandbox {
  private ended: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
  private readonly end: Promise<void>;
  private constructor(
    private readonly args: SandboxArgs,
    private readonly child: ChildProcess,
    /** Where its part of the log begins: a Job that runs again appends to it. */
    private readonly logStart: number,
  ) {
    this.end = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.ended = { code, signal };
        resolve();
      });
    });
  }

  /** Starts the process. */
  static start(args: SandboxArgs): Sandbox {
    const { pod, command, env, uid, scratch, log } = args;
    const [root, plan] = [path.join(scratch, "root"), path.join(scratch, "plan")];
    fs.mkdirSync(root, { recursive: true });
    fs.writeFileSync(plan, [...planOf(args), ""].join("\n"));
    const output = fs.openSync(log, "a");
    const { size } = fs.fstatSync(output);
    const namespaces = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"];
    const child = spawn(
      "/usr/bin/nsenter",
      [
        `--net=/run/netns/${pod}`,
        "/usr/bin/unshare",
        ...namespaces,
        "/bin/sh",
        SCRIPT,
        root,
        plan,
        pod,
        `${uid}`,
        ...command,
      ],
      { cwd: "/", env, stdio: ["ignore", output, output] },
    );
    fs.closeSync(output);
    return new Sandbox(args, child, size);
  }

  /** What the process has written. */
  output(): string {
    return fs.readFileSync(this.args.log).subarray(this.logStart).toString();
  }

  /** The last lines of {@link output}. */
  tail(lines = 25): string {
    return this.output().trimEnd().split("\n").slice(-lines).join("\n");
  }

  get isRunning(): boolean {
    return this.ended === undefined;
  }

  /** Throws with the end of its log when the process has ended. */
  assertRunning(): void {
    if (this.ended === undefined) return;
    const { code, signal } = this.ended;
    throw new Error(`${this.args.name} ended with ${signal ?? `exit code ${code ?? "?"}`}:\n${this.tail()}`);
  }

  /** Waits until the process ends; returns its exit code. */
  async exitCode(timeoutSeconds: number): Promise<number> {
    await this.within(timeoutSeconds);
    if (this.ended === undefined) throw new Error(`${this.args.name} ran for ${timeoutSeconds} s:\n${this.tail()}`);
    return this.ended.code ?? 128;
  }

  /** Runs another command where the process runs, as `kubectl exec` does, and returns its output. Rejects when it fails. */
  async exec(command: readonly string[], { input = "", timeoutSeconds = 60 }: ExecOptions = {}): Promise<string> {
    const { uid, env, name } = this.args;
    const rights = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--no-new-privs", "--bounding-set=-all"];
    const inside = ["--target", `${this.pid}`, "--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wd"];
    const child = spawn("/usr/bin/nsenter", [...inside, "/usr/bin/setpriv", ...rights, ...command], {
      env,
      timeout: timeoutSeconds * 1000,
      killSignal: "SIGKILL",
    });
    child.stdin.on("error", () => undefined); // a command that ends without reading says why by its exit code
    child.stdin.end(input);
    const [output, complaints, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<string>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (exitCode, signal) => {
          resolve(signal ?? `exit code ${exitCode ?? "?"}`);
        });
      }),
    ]);
    if (code === "exit code 0") return output;
    throw new Error(`${name}: ${command[0] ?? ""}: ${code}\n${complaints.slice(-4000)}${output.slice(-4000)}`);
  }

  /** Asks the process to end, then kills it, and with it all that it has started. */
  async stop(graceSeconds = GRACE_SECONDS): Promise<void> {
    if (this.ended !== undefined) return;
    process.kill(this.pid, "SIGTERM");
    await this.within(graceSeconds);
    if (this.isRunning) this.kill();
    await this.end;
  }

  /** What the loss of a node is: nobody is asked. */
  kill(): void {
    // The kernel forgets `unshare --kill-child` when a process changes its user; with its first process a namespace ends.
    if (this.isRunning) process.kill(this.pid, "SIGKILL");
  }

  /** The command's own process: the one child of the `unshare` that made its namespaces. */
  private get pid(): number {
    const parent = this.child.pid ?? 0;
    const [pid] = fs.readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").split(" ");
    if (pid === undefined || pid === "") throw new Error(`${this.args.name} is not running:\n${this.tail()}`);
    return Number(pid);
  }

  private async within(seconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
    await Promise.race([this.end, timeout]);
    clearTimeout(timer);
  }
}

/** The root of a container, piece by piece, parents before what lies in them. */
function planOf({ uid, user, env, scratch, hosts, pieces }: SandboxArgs): string[] {
  const file = (name: string, text: string): string => {
    fs.writeFileSync(path.join(scratch, name), text);
    return path.join(scratch, name);
  };
  const people = [
    "root:x:0:0::/root:/bin/sh",
    ...(user === undefined ? [] : [`${user}:x:${uid}:${uid}::${env["HOME"] ?? "/"}:/bin/sh`]),
  ];
  const all: Piece[] = [
    ...["/bin", "/sbin", "/lib", "/lib64"].flatMap(programs),
    { kind: "ro", source: "/usr", target: "/usr" },
    ...ETC.map((name) => path.join("/etc", name))
      .filter((file) => fs.existsSync(file))
      .map((file) => ({ kind: "ro", source: file, target: file }) as const),
    { kind: "ro", source: hosts, target: "/etc/hosts" },
    { kind: "ro", source: file("resolv.conf", ""), target: "/etc/resolv.conf" },
    { kind: "ro", source: file("passwd", `${people.join("\n")}\n`), target: "/etc/passwd" },
    { kind: "ro", source: "/sys", target: "/sys" },
    { kind: "tmpfs", target: "/dev", options: "mode=755" },
    ...DEVICES.map((name) => ({ kind: "rw", source: `/dev/${name}`, target: `/dev/${name}` }) as const),
    ...Object.entries(DEVICE_LINKS).map(
      ([name, source]) => ({ kind: "link", source, target: `/dev/${name}` }) as const,
    ),
    // What a container gets where the pod mounts nothing there.
    { kind: "tmpfs", target: "/dev/shm", options: "mode=1777,size=64m" },
    ...pieces,
  ];
  const last = new Map(all.map((piece) => [piece.target, piece]));
  const lines = [...last.values()]
    .sort((a, b) => (a.target < b.target ? -1 : 1))
    .map((piece) =>
      piece.kind === "tmpfs"
        ? `tmpfs tmpfs ${piece.target} ${piece.options}`
        : `${piece.kind} ${piece.source} ${piece.target}`,
    );
  return [...lines, "proc proc /proc"];
}

/** Links into /usr on a merged system, directories elsewhere. */
function programs(target: string): Piece[] {
  if (!fs.existsSync(target)) return [];
  const isLink = fs.lstatSync(target).isSymbolicLink();
  return [isLink ? { kind: "link", source: fs.readlinkSync(target), target } : { kind: "ro", source: target, target }];
}
