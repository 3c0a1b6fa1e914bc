import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { Verify, type VerifyQuestions } from "../../../components/observability/verify";
import type { HttpAnswer } from "../../../commands/verify/answers";
import { parseAnswers } from "../../../commands/verify/job";
import { envSecret } from "../../../components/base/secret";
import { wires } from "../../support/manifests";
import { mockEngine, only, type Registered, settled } from "../../support/mocks";
import { endpoint, onCluster, SIZE } from "../../support/stubs";

const TOKEN = "token-of-ray";

async function verify(own: Partial<VerifyQuestions> = {}): Promise<Registered[]> {
  const seen = await mockEngine();
  const asks = {
    mlflow: endpoint("mlflow", "http", 5000),
    ray: {
      dashboard: endpoint("ray-head", "http", 8265),
      auth: envSecret("ray-auth", { namespace: "ml", data: { RAY_AUTH_TOKEN: pulumi.secret(TOKEN) } }, {}),
    },
    ...own,
  };
  new Verify("verify", { namespace: "ml", image: "python:3.11.7", asks, size: SIZE }, onCluster());
  await settled();
  return seen;
}

const everything = (): Partial<VerifyQuestions> => ({
  feast: endpoint("feast", "http", 6566),
  serve: {
    endpoint: endpoint("ray-head", "http", 8000),
    path: "/predict/price-forecast",
    body: { commodity_code: "WTI" },
  },
  prometheus: endpoint("prometheus", "http", 9090),
});

const jobOf = (seen: readonly Registered[]): any =>
  only(seen, "kubernetes:batch/v1:CronJob").inputs.spec.jobTemplate.spec;
const containerOf = (seen: readonly Registered[]): any => jobOf(seen).template.spec.containers[0];
const envOf = (seen: readonly Registered[]): Record<string, string> =>
  Object.fromEntries(containerOf(seen).env.map(({ name, value }: any) => [name, value]));

describe("Verify", () => {
  it("never runs by itself, and ends soon when it is run", async () => {
    const seen = await verify();
    assert.equal(only(seen, "kubernetes:batch/v1:CronJob").inputs.spec.suspend, true);
    const { backoffLimit, activeDeadlineSeconds, ttlSecondsAfterFinished, template } = jobOf(seen);
    assert.equal(backoffLimit, 0);
    assert.ok(
      activeDeadlineSeconds <= 600 && ttlSecondsAfterFinished > 0,
      "a check that hangs must end and go within ten minutes",
    );
    assert.equal(template.spec.restartPolicy, "Never");
  });

  it("asks for what it was handed, and for nothing else", async () => {
    assert.deepEqual(envOf(await verify()), {
      MLFLOW_URL: "http://mlflow.elsewhere:5000",
      RAY_URL: "http://ray-head.elsewhere:8265",
    });
    assert.deepEqual(envOf(await verify(everything())), {
      MLFLOW_URL: "http://mlflow.elsewhere:5000",
      FEAST_URL: "http://feast.elsewhere:6566",
      RAY_URL: "http://ray-head.elsewhere:8265",
      SERVE_URL: "http://ray-head.elsewhere:8000/predict/price-forecast",
      SERVE_BODY: '{"commodity_code":"WTI"}',
      PROMETHEUS_URL: "http://prometheus.elsewhere:9090",
    });
  });

  it("reaches what it asks, and waits for none of it", async () => {
    const seen = await verify(everything());
    assert.deepEqual(
      wires(seen),
      ["feast 6566", "mlflow 5000", "prometheus 9090", "ray-head 8000", "ray-head 8265"].map((to) => `verify -> ${to}`),
    );
    const ready = seen.filter(({ name }) => name.endsWith("-ready")).map(({ urn }) => urn);
    assert.ok(
      ready.length > 0 && seen.every(({ dependencies }) => !dependencies.some((urn) => ready.includes(urn))),
      "nothing may wait for the check: it asks what may not be there yet",
    );
  });

  it("keeps Ray's token in its Secret", async () => {
    const seen = await verify();
    const secret = only(seen, "kubernetes:core/v1:Secret");
    assert.deepEqual(containerOf(seen).envFrom, [{ secretRef: { name: secret.inputs.metadata.name } }]);
    assert.ok(
      !JSON.stringify(seen.filter((one) => one !== secret)).includes(TOKEN),
      "the token lies outside of its Secret",
    );
  });
});

/** A service that answers what it is told to; it notes what it was asked. */
class Service {
  readonly asked: { url: string; method: string; body: string; authorization: string | undefined }[] = [];
  private readonly server = http.createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { url = "", method = "", headers } = request;
      this.asked.push({ url, method, body, authorization: headers.authorization });
      const [status, answer] = this.answers[url] ?? [404, "no such page"];
      response.writeHead(status).end(typeof answer === "string" ? answer : JSON.stringify(answer));
    });
  });

  constructor(private readonly answers: Readonly<Record<string, readonly [status: number, answer: unknown]>>) {}

  async start(): Promise<string> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.close();
  }
}

const PYTHON = "python3";

