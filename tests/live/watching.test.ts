import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import { type Exported, exported, fixture, fixtureOf, METRIC_FIXTURES } from "../support/metrics";
import { type Cluster, OUT, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import { Gateway } from "./harness/gateway";
import type { Pod } from "./harness/pod";
import { selects } from "./harness/program";
import { python } from "./harness/python";
import { predictions } from "./harness/systems";

// Fixture by the pods' label `app` and the names of the metrics.
const EXPORTERS = [
  { name: "commodity", app: "ray", metrics: /^ray_model_/ },
  { name: "ray", app: "ray", metrics: /^ray_(?!model_)/ },
  { name: "feast", app: "feast", metrics: /^feast_/ },
  { name: "mlflow", app: "mlflow", metrics: /^mlflow_/ },
  { name: "redis", app: "redis-exporter", metrics: /^redis_/ },
  { name: "minio", app: "minio", metrics: /^minio_(cluster|s3)_/ },
];

// Monitors of what other tests start, or of what no registry has: the operators' own exporters. So are all of another namespace.
const ELSEWHERE = /^(trino|dolphinscheduler|datahub)-|^(elasticsearch-exporter|postgres|kafka|polaris)$/;

// The features of a commodity under another's name, as if they were old.
const AGED = `
import datetime
from feast import FeatureStore
store = FeatureStore("/store")
for view in input["views"]:
    fields = store.get_feature_view(view).features
    row = store.get_online_features(
        features=[f"{view}:{field.name}" for field in fields], entity_rows=[{"commodity_code": "WTI"}]
    ).to_df()
    row["commodity_code"] = input["code"]
    now = datetime.datetime.now(datetime.timezone.utc)
    row["event_timestamp"], row["created"] = now - datetime.timedelta(hours=input["hours"]), now
    store.write_to_online_store(view, row)
print(json.dumps(True))
`;

describe("Prometheus", () => {
  let cluster: Cluster;
  let head: Pod;
  before(async () => {
    cluster = await theCluster();
    head = await predictions(cluster);
    await cluster.pod("redis-exporter");
  });

  const predict = (model = "price-forecast", code = "WTI"): Promise<Response> =>
    fetch(head.url("serve", `/predict/${model}`), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ commodity_code: code }),
    });

  it("scrapes every pod that a monitor selects", async () => {
    const prometheus = await cluster.prometheus();
    const targets = await prometheus.targets();
    const monitors = cluster.program.all("PodMonitor");
    const selected = (await cluster.pods())
      .filter((pod) => monitors.some(({ spec }) => selects(spec.selector.matchLabels, pod.labels)))
      .map(({ name }) => name);
    assert.deepEqual(targets.map(({ labels }) => labels["pod"]).sort(), selected.sort());
    assert.deepEqual(
      targets.filter(({ health }) => health !== "up").map(({ labels, lastError }) => `${labels["pod"]}: ${lastError}`),
      [],
    );
  });

  it("scrapes the gateway's proxies and their controller, and says when they do not answer", async () => {
    const gateway = await Gateway.of(cluster);
    const prometheus = await cluster.prometheus(gateway.pods(cluster));
    const targets = (await prometheus.targets()).filter(({ labels }) => labels["namespace"] === "gateway");
    assert.deepEqual(targets.map(({ labels, lastError }) => [labels["job"], lastError]).sort(), [
      ["envoy-gateway", ""],
      ["gateway", ""],
    ]);
    const states = async () =>
      (await prometheus.alerts()).flatMap(({ name, state }) => (/^(Envoy)?Gateway/.test(name) ? [[name, state]] : []));
    const all = (state: string) => ["GatewayDown", "EnvoyGatewayDown"].map((name) => [name, state]);
    await eventually(20, async () => {
      assert.deepEqual(await states(), all("inactive"));
    });
    await cluster.prometheus();
    await eventually(20, async () => {
      assert.deepEqual(await states(), all("pending"));
    });
  });

  it("leaves no monitor without a pod", async () => {
    const pods = await cluster.pods();
    const idle = cluster.program
      .all("PodMonitor")
      .filter(({ metadata }) => metadata.namespace === "data-platform")
      .filter(({ spec }) => !pods.some((pod) => selects(spec.selector.matchLabels, pod.labels)))
      .map(({ metadata }) => metadata.name);
    assert.deepEqual(
      idle.filter((name) => !ELSEWHERE.test(name)),
      [],
    );
  });

  it("finds the metrics that the fixtures hold, by name and label", async () => {
    for (const model of ["price-forecast", "volatility", "no-such-model"]) await predict(model);
    // Ray forgets gauges that nobody has set for a while: what was seen once counts.
    const seen = new Map<string, Map<string, Set<string>>>(EXPORTERS.map(({ name }) => [name, new Map()]));
    await eventually(60, async () => {
      const exporters = await exporting(cluster);
      for (const { name, app, metrics } of EXPORTERS) {
        const real = seen.get(name) ?? new Map();
        for (const [metric, labels] of exporters.get(app) ?? []) {
          if (metrics.test(metric)) real.set(metric, new Set([...(real.get(metric) ?? []), ...labels]));
        }
        if (process.env["UPDATE_METRICS"] !== undefined) update(name, real);
        assert.deepEqual(missing(fixture(name), real), [], `${name}: in the fixture, but nothing exports it`);
      }
    });
  });

  it("loads and evaluates every alert of the program", async () => {
    const prometheus = await cluster.prometheus();
    const rendered = cluster.program
      .all("PrometheusRule")
      .flatMap(({ spec }) => spec.groups.flatMap(({ rules }: any) => rules.flatMap(({ alert = [] }: any) => alert)));
    assert.ok(rendered.length >= 10, "fewer than ten alerts are rendered");
    await eventually(20, async () => {
      const alerts = await prometheus.alerts();
      assert.deepEqual(alerts.map(({ name }) => name).sort(), rendered.sort());
      assert.deepEqual(
        alerts.filter(({ health }) => health !== "ok").map(({ name, lastError }) => `${name}: ${lastError ?? ""}`),
        [],
      );
    });
  });

  it("shows in every panel what happens", async () => {
    const prometheus = await cluster.prometheus();
    const { panels } = JSON.parse(
      cluster.program.data("ConfigMap", "grafana-dashboard-ml-platform")["ml-platform.json"] ?? "",
    );
    const queries: { title: string; expr: string }[] = panels.flatMap(({ title, targets = [] }: any) =>
      targets.map(({ expr }: any) => ({ title, expr })),
    );
    await eventually(30, async () => {
      await predict();
      const empty: string[] = [];
      for (const { title, expr } of queries) if ((await prometheus.query(expr)).length === 0) empty.push(title);
      // The kubelet and Elasticsearch are not here, and nothing has failed yet, or has.
      const without = [
        "Ray Cluster - CPU Usage",
        "Elasticsearch - Status",
        "Elasticsearch - Heap and Disk",
        "Elasticsearch - Heap and Disk",
      ];
      const quiet = ["Ray Serve - Error Rate", "Feast - Missing Values"];
      assert.deepEqual(
        empty.filter((title) => !quiet.includes(title)),
        without,
      );
    });
  });

  it("notices predictions that are made of old features", async () => {
    const prometheus = await cluster.prometheus();
    const state = async (): Promise<string | undefined> =>
      (await prometheus.alerts()).find(({ name }) => name === "MLModelFeaturesOld")?.state;
    const views = ["price_features", "economic_features", "weather_features"];
    const allOf = (hours: number) => Object.fromEntries(views.map((view) => [view, hours]));
    const ages = async (): Promise<Record<string, number>> => {
      const found = await prometheus.query('max by (view) (ray_model_feature_age_seconds{model="price-forecast"})');
      return Object.fromEntries(found.map(({ labels, value }) => [labels["view"], Math.floor(value / 3600)]));
    };
    assert.equal((await predict()).status, 200);
    await eventually(20, async () => {
      assert.deepEqual(await ages(), allOf(0));
    });
    assert.equal(await state(), "inactive");
    assert.ok(
      await python(await cluster.pod("feast-server"), AGED, { code: "AGED", hours: 30, views }),
      "the old features were not pushed",
    );
    assert.equal((await predict("price-forecast", "AGED")).status, 200);
    await eventually(20, async () => {
      assert.deepEqual(await ages(), allOf(30));
      assert.equal(await state(), "pending");
    });
  });

  it("lets `npm run verify` see all of it", async () => {
    await cluster.prometheus();
    const log = await cluster.cronJob("verify");
    const { answers } = JSON.parse(log.trimEnd().split("\n").at(-1) ?? "");
    assert.deepEqual(answers.map(({ question, ok, found }: any) => (ok ? question : `${question}: ${found}`)).sort(), [
      "feast-health",
      "mlflow-health",
      "mlflow-registry",
      "prediction",
      "prometheus-rules",
      "prometheus-targets",
      "ray-nodes",
    ]);
    const data = Object.fromEntries(answers.map(({ question, data }: any) => [question, data]));
    assert.deepEqual(data["ray-nodes"], { heads: 1, workers: 1 });
    assert.equal(data["prediction"].commodity_code, "WTI");
    assert.ok(
      data["prometheus-targets"].every(({ up }: any) => up),
      "Prometheus cannot scrape one of its targets",
    );
    assert.ok(
      data["prometheus-rules"].every(({ error }: any) => error === ""),
      "Prometheus cannot evaluate one of its rules",
    );
  });

  it("answers no pod's probe with a fault", async () => {
    const pods = await cluster.pods();
    const faults = await Promise.all(pods.map((pod) => pod.faults()));
    assert.deepEqual(faults.flat(), []);
    const others = ["minio", "mlflow", "redis", "feast-server", "ray-head", "ray-worker"];
    const started = pods.map(({ name }) => name.replace(/-\d+$/, ""));
    assert.deepEqual(
      others.filter((name) => !started.includes(name)),
      [],
    );
  });

  it("notices a worker that is lost; predictions come back with the next one", async () => {
    const lost = await cluster.pod("ray-worker");
    const prometheus = await cluster.prometheus();
    const state = async (): Promise<string | undefined> =>
      (await prometheus.alerts()).find(({ name }) => name === "RayClusterNodeDown")?.state;
    assert.equal(await state(), "inactive");
    lost.kill();
    await eventually(20, async () => {
      assert.equal(await state(), "pending");
    });
    await cluster.stop(lost, { atOnce: true });
    await cluster.pod("ray-worker");
    await eventually(120, async () => {
      assert.equal((await predict()).status, 200);
    });
    await cluster.prometheus();
    await eventually(20, async () => {
      assert.equal(await state(), "inactive");
    });
  });
});

