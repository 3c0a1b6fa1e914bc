import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { FEATURES } from "../../stacks/layers/features";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";
import { python } from "./harness/python";
import { predictions } from "./harness/systems";

const OVER_HTTP = `
import os, urllib.request
request = urllib.request.Request(
    os.environ["FEAST_URL"] + "/get-online-features", json.dumps(input).encode(), {"Content-Type": "application/json"}
)
answer = json.load(urllib.request.urlopen(request, timeout=20))
print(json.dumps(dict(zip(answer["metadata"]["feature_names"], answer["results"]))))
`;

const OVER_GRPC = `
import grpc
from feast.protos.feast.serving.ServingService_pb2 import FeatureList, GetOnlineFeaturesRequest
from feast.protos.feast.serving.GrpcServer_pb2_grpc import GrpcFeatureServerStub
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
request = GetOnlineFeaturesRequest(
    features=FeatureList(val=input["features"]),
    entities={key: RepeatedValue(val=[Value(string_val=v) for v in values]) for key, values in input["entities"].items()},
    full_feature_names=True,
)
with grpc.insecure_channel(input["address"]) as channel:
    answer = GrpcFeatureServerStub(channel).GetOnlineFeatures(request, timeout=20)
names = list(answer.metadata.feature_names.val)
print(json.dumps({n: [v.double_val for v in r.values] for n, r in zip(names, answer.results) if n not in input["entities"]}))
`;

// A price that the feed delivers late, in a file of its own; `key` is to be removed again.
const LATE = `
import boto3, datetime, io
import pandas as pd
now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
row = {**input["row"], "event_timestamp": now - datetime.timedelta(minutes=input["minutes"]), "created": now}
file = io.BytesIO()
pd.DataFrame([row]).to_parquet(file)
boto3.client("s3").put_object(Bucket="feast-offline", Key=input["key"], Body=file.getvalue())
print(json.dumps(row["event_timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ")))
`;

const REMOVE = `
import boto3
boto3.client("s3").delete_object(Bucket="feast-offline", Key=input["key"])
print(json.dumps(True))
`;

describe("Feast", () => {
  let cluster: Cluster;
  let server: Pod;
  let client: Pod;
  before(async () => {
    cluster = await theCluster();
    client = await predictions(cluster);
    server = await cluster.pod("feast-server");
  });

  /** The views of the repository, as the server knows them. */
  const question = {
    features: [
      "price_features:current_price",
      "price_features:rsi_14d",
      "economic_features:interest_rate",
      "weather_features:storm_index",
    ],
    entities: { commodity_code: ["WTI", "CORN"] },
    full_feature_names: true,
  };
  const overHttp = (asked: object): Promise<any> => python(client, OVER_HTTP, asked);

  it("answers every probe of both servers, gRPC's own among them", async () => {
    assert.deepEqual(await server.faults(), []);
    const probed = server.containers.map(({ livenessProbe }) => Object.keys(livenessProbe));
    assert.ok(
      probed.some((keys) => keys.includes("grpc")),
      "one of them is a gRPC probe",
    );
  });

  it("serves what was materialized, over HTTP", async () => {
    const { commodity_code, ...features } = await overHttp(question);
    assert.deepEqual(commodity_code.values, ["WTI", "CORN"]);
    assert.equal(Object.keys(features).length, question.features.length);
    for (const [name, { values, statuses }] of Object.entries<any>(features)) {
      assert.deepEqual(statuses, ["PRESENT", "PRESENT"], name);
      assert.ok(values.every(Number.isFinite), name);
    }
  });

  it("serves the same over gRPC", async () => {
    const { host, port } = cluster.program.outputs.feast.grpc;
    const [http, grpc] = await Promise.all([
      overHttp(question),
      python(server, OVER_GRPC, { ...question, address: `${host}:${port}` }),
    ]);
    const values = Object.entries<any>(http).map(([name, result]) => [name, result.values] as const);
    assert.deepEqual(grpc, Object.fromEntries(values.filter(([name]) => name !== "commodity_code")));
  });

  it("has no value for a commodity that nobody trades", async () => {
    const { price_features__current_price: price } = await overHttp({
      ...question,
      entities: { commodity_code: ["nobody"] },
    });
    assert.deepEqual(price.values, [null]);
  });

  it("serves a price that arrived late after the next hourly run, and says from when it is", async () => {
    const key = "price/late.parquet";
    const definitions = fs.readFileSync(path.join(FEATURES.repository, "features.py"), "utf8");
    const [, fields = ""] = /view\(\s*"price",[^[]*\[([^\]]*)\]/.exec(definitions) ?? [];
    const prices = [...fields.matchAll(/\w+/g)].map(([field]) => [field, 1.5]);
    const row = { ...Object.fromEntries(prices), commodity_code: "LATE" };
    const from = await python(client, LATE, { key, row, minutes: 90 });
    try {
      await cluster.cronJob("feast-materialize-hourly");
    } finally {
      await python(client, REMOVE, { key });
    }
    const { price_features__current_price: price } = await overHttp({
      ...question,
      entities: { commodity_code: ["LATE"] },
    });
    assert.deepEqual([price.values, price.event_timestamps], [[1.5], [from]]);
  });

  it("materializes a week again, for what arrived late, and answers the same", async () => {
    const before = await overHttp(question);
    await cluster.cronJob("feast-materialize-daily");
    const after = await overHttp(question);
    assert.deepEqual(
      Object.values<any>(after).map(({ values }) => values),
      Object.values<any>(before).map(({ values }) => values),
    );
  });

  it("lets the Job that registers run again", async () => {
    await cluster.job("feast-apply", { again: true });
  });
});
