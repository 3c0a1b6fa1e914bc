import * as pulumi from "@pulumi/pulumi";
import { mountedCa } from "./certificate";
import { hostPort, type PostgresDatabase } from "./endpoint";

const CA = mountedCa("postgres");
const POSTGRES_CA = CA.file;

/** Where containers of PostgreSQL's clients mount the CA. */
export const POSTGRES_CA_MOUNT = CA.mounts;

/** The volume of the CA, for pods of PostgreSQL's clients. */
export function postgresCaVolume({ trust }: PostgresDatabase) {
  return CA.volume(trust);
}

/** How a client of PostgreSQL verifies that the server is the one that it called, in the words of libpq and of its JDBC driver. */
export const VERIFIED = { sslmode: "verify-full", sslrootcert: POSTGRES_CA };

// A server whose node is lost closes nothing: the kernel would wait for it for a quarter of an hour (psycopg2#1017).
const LOST = "connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000";

/** The URL of a database for SQLAlchemy. The driver is named, since the default changes between its versions. */
export function sqlalchemyUrl(
  driver: "psycopg" | "psycopg2",
  { server, database, login }: PostgresDatabase,
  { password = true } = {},
): pulumi.Output<string> {
  const user = password
    ? pulumi.interpolate`${login.username}:${login.password.apply(encodeURIComponent)}`
    : login.username;
  return pulumi.interpolate`postgresql+${driver}://${user}@${hostPort(server)}/${database}?${query(POSTGRES_CA)}&${LOST}`;
}

/** The URL of a database for JDBC, without a login. */
export function jdbcUrl({ server, database }: PostgresDatabase, ca = POSTGRES_CA): pulumi.Output<string> {
  return hostPort(server).apply((address) => `jdbc:postgresql://${address}/${database}?${query(ca)}`);
}

/** The database and its user for libpq's programs, in environment variables. The password comes from a Secret. */
export function libpqEnv({ server, database, login }: PostgresDatabase): Record<string, pulumi.Input<string>> {
  return {
    PGHOST: server.host,
    PGPORT: `${server.port}`,
    PGDATABASE: database,
    PGUSER: login.username,
    PGSSLMODE: VERIFIED.sslmode,
    PGSSLROOTCERT: VERIFIED.sslrootcert,
  };
}

function query(ca: string): string {
  return `sslmode=${VERIFIED.sslmode}&sslrootcert=${ca}`;
}
