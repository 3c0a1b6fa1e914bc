import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";
import { sqlEngine } from "./harness/systems";
import { query } from "./harness/trino";

describe("Trino", () => {
  let cluster: Cluster;
  let coordinator: Pod;
  let worker: Pod;
  before(async () => {
    cluster = await theCluster();
    ({ coordinator, worker } = await sqlEngine(cluster));
  });

  it("starts with the rendered files, and knows our catalogs and no other", async () => {
    const catalogs = Object.keys(cluster.program.data("ConfigMap", "trino-coordinator-catalog"))
      .map((file) => file.replace(".properties", ""))
      .filter((name) => !["tpch", "tpcds"].includes(name));
    assert.ok(catalogs.length > 0);
    const shown = await query(coordinator, "SHOW CATALOGS");
    assert.deepEqual(shown.flat(), [...catalogs, "system"].sort());
  });

  it("has the worker do the work, which only who has the shared secret may", async () => {
    const nodes = await query(coordinator, "SELECT coordinator, state FROM system.runtime.nodes ORDER BY coordinator");
    assert.deepEqual(nodes, [
      [false, "active"],
      [true, "active"],
    ]);
    const rows = "SELECT count(*), sum(n) FROM UNNEST(sequence(1, 10000)) AS t(n)";
    assert.deepEqual(await query(coordinator, rows), [[10000, 50005000]]);
  });

  it("refuses more memory for a query than a node may have beside its headroom", async () => {
    assert.match(await coordinator.exec(["cat", "/etc/trino/config.properties"]), /query\.max-memory-per-node=512MB/);
  });

  it("shows Prometheus what the program asks for", async () => {
    const prometheus = await cluster.prometheus();
    const scraped = (await prometheus.targets()).filter(({ labels }) => labels["job"] === "trino");
    assert.deepEqual(scraped.map(({ health, labels }) => [labels["component"], health]).sort(), [
      ["coordinator", "up"],
      ["worker", "up"],
    ]);
    for (const metric of asked(cluster)) {
      assert.ok((await prometheus.query(metric)).length > 0, metric);
    }
  });

  it("lets a worker end its work before it goes", async () => {
    await cluster.stop(worker);
    worker = await cluster.pod("trino-worker");
  });
});

/** The metrics that the PodMonitor of the coordinator asks for. */
function asked(cluster: Cluster): string[] {
  return cluster.program.object("trino-coordinator", "PodMonitor")["spec"].podMetricsEndpoints[0].params["name[]"];
}
