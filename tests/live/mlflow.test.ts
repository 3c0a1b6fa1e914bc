import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import { type Pod, PROBES } from "./harness/pod";
import { python } from "./harness/python";
import { trackingServer } from "./harness/systems";

const LOG_A_RUN = `
import boto3, mlflow, os
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"  # a fault shows at once, not after minutes
mlflow.set_tracking_uri(input["url"])
with mlflow.start_run(run_name="live") as run:
    mlflow.log_metric("rmse", 0.25)
    mlflow.log_text("forty-two", "answer.txt")
client = mlflow.MlflowClient()
client.create_registered_model("live")
version = client.create_model_version("live", f"runs:/{run.info.run_id}/answer.txt", run.info.run_id)
client.set_registered_model_alias("live", "champion", version.version)
keys = [o["Key"] for o in boto3.client("s3").list_objects_v2(Bucket=input["bucket"]).get("Contents", [])]
print(json.dumps({
    "metric": client.get_run(run.info.run_id).data.metrics["rmse"],
    "artifact": mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/answer.txt"),
    "stored": [key for key in keys if run.info.run_id in key],
    "champion": client.get_model_version_by_alias("live", "champion").run_id == run.info.run_id,
}))
`;

describe("MLflow", () => {
  let cluster: Cluster;
  let server: Pod;
  before(async () => {
    cluster = await theCluster();
    server = await trackingServer(cluster);
  });

  it("migrates an empty database, over TLS, as the role that owns it", async () => {
    const postgres = await cluster.postgres();
    const tables = await postgres.query(
      "SELECT tablename || ' ' || tableowner FROM pg_tables WHERE tablename IN ('runs', 'registered_models')",
      "mlflow",
    );
    assert.deepEqual(tables.sort(), ["registered_models mlflow", "runs mlflow"]);
    const plain =
      "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'mlflow' AND NOT ssl";
    assert.deepEqual(await postgres.query(plain), ["0"]);
  });

  it("answers every probe on the pod's address", async () => {
    for (const kind of PROBES) assert.equal(await server.fault(kind), undefined);
  });

  it("refuses a name that nobody gave it", async () => {
    const asked = await python(
      server,
      `
import http.client
def status(host):
    connection = http.client.HTTPConnection("127.0.0.1", 5000)
    connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1", headers={"Host": host})
    return connection.getresponse().status
print(json.dumps([status(host) for host in input]))`,
      [`mlflow.${cluster.program.config.domain}`, "rebound.example.com"],
    );
    assert.deepEqual(asked, [200, 403]);
  });

  it("logs a run whose artifact lands in its bucket, and registers the model", async () => {
    const answer = await python(server, LOG_A_RUN, {
      url: cluster.program.outputs.mlflow.url,
      bucket: "mlflow-artifacts",
    });
    assert.equal(answer.metric, 0.25);
    assert.equal(answer.artifact, "forty-two");
    assert.equal(answer.stored.length, 1, "objects of the run in the bucket");
    assert.ok(answer.champion, "the registered model has no champion");
  });

  it("sends an artifact of more than its limit to the object store past itself, and gives it back", async () => {
    const sent = await python(
      server,
      `
import boto3, mlflow, os
os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(5 * 2**20)
mlflow.set_tracking_uri(input["url"])
with mlflow.start_run() as run:
    with open("/tmp/large", "wb") as file:
        file.write(b"x" * 25 * 2**20)
    mlflow.log_artifact("/tmp/large")
store = boto3.client("s3")
keys = [o for o in store.list_objects_v2(Bucket=input["bucket"])["Contents"] if run.info.run_id in o["Key"]]
path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/large", dst_path="/tmp/back")
print(json.dumps({"tags": [o["ETag"].strip('"').split("-")[1] for o in keys], "back": os.path.getsize(path)}))`,
      { url: cluster.program.outputs.mlflow.url, bucket: "mlflow-artifacts" },
    );
    // MLflow's clients send parts of 10 MiB, its server some of 8 MiB.
    assert.deepEqual(sent, { tags: ["3"], back: 25 * 1024 ** 2 });
  });

  it("lets the migration run again on a database that has data", async () => {
    await cluster.job("mlflow-migrate", { again: true });
  });
});
