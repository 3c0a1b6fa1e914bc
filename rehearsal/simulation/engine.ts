import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import type { z } from "zod";
import type { PlatformConfig } from "../../stacks/config/schema";
import { SECRET_KEYS, type SecretForm, type SecretName } from "../../stacks/config/systems";
import { ROOT } from "../program/evaluate";
import { type Course, followEvents, type Progress } from "./events";
import { type Toolchain, versions } from "./toolchain";

/** The engine of one run, all of whose files are in `directory`. */
export interface EngineSpec {
  readonly toolchain: Toolchain;
  /** The run's directory, for home, state and stack file. */
  readonly directory: string;
  /** Directory with the plugins of both providers. */
  readonly plugins: string;
  readonly kubeconfig: string;
  readonly stack: string;
  /** The stack file's plain values; credentials get canaries. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** The result of an engine command. */
export interface EngineResult {
  readonly ok: boolean;
  readonly seconds: number;
  /** Number of resources by operation: `create`, `update`, `same`, … */
  readonly changes: Readonly<Record<string, number>>;
  /** Each resource that was made, changed or deleted: operation, type, name and the fields. */
  readonly changed: readonly string[];
  /** The errors that the engine reported, or its output if it reported none. */
  readonly errors: readonly string[];
  readonly steps: Course["steps"];
  readonly faults: Course["faults"];
  /** Everything that it printed. */
  readonly output: string;
}

/** Engine commands that rehearsals and tests use. */
export type EngineCommand = "preview" | "up" | "refresh" | "destroy";

export interface EngineOptions {
  readonly args?: readonly string[];
  /** Previews first, as for a user, and stops if the preview fails. @default false */
  readonly preview?: boolean;
  /** Saves the state only at the end instead of at each step, if it is not needed after a kill. @default false */
  readonly saveOnce?: boolean;
  /** Settings of this command alone. */
  readonly env?: Readonly<Record<string, string>>;
  /** Interrupts the command like Ctrl-C: the engine cancels running operations and saves its state. */
  readonly signal?: AbortSignal;
  /** Called twice a second. */
  readonly progress?: (progress: Progress) => void;
}

/** The value of `carbon:platform`, as a stack file has it. */
export type StackValues = z.input<typeof PlatformConfig>;

/** Environment of a command that saves the state only at its end. */
export const SAVE_ONCE = { PULUMI_SKIP_CHECKPOINTS: "true", PULUMI_EXPERIMENTAL: "true" };

/** How long an interrupted engine may take to save its state before it is killed. */
const CANCEL_SECONDS = 10;

/**
 * The real Pulumi CLI with local state, run in the repository as a user would. The automation API would read and rewrite the
 * user's stack file.
 */
export class Engine {
  /** The environment with which a shell runs `npx pulumi` and `kubectl` on the same stack and cluster. */
  readonly env: Readonly<Record<string, string>>;
  /** The values that stand in for the credentials of the stack. */
  readonly canaries: Readonly<Record<SecretName, string>>;
  private readonly pulumi: string;
  private readonly project: string;
  private readonly stackFile: string;

  private constructor(private readonly spec: EngineSpec) {
    const { toolchain, directory, kubeconfig } = spec;
    const home = path.join(directory, "home");
    this.env = {
      PULUMI_HOME: home,
      PULUMI_BACKEND_URL: `file://${path.join(directory, "state")}`,
      PULUMI_CONFIG_PASSPHRASE: randomBytes(16).toString("hex"),
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_NODEJS_TRANSPILE_ONLY: "true",
      PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS: "true",
      // By default the engine runs four operations for each core; most of them only wait.
      PULUMI_PARALLEL: "32",
      KUBECONFIG: kubeconfig,
      PATH: `${toolchain.bin}${path.delimiter}${process.env["PATH"] ?? ""}`,
    };
    this.canaries = Object.fromEntries(
      Object.entries(SECRET_KEYS).map(([key, { form }]) => [key, canary(key, form)]),
    ) as Record<SecretName, string>;
    this.project = path.join(directory, "project");
    this.stackFile = path.join(this.project, `Pulumi.${spec.stack}.yaml`);
    this.pulumi = path.join(home, "versions", versions.pulumi.slice(1), "bin", "pulumi");
  }

