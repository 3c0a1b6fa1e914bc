import { execFile, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { runGuarded } from "../processes";

/** A tool that is built here, from the module of its set (or the one below it that `module` names). */
export interface Tool {
  readonly name: string;
  readonly module?: string;
  readonly package: string;
  readonly ldflags: string;
  /** A file that the package embeds, and where it lies in a module that the package requires. */
  readonly embed?: { readonly file: string; readonly module: string; readonly from: string };
  /** Seconds that its build takes in this order, from an empty cache on two idle cores. */
  readonly seconds: number;
}

const GO = { major: 1, minor: 26 };
const GIB = 2 ** 30;
const FREE_DISK_BYTES = 8 * GIB; // a build took 3.7 GiB, and the temporary files of the linker come on top
const FREE_MEMORY_BYTES = 4 * GIB; // linking kube-apiserver took 1.7 GiB, beside what compiles at the same time

/** What a build needs of a machine. */
interface Machine {
  /** As `go version` prints it; undefined when there is no Go. */
  readonly go?: string | undefined;
  readonly cache: string;
  readonly freeDiskBytes: number;
  readonly freeMemoryBytes: number;
}

/** Measures this machine for a build below `cache`, in `work`. */
export function measure(cache: string, work: string): Machine {
  const disk = fs.statfsSync(cache);
  return {
    go: goVersion(goEnvironment(work)),
    cache,
    freeDiskBytes: disk.bavail * disk.bsize,
    freeMemoryBytes: process.availableMemory(), // knows a container's limit
  };
}

function goVersion(env: NodeJS.ProcessEnv): string | undefined {
  try {
    return execFileSync("go", ["version"], { encoding: "utf8", env, cwd: os.tmpdir() }).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Everything that keeps a machine from building the tools, one line each. */
export function faults(machine: Machine): string[] {
  const gib = (bytes: number): string => `${(bytes / GIB).toFixed(1)} GiB`;
  const found: string[] = [];
  const [, major, minor] = /\bgo(\d+)\.(\d+)/.exec(machine.go ?? "") ?? [];
  if (Number(major) !== GO.major || Number(minor) < GO.minor || minor === undefined) {
    found.push(
      `Go: found ${machine.go ?? "none in PATH"}, needed ${GO.major}.${GO.minor} or a later ${GO.major}.x; ` +
        `install it from https://go.dev/dl and put its bin directory first in PATH`,
    );
  }
  if (machine.freeDiskBytes < FREE_DISK_BYTES) {
    found.push(
      `disk: ${gib(machine.freeDiskBytes)} free at ${machine.cache}, needed ${gib(FREE_DISK_BYTES)} during the build (0.6 GiB stay); ` +
        `free some, or set CARBON_CACHE to a directory on another disk`,
    );
  }
  if (machine.freeMemoryBytes < FREE_MEMORY_BYTES) {
    found.push(
      `memory: ${gib(machine.freeMemoryBytes)} available, needed ${gib(FREE_MEMORY_BYTES)}; ` +
        `close something, or raise the limit of the container`,
    );
  }
  return found;
}

/** What {@link build} knows of a tool. */
export type Buildable = Pick<Tool, "name" | "seconds">;

/**
 * Builds what is missing of `all`, one after the other; each tool appears in `bin` whole or not at all, so that an
 * interrupted build goes on where it stopped.
 */
export async function build<T extends Buildable>(
  missing: readonly T[],
  all: readonly T[],
  bin: string,
  compileTo: (tool: T, output: string) => Promise<void>,
  progress: (line: string) => void,
): Promise<void> {
  const started = Date.now();
  let done = 0;
  for (const [index, tool] of missing.entries()) {
    const toolStarted = Date.now();
    const rest = totalSeconds(missing.slice(index + 1));
    const report = (): void => {
      const before = (toolStarted - started) / 1000;
      const left = secondsLeft({ before, done, tool: tool.seconds, spent: (Date.now() - toolStarted) / 1000, rest });
      const minutes = Math.max(1, Math.round(left / 60));
      progress(
        `building tool ${all.indexOf(tool) + 1} of ${all.length}, ${tool.name}, about ${minutes} ${minutes === 1 ? "minute" : "minutes"} left`,
      );
    };
    report();
    const everyMinute = setInterval(report, 60_000);
    try {
      const output = path.join(bin, `.${tool.name}.part`);
      await compileTo(tool, output);
      fs.renameSync(output, path.join(bin, tool.name));
    } finally {
      clearInterval(everyMinute);
    }
    done += tool.seconds;
  }
}

/** How far a build has come: seconds that passed, and seconds of the table. */
interface BuildState {
  /** Passed before the tool at hand, for which the table has `done`. */
  readonly before: number;
  readonly done: number;
  /** The table's for the tool at hand, for which `spent` have passed. */
  readonly tool: number;
  readonly spent: number;
  /** The table's for all tools after it. */
  readonly rest: number;
}

/**
 * What is left of a build: the table's seconds, scaled by how this machine has done so far. A tool that is overdue
 * shows a slower machine, so that the estimate of everything grows; it itself may take as long again as it is late.
 */
export function secondsLeft({ before, done, tool, spent, rest }: BuildState): number {
  const scale = Math.max(done > 0 ? before / done : 1, (before + spent) / (done + tool));
  const planned = tool * (done > 0 ? before / done : 1);
  return Math.abs(planned - spent) + rest * scale;
}

/** What the table says that tools take together. */
export function totalSeconds(tools: readonly Buildable[]): number {
  return tools.reduce((sum, { seconds }) => sum + seconds, 0);
}

/**
 * The user's environment for Go, with everything that Go writes moved to `work`, unless GOCACHE and GOMODCACHE say where
 * it is to go. Go's settings (`go env -w`: proxies, flags) stay the user's.
 */
function goEnvironment(work: string): NodeJS.ProcessEnv {
  const configuration = process.env["XDG_CONFIG_HOME"] ?? path.join(os.homedir(), ".config");
  const temporary = path.join(work, "tmp");
  fs.mkdirSync(temporary, { recursive: true }); // Go makes the others by itself
  return {
    GOENV: process.platform === "darwin" ? undefined : path.join(configuration, "go/env"),
    GOCACHE: path.join(work, "cache"),
    GOMODCACHE: path.join(work, "modules"),
    GOPATH: path.join(work, "path"),
    GOTMPDIR: temporary,
    ...process.env,
    XDG_CONFIG_HOME: path.join(work, "config"), // Go counts its calls there (its telemetry), even that for its version
    GOTOOLCHAIN: "local", // nobody asked for the download of another Go
    CGO_ENABLED: "0",
  };
}

/** Compiles a tool of the Go module in `directory`; what Go keeps between two tools lies in `work`. */
export async function compile(directory: string, tool: Tool, output: string, work: string): Promise<void> {
  // -modcacherw: otherwise the modules could not be removed afterwards
  const options = { cwd: path.join(directory, tool.module ?? ""), env: goEnvironment(work) };
  const overlay = await embedded(tool, options.cwd, work);
  const flags = ["-trimpath", "-modcacherw", ...overlay, "-ldflags", tool.ldflags, "-o", output];
  const { code, complaints } = await runGuarded(["go", "build", ...flags, tool.package], options);
  if (code !== 0) throw new Error(`${tool.name}: go build failed; the tools before it are kept\n${complaints}`);
}

/** The flag that lays a file of another module where a package embeds it: Go embeds nothing from outside a package. */
async function embedded({ embed }: Tool, cwd: string, work: string): Promise<string[]> {
  if (embed === undefined) return [];
  const { file, module, from } = embed;
  const source = await moduleSource(cwd, module, work);
  const overlay = path.join(work, "overlay.json");
  fs.writeFileSync(overlay, JSON.stringify({ Replace: { [path.join(cwd, file)]: path.join(source, from) } }));
  return ["-overlay", overlay];
}

/** A folder of the source of a module that the one in `directory` requires, copied to where its tools are. */
export async function moduleFolder(bin: string, directory: string, module: string, folder: string): Promise<string> {
  const copy = path.join(bin, path.basename(folder));
  if (fs.existsSync(copy)) return copy;
  const work = fs.mkdtempSync(path.join(bin, ".source-"));
  const unfinished = path.join(work, "copy");
  fs.cpSync(path.join(await moduleSource(directory, module, work), folder), unfinished, { recursive: true });
  fs.renameSync(unfinished, copy);
  fs.rmSync(work, { recursive: true });
  return copy;
}

/** Where Go keeps a module that the one in `directory` requires; it is downloaded below `work` where it is not there yet. */
async function moduleSource(directory: string, module: string, work: string): Promise<string> {
  // -modcacherw: as for a build
  const download = ["mod", "download", "-modcacherw", "-json", module];
  const { stdout } = await promisify(execFile)("go", download, { cwd: directory, env: goEnvironment(work) });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}
