import { execFile } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { manifestFileName } from "../components/base/chart-release";
import { type ChartPin, charts, type ManifestPin, manifests } from "../components/base/versions";
import { chartVersion } from "../rehearsal/charts";
import { ROOT, stackConfig } from "../rehearsal/evaluate";
import { command, run } from "../rehearsal/cli";
import { builtHelm } from "../rehearsal/toolchain";

const execute = promisify(execFile);

/** SHA-256 digests of the pinned files, by their name in the chart directory. */
export type Lock = Readonly<Record<string, string>>;

const LOCK_FILE = "charts.lock.json";

/** What to pull, and from where. */
export interface PullOptions {
  readonly directory: string;
  readonly charts: readonly ChartPin[];
  readonly manifests: readonly ManifestPin[];
  readonly lock: Lock;
  /** Accepts what upstream has now, instead of comparing it with the lock. */
  readonly update: boolean;
  /** The helm to run. @default the one on PATH */
  readonly helm?: string;
  /** Where the releases of the manifest files lie. @default "https://github.com" */
  readonly releases?: string;
  readonly progress: (line: string) => void;
}

/**
 * Fills the chart directory with what the program pins and returns the digests of all of it. Files that are there and
 * match the lock stay. Throws one RunError that names every file that could not be had or is not what the lock says.
 */
export async function pullCharts(options: PullOptions): Promise<Lock> {
  const { directory, progress } = options;
  fs.mkdirSync(directory, { recursive: true });
  const digests: Record<string, string> = {};
  const faults: string[] = [];
  for (const one of wanted(options)) {
    try {
      digests[one.file] = await pullOne(one, options);
    } catch (error) {
      if (!pulumi.RunError.isInstance(error)) throw error;
      progress(`✗ ${one.file}`);
      faults.push(error.message);
    }
  }
  if (faults.length > 0) throw new pulumi.RunError(faults.join("\n"));
  return digests;
}

interface Wanted {
  readonly file: string;
  /** Brings the file into an empty directory; returns its path there. */
  readonly fetch: (into: string) => Promise<string>;
  /** Makes the file ready for use, where it lies. */
  readonly unpack?: (file: string) => Promise<void>;
}

function wanted(options: PullOptions): Wanted[] {
  const { directory, helm = "helm", releases = "https://github.com" } = options;
  return [
    ...options.charts.map((pin) => ({
      file: `${pin.chart}-${pin.version}.tgz`,
      fetch: (into: string) => pullChart(pin, helm, into),
      unpack: (file: string) => unpackChart(pin, file, directory),
    })),
    ...options.manifests.map((pin) => ({
      file: manifestFileName(pin),
      fetch: (into: string) =>
        download(`${releases}/${pin.repository}/releases/download/${pin.version}/${pin.asset}`, into),
    })),
  ];
}