  /** Creates the stack and its stack file, with a canary for each credential. */
  static async create(spec: EngineSpec): Promise<Engine> {
    const engine = new Engine(spec);
    const { directory, stack } = spec;
    const { project, stackFile } = engine;
    for (const folder of [project, path.join(directory, "state"), path.dirname(engine.pulumi)]) {
      fs.mkdirSync(folder, { recursive: true });
    }
    const home = engine.env["PULUMI_HOME"] ?? "";
    fs.symlinkSync(spec.plugins, path.join(home, "plugins"));
    // The CLI logs everything that it does into this directory: almost half of its own work. Without one it does not.
    fs.writeFileSync(path.join(home, "logs"), "no logs: see engine.ts\n");
    fs.writeFileSync(engine.pulumi, launcher(spec.toolchain.pulumi, stackFile), { mode: 0o755 });
    fs.copyFileSync(path.join(ROOT, "Pulumi.yaml"), path.join(project, "Pulumi.yaml"));
    fs.writeFileSync(stackFile, stackFileText({ config: spec.config }), { mode: 0o600 });

    const run = (...args: string[]) => engine.must([...args, "--stack", stack, "--cwd", project]);
    await engine.must(["stack", "init", stack, "--cwd", project, "--non-interactive"]);
    const secrets = Object.entries(engine.canaries).flatMap(([key, value]) => ["--secret", `carbon:${key}=${value}`]);
    await run("config", "set-all", ...secrets);
    return engine;
  }

  /**
   * Runs one command of the engine to its end; a command that fails is a result, not an exception. Throws when the signal
   * has aborted before.
   */
  async run(command: EngineCommand, options: EngineOptions = {}): Promise<EngineResult> {
    const { args = [], preview = false, saveOnce = false, env = {}, signal, progress } = options;
    signal?.throwIfAborted(); // a signal that has aborted calls no listener any more
    const log = path.join(this.spec.directory, `events-${command}-${Date.now()}.json`);
    const confirm = command === "preview" ? [] : ["--yes", ...(preview ? [] : ["--skip-preview"])];
    const started = Date.now();
    const child = this.spawn({ ...env, ...(saveOnce && SAVE_ONCE) }, [
      ...[command, "--stack", this.spec.stack, "--non-interactive", "--event-log", log],
      ...[...confirm, ...args],
    ]);
    const stop = () => void interrupt(child);
    signal?.addEventListener("abort", stop, { once: true });
    const course = followEvents(log);
    const ticker = setInterval(() => progress?.(course()), 500);
    const { code, output } = await ended(child);
    clearInterval(ticker);
    signal?.removeEventListener("abort", stop);
    // An interrupted CLI was once seen to leave its lock, over which each later command falls.
    if (signal?.aborted === true) await ended(this.spawn({}, ["cancel", "--yes", "--stack", this.spec.stack]));
    const { changes, changed, errors, steps, faults } = course();
    fs.rmSync(log, { force: true });
    return {
      ok: code === 0,
      seconds: (Date.now() - started) / 1000,
      changes,
      changed,
      errors: code === 0 ? [] : errors.length > 0 ? errors : [output.trim()],
      steps,
      faults,
      output,
    };
  }

  /** Changes the plain values of `carbon:platform` in the stack file. */
  setValues(change: (values: StackValues) => StackValues): void {
    const file = parse(fs.readFileSync(this.stackFile, "utf8")) as { config: { "carbon:platform": StackValues } };
    file.config["carbon:platform"] = change(file.config["carbon:platform"]);
    fs.writeFileSync(this.stackFile, stackFileText(file), { mode: 0o600 });
  }

  /**
   * From now on the plain values are those that the stack file in the repository has when a command starts, with overrides; each
   * command says so. Credentials, and all that `pulumi config set` changes besides, stay the run's own.
   */
  follow(overrides: Readonly<Record<string, string>>): void {
    const { toolchain, stack } = this.spec;
    fs.writeFileSync(
      this.pulumi,
      launcher(toolchain.pulumi, this.stackFile, following(stack, this.stackFile, overrides)),
    );
  }

  /** Runs any other CLI command in the repository and returns its output. */
  async query(...args: string[]): Promise<string> {
    return this.must([...args, "--stack", this.spec.stack]);
  }

