import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";
import { outcomes, type S3Calls } from "./harness/s3";
import { trackingServer } from "./harness/systems";

describe("the object store", () => {
  let cluster: Cluster;
  let client: Pod;
  const calls = (list: S3Calls, login = {}): Promise<string[]> => outcomes(client, list, login);
  before(async () => {
    cluster = await theCluster();
    client = await trackingServer(cluster); // an S3 client with the environment that the program gives to one
  });

  it("answers every probe with the rendered arguments", async () => {
    const server = await cluster.pod("minio");
    assert.equal(await server.fault("livenessProbe"), undefined);
  });

  it("gives each system its own user, with only the rights that it needs", async () => {
    const logins = cluster.program.data("Secret", "object-store-setup");
    const buckets = ["mlflow-artifacts", "ray-applications", "feast-offline", "iceberg-warehouse", "dolphinscheduler"];
    const rights = async (user: string): Promise<string[]> => {
      const [aws_access_key_id, aws_secret_access_key] = (logins[user] ?? "").split("\n");
      const each = [...buckets, "somebody-elses"].flatMap(
        (Bucket): [string, { Bucket: string; Key?: string; Body?: string }][] => [
          ["put_object", { Bucket, Key: "live", Body: "text" }],
          ["list_objects_v2", { Bucket }],
          ["delete_object", { Bucket, Key: "live" }],
          ["create_bucket", { Bucket: "one-more" }],
        ],
      );
      const answers = await calls(each, { aws_access_key_id, aws_secret_access_key });
      return each.flatMap(([call, { Bucket }], index) => {
        const outcome = answers[index] ?? "nothing";
        if (outcome !== "OK") assert.equal(outcome, "AccessDenied", `${user}: ${call} ${Bucket}`);
        return outcome === "OK" ? [`${call} ${Bucket}`] : [];
      });
    };
    const writes = (bucket: string) =>
      ["put_object", "list_objects_v2", "delete_object"].map((call) => `${call} ${bucket}`);
    const { MINIO_ROOT_USER, MINIO_ROOT_PASSWORD } = cluster.program.data("Secret", "minio-root");
    const root = { aws_access_key_id: MINIO_ROOT_USER, aws_secret_access_key: MINIO_ROOT_PASSWORD };
    assert.deepEqual(await calls([["create_bucket", { Bucket: "somebody-elses" }]], root), ["OK"]);
    assert.deepEqual(await rights("carbon-buckets"), buckets.flatMap(writes));
    assert.deepEqual(await rights("mlflow"), writes("mlflow-artifacts"));
    assert.deepEqual(await rights("feast"), ["list_objects_v2 feast-offline"]);
    assert.deepEqual(await rights("ray"), ["list_objects_v2 ray-applications", ...writes("feast-offline")]);
    assert.deepEqual(await rights("serve"), writes("ray-applications"));
    for (const user of ["polaris", "trino"]) assert.deepEqual(await rights(user), writes("iceberg-warehouse"));
    assert.deepEqual(await rights("dolphinscheduler"), writes("dolphinscheduler"));
  });

  it("does not know the vendor's login", async () => {
    const vendor = { aws_access_key_id: "minioadmin", aws_secret_access_key: "minioadmin" };
    assert.deepEqual(await calls([["list_buckets", {}]], vendor), ["InvalidAccessKeyId"]);
  });

  it("refuses the old secret key of a user once the set-up Job has run with a new one", async () => {
    const before = cluster.program;
    const [user = "", old = ""] = (before.data("Secret", "object-store-setup")["feast"] ?? "").split("\n");
    const list: S3Calls = [["list_objects_v2", { Bucket: "feast-offline" }]];
    const as = (secret: string) => calls(list, { aws_access_key_id: user, aws_secret_access_key: secret });
    assert.deepEqual(await as(old), ["OK"]);
    const secret = before.object("object-store-setup", "Secret");
    const rotated = { ...secret["stringData"], feast: `${user}\nanother-secret-key\n` };
    const kept = secret["stringData"];
    Object.assign(secret, { stringData: rotated });
    try {
      await cluster.job("object-store-setup", { again: true });
      assert.deepEqual([await as("another-secret-key"), await as(old)], [["OK"], ["SignatureDoesNotMatch"]]);
    } finally {
      Object.assign(secret, { stringData: kept });
      await cluster.job("object-store-setup", { again: true });
    }
  });

  it("lets the set-up Job run again, and keeps what is there", async () => {
    assert.deepEqual(await calls([["put_object", { Bucket: "mlflow-artifacts", Key: "kept" }]]), ["OK"]);
    await cluster.job("object-store-setup", { again: true });
    assert.deepEqual(await calls([["get_object", { Bucket: "mlflow-artifacts", Key: "kept" }]]), ["OK"]);
  });
});
