import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { Checkout } from "../support/checkout";
import { type Cluster, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import type { Pod } from "./harness/pod";
import { python } from "./harness/python";
import { application, predictions, serveConfig, trackingServer } from "./harness/systems";

const REQUESTS = 1000;

// What the registry holds of a model.
const REGISTERED = `
import mlflow
version = mlflow.MlflowClient().get_model_version_by_alias(input["model"], "champion")
model = mlflow.models.get_model_info(f"models:/{input['model']}@champion")
print(json.dumps({"inputs": model.signature.inputs.input_names(), "version": version.version, "id": model.model_id}))
`;

const STORED = `
import boto3
keys = [o["Key"] for o in boto3.client("s3").list_objects_v2(Bucket=input["bucket"]).get("Contents", [])]
print(json.dumps([key for key in keys if key.endswith("MLmodel") and input["id"] in key]))
`;

// Newer features of a commodity, as a feed would push them.
const PUSH = `
import datetime
import pandas as pd
from feast import FeatureStore
store = FeatureStore("/store")
row = store.get_online_features(
    features=["price_features:" + f.name for f in store.get_feature_view("price_features").features],
    entity_rows=[{"commodity_code": input["code"]}],
).to_df()
row["current_price"] = input["price"]
row["event_timestamp"] = row["created"] = datetime.datetime.now(datetime.timezone.utc)
store.write_to_online_store("price_features", row)
print(json.dumps(True))
`;

describe("the commodity application", () => {
  let cluster: Cluster;
  let head: Pod;
  before(async () => {
    cluster = await theCluster();
    await application(cluster);
    head = await predictions(cluster);
  });

  const models = (): string[] => serveConfig(cluster).applications[0].args.models;
  const predict = (model: string, body: unknown): Promise<Response> =>
    fetch(head.url("serve", `/predict/${model}`), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  const predicted = async (model: string, code: string): Promise<any> => {
    const answer = await predict(model, { commodity_code: code });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return JSON.parse(text);
  };

  it("has every model trained on Ray, registered as champion, its artifacts in the bucket", async () => {
    for (const model of models()) {
      const { inputs, id } = await python(head, REGISTERED, { model });
      // Ray's own user may not look into MLflow's bucket.
      const stored = await python(await trackingServer(cluster), STORED, { id, bucket: "mlflow-artifacts" });
      assert.equal(stored.length, 1, `${model}: files MLmodel in the bucket`);
      const { features, model_name } = await predicted(model, "WTI");
      assert.equal(model_name, model);
      assert.deepEqual(Object.keys(features).sort(), inputs.sort(), "what it was made of is what it was trained on");
    }
  });

  it("is healthy, with each model in the version that the registry names", async () => {
    const answer = await fetch(head.url("serve", "/healthz"));
    assert.equal(answer.status, 200);
    const { status, models: states } = await answer.json();
    assert.equal(status, "ok");
    assert.deepEqual(Object.keys(states), models());
    for (const state of Object.values<any>(states)) assert.equal(state.status, "ready");
  });

  it("predicts from the features as they are now", async () => {
    const before = await predicted("price-forecast", "WTI");
    const price = before.features["price_features:current_price"] * 2;
    assert.ok(
      await python(await cluster.pod("feast-server"), PUSH, { code: "WTI", price }),
      "the price was not pushed",
    );
    const after = await predicted("price-forecast", "WTI");
    assert.equal(after.features["price_features:current_price"], price);
    assert.notEqual(after.prediction, before.prediction);
    const other = await predicted("price-forecast", "BRENT");
    assert.notEqual(other.features["price_features:current_price"], price);
  });

  it("says what is wrong with a question", async () => {
    const statuses = [
      ["no-such-model", { commodity_code: "WTI" }, 404],
      ["price-forecast", { commodity_code: "nobody" }, 404],
      ["price-forecast", {}, 422],
    ] as const;
    for (const [model, body, status] of statuses) assert.equal((await predict(model, body)).status, status);
  });

  it("notices that a feature view has lost what a model was trained on", async () => {
    const lost = "storm_index";
    const checkout = new Checkout(path.join(cluster.scratch, "checkout"));
    const views = path.join("workloads", "commodity", "features", "features.py");
    const definitions = fs.readFileSync(path.join(checkout.directory, views), "utf8");
    assert.ok(definitions.includes(`, "${lost}"`), `the definitions do not name ${lost}: take out another field`);
    checkout.write(views, definitions.replace(`, "${lost}"`, ""));
    assert.deepEqual(await cluster.update("dev", checkout.directory), ["feast-apply"]);
    try {
      // Servers read the registry every 30 seconds, the application checks its models each minute.
      await eventually(60, async () => {
        const answer = await predict("price-forecast", { commodity_code: "WTI" });
        assert.equal(answer.status, 502);
        assert.match(await answer.text(), new RegExp(`${lost}.*wants features that are not defined`, "s"));
      });
      await eventually(90, async () => {
        const { models: states } = await (await fetch(head.url("serve", "/healthz"))).json();
        assert.match(states["price-forecast"].status, new RegExp(lost));
      });
    } finally {
      checkout.write(views, definitions);
      assert.deepEqual(await cluster.update("dev", checkout.directory), ["feast-apply"]);
    }
    await eventually(60, async () => {
      assert.equal((await predict("price-forecast", { commodity_code: "WTI" })).status, 200);
    });
  });

  it(`predicts ${REQUESTS} times`, async () => {
    for (let warm = 0; warm < 50; warm++) await predicted("price-forecast", "WTI");
    const milliseconds: number[] = [];
    for (let request = 0; request < REQUESTS; request++) {
      const started = performance.now();
      await predicted("price-forecast", request % 2 === 0 ? "WTI" : "BRENT");
      milliseconds.push(performance.now() - started);
    }
    milliseconds.sort((a, b) => a - b);
    const quantile = (q: number): string => (milliseconds[Math.ceil(q * REQUESTS) - 1] ?? NaN).toFixed(1);
    console.log(`    ${REQUESTS} predictions, one after the other: p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms`);
  });
});