  private async must(args: readonly string[]): Promise<string> {
    const { code, output, stdout } = await ended(this.spawn({}, args));
    if (code !== 0) throw new Error(`pulumi ${args.slice(0, 2).join(" ")} failed:\n${output}`);
    return stdout;
  }

  private spawn(env: Readonly<Record<string, string>>, args: readonly string[]): ChildProcess {
    return spawn("sh", ["-c", GUARDED, "carbon-engine", this.pulumi, ...args], {
      cwd: ROOT,
      // The event log is a command for debugging.
      env: { ...process.env, ...this.env, ...env, PULUMI_DEBUG_COMMANDS: "true" },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      // A new session: Ctrl-C reaches it once, through us, and all its processes can be found.
      detached: true,
    });
  }
}

/**
 * Runs a command and then kills the rest of its session, even if the pipe closes because we were killed: the engine's plugins
 * are in separate process groups, and a program whose engine was killed never ends.
 */
const GUARDED = `
sweep() {
  self=$(exec sh -c 'echo $PPID')
  for stat in /proc/[0-9]*/stat; do
    pid=\${stat#/proc/} pid=\${pid%/stat}
    set -- $(sed 's/.*) //' "$stat" 2>/dev/null)
    [ "$4" = $$ ] && [ "$pid" != $$ ] && [ "$pid" != "$self" ] && kill -KILL "$pid" 2>/dev/null
  done
}
trap : INT
{ read -r _; sweep; kill -KILL $$; } <&3 3<&- 2>/dev/null &
"$@" 3<&- </dev/null
code=$?
sweep
exit $code
`;

/**
 * A wrapper script that passes this run's stack file to every CLI command that reads one, after the commands of `first`. The stack
 * file beside the program has the credentials of the real stack, which nobody here can decrypt.
 */
function launcher(pulumi: string, stackFile: string, first: readonly string[] = []): string {
  return [
    "#!/bin/sh",
    `case "$1" in`,
    "  preview | up | update | refresh | destroy | config)",
    ...first.map((line) => `    ${line} || exit`),
    `    exec ${quoted(pulumi)} "$@" --config-file ${quoted(stackFile)} ;;`,
    `  *) exec ${quoted(pulumi)} "$@" ;;`,
    "esac",
    "",
  ].join("\n");
}

/** Commands that take the plain values from the stack file in the repository, and say so. */
function following(stack: string, stackFile: string, overrides: Readonly<Record<string, string>>): string[] {
  const given = Object.entries(overrides).flatMap(([key, value]) => (key === "charts" ? [] : `${key}=${value}`));
  const values = [`Pulumi.${stack}.yaml as it is now`, ...given].join(", with ");
  const follow = path.join(__dirname, "follow.ts");
  const words = ["-r", "ts-node/register/transpile-only", follow, stack, stackFile, JSON.stringify(overrides)];
  return [
    `echo ${quoted(`rehearsal: the config is that of ${values}; charts and credentials are the rehearsal's own`)} >&2`,
    `(cd ${quoted(ROOT)} && ${[process.execPath, ...words].map(quoted).join(" ")})`,
  ];
}

/** A word of a shell's command line. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A value that can be found anywhere as plain text, Base64 or URL-encoded. */
function canary(key: string, form: SecretForm): string {
  const unique = randomBytes(16).toString("hex");
  if (form === "logins") return JSON.stringify({ auths: { [`canary.${unique}`]: {} } });
  return form === "user" || form === "key" ? `canary.${unique}` : `canary+${unique}/%@:${key}`;
}

async function interrupt(child: ChildProcess): Promise<void> {
  if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  const timer = setTimeout(() => child.stdio[3]?.destroy(), CANCEL_SECONDS * 1000);
  await ended(child);
  clearTimeout(timer);
}

function ended(child: ChildProcess): Promise<{ code: number | null; output: string; stdout: string }> {
  return new Promise((resolve, reject) => {
    let output = "";
    let stdout = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
      output += chunk.toString();
    });
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => {
      resolve({ code, output, stdout });
    });
  });
}

/** The text of a stack file. Pulumi reads YAML 1.1, in which a timestamp without quotes is not a string. */
export function stackFileText(file: object): string {
  return stringify(file, { schema: "yaml-1.1" });
}
