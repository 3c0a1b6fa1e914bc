import { execFile } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { manifestFileName } from "../components/base/chart-release";
import { type ChartPin, charts, type ManifestPin, manifests } from "../components/base/versions";
import { chartVersion } from "../rehearsal/program/charts";
import { ROOT, stackConfig } from "../rehearsal/program/evaluate";
import { verdict } from "../rehearsal/simulation/colours";
import { command, print, progress, run } from "./cli";
import { builtHelm } from "../rehearsal/simulation/toolchain";

const execute = promisify(execFile);

/** SHA-256 digests of the pinned files, by name in the chart directory. */
export type Lock = Readonly<Record<string, string>>;

const LOCK_FILE = "charts.lock.json";

/** Options of {@link pullCharts}. */
export interface PullOptions {
  readonly directory: string;
  readonly charts: readonly ChartPin[];
  readonly manifests: readonly ManifestPin[];
  readonly lock: Lock;
  /** Accept upstream's files instead of comparing them with the lock. */
  readonly update: boolean;
  /** A repository with all charts, `https:` or `oci:`, to use instead of each chart's own. */
  readonly mirror?: string;
  /** Use HTTP for OCI registries. */
  readonly plainHttp?: boolean;
  /** The helm binary. @default the one on PATH */
  readonly helm?: string;
  /** Base URL of the manifest files' releases. @default "https://github.com" */
  readonly releases?: string;
  readonly progress: (line: string) => void;
}

/**
 * Downloads the pinned files to the chart directory and returns the digests of all of them. Existing files that match the
 * lock stay. Throws one RunError that lists every file that could not be fetched or does not match the lock.
 */
export async function pullCharts(options: PullOptions): Promise<Lock> {
  const { directory, progress } = options;
  fs.mkdirSync(directory, { recursive: true });
  const digests: Record<string, string> = {};
  const faults: string[] = [];
  const all = wanted(options);
  for (const [index, one] of all.entries()) {
    const step = `${index + 1}/${all.length}`;
    try {
      const { digest, how } = await pullOne(one, options);
      digests[one.file] = digest;
      progress(`${step} ${one.file}: ${how}, ${digest}`);
    } catch (error) {
      if (!pulumi.RunError.isInstance(error)) throw error;
      progress(`${step} ✗ ${one.file}`);
      faults.push(error.message);
    }
  }
  if (faults.length > 0) throw new pulumi.RunError(faults.join("\n"));
  return digests;
}

interface Wanted {
  readonly file: string;
  /** Fetches the file into an empty directory and returns its path. */
  readonly fetch: (into: string) => Promise<string>;
  /** Unpacks the file in place. */
  readonly unpack?: (file: string) => Promise<void>;
}

function wanted(options: PullOptions): Wanted[] {
  const { directory, releases = "https://github.com" } = options;
  return [
    ...options.charts.map((pin) => ({
      file: `${pin.chart}-${pin.version}.tgz`,
      fetch: (into: string) => pullChart(pin, options, into),
      unpack: (file: string) => unpackChart(pin, file, directory),
    })),
    ...options.manifests.map((pin) => ({
      file: manifestFileName(pin),
      fetch: (into: string) =>
        download(`${withoutSlash(releases)}/${pin.repository}/releases/download/${pin.version}/${pin.asset}`, into),
    })),
  ];
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, "");
}

interface Pulled {
  readonly digest: string;
  readonly how: "is there" | "pulled";
}

