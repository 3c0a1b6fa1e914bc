import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";

describe("Superset", () => {
  let cluster: Cluster;
  let web: Pod;
  let worker: Pod;
  let beat: Pod;
  before(async () => {
    cluster = await theCluster();
    await cluster.postgres();
    await cluster.job("superset-setup");
    await cluster.pod("redis");
    [web, worker, beat] = await Promise.all([cluster.pod("superset"), cluster.pod("superset-worker"), cluster.pod("superset-beat")]);
  });

  it("answers every probe", async () => {
    for (const pod of [web, worker, beat]) assert.deepEqual(await pod.faults(), []);
  });
});
