import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

/** Registry of our own images. */
export const REGISTRY = "ghcr.io/254carbon";
const IMAGES = path.join(__dirname, "..", "..", "images");

/**
 * An image built from `images/<name>/`. Its tag consists of the base image's tag, the CUDA version if the Dockerfile has a label
 * for it (`cu117`), and the hash of the folder's files, base image and packages among them, so that pods always run the image
 * built from the current files.
 */
export function ownImage(name: string, images = IMAGES): string {
  const directory = path.join(images, name);
  return `${REGISTRY}/${name}:${[...namedParts(directory), contentHash(directory)].join("-")}`;
}

/** What one of our own images installs by name. */
export function requirements(name: string): string {
  return fs.readFileSync(path.join(IMAGES, name, "requirements.in"), "utf8");
}

/** Names of our own images: the directories in `images/`. */
export function ownImages(): string[] {
  return fs
    .readdirSync(IMAGES, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
    .sort();
}

function namedParts(directory: string): string[] {
  const file = path.join(directory, "Dockerfile");
  const dockerfile = fs.readFileSync(file, "utf8");
  const tag = /^FROM [^\s@]+:([\w.-]+)(?:@sha256:[0-9a-f]{64})?$/m.exec(dockerfile)?.[1];
  if (tag === undefined) throw new Error(`${file}: no line FROM <image>:<tag>, with or without @<digest>; add one`);
  const cuda = /^LABEL cuda=(cu\d+)$/m.exec(dockerfile)?.[1];
  return cuda === undefined ? [tag] : [tag, cuda];
}

function contentHash(directory: string): string {
  const hash = createHash("sha256");
  for (const file of fs.readdirSync(directory).sort()) {
    hash
      .update(`${file}\0`)
      .update(fs.readFileSync(path.join(directory, file)))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 12);
}
