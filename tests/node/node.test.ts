import * as assert from "node:assert/strict";
import { evaluateStack } from "../../rehearsal/program/charts";
import { wiresOf } from "../../rehearsal/program/wiring";
import { openRehearsal, type Rehearsal, watchedUp } from "../../rehearsal/simulation/rehearse";
import { eventually } from "../live/harness/eventually";
import { wrongConnections } from "./harness/connections";
import { kubectl, run, runNow } from "./harness/cluster";
import { prepareSite } from "../../rehearsal/node/site";

const STACK = "local";
const NAMESPACE = "data-platform";

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
    const up = await watchedUp(rehearsal, () => undefined);
    assert.deepEqual(up.errors, []);
  });

  it("changes nothing when it is brought up again, and nothing when it is refreshed", async () => {
    const up = await rehearsal.engine.run("up");
    const refresh = await rehearsal.engine.run("refresh");
    assert.deepEqual([up.changed, refresh.changed], [[], []]);
  });

  it("lets pods connect as the wires say, and in no other way", async () => {
    const wires = wiresOf(await evaluateStack(STACK));
    const wrong = [];
    for (const namespace of [NAMESPACE, "cnpg-system"])
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

  it("passes every check of verify, asked from inside", async () => {
    const text = await run(rehearsal, ["npm", "run", "--silent", "verify", "--", "--stack", STACK, "--json"]);
    const { checks } = JSON.parse(text) as { checks: { state: string }[] };
    assert.deepEqual(
      checks.filter(({ state }) => state !== "ok"),
      [],
    );
  });
});
