import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";

describe("MinIO", () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await theCluster();
  });

  it("starts with the rendered arguments and answers its probes", async () => {
    const pod = await cluster.pod("minio");
    assert.equal(await pod.fault("livenessProbe"), undefined);
  });

  it("gets buckets, policy and user from the set-up Job, which may run again", async () => {
    await cluster.job("object-store-setup");
  });
});
