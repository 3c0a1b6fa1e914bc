import type * as pulumi from "@pulumi/pulumi";
import type { PostgresDatabase } from "../../base/endpoint";
import type { Offer } from "../../base/offer";

/** Another login to the database of a service. */
export interface PostgresUser {
  readonly database: string;
  readonly password: pulumi.Output<string>;
}

/** The database of a service. */
export interface OwnDatabase {
  /** Its owner's password. */
  readonly password: pulumi.Output<string>;
  /** The most connections that the pods of the service open. */
  readonly connections: number;
  /**
   * Whether it is a tenant's: then its owner is {@link ownerOf another role}, opens no more connections than that, and can no longer
   * log in once the database is not listed here. What is in it stays.
   * @default false
   */
  readonly tenant?: boolean;
}

// What the roles of tenants' databases begin with.
export const TENANT_ROLE = "tenant_";

/** The role that owns a database. */
export function ownerOf(database: string, { tenant = false }: OwnDatabase): string {
  return tenant ? `${TENANT_ROLE}${database}` : database;
}

// Readers' queries must not take connections that services need.
export const READER_CONNECTIONS = 20;
// For what operates a server, its metrics and backups, people, and the three that PostgreSQL reserves for superusers.
const RESERVED_CONNECTIONS = 20;

/** Who uses a server. */
export interface PostgresUsers<
  Database extends string = string,
  Reader extends string = string,
  Guest extends string = string,
> {
  /** The databases of services. The owner of each has its name. */
  readonly databases: Readonly<Record<Database, OwnDatabase>>;
  /** Readers of other services' databases, by client name. */
  readonly readers: Readonly<Partial<Record<Reader, PostgresUser>>>;
  /** Users with the rights alone that a database's owner grants them, by client name. */
  readonly guests: Readonly<Partial<Record<Guest, PostgresUser>>>;
}

/** A PostgreSQL server, wherever it runs, with a database for each service. */
export interface PostgresServer<Database extends string, Reader extends string, Guest extends string> {
  readonly offers: Offer;
  /** The database of a service. */
  database(name: Database): PostgresDatabase;
  /** The database that a client may read, with its read-only login. */
  reader(client: Reader): PostgresDatabase;
  /** The database of a service with a login to which its owner must grant rights. */
  guest(client: Guest): PostgresDatabase;
}

/** A login by its kind and name, which the server must have. */
export function found(
  logins: ReadonlyMap<string, PostgresDatabase>,
  kind: "database" | "reader" | "guest",
  name: string,
): PostgresDatabase {
  const login = logins.get(`${kind} ${name}`);
  if (login === undefined) throw new Error(`PostgreSQL has no ${kind} ${name}`);
  return login;
}

/** The most connections of all clients together. */
export function connectionsOf({ databases, readers }: PostgresUsers): number {
  const services = Object.values(databases).reduce((sum, { connections }) => sum + connections, 0);
  return services + Object.keys(readers).length * READER_CONNECTIONS + RESERVED_CONNECTIONS;
}
