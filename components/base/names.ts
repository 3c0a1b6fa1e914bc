import { createHash } from "node:crypto";

// Helm's limit for release names, and short enough for the suffixes that controllers append.
const MAX_LENGTH = 53;

/** Joins parts to a Kubernetes object name: kebab-case, at most 53 characters; a longer one is cut and gets a hash. */
export function objectName(...parts: string[]): string {
  const name = parts.join("-");
  if (name.length <= MAX_LENGTH) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 6);
  return `${name.slice(0, MAX_LENGTH - 7)}-${hash}`;
}
