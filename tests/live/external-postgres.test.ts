import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { prepare, rolesOf } from "../../components/data/postgres/prepare";
import { eventually } from "./harness/eventually";
import { ensurePostgres } from "../../rehearsal/software/postgres";

const password = (text: string) => pulumi.secret(text);
const PASSWORDS = {
  datahub: "own'er $1",
  trino_reader: "read\\er",
  some_guest: "guest",
  tenant_pricing: "pricing",
  tenant_orders: "orders",
};
const tenant = (text: string) => ({ password: password(text), connections: 2, tenant: true });
const rolesWith = (...tenants: ("pricing" | "orders")[]) =>
  rolesOf({
    databases: {
      datahub: { password: password(PASSWORDS.datahub), connections: 10 },
      ...Object.fromEntries(tenants.map((name) => [name, tenant(PASSWORDS[`tenant_${name}`])])),
    },
    readers: { trino: { database: "datahub", password: password(PASSWORDS.trino_reader) } },
    guests: { "some-guest": { database: "datahub", password: password(PASSWORDS.some_guest) } },
  });

// PostgreSQL refuses to run as root.
const NOBODY = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"];

/** A server of somebody else, whose administrator may make roles and databases and is no superuser. */
describe("an external PostgreSQL", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "external-postgres-"));
  let server: ChildProcess;
  let bin: string;

  function run(command: readonly string[], env: Readonly<Record<string, string>> = {}, input = ""): string {
    return execFileSync("setpriv", [...NOBODY, ...command], {
      ...{ cwd: directory, encoding: "utf8", input, stdio: "pipe" },
      env: { PATH: `${bin}:/usr/bin:/bin`, LC_ALL: "C.UTF-8", PGHOST: directory, PGDATABASE: "postgres", ...env },
    });
  }
  const sql = (text: string) => run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1"], { PGUSER: "postgres" }, text).trim();
  const as = (role: keyof typeof PASSWORDS, text: string, database = "datahub") =>
    run(
      ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", database],
      { PGUSER: role, PGPASSWORD: PASSWORDS[role] },
      text,
    ).trim();
  const setUp = (connections = 50, roles = rolesWith()) => {
    const passwords = Object.entries(PASSWORDS).map(([role, text]) => [`PASSWORD_${role}`, text]);
    const login = { PGUSER: "administrator", PGPASSWORD: "administrator" };
    return run(["bash", "-c", prepare(roles, { connections, mark: "carbon here" })], {
      ...login,
      ...Object.fromEntries(passwords),
    });
  };

  before(async () => {
    fs.chmodSync(directory, 0o777);
    const software = await ensurePostgres(() => undefined);
    // The cache may lie where nobody else gets.
    fs.cpSync(software.directory, path.join(directory, "software"), { recursive: true, verbatimSymlinks: true });
    bin = path.join(directory, "software", path.relative(software.directory, software.bin));
    const data = path.join(directory, "data");
    run(["initdb", "--pgdata", data, "--username=postgres", "--no-sync"]);
    fs.writeFileSync(path.join(data, "pg_hba.conf"), "local all postgres trust\nlocal all all scram-sha-256\n");
    const settings = ["listen_addresses=", `unix_socket_directories=${directory}`, "max_connections=60"];
    const command = [path.join(bin, "postgres"), "-D", data, ...settings.flatMap((one) => ["-c", one])];
    server = spawn("setpriv", [...NOBODY, ...command], { stdio: "ignore" });
    await eventually(30, async () => {
      await Promise.resolve(sql("SELECT 1"));
    });
    sql("CREATE ROLE administrator LOGIN CREATEROLE CREATEDB PASSWORD 'administrator'");
  });
  after(() => {
    server.kill("SIGQUIT");
    fs.rmSync(directory, { recursive: true, force: true });
  });

  it("that lets too few in is refused before anything is made", () => {
    assert.throws(() => setUp(61), /fewer in than the 61 connections .* raise its max_connections/);
    assert.equal(sql("SELECT count(*) FROM pg_roles WHERE rolname = 'datahub'"), "0");
  });

  it("keeps the databases of others, and makes nothing beside one", () => {
    sql("CREATE DATABASE datahub");
    assert.throws(() => setUp(), /the database datahub is there, and the role datahub does not own it/);
    assert.equal(sql("SELECT count(*) FROM pg_roles WHERE rolname = 'datahub'"), "0");
    sql("DROP DATABASE datahub");
  });

  it("gets databases and roles with their rights, and again", () => {
    setUp();
    assert.equal(as("datahub", "CREATE TABLE prices AS SELECT 1 AS n; TABLE prices"), "1");
    setUp();
    assert.equal(as("trino_reader", "TABLE prices"), "1");
    assert.throws(() => as("trino_reader", "INSERT INTO prices VALUES (2)"), /permission denied/);
    assert.equal(as("some_guest", "SELECT current_user"), "some_guest");
    assert.throws(() => as("some_guest", "TABLE prices"), /permission denied/);
    sql("CREATE DATABASE others; REVOKE ALL ON DATABASE others FROM PUBLIC");
    assert.throws(() => as("datahub", "SELECT 1", "others"), /permission denied/);
    sql("CREATE ROLE stranger LOGIN PASSWORD 'stranger'");
    const stranger = { PGUSER: "stranger", PGPASSWORD: "stranger" };
    assert.throws(() => run(["psql", "datahub", "-c", "SELECT 1"], stranger), /permission denied/);
  });

  it("lets a tenant into its own database, and out when its grant is gone, and keeps the data for when it comes back", () => {
    setUp(50, rolesWith("pricing", "orders"));
    as("tenant_pricing", "CREATE TABLE prices AS SELECT 1 AS n", "pricing");
    for (const other of ["orders", "datahub"]) {
      assert.throws(() => as("tenant_pricing", "SELECT 1", other), /permission denied for database/);
    }
    setUp(50, rolesWith("orders"));
    assert.throws(() => as("tenant_pricing", "TABLE prices", "pricing"), /not permitted to log in/);
    assert.equal(as("tenant_orders", "SELECT current_user", "orders"), "tenant_orders");
    setUp();
    assert.throws(() => as("tenant_orders", "SELECT 1", "orders"), /not permitted to log in/);
    assert.equal(as("datahub", "SELECT current_user"), "datahub");
    setUp(50, rolesWith("pricing"));
    assert.equal(as("tenant_pricing", "TABLE prices", "pricing"), "1");
    assert.equal(sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'tenant_pricing'"), "2");
  });

  it("keeps the roles of others, and says how to hand one over", () => {
    sql("COMMENT ON ROLE some_guest IS 'of somebody else'");
    assert.throws(
      () => setUp(),
      /the role some_guest is there, and not this stack's: .* COMMENT ON ROLE "some_guest" IS 'carbon here'/,
    );
    sql("COMMENT ON ROLE some_guest IS 'carbon here'");
    setUp();
  });
});
