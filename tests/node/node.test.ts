import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { images } from "../../components/base/versions";
import { evaluateStack } from "../../rehearsal/program/charts";
import { wiresOf } from "../../rehearsal/program/wiring";
import { openRehearsal, type Rehearsal, watchedUp } from "../../rehearsal/simulation/rehearse";
import { eventually } from "../live/harness/eventually";
import { wrongConnections } from "./harness/connections";
import { dashboard } from "../../components/observability/ml-monitoring";
import { PLACEHOLDERS } from "../support/alerts";
import { failedChecks, kubectl, lastWords, replacePod, runNow } from "./harness/cluster";
import { LET_IN, logIn, LOGINS, secretOf } from "./harness/logins";
import { failuresDuring, predict } from "./harness/predictions";
import { query, unruled, unscraped } from "./harness/prometheus";
import { prepareSite } from "../../rehearsal/node/site";

const STACK = "local";
const NAMESPACE = "data-platform";
// Two minutes on two idle cores.
const UP_SECONDS = 480;

describe("the ML core on a real node", () => {
  let rehearsal: Rehearsal;
  const progress = (line: string): void => {
    console.log(line);
  };

  before(async () => {
    rehearsal = await openRehearsal({ stack: STACK, progress, site: await prepareSite(STACK, progress) });
  });

  after(async () => {
    await (rehearsal as Rehearsal | undefined)?.cluster.stop();
  });

  it("comes up", async () => {
    // The engine would wait for an hour, and longer than mocha does.
    const up = await watchedUp(rehearsal, () => undefined, AbortSignal.timeout(UP_SECONDS * 1000));
    assert.deepEqual([...up.errors, ...(up.ok ? [] : await lastWords(rehearsal))], []);
  });

  it("changes nothing when it is brought up again, and nothing when it is refreshed", async () => {
    const up = await rehearsal.engine.run("up");
    const refresh = await rehearsal.engine.run("refresh");
    assert.deepEqual([up.changed, refresh.changed], [[], []]);
  });

  it("has webhooks refuse what the operators behind them could not use", async () => {
    const wrong = (apiVersion: string, kind: string, spec: object): object => ({
      ...{ apiVersion, kind, spec },
      metadata: { name: "wrong", namespace: NAMESPACE },
    });
    const expr = "sum(";
    const issued = { secretName: "wrong", dnsNames: ["wrong"], issuerRef: { name: "x" } };
    const items = [
      wrong("cert-manager.io/v1", "Certificate", { ...issued, duration: "1m" }),
      wrong("monitoring.coreos.com/v1", "PrometheusRule", {
        groups: [{ name: "wrong", rules: [{ alert: "Wrong", expr }] }],
      }),
      wrong("postgresql.cnpg.io/v1", "Cluster", { instances: 1, storage: { size: "much" } }),
    ];
    const list = JSON.stringify({ apiVersion: "v1", kind: "List", items });
    const apply = ["apply", "--dry-run=server", "--filename=-"];
    // What a webhook cannot see yet passes.
    await eventually(30, async () => {
      const answer = await kubectl(rehearsal, NAMESPACE, apply, list).catch(String);
      assert.deepEqual(
        [...answer.matchAll(/webhook "(.*)" denied the request/g)].map(([, webhook]) => webhook),
        ["webhook.cert-manager.io", "prometheusrulemutate.monitoring.coreos.com", "vcluster.cnpg.io"],
      );
    });
  });

  it("lets pods connect as the wires say, and in no other way", async () => {
    const wires = wiresOf(await evaluateStack(STACK));
    const wrong = [];
    for (const namespace of [NAMESPACE, "cnpg-system", "monitoring"])
      wrong.push(...(await wrongConnections(rehearsal, wires, namespace)));
    assert.deepEqual(wrong, []);
  });

  it("has `up --refresh` put back a policy that somebody deleted, without which a wire does not pass", async () => {
    const wires = wiresOf(await evaluateStack(STACK));
    await kubectl(rehearsal, NAMESPACE, ["delete", "networkpolicy", "redis-ingress", "feast-server-egress"]);
    const wrong = await wrongConnections(rehearsal, wires, NAMESPACE, "feast-server");
    const repaired = await rehearsal.engine.run("up", { args: ["--refresh"] });
    assert.deepEqual(wrong, [
      "feast-server -> postgres-1:5432: blocked, but a wire says that it passes",
      "feast-server -> redis-0:6379: blocked, but a wire says that it passes",
    ]);
    assert.deepEqual(repaired.errors, []);
    assert.deepEqual(await wrongConnections(rehearsal, wires, NAMESPACE, "feast-server"), []);
  });

  it("trains a model and predicts with it", async () => {
    const head = ["exec", "ray-head-0", "--"];
    const code = await kubectl(rehearsal, NAMESPACE, [
      ...["get", "job", "serve-deploy", "--output"],
      'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="SERVE_CONFIG")].value}',
    ]);
    const { working_dir: directory } = JSON.parse(code).applications[0].runtime_env;
    const submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", directory];
    await kubectl(rehearsal, NAMESPACE, [...head, ...submit, "--", "python", "-m", "commodity.sample"]);
    await runNow(rehearsal, "feast-materialize-hourly");
    await runNow(rehearsal, "commodity-train-price-forecast");
    // The application asks the registry each minute.
    await eventually(120, async () => {
      const answer = await kubectl(rehearsal, NAMESPACE, [
        ...[...head, "python", "-c"],
        "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8000/healthz').read().decode())",
      ]);
      assert.match(answer, /"price-forecast": ?\{[^}]*"status": ?"ready"/);
    });
  });

  it("has Prometheus scrape every pod that a monitor names, and the node, and evaluate every rule", async () => {
    await eventually(120, async () => {
      assert.deepEqual(await unscraped(rehearsal), []);
      assert.deepEqual(await unruled(rehearsal), []);
      // Of what was not there yet when Prometheus first looked.
      const alarms = await query(rehearsal, 'ALERTS{alertname=~".*(Down|Missing|LowWorkers)"}');
      assert.deepEqual(alarms, []);
    });
  });

  it("shows in every panel what happens", async () => {
    const { panels } = JSON.parse(dashboard(PLACEHOLDERS)) as { panels: any[] };
    // There is no Elasticsearch, and nothing has failed.
    const elsewhere = /^Elasticsearch|Error Rate|Missing Values/;
    const queries: { title: string; expr: string }[] = panels
      .filter(({ title }: any) => !elsewhere.test(title))
      .flatMap(({ title, targets = [] }: any) => targets.map(({ expr }: any) => ({ title, expr })));
    await eventually(120, async () => {
      await predict(rehearsal);
      const empty: string[] = [];
      for (const { title, expr } of queries) if ((await query(rehearsal, expr)).length === 0) empty.push(title);
      assert.deepEqual(empty, []);
    });
  });

  it("tells `kubectl top` what each pod and the node use, by the kubelet's own certificate", async () => {
    const { items } = await rehearsal.api.core.listNamespacedPod({
      namespace: NAMESPACE,
      fieldSelector: "status.phase=Running",
    });
    await eventually(90, async () => {
      const [pods, nodes] = await Promise.all(
        ["pods", "nodes"].map((what) => kubectl(rehearsal, NAMESPACE, ["top", what, "--no-headers"])),
      );
      const known = pods?.split("\n").map((line) => line.split(/\s+/)[0]) ?? [];
      const names = items.map(({ metadata }) => metadata?.name ?? "");
      assert.deepEqual(
        names.filter((name) => !known.includes(name)),
        [],
      );
      assert.match(nodes ?? "", /^local-1 +[1-9]\d*m/);
    });
  });

  it("predicts on, without a failure, while MLflow's pod is lost and another takes its place", async () => {
    assert.deepEqual(await failuresDuring(rehearsal, replacePod(rehearsal, NAMESPACE, "app=mlflow")), []);
  });

  it("predicts again after Ray's head was lost, which nobody repairs", async () => {
    await replacePod(rehearsal, NAMESPACE, "statefulset.kubernetes.io/pod-name=ray-head-0");
    // Two minutes until somebody looks for lost applications. The worker's part of Ray may answer until it notices.
    await eventually(400, async () => {
      await predict(rehearsal);
      assert.deepEqual(await failedChecks(rehearsal), []);
    });
  });

  it("refuses to grow a directory of a node, by the value's name, and writes nothing", async () => {
    const { engine } = rehearsal;
    const sized = (sizeGiB: number): void => {
      engine.setValues((values) => ({ ...values, redis: values.redis && { ...values.redis, volume: { sizeGiB } } }));
    };
    sized(2);
    const up = await engine.run("up", { preview: true });
    sized(1);
    assert.match(up.errors.join("\n"), /redis\.volume\.sizeGiB from "1" to "2": it cannot grow, since .* put "1" back/);
    assert.deepEqual(up.changed, []);
  });

  it("names the image that nobody has, serves on meanwhile, and takes the correction", async () => {
    const { engine, directory } = rehearsal;
    const lock = path.join(directory, "images.lock.json");
    const locked = (images: object): void => {
      fs.writeFileSync(lock, JSON.stringify(images));
      engine.setValues((values) => ({ ...values, images: { ...values.images, lock } }));
    };
    const digest = `sha256:${"0".repeat(64)}`;
    locked({ [images.mlflow]: digest });
    const interrupted = new AbortController();
    const up = engine.run("up", { signal: interrupted.signal });
    await eventually(180, async () => {
      const pods = await kubectl(rehearsal, NAMESPACE, ["get", "pods", "--output=json"]);
      assert.match(pods, /"ErrImagePull"|"ImagePullBackOff"/);
    });
    const failed = await failedChecks(rehearsal);
    // As a user does who has seen enough: it waits for as long as an image may take.
    interrupted.abort();
    const { errors } = await up;
    locked({});
    const corrected = await engine.run("up");
    // MLflow's own, and a prediction's.
    assert.deepEqual(
      failed.filter(({ topic }) => topic === "answers").map((check) => JSON.stringify(check)),
      [],
    );
    const named = new RegExp(`mlflow-migrate-.*ghcr\\.io/mlflow/mlflow.*${digest}`);
    assert.match(JSON.stringify(failed.find(({ name }) => name === "have no image")), named);
    assert.match(errors.join("\n"), named);
    assert.deepEqual(corrected.errors, []);
  });

  it("takes new passwords, with which its stores refuse the old ones", async () => {
    const { engine } = rehearsal;
    const old = await Promise.all(LOGINS.map((login) => secretOf(rehearsal, login)));
    const changed = LOGINS.map(({ credential }) => [`carbon:${credential}`, `${engine.canaries[credential]}-new`]);
    for (const pair of changed) await engine.query("config", "set", "--secret", ...pair);
    const up = await engine.run("up");
    assert.deepEqual(up.errors, []);
    for (const [index, login] of LOGINS.entries()) {
      assert.match(await logIn(rehearsal, login, await secretOf(rehearsal, login)), LET_IN);
      assert.match(await logIn(rehearsal, login, old[index] ?? {}), login.refusal);
    }
    await eventually(60, () => predict(rehearsal));
  });

  it("comes back by itself, with all that its stores held, after its node lost its power", async () => {
    const { engine } = rehearsal;
    const { reboot } = rehearsal.cluster;
    assert.ok(reboot, "this cluster's node has no power to lose");
    const holdings = (): Promise<string[]> =>
      Promise.all(LOGINS.map(async (login) => logIn(rehearsal, login, await secretOf(rehearsal, login))));
    const before = await holdings();
    for (const one of before) assert.match(one, LET_IN);
    await reboot();
    // Two minutes until somebody looks for lost applications.
    await eventually(400, async () => {
      await predict(rehearsal);
      assert.deepEqual(await failedChecks(rehearsal), []);
    });
    assert.deepEqual(await holdings(), before);
    const up = await engine.run("up");
    assert.deepEqual([up.errors, up.changed], [[], []]);
  });

  it("passes every check of verify, asked from inside", async () => {
    // Pods have just been replaced, and Prometheus asks every 30 seconds.
    await eventually(90, async () => {
      assert.deepEqual(await failedChecks(rehearsal), []);
    });
  });
});
