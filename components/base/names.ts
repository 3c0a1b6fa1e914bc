import { createHash } from "node:crypto";

// A CronJob's limit, which leaves room for what its Jobs and their pods append; Helm's is 53.
const MAX_LENGTH = 52;

/** Joins parts to a Kubernetes object name: kebab-case, at most 52 characters; a longer one is cut and gets a hash. */
export function objectName(...parts: string[]): string {
  const name = parts.join("-");
  if (name.length <= MAX_LENGTH) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 6);
  return `${name.slice(0, MAX_LENGTH - 7)}-${hash}`;
}
