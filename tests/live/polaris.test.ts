import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import { PolarisDouble } from "./harness/polaris";

describe("the set-up of Polaris", () => {
  let cluster: Cluster;
  let secrets: Readonly<Record<string, string>>;
  let polaris: PolarisDouble;
  const again = () => cluster.job("polaris-setup", { again: true });
  before(async () => {
    cluster = await theCluster();
    secrets = cluster.program.data("Secret", "polaris-logins");
    polaris = new PolarisDouble(secrets["ROOT_SECRET"] ?? "");
    await polaris.listen(cluster.play("polaris", cluster.program.object("polaris-setup", "Job").metadata.namespace));
  });
  after(() => {
    polaris.close();
  });

  it("makes the catalog, and a principal for each client with the secret of the stack", async () => {
    const log = await again();
    assert.equal(log, "catalog iceberg with clients trino, ingestion\n");
    const { storageConfigInfo, properties } = polaris.catalogs.get("iceberg");
    // By the short name, as for all pods (ADR 31).
    assert.equal(storageConfigInfo.endpoint, cluster.program.outputs.objectStore.url.replace(".cluster.local:", ":"));
    assert.equal(properties["default-base-location"], "s3://iceberg-warehouse");
    for (const client of ["trino", "ingestion"]) {
      const { clientId, secret, roles } = polaris.principals.get(client) ?? assert.fail(client);
      assert.deepEqual([clientId, secret, [...roles]], [client, secrets[`CLIENT_SECRET_${client}`], [client]]);
      assert.deepEqual([...(polaris.principalRoles.get(client) ?? [])], [`iceberg/${client}`]);
    }
    assert.deepEqual([...(polaris.grants.get("iceberg/trino") ?? [])], ["CATALOG_MANAGE_CONTENT"]);
    assert.ok(
      !polaris.grants.get("iceberg/ingestion")?.has("CATALOG_MANAGE_CONTENT"),
      "ingestion may change tables: it is to read alone",
    );
  });

  it("leaves the logins alone when it runs again", async () => {
    polaris.changes.length = 0;
    await again();
    assert.deepEqual(
      polaris.changes.filter((change) => /reset|grants/.test(change)),
      [],
    );
  });

  it("takes back what a client is no longer to do, and sets a changed secret", async () => {
    polaris.grants.get("iceberg/ingestion")?.add("TABLE_DROP");
    const trino = polaris.principals.get("trino") ?? assert.fail();
    trino.secret = "of the stack before";
    await again();
    assert.ok(
      !polaris.grants.get("iceberg/ingestion")?.has("TABLE_DROP"),
      "a privilege that the config no longer has is still granted",
    );
    assert.equal(trino.secret, secrets["CLIENT_SECRET_trino"]);
  });

  it("fails when a client may do more than it is to", async () => {
    const { roles } = polaris.principals.get("ingestion") ?? assert.fail();
    roles.add("trino");
    await assert.rejects(again(), /ingestion may make namespaces: see its roles in Polaris/);
    roles.delete("trino");
    await again();
  });

  it("says that root's secret is another, and shows none", async () => {
    const root = polaris.principals.get("root") ?? assert.fail();
    root.secret = "of the bootstrap";
    await assert.rejects(again(), (error: Error) => {
      assert.match(error.message, /Polaris refuses root's secret/);
      for (const secret of Object.values(secrets))
        assert.ok(!error.message.includes(secret), "the error shows the secret");
      return true;
    });
  });
});