/** What the pods of each `app` export; their whole texts are left for people who write rules and dashboards. */
async function exporting(cluster: Cluster): Promise<Map<string, Exported>> {
  const directory = path.join(OUT, "metrics");
  fs.mkdirSync(directory, { recursive: true });
  const texts = new Map<string, string>();
  for (const { labels, scrapeUrl } of await (await cluster.prometheus()).targets()) {
    const found = await get(scrapeUrl);
    fs.writeFileSync(path.join(directory, `${labels["pod"] ?? ""}.txt`), found);
    const job = labels["job"] ?? "";
    texts.set(job, `${texts.get(job) ?? ""}${found}\n`);
  }
  return new Map([...texts].map(([job, text]) => [job, exported(text)]));
}

/** The answer of a server whose certificate Prometheus verifies, and nobody here. */
function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { get: ask } = url.startsWith("https:") ? https : http;
    ask(url, { rejectUnauthorized: false }, (response) => void text(response).then(resolve, reject)).once(
      "error",
      reject,
    );
  });
}

/** What a fixture holds and the software does not export. */
function missing(wanted: Exported, real: Exported): string[] {
  return [...wanted].flatMap(([name, labels]) => {
    const found = real.get(name);
    if (found === undefined) return [name];
    return [...labels].filter((label) => !found.has(label)).map((label) => `${name}: ${label}`);
  });
}

/** Writes a fixture anew, under the comment that it has. */
function update(name: string, real: Exported): void {
  const file = path.join(METRIC_FIXTURES, `${name}.txt`);
  const [comment = ""] = fs.readFileSync(file, "utf8").split("\n");
  fs.writeFileSync(file, `${comment}\n${fixtureOf(real)}`);
}
