import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";
import { python } from "./harness/python";
import { trackingServer } from "./harness/systems";

// What happens to each call on a bucket, by the code of the answer.
const CALLS = `
import boto3, botocore
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 1}), **input.get("login", {}))
def outcome(call, **args):
    try:
        getattr(s3, call)(**args)
        return "OK"
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
print(json.dumps([outcome(call, **args) for call, args in input["calls"]]))
`;

describe("the object store", () => {
  let cluster: Cluster;
  let client: Pod;
  const calls = (list: unknown[], login = {}): Promise<string[]> => python(client, CALLS, { calls: list, login });
  before(async () => {
    cluster = await theCluster();
    client = await trackingServer(cluster); // an S3 client with the environment that the program gives to one
  });

  it("answers every probe with the rendered arguments", async () => {
    const server = await cluster.pod("minio");
    assert.equal(await server.fault("livenessProbe"), undefined);
  });

  it("has every bucket that the set-up Job was told to make, and its user may use them", async () => {
    const { env } = cluster.program.object("object-store-setup", "Job")["spec"].template.spec.containers[0];
    const buckets: string[] = env.find(({ name }: any) => name === "BUCKETS").value.split(" ");
    const each = buckets.flatMap((Bucket) => [
      ["put_object", { Bucket, Key: "live", Body: "text" }],
      ["get_object", { Bucket, Key: "live" }],
      ["list_objects_v2", { Bucket }],
      ["delete_object", { Bucket, Key: "live" }],
    ]);
    assert.deepEqual(new Set(await calls(each)), new Set(["OK"]));
  });

  it("keeps the user out of every other bucket", async () => {
    const { MINIO_ROOT_USER, MINIO_ROOT_PASSWORD } = cluster.program.data("Secret", "minio-root");
    const root = { aws_access_key_id: MINIO_ROOT_USER, aws_secret_access_key: MINIO_ROOT_PASSWORD };
    const Bucket = "somebody-elses";
    assert.deepEqual(
      await calls(
        [
          ["create_bucket", { Bucket }],
          ["put_object", { Bucket, Key: "k" }],
        ],
        root,
      ),
      ["OK", "OK"],
    );
    const refused = ["list_objects_v2", "get_object", "put_object"].map((call) => [
      call,
      { Bucket, ...(call !== "list_objects_v2" && { Key: "k" }) },
    ]);
    assert.deepEqual(
      await calls([...refused, ["create_bucket", { Bucket: "one-more" }], ["delete_bucket", { Bucket }]]),
      Array(5).fill("AccessDenied"),
    );
  });

  it("does not know the vendor's login", async () => {
    const vendor = { aws_access_key_id: "minioadmin", aws_secret_access_key: "minioadmin" };
    assert.deepEqual(await calls([["list_buckets", {}]], vendor), ["InvalidAccessKeyId"]);
  });

  it("lets the set-up Job run again, and keeps what is there", async () => {
    assert.deepEqual(await calls([["put_object", { Bucket: "mlflow-artifacts", Key: "kept" }]]), ["OK"]);
    await cluster.job("object-store-setup", { again: true });
    assert.deepEqual(await calls([["get_object", { Bucket: "mlflow-artifacts", Key: "kept" }]]), ["OK"]);
  });
});
