import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { fullName, type ImageLock, imageLock } from "../components/base/pod-settings";
import { evaluateStack } from "../rehearsal/program/charts";
import { ROOT, STACKS } from "../rehearsal/program/evaluate";
import { imagesIn } from "../rehearsal/program/images";
import { verdict } from "../rehearsal/simulation/colours";
import { writeLock } from "./charts-pull";
import { command, print, run } from "./cli";
import { digestOf } from "./images/registry";

/**
 * The digest that each image has now, by its full name. Throws one RunError that lists every image that its registry does not
 * have, or says nothing clear of.
 */
export async function lockImages(images: readonly string[]): Promise<ImageLock> {
  const names = [...new Set(images.map((image) => fullName(image.replace(/@.*$/, ""))))].sort();
  const lock: Record<string, string> = {};
  const faults: string[] = [];
  await Promise.all(
    names.map(async (name) => {
      try {
        const digest = await digestOf(name);
        if (digest !== undefined) lock[name] = digest;
        else faults.push(`${name}: its registry has no such image; build or copy it first (docs/images.md)`);
      } catch (error) {
        if (!pulumi.RunError.isInstance(error)) throw error;
        faults.push(error.message);
      }
    }),
  );
  if (faults.length > 0) throw new pulumi.RunError(faults.sort().join("\n"));
  return lock;
}

/** What differs between two locks, a line each; a tag with another digest was built twice. */
export function changes(before: ImageLock, now: ImageLock): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  return names.flatMap((name) => {
    const [old, digest] = [before[name], now[name]];
    if (old === digest) return [];
    if (old === undefined) return [`+ ${name}: ${digest}`];
    return [digest === undefined ? `- ${name}` : `! ${name}: ${digest}, and it was ${old}: its tag was moved`];
  });
}

const program = command(
  "images:lock",
  "Asks the registries for the digest of every image that the stacks' pods pull, and writes them to a file.",
  ["npm run images:lock", "npm run images:lock -- --check"],
)
  .option("--check", "compare with the file and write nothing", false)
  .addHelpText(
    "after",
    `
Pods then pull those very images: commit the file, and run this again when a version changes. It is
the file that the stack file names as \`images.lock\`. Registries are asked with the logins of
\`docker login\`, mirrors in place of what they mirror. Images that charts name themselves keep their
tags.

Exit codes: 0 written, or nothing changed; 1 --check found changes; 2 wrong usage, or an image that
no registry tells of.`,
  )
  .action(async ({ check }: { check: boolean }) => {
    const files = new Map<string, string[]>();
    for (const stack of STACKS) {
      const { config, registrations } = await evaluateStack(stack);
      const found = registrations.flatMap(({ inputs }) => imagesIn(inputs));
      files.set(config.images.lock, [...(files.get(config.images.lock) ?? []), ...found]);
    }
    for (const [named, images] of files) {
      const file = path.resolve(ROOT, named);
      const lock = await lockImages(images);
      const lines = changes(imageLock(file), lock);
      for (const line of lines) print(line);
      if (check && lines.length > 0) process.exitCode = 1;
      if (!check) writeLock(file, lock);
      const next = lines.length === 0 ? "" : `. Next: ${check ? "npm run images:lock" : `commit ${named}`}`;
      const found = `${named}: ${Object.keys(lock).length} images, ${lines.length} changed${next}`;
      print(verdict(!check || lines.length === 0, found));
    }
  });

if (require.main === module) void run(program);