describe("the script that asks from inside the cluster", function () {
  this.timeout(60_000);
  const services: Service[] = [];
  let script: string;

  before(async function () {
    if (spawnSync(PYTHON, ["--version"]).status !== 0) {
      console.log(`      not run: there is no ${PYTHON} here`);
      this.skip();
    }
    // What the pod runs: the last word of its command.
    script = containerOf(await verify()).command.at(-1) as string;
  });
  afterEach(() => {
    for (const service of services.splice(0)) service.stop();
  });

  async function serving(
    answers: ConstructorParameters<typeof Service>[0],
  ): Promise<{ url: string; service: Service }> {
    const service = new Service(answers);
    services.push(service);
    return { url: await service.start(), service };
  }

  async function answersOf(env: Record<string, string>): Promise<Record<string, HttpAnswer>> {
    return answersIn(await logOf(env));
  }

  const answersIn = (log: string): Record<string, HttpAnswer> =>
    Object.fromEntries(parseAnswers(log).map((answer) => [answer.question, answer]));

  /** What the script prints, after a line of Python that a test may run first. */
  async function logOf(env: Record<string, string>, first = ""): Promise<string> {
    const child: ChildProcess = spawn(PYTHON, ["-c", `${first}\n${script}`], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let log = "";
    child.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString()));
    const [code] = (await once(child, "close")) as [number];
    assert.equal(code, 0);
    return log;
  }

  it("asks MLflow for its health and, past it, its database", async () => {
    const models = { registered_models: [{ name: "price-forecast" }, { name: "volatility" }] };
    const { url } = await serving({
      "/health": [200, "OK"],
      "/api/2.0/mlflow/registered-models/search?max_results=1000": [200, models],
    });
    const answers = await answersOf({ MLFLOW_URL: url });
    assert.deepEqual(Object.keys(answers), ["mlflow-health", "mlflow-registry"]);
    assert.equal(answers["mlflow-health"]?.ok, true);
    assert.equal(answers["mlflow-registry"]?.found, "2 registered models: price-forecast, volatility");
  });

  it("says of each service by itself that it fails, and in which words", async () => {
    const { url } = await serving({
      "/health": [200, "OK"],
      "/api/2.0/mlflow/registered-models/search?max_results=1000": [500, { message: "database is gone" }],
      "/predict/price-forecast": [503, { error: "model not registered: price-forecast" }],
    });
    const answers = await answersOf({
      MLFLOW_URL: url,
      SERVE_URL: `${url}/predict/price-forecast`,
      SERVE_BODY: '{"commodity_code":"WTI"}',
    });
    assert.equal(answers["mlflow-health"]?.ok, true);
    assert.equal(answers["mlflow-registry"]?.ok, false);
    assert.match(answers["mlflow-registry"].found, /500 Internal Server Error: .*database is gone/);
    assert.equal(answers["prediction"]?.ok, false);
    assert.match(answers["prediction"].found, /503 Service Unavailable: .*model not registered: price-forecast/);
  });

  it("posts a prediction's question as JSON", async () => {
    const { url, service } = await serving({ "/predict/price-forecast": [200, { prediction: 71.2 }] });
    const body = '{"commodity_code":"WTI"}';
    const { prediction } = await answersOf({ SERVE_URL: `${url}/predict/price-forecast`, SERVE_BODY: body });
    assert.deepEqual([prediction?.ok, prediction?.found], [true, '{"prediction": 71.2}']);
    assert.deepEqual([service.asked[0]?.method, service.asked[0]?.body], ["POST", body]);
  });

  it("counts Ray's living nodes, and shows the token", async () => {
    const node = (state: string, isHead: boolean) => ({ state, is_head_node: isHead });
    const result = [node("ALIVE", true), node("ALIVE", false), node("ALIVE", false), node("DEAD", false)];
    const { url, service } = await serving({
      "/api/v0/nodes?limit=10000": [200, { result: true, data: { result: { result } } }],
    });
    const answers = await answersOf({ RAY_URL: url, RAY_AUTH_TOKEN: TOKEN });
    assert.deepEqual(answers["ray-nodes"]?.data, { heads: 1, workers: 2 });
    assert.equal(service.asked[0]?.authorization, `Bearer ${TOKEN}`);
  });

  it("hands on Prometheus' targets and rules", async () => {
    const target = { scrapePool: "podMonitor/ml/ray/0", scrapeUrl: "http://10.0.0.1/metrics", lastError: "" };
    const activeTargets = [
      { ...target, health: "up" },
      { ...target, health: "down", lastError: "connection refused" },
    ];
    const groups = [{ rules: [{ name: "RayHeadDown" }, { name: "Broken", lastError: "parse error" }] }];
    const { url } = await serving({
      "/api/v1/targets?state=active": [200, { data: { activeTargets } }],
      "/api/v1/rules": [200, { data: { groups } }],
    });
    const answers = await answersOf({ PROMETHEUS_URL: url });
    assert.equal(answers["prometheus-targets"]?.found, "1 of 2 up");
    assert.deepEqual(
      (answers["prometheus-targets"].data as any[]).map(({ up, error }) => [up, error]),
      [
        [true, ""],
        [false, "connection refused"],
      ],
    );
    assert.deepEqual(answers["prometheus-rules"]?.data, [
      { name: "RayHeadDown", error: "" },
      { name: "Broken", error: "parse error" },
    ]);
  });

  it("tries again where nobody listens yet, then says so, and calls what is no JSON by its name", async () => {
    const { url } = await serving({ "/api/v1/rules": [200, "<html>"], "/api/v1/targets?state=active": [200, "{}"] });
    const noted = `import time; time.sleep = lambda seconds: print(f"paused for {seconds} s")`;
    const log = await logOf({ FEAST_URL: "http://127.0.0.1:1", PROMETHEUS_URL: url }, noted);
    assert.equal(log.match(/^paused for 3 s$/gm)?.length, 2, "three tries");
    const answers = answersIn(log);
    assert.match(answers["feast-health"]?.found ?? "", /http:\/\/127\.0\.0\.1:1: .*Connection refused/);
    assert.match(answers["prometheus-rules"]?.found ?? "", /no JSON: <html>/);
    assert.match(answers["prometheus-targets"]?.found ?? "", /KeyError: 'data'/);
  });
});
