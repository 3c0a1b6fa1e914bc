import { createHash } from "node:crypto";

// The limit for CronJobs, whose Jobs and pods append suffixes; Helm's is 53.
const MAX_LENGTH = 52;

/** Joins parts to a Kubernetes object name: kebab-case, at most 52 characters; longer ones are cut and get a hash. */
export function objectName(...parts: string[]): string {
  const name = parts.join("-");
  if (name.length <= MAX_LENGTH) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 6);
  return `${name.slice(0, MAX_LENGTH - 7)}-${hash}`;
}

/** What the user names of tenants begin with: one that nobody has any more loses its access. */
export const TENANT_USERS = "tenant-";

/** User name of ingestion recipes in DataHub and Trino, which nobody else may bear. */
export const INGESTION_USER = "ingestion";
