import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Postgres } from "./harness/postgres";

describe("PostgreSQL", () => {
  let cluster: Cluster;
  let server: Postgres;
  const login = (role: string) => {
    const roles = cluster.program.all("DatabaseRole").map((one) => one["spec"]);
    const { passwordSecret } = roles.find(({ name }) => name === role);
    const { username = "", password = "" } = cluster.program.data("Secret", passwordSecret.name);
    return { username, password };
  };
  before(async () => {
    cluster = await theCluster();
    server = await cluster.postgres();
  });

  it("lets an owner into its own database, and into no other", async () => {
    assert.deepEqual(await server.queryAs(login("polaris"), "polaris", "SELECT current_user"), ["polaris"]);
    for (const database of ["mlflow", "postgres", "template1"]) {
      await assert.rejects(server.queryAs(login("polaris"), database, "SELECT 1"), /pg_hba\.conf rejects/, database);
    }
  });

  it("lets nobody in without TLS", async () => {
    await assert.rejects(server.queryAs(login("polaris"), "polaris", "SELECT 1", "disable"), /pg_hba\.conf rejects/);
  });

  describe("to its readers", () => {
    const readers = (): string[] =>
      cluster.program
        .all("DatabaseRole")
        .map(({ spec }) => spec.name as string)
        .filter((name) => name.endsWith("_reader"));
    const read = (reader: string, sql: string): Promise<string[]> => server.queryAs(login(reader), "datahub", sql);
    const own = (sql: string): Promise<string[]> => server.queryAs(login("datahub"), "datahub", sql);
    before(async () => {
      await own("CREATE TABLE earlier AS SELECT 'earlier' AS text");
      await cluster.job("postgres-datahub-readers");
      await own("CREATE TABLE later AS SELECT 'later' AS text");
      assert.ok(readers().length > 0, "no database has readers: take another one for this test");
    });
    after(() => own("DROP TABLE earlier, later"));

    it("shows the tables that were there, and those that came later", async () => {
      for (const reader of readers()) {
        assert.deepEqual(
          await read(reader, "TABLE earlier UNION TABLE later ORDER BY 1"),
          ["earlier", "later"],
          reader,
        );
      }
    });

    it("refuses every write, and tables of their own", async () => {
      for (const reader of readers()) {
        for (const sql of [
          "INSERT INTO later VALUES ('x')",
          "UPDATE later SET text = 'x'",
          "DELETE FROM later",
          "TRUNCATE later",
          "DROP TABLE later",
          "CREATE TABLE own (x int)",
          "CREATE TEMPORARY TABLE own (x int)",
        ]) {
          await assert.rejects(read(reader, sql), /permission denied|must be owner/, `${reader}: ${sql}`);
        }
      }
    });

    it("opens no other database", async () => {
      for (const reader of readers()) {
        for (const database of ["mlflow", "superset", "postgres"]) {
          await assert.rejects(server.queryAs(login(reader), database, "SELECT 1"), /pg_hba\.conf rejects/, reader);
        }
      }
    });

    it("grants again what was granted", async () => {
      await cluster.job("postgres-datahub-readers", { again: true });
    });
  });

  describe("in its backups", () => {
    before(async () => {
      await cluster.pod("minio");
      await cluster.job("object-store-setup");
      await cluster.job("object-store-setup-postgres-backups");
      assert.equal(await server.mayBeginIn("postgres"), true);
      await server.query("CREATE TABLE kept AS SELECT 'backed up' AS text", "polaris");
      await server.backUp();
    });
    after(() => server.query("DROP TABLE IF EXISTS kept", "polaris"));

    it("comes back to a moment after the last backup, before the mistake", async () => {
      await server.query("INSERT INTO kept VALUES ('archived')", "polaris");
      const [moment = ""] = await server.query("SELECT now()");
      await server.query("SELECT pg_sleep(1)");
      await server.query("DROP TABLE kept", "polaris");
      await server.archived();
      const rows = await server.restoredTo(moment, "TABLE kept ORDER BY 1", "polaris");
      assert.deepEqual(rows, ["archived", "backed up"]);
    });

    it("is in a bucket that the user of all other buckets cannot look into", async () => {
      assert.match(await server.backups(), /backup-live/);
      const { accesskey = "", secretkey = "" } = cluster.program.data("Secret", "minio-credentials");
      await assert.rejects(server.backups({ username: accesskey, password: secretkey }), /AccessDenied|Forbidden|403/);
    });

    it("writes to an archive of its own: barman refuses one that a server has written to", async () => {
      assert.equal(await server.mayBeginIn("postgres"), false);
      assert.equal(await server.mayBeginIn("postgres-2"), true);
    });
  });
});
