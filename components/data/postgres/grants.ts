import * as fs from "node:fs";
import * as path from "node:path";

// The user `postgres` of the operator's images, which have psql.
export const POSTGRES_UID = 26;

// A separate role name, since the client may also own a database.
export function readerRole(client: string): string {
  return `${client}_reader`;
}

export function guestRole(client: string): string {
  return client.replaceAll("-", "_");
}

/** Has the owner of a database let its readers in, and then each reader show that it may read, and no more. */
export function grantAndProve(database: string, readers: readonly string[]): string {
  const run = (sql: string) => psql(sql, "--single-transaction");
  return [
    "set -e",
    run(grantReading(database, readers).join("\n")),
    ...readers.map((reader) => `PGUSER=${reader} PGPASSWORD=$${passwordOf(reader)} ${run(PROOF)}`),
  ].join("\n");
}

/** Shell that runs SQL and stops at the first fault. */
export function psql(sql: string, ...options: readonly string[]): string {
  return `${["psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1", ...options].join(" ")} <<'SQL'\n${sql}\nSQL`;
}

/** The environment variable with a role's password. */
export function passwordOf(role: string): string {
  return `PASSWORD_${role}`;
}

const PROOF = fs.readFileSync(path.join(__dirname, "prove-reader.sql"), "utf8");

/**
 * Grants that the owner of a database runs for its readers: they may read existing and future tables, but create none, not even
 * temporary ones.
 */
function grantReading(database: string, readers: readonly string[]): string[] {
  const roles = readers.map((reader) => `"${reader}"`).join(", ");
  return [
    `REVOKE TEMPORARY ON DATABASE "${database}" FROM PUBLIC;`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${roles};`,
    `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO ${roles};`,
  ];
}