async function pullOne({ file, fetch, unpack }: Wanted, options: PullOptions): Promise<string> {
  const { directory, lock, update, progress } = options;
  const target = path.join(directory, file);
  const locked = lock[file];
  if (fs.existsSync(target) && digestOf(target) === locked) {
    await unpack?.(target);
    progress(`  ${file}: is there`);
    return locked;
  }
  if (locked === undefined && !update) {
    throw new pulumi.RunError(`${file}: ${LOCK_FILE} has no digest of it; run \`npm run charts:pull -- --update\``);
  }
  // Beside its place, so that the move is one step and an interrupted run leaves nothing half-written.
  const work = fs.mkdtempSync(path.join(directory, ".pull-"));
  try {
    const fetched = await fetch(work);
    const digest = digestOf(fetched);
    if (locked !== undefined && digest !== locked && !update) {
      throw new pulumi.RunError(
        `${file}: upstream's digest is ${digest}, but ${LOCK_FILE} has ${locked}; find out why it changed, ` +
          "and only then run `npm run charts:pull -- --update`",
      );
    }
    fs.renameSync(fetched, target);
    await unpack?.(target);
    progress(`  ${file}: pulled, ${digest}`);
    return digest;
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}

function digestOf(file: string): string {
  return `sha256:${crypto.createHash("sha256").update(fs.readFileSync(file)).digest("hex")}`;
}

async function pullChart({ repo, chart, version }: ChartPin, helm: string, into: string): Promise<string> {
  const source = repo.startsWith("oci://") ? [`${repo}/${chart}`] : [chart, "--repo", repo];
  try {
    await execute(helm, ["pull", ...source, "--version", version, "--destination", into]);
  } catch (error) {
    const { code, stderr, message } = error as { code?: unknown; stderr?: string; message: string };
    if (code === "ENOENT") {
      throw new pulumi.RunError(`${helm}: is not there; install Helm 3, or name one with --helm FILE`);
    }
    throw new pulumi.RunError(`${chart} ${version}: helm cannot pull it from ${repo}: ${(stderr ?? message).trim()}`);
  }
  const [file] = fs.readdirSync(into);
  if (file === undefined) throw new Error(`helm pull ${chart} wrote nothing`);
  return path.join(into, file);
}

/** Puts the chart's folder in place of another version of it. */
async function unpackChart({ chart, version }: ChartPin, archive: string, directory: string): Promise<void> {
  const target = path.join(directory, chart);
  if (chartVersion(target) === version) return;
  const work = fs.mkdtempSync(path.join(directory, ".unpack-"));
  try {
    await execute("tar", ["-xzf", archive, "-C", work]);
    const found = chartVersion(path.join(work, chart));
    if (found !== version) {
      throw new pulumi.RunError(`${archive}: holds version ${found ?? "none"} of ${chart}, but ${version} is pinned`);
    }
    fs.rmSync(target, { recursive: true, force: true });
    fs.renameSync(path.join(work, chart), target);
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}

async function download(url: string, into: string): Promise<string> {
  const response = await fetch(url).catch((error: unknown) => {
    const { message, cause } = error as Error;
    throw new pulumi.RunError(`${url}: cannot be fetched: ${cause instanceof Error ? cause.message : message}`);
  });
  if (!response.ok) throw new pulumi.RunError(`${url}: answers ${response.status} ${response.statusText}`);
  const file = path.join(into, "file");
  fs.writeFileSync(file, await response.text());
  return file;
}

interface Options {
  readonly stack: string;
  readonly helm?: string;
  readonly update?: boolean;
}

/** The command line. */
export const program = command(
  "charts:pull",
  "Fills the chart directory of a stack with the pinned charts and manifest files.",
  [
    "npm run charts:pull",
    "npm run charts:pull -- --update    after a version in components/base/versions.ts has changed",
  ],
)
  .option("--stack <name>", "the stack whose charts.directory is filled", "dev")
  .option("--helm <file>", "the helm to run (default: the one that a rehearsal built, else the one on PATH)")
  .option("--update", `accepts what upstream has now and writes its digests to ${LOCK_FILE}`)
  .addHelpText("after", "\nExit codes: 0 all are there, 2 something is missing or is not what the lock file says.")
  .action(async ({ stack, helm = builtHelm() ?? "helm", update = false }: Options) => {
    const lockFile = path.join(ROOT, LOCK_FILE);
    const lock = fs.existsSync(lockFile) ? (JSON.parse(fs.readFileSync(lockFile, "utf8")) as Lock) : {};
    const directory = path.resolve(ROOT, stackConfig(stack).charts.directory);
    const digests = await pullCharts({
      directory,
      charts: Object.values(charts),
      manifests: Object.values(manifests),
      lock,
      update,
      helm,
      progress: (line) => {
        console.log(line);
      },
    });
    if (update) fs.writeFileSync(lockFile, `${JSON.stringify(digests, Object.keys(digests).sort(), 2)}\n`);
    console.log(`${directory} holds what the program pins.${update ? ` ${LOCK_FILE} is written: commit it.` : ""}`);
  });

if (require.main === module) void run(program);