async function pullOne({ file, fetch, unpack }: Wanted, options: PullOptions): Promise<Pulled> {
  const { directory, lock, update } = options;
  const target = path.join(directory, file);
  const locked = lock[file];
  if (fs.existsSync(target) && digestOf(target) === locked) {
    await unpack?.(target);
    return { digest: locked, how: "is there" };
  }
  if (locked === undefined && !update) {
    throw new pulumi.RunError(`${file}: ${LOCK_FILE} has no digest of it; run \`npm run charts:pull -- --update\``);
  }
  // On the same file system, so that the move is atomic and an interrupted run leaves nothing half-written.
  const work = fs.mkdtempSync(path.join(directory, ".pull-"));
  try {
    const fetched = await fetch(work);
    const digest = digestOf(fetched);
    if (locked !== undefined && digest !== locked && !update) {
      throw new pulumi.RunError(
        `${file}: upstream's digest is ${digest}, but ${LOCK_FILE} has ${locked}; find out why it changed ` +
          "before you run `npm run charts:pull -- --update`",
      );
    }
    await unpack?.(fetched);
    fs.renameSync(fetched, target);
    return { digest, how: "pulled" };
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}

function digestOf(file: string): string {
  return `sha256:${crypto.createHash("sha256").update(fs.readFileSync(file)).digest("hex")}`;
}

async function pullChart(pin: ChartPin, options: PullOptions, into: string): Promise<string> {
  const { chart, version } = pin;
  const { helm = "helm", mirror, plainHttp = false } = options;
  const repository = withoutSlash(mirror ?? pin.repo);
  const source = repository.startsWith("oci://") ? [`${repository}/${chart}`] : [chart, "--repo", repository];
  const files = path.join(into, "files");
  fs.mkdirSync(files);
  const args = [
    ...["pull", ...source, "--version", version, "--destination", files],
    // A private cache: the index from another run could be outdated.
    ...["--repository-cache", path.join(into, "cache")],
    ...(plainHttp ? ["--plain-http"] : []),
  ];
  await fetchBy(helm, args, {
    absent: "install Helm 3, or pass one with --helm FILE",
    failed: `${chart} ${version}: helm cannot pull it from ${repository}`,
  });
  const [file] = fs.readdirSync(files);
  if (file === undefined) throw new Error(`helm pull ${chart} wrote nothing`);
  return path.join(files, file);
}

/** Replaces the chart's directory with the contents of the archive, because local changes would go unnoticed. */
async function unpackChart({ chart, version }: ChartPin, archive: string, directory: string): Promise<void> {
  const target = path.join(directory, chart);
  const work = fs.mkdtempSync(path.join(directory, ".unpack-"));
  try {
    await execute("tar", ["-xzf", archive, "-C", work]);
    const found = chartVersion(path.join(work, chart));
    if (found !== version) {
      throw new pulumi.RunError(`${archive}: has version ${found ?? "none"} of ${chart}, but ${version} is pinned`);
    }
    if (fs.existsSync(target)) fs.renameSync(target, path.join(work, ".old"));
    fs.renameSync(path.join(work, chart), target);
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}

async function download(url: string, into: string): Promise<string> {
  const file = path.join(into, "file");
  // curl, like helm, reads proxies from the environment; Node 20's fetch does not.
  await fetchBy("curl", ["--fail", "--location", "--silent", "--show-error", "--output", file, url], {
    absent: "install it",
    failed: `${url}: curl cannot fetch it`,
  });
  return file;
}

/** Runs a program that fetches something, and reports a failure on one line. */
async function fetchBy(program: string, args: string[], faults: { absent: string; failed: string }): Promise<void> {
  try {
    await execute(program, args);
  } catch (error) {
    const { code, stderr, message } = error as { code?: unknown; stderr?: string; message: string };
    if (code === "ENOENT") throw new pulumi.RunError(`${program}: not found; ${faults.absent}`);
    const reason = (stderr ?? message).trim().replaceAll(/\s*\n\s*/g, " ");
    throw new pulumi.RunError(`${faults.failed}: ${reason}`);
  }
}

/** Writes the lock file atomically. */
export function writeLock(file: string, digests: Lock): void {
  fs.writeFileSync(`${file}.new`, `${JSON.stringify(digests, Object.keys(digests).sort(), 2)}\n`);
  fs.renameSync(`${file}.new`, file);
}

interface Options {
  readonly stack: string;
  readonly helm?: string;
  readonly update?: boolean;
  readonly mirror?: string;
  readonly releases?: string;
  readonly plainHttp?: boolean;
}

/** The command line. */
export const program = command(
  "charts:pull",
  "Downloads the pinned charts and manifest files to the chart directory of a stack.",
  [
    "npm run charts:pull",
    "npm run charts:pull -- --update    after a version change in components/base/versions.ts",
    "npm run charts:pull -- --mirror oci://example.com/charts --releases https://example.com/releases",
  ],
)
  .option("--stack <name>", "the stack whose charts.directory to fill", "dev")
  .option("--helm <file>", "the helm binary (default: the rehearsal's, else the one on PATH)")
  .option("--update", `accept upstream's files and write their digests to ${LOCK_FILE}`)
  .option(
    "--mirror <url>",
    "a repository with all charts, https: (with an index.yaml) or oci:, instead of each chart's own",
  )
  .option("--releases <url>", "base URL of the manifest files, with the same paths as at https://github.com")
  .option("--plain-http", "use HTTP for an OCI registry, such as a local mirror")
  .addHelpText(
    "after",
    `
Helm pulls the charts, and curl the manifest files. Both read proxies from the environment, and Helm
its logins too. Every file must match ${LOCK_FILE}, whatever its source. Charts are
unpacked anew each time.
Exit codes: 0 all files are present, 2 a file is missing or does not match the lock file.`,
  )
  .action(async ({ stack, helm = builtHelm() ?? "helm", update = false, ...sources }: Options) => {
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
      ...sources,
      progress,
    });
    if (update) writeLock(lockFile, digests);
    const next = update
      ? `commit the new ${LOCK_FILE}`
      : `npm run charts:check -- --charts ${path.relative(process.cwd(), directory)}`;
    print(verdict("ok", `${directory} holds the ${Object.keys(digests).length} pinned files. Next: ${next}`));
  });

if (require.main === module) void run(program);
