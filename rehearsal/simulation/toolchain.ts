import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { identify, isAlive, type ProcessIdentity } from "./processes";

/** The tools of a rehearsal, ready to run. */
export interface Toolchain {
  /** Directory of all of them: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok, helm, pulumi. */
  readonly bin: string;
  readonly pulumi: string;
  readonly pulumiLanguageNodejs: string;
  /** The one directory outside of the checkout that is written to. */
  readonly cache: string;
}

/** A tool that is built here, from the module of its set (or the one below it that `module` names). */
export interface Tool {
  readonly name: string;
  readonly module?: string;
  readonly package: string;
  readonly ldflags: string;
  /** A file that the package embeds, by its place here, and where it lies in a module that is required. */
  readonly embed?: { readonly file: string; readonly module: string; readonly from: string };
  /** Seconds that its build takes in this order, from an empty cache on two idle cores: the weights of the progress. */
  readonly seconds: number;
}

/** Tools that are built together; what is built is named by the content of their go.mod files. */
export interface ToolSet {
  /** Whose tools they are, for messages. */
  readonly owner: string;
  /** Directory of the Go module that pins them. */
  readonly directory: string;
  readonly tools: readonly Tool[];
}

const MODULE = path.join(__dirname, "toolchain");
const KUBERNETES_PLUGIN_MODULE = "kubernetes-plugin"; // of its own: it does not compile with this Kubernetes' libraries
const KUBERNETES_PLUGIN = "github.com/pulumi/pulumi-kubernetes/provider/v4";
const LANGUAGE_HOST_MODULE = "nodejs"; // of its own: its SDK is too old for the CLI's module

/** The pinned versions, read from the go.mod files, which alone decide them. */
export const versions = {
  kubernetes: pinned("k8s.io/kubernetes"),
  etcd: pinned("go.etcd.io/etcd/server/v3"),
  kwok: pinned("sigs.k8s.io/kwok"),
  helm: pinned("helm.sh/helm/v3"),
  pulumi: pinned("github.com/pulumi/pulumi/pkg/v3"),
  kubernetesPlugin: pinned(KUBERNETES_PLUGIN, path.join(MODULE, KUBERNETES_PLUGIN_MODULE)),
  pulumiLanguageNodejs: pinned("github.com/pulumi/pulumi/sdk/v3", path.join(MODULE, LANGUAGE_HOST_MODULE)),
} as const;

/** The version of a module that a go.mod file requires. */
export function pinned(module: string, directory = MODULE): string {
  const file = path.join(directory, "go.mod");
  const words = fs.readFileSync(file, "utf8").split(/\s+/);
  const version = words.find((word, index) => words[index - 1] === module && /^v\d/.test(word));
  if (version === undefined) throw new Error(`${file}: requires no version of ${module}; run \`go get -tool\` for it`);
  return version;
}

const STRIP = "-s -w";
// Without these the control plane calls itself v0.0.0, and charts that look at its version refuse it.
const KUBERNETES = [
  STRIP,
  `-X k8s.io/component-base/version.gitVersion=${versions.kubernetes}`,
  `-X k8s.io/component-base/version.gitMajor=${versions.kubernetes.slice(1).split(".")[0] ?? ""}`,
  `-X k8s.io/component-base/version.gitMinor=${versions.kubernetes.split(".")[1] ?? ""}`,
].join(" ");
const PULUMI = `${STRIP} -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=${versions.pulumi}`;

