import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import type { Schema } from "../../program/contract-change";
import { ROOT } from "../../program/evaluate";
import type { Described, Description } from "./describe";

const run = promisify(execFile);
const MODULES = "node_modules";

/** A state of the repository as a directory, with its modules. */
export interface Checkout {
  readonly directory: string;
  /** Directory of the real charts that it pins, instead of the stack's own. */
  readonly charts?: string | undefined;
}

/** Writes a commit's files to a directory, with the working tree's modules where both lock the same ones. */
export async function checkOut(ref: string, directory: string, progress: (line: string) => void): Promise<Checkout> {
  const git = (...args: string[]) => run("git", ["-C", ROOT, ...args]);
  const commit = await git("rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`).catch(() => {
    throw new pulumi.RunError(`--against ${ref}: git knows no such commit; fetch it, or name a branch, tag or commit`);
  });
  const archive = `${directory}.tar`;
  fs.mkdirSync(directory, { recursive: true });
  await git("archive", "--format=tar", `--output=${archive}`, commit.stdout.trim());
  await run("tar", ["-xf", archive, "-C", directory]);
  fs.rmSync(archive);
  const lock = (root: string) => fs.readFileSync(path.join(root, "package-lock.json"), "utf8");
  if (lock(directory) === lock(ROOT)) {
    fs.symlinkSync(path.join(ROOT, MODULES), path.join(directory, MODULES));
  } else {
    progress(`${ref} locks other packages: npm ci`);
    await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: directory, maxBuffer: 2 ** 26 });
  }
  return { directory };
}

/** The stacks of a checkout. */
export function stacksOf({ directory }: Checkout): string[] {
  return fs.readdirSync(directory).flatMap((name) => /^Pulumi\.(.+)\.yaml$/.exec(name)?.[1] ?? []);
}

/** The schema of a checkout's outputs. */
export function contractOf({ directory }: Checkout): Schema {
  return JSON.parse(fs.readFileSync(path.join(directory, "docs/schema/outputs.json"), "utf8")) as Schema;
}

/** What a checkout's own code says of a stack; fills `charts` with what it installs. */
export async function describe(
  { directory, charts: real = "" }: Checkout,
  stack: string,
  overrides: Readonly<Record<string, string>>,
  charts: string,
): Promise<Description> {
  const file = `${charts}.json`;
  const words = [path.join(__dirname, "describe.ts"), stack, JSON.stringify(overrides), charts, real, file];
  await run(process.execPath, ["-r", "ts-node/register/transpile-only", ...words], {
    cwd: directory,
    maxBuffer: 2 ** 26,
  });
  const described = JSON.parse(fs.readFileSync(file, "utf8")) as Described;
  fs.rmSync(file);
  if ("fault" in described) throw new pulumi.RunError(described.fault);
  return described.description;
}
