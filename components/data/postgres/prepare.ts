import type * as pulumi from "@pulumi/pulumi";
import { grantAndProve, guestRole, passwordOf, psql, readerRole } from "./grants";
import { ownerOf, type PostgresUser, type PostgresUsers, READER_CONNECTIONS, TENANT_ROLE } from "./users";

/** A role on a server of somebody else. */
export interface Role {
  readonly kind: "database" | "reader" | "guest";
  /** The service that owns the database, or the client. */
  readonly client: string;
  readonly database: string;
  readonly name: string;
  readonly password: pulumi.Output<string>;
  /** The most connections at a time; -1 for any number. */
  readonly connections: number;
}

/** The roles of all users; a database's owner comes before the others. */
export function rolesOf({ databases, readers, guests }: PostgresUsers): Role[] {
  const others = (kind: "reader" | "guest", users: typeof readers, nameOf: (client: string) => string): Role[] =>
    Object.entries(users as Readonly<Record<string, PostgresUser>>).map(([client, user]) => ({
      ...{ kind, client, name: nameOf(client), connections: kind === "reader" ? READER_CONNECTIONS : -1 },
      ...user,
    }));
  return [
    ...Object.entries(databases).map(([database, own]): Role => ({
      kind: "database",
      client: database,
      database,
      name: ownerOf(database, own),
      password: own.password,
      connections: own.tenant === true ? own.connections : -1,
    })),
    ...others("reader", readers, readerRole),
    ...others("guest", guests, guestRole),
  ];
}

/**
 * Shell that makes roles and databases as an administrator, lets readers read, and has each owner and reader prove its rights.
 * What has one of the names already must be this stack's: who hands it over says so in a comment on the role.
 */
export function prepare(
  roles: readonly Role[],
  { connections, mark }: { readonly connections: number; readonly mark: string },
): string {
  const readers = roles.filter(({ kind }) => kind === "reader");
  return [
    "set -e",
    psql(
      [
        recent(),
        enough(connections),
        ...roles.flatMap((role) => refuseForeign(role, mark)),
        ...roles.flatMap((role) => make(role, mark)),
        revoke(roles, mark),
      ].join("\n"),
    ),
    ...roles
      .filter(({ kind }) => kind === "database")
      .map((role) => as(role, psql("CREATE TABLE public.carbon_proof ();\nDROP TABLE public.carbon_proof;"))),
    ...roles
      .filter(({ kind, database }) => kind === "database" && readers.some((reader) => reader.database === database))
      .map((role) => {
        const names = readers.filter(({ database }) => database === role.database).map(({ name }) => name);
        return `(\n${exported(role)}\n${grantAndProve(role.database, names)}\n)`;
      }),
  ].join("\n");
}

// Before 15 everybody may make tables in the schema public.
function recent(): string {
  return raiseWhere(
    "current_setting('server_version_num')::int < 150000",
    "the server is older than PostgreSQL 15: upgrade it",
  );
}

function enough(connections: number): string {
  return raiseWhere(
    `current_setting('max_connections')::int < ${connections}`,
    `the server lets fewer in than the ${connections} connections that the platform may open: raise its max_connections`,
  );
}

// They own what is in their databases, so they stay.
function revoke(roles: readonly Role[], mark: string): string {
  const known = roles.map(({ name }) => `'${name}'`).join(", ");
  return [
    "SELECT format('ALTER ROLE %I NOLOGIN', rolname) FROM pg_roles",
    `WHERE starts_with(rolname, '${TENANT_ROLE}') AND rolcanlogin AND rolname NOT IN (${known})`,
    `AND shobj_description(oid, 'pg_authid') = '${mark}' \\gexec`,
  ].join(" ");
}

function refuseForeign({ kind, name, database: owned }: Role, mark: string): string[] {
  const role = raiseWhere(
    `EXISTS (SELECT FROM pg_roles WHERE rolname = '${name}' AND shobj_description(oid, 'pg_authid') IS DISTINCT FROM '${mark}')`,
    `the role ${name} is there, and not this stack''s: rename it, or hand it over by COMMENT ON ROLE "${name}" IS ''${mark}''`,
  );
  if (kind !== "database") return [role];
  const database = raiseWhere(
    `EXISTS (SELECT FROM pg_database WHERE datname = '${owned}' AND pg_get_userbyid(datdba) <> '${name}')`,
    `the database ${owned} is there, and the role ${name} does not own it: rename it, or hand it over by ALTER DATABASE "${owned}" OWNER TO "${name}"`,
  );
  return [role, database];
}

// The quotes have a name, since Kubernetes makes one of two dollar signs in a command.
function raiseWhere(condition: string, message: string): string {
  return `DO $check$ BEGIN IF ${condition} THEN RAISE EXCEPTION USING MESSAGE = '${message}'; END IF; END $check$;`;
}

function make({ kind, name, database, connections }: Role, mark: string): string[] {
  const unless = (table: string, column: string, value: string, made: string) =>
    `SELECT '${made}' WHERE NOT EXISTS (SELECT FROM ${table} WHERE ${column} = '${value}') \\gexec`;
  return [
    `\\getenv password ${passwordOf(name)}`,
    // A role without its comment would be somebody else's for ever.
    "BEGIN;",
    unless("pg_roles", "rolname", name, `CREATE ROLE "${name}"`),
    `COMMENT ON ROLE "${name}" IS '${mark}';`,
    `ALTER ROLE "${name}" LOGIN PASSWORD :'password' CONNECTION LIMIT ${connections};`,
    "COMMIT;",
    ...(kind === "database"
      ? [
          // Else an administrator who is no superuser may make no database of the role.
          `GRANT "${name}" TO CURRENT_USER;`,
          unless("pg_database", "datname", database, `CREATE DATABASE "${database}" OWNER "${name}"`),
          `REVOKE ALL ON DATABASE "${database}" FROM PUBLIC;`,
        ]
      : [`GRANT CONNECT ON DATABASE "${database}" TO "${name}";`]),
  ];
}

function as(role: Role, command: string): string {
  return `PGUSER=${role.name} PGDATABASE=${role.database} PGPASSWORD=$${passwordOf(role.name)} ${command}`;
}

function exported(role: Role): string {
  return `export ${as(role, "").trim()}`;
}