const TOOLS: readonly Tool[] = [
  { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", ldflags: KUBERNETES, seconds: 180 },
  {
    name: "kube-controller-manager",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    ldflags: KUBERNETES,
    seconds: 50,
  },
  { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler", ldflags: KUBERNETES, seconds: 5 },
  { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", ldflags: KUBERNETES, seconds: 22 },
  { name: "etcd", package: "go.etcd.io/etcd/server/v3", ldflags: STRIP, seconds: 6 },
  { name: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", ldflags: STRIP, seconds: 9 },
  { name: "helm", package: "helm.sh/helm/v3/cmd/helm", ldflags: STRIP, seconds: 28 },
  { name: "pulumi", package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", ldflags: PULUMI, seconds: 290 },
  {
    name: "pulumi-language-nodejs",
    module: LANGUAGE_HOST_MODULE,
    package: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    ldflags: STRIP,
    seconds: 35,
  },
  {
    name: "pulumi-resource-kubernetes",
    module: KUBERNETES_PLUGIN_MODULE,
    package: ".",
    ldflags: `${STRIP} -X ${KUBERNETES_PLUGIN}/pkg/version.Version=${versions.kubernetesPlugin.slice(1)}`,
    embed: {
      file: "schema.json",
      module: KUBERNETES_PLUGIN,
      from: "cmd/pulumi-resource-kubernetes/schema.json",
    },
    seconds: 240,
  },
];

const REHEARSAL: ToolSet = { owner: "the rehearsal", directory: MODULE, tools: TOOLS };

const GO = { major: 1, minor: 26 };
const GIB = 2 ** 30;
const FREE_DISK_BYTES = 8 * GIB; // a build took 3.7 GiB, and the temporary files of the linker come on top
const FREE_MEMORY_BYTES = 4 * GIB; // linking kube-apiserver took 1.7 GiB, beside what compiles at the same time

/**
 * Finds the rehearsal's tools in the cache and builds what is missing there; the first time that takes about a quarter
 * of an hour.
 *
 * @param progress gets each line that a person who waits should see.
 * @throws Error that lists everything that keeps this machine from building, or with the end of the compiler's output.
 */
export async function ensureToolchain(progress: (line: string) => void): Promise<Toolchain> {
  const bin = await ensureTools(REHEARSAL, progress);
  return {
    bin,
    pulumi: path.join(bin, "pulumi"),
    pulumiLanguageNodejs: path.join(bin, "pulumi-language-nodejs"),
    cache: cacheDirectory(),
  };
}

/** Finds a set of tools in the cache, or builds what is missing there, and returns the directory that they lie in. */
export async function ensureTools(set: ToolSet, progress: (line: string) => void): Promise<string> {
  const { owner, tools } = set;
  const cache = cacheDirectory();
  const bin = toolsDirectory(cache, set);
  const isBuilt = (tool: Tool): boolean => fs.existsSync(path.join(bin, tool.name));
  if (tools.every(isBuilt)) return bin;
  fs.mkdirSync(bin, { recursive: true });
  // One build at a time, whatever it builds: two would each take twice as long.
  await withLock(path.join(cache, "build.lock"), progress, async () => {
    const missing = tools.filter((tool) => !isBuilt(tool)); // another run may have built them while we waited
    if (missing.length === 0) return;
    const work = path.join(cache, "build"); // what an interrupted build left there is used again
    const environment = goEnvironment(work);
    const found = faults(measure(cache, environment));
    if (found.length > 0) throw new pulumi.RunError(`the tools of ${owner} cannot be built here:\n${found.join("\n")}`);
    await build(missing, tools, bin, (tool, output) => compile(set, tool, output, environment), progress);
    fs.rmSync(work, { recursive: true, force: true });
  });
  return bin;
}

/**
 * Puts the Pulumi CLI and its language host where the npm package `pulumi` looks before it downloads one, so that
 * `PULUMI_HOME=<pulumiHome> npx pulumi` runs them. What is there already stays.
 */
export function installPulumi(toolchain: Toolchain, pulumiHome: string): void {
  const bin = path.join(pulumiHome, "versions", versions.pulumi.slice(1), "bin");
  fs.mkdirSync(bin, { recursive: true });
  for (const file of [toolchain.pulumi, toolchain.pulumiLanguageNodejs]) {
    const link = path.join(bin, path.basename(file));
    if (!fs.existsSync(link)) {
      fs.rmSync(link, { force: true }); // a link into a cache that was removed
      fs.symlinkSync(file, link);
    }
  }
}

/** Where tools, plugins and runs lie: CARBON_CACHE, or `254carbon` in the user's cache directory. */
export function cacheDirectory(): string {
  const { CARBON_CACHE, XDG_CACHE_HOME } = process.env;
  return path.resolve(CARBON_CACHE ?? path.join(XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache"), "254carbon"));
}

function toolsDirectory(cache: string, set: ToolSet): string {
  return path.join(cache, "tools", toolsKey(set));
}

/** The helm of an earlier rehearsal; undefined where none was built yet. */
export function builtHelm(): string | undefined {
  const helm = path.join(toolsDirectory(cacheDirectory(), REHEARSAL), "helm");
  return fs.existsSync(helm) ? helm : undefined;
}

/** Names what is built, so that two versions of the checkout do not get in each other's way. */
function toolsKey({ directory, tools }: ToolSet): string {
  const builds = tools.map(({ name, module, package: source, ldflags }) => [name, module, source, ldflags]);
  const hash = crypto.createHash("sha256").update(JSON.stringify([process.platform, process.arch, ...builds]));
  for (const module of new Set(tools.map(({ module = "" }) => path.join(directory, module)))) {
    for (const file of ["go.mod", "go.sum"]) hash.update(fs.readFileSync(path.join(module, file)));
  }
  return hash.digest("hex").slice(0, 16);
}

/** What a build needs of a machine. */
interface Machine {
  /** As `go version` prints it; undefined when there is no Go. */
  readonly go?: string | undefined;
  readonly cache: string;
  readonly freeDiskBytes: number;
  readonly freeMemoryBytes: number;
}

function measure(cache: string, environment: NodeJS.ProcessEnv): Machine {
  const disk = fs.statfsSync(cache);
  return {
    go: goVersion(environment),
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
  let [done, left] = [0, missing.reduce((sum, tool) => sum + tool.seconds, 0)];
  for (const tool of missing) {
    const toolStarted = Date.now();
    const report = (): void => {
      // The table's seconds, scaled by how this machine has done so far; of the tool at hand at least a tenth is left.
      const scale = done > 0 ? (toolStarted - started) / 1000 / done : 1;
      const spent = Math.min((Date.now() - toolStarted) / 1000, tool.seconds * scale * 0.9);
      const minutes = Math.max(1, Math.round((left * scale - spent) / 60));
      progress(
        `tool ${all.indexOf(tool) + 1} of ${all.length}, ${tool.name}, about ${minutes} ${minutes === 1 ? "minute" : "minutes"} left`,
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
    left -= tool.seconds;
  }
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

/**
 * Go under a shell that kills it, with all that it has started, as soon as our end of the pipe closes: so that not even
 * our death by SIGKILL leaves a compiler running.
 */
const GUARDED = '{ read -r _; kill -KILL 0; } <&3 3<&- & "$@" 3<&- </dev/null; code=$?; kill $!; exit $code';

async function compile({ directory }: ToolSet, tool: Tool, output: string, env: NodeJS.ProcessEnv): Promise<void> {
  // -modcacherw: otherwise the modules could not be removed afterwards
  const overlay = await embedded(path.join(directory, tool.module ?? ""), tool, env);
  const flags = ["-trimpath", "-modcacherw", ...overlay, "-ldflags", tool.ldflags, "-o", output];
  const child = spawn("sh", ["-c", GUARDED, "go-build", "go", "build", ...flags, tool.package], {
    cwd: path.join(directory, tool.module ?? ""),
    env,
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const [code, complaints] = await Promise.all([exit(child), lastLines(child)]);
  if (code !== 0) throw new Error(`${tool.name}: go build failed; the tools before it are kept\n${complaints}`);
}

/** The flag that lays a file of another module where a package embeds it: Go embeds nothing from outside a package. */
async function embedded(directory: string, { name, embed }: Tool, env: NodeJS.ProcessEnv): Promise<string[]> {
  if (embed === undefined) return [];
  const { file, module, from } = embed;
  const downloaded = await promisify(execFile)("go", ["mod", "download", "-json", module], { cwd: directory, env });
  const { Dir: source } = JSON.parse(downloaded.stdout) as { Dir: string };
  const overlay = path.join(env["GOTMPDIR"] ?? os.tmpdir(), `${name}-overlay.json`);
  const replace = { [path.join(directory, file)]: path.join(source, from) };
  fs.writeFileSync(overlay, JSON.stringify({ Replace: replace }));
  return ["-overlay", overlay];
}

async function exit(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => {
      child.stdio[3]?.destroy();
      resolve(code);
    });
  });
}

async function lastLines(child: ChildProcess): Promise<string> {
  const lines: string[] = [];
  for await (const chunk of child.stderr ?? []) lines.push(...String(chunk).split("\n").filter(Boolean));
  return lines.slice(-20).join("\n");
}

/**
 * Runs `work` while holding a lock file; waits, and says so, while another living process holds it. The lock of a dead
 * process counts for nothing.
 */
export async function withLock<T>(file: string, progress: (line: string) => void, work: () => Promise<T>): Promise<T> {
  const self = identify(process.pid);
  const draft = `${file}.${process.pid}`;
  fs.writeFileSync(draft, JSON.stringify(self));
  try {
    for (let told = false; !tryLink(draft, file);) {
      const owner = readOwner(file);
      if (owner && isAlive(owner)) {
        if (!told) progress(`waiting for process ${owner.pid}, which is building the tools`);
        told = true;
        await sleep(500);
      } else {
        // Renamed and looked at again, because a third process may have taken the lock over since we read it.
        const stale = `${file}.stale.${process.pid}`;
        if (!tryRename(file, stale)) continue;
        const taken = readOwner(stale);
        if (taken && isAlive(taken)) tryLink(stale, file);
        fs.rmSync(stale, { force: true });
      }
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/** A hard link appears with its content or not at all, and never over another. */
function tryLink(from: string, to: string): boolean {
  return unless("EEXIST", () => {
    fs.linkSync(from, to);
  });
}

function tryRename(from: string, to: string): boolean {
  return unless("ENOENT", () => {
    fs.renameSync(from, to);
  });
}

function unless(code: string, act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return false;
    throw error;
  }
}

function readOwner(file: string): ProcessIdentity | undefined {
  let owner: ProcessIdentity | undefined;
  unless("ENOENT", () => {
    owner = JSON.parse(fs.readFileSync(file, "utf8")) as ProcessIdentity;
  });
  return owner;
}
