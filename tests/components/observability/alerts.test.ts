import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import { alertFiles, type RuleFile } from "../../../components/observability/ml-monitoring";
import { ROOT } from "../../../rehearsal/program/evaluate";
import { FEATURES } from "../../../stacks/layers/features";
import { ALERT_RULES as alerts, ALERTS, PLACEHOLDERS } from "../../support/alerts";
import { only } from "../../support/mocks";
import { program, SHAPES } from "../../support/program";
import { promtool } from "../../support/promtool";
import { temporaryDirectory } from "../../support/temporary";

const CASES = path.join(ROOT, "tests/alerts");
const files = alertFiles(PLACEHOLDERS, ALERTS);
const KUBERAY = [
  { cluster: "ray-cluster", component: "worker", min: 2 },
  { cluster: "ray-cluster", component: "large-worker", min: 1 },
  { cluster: "ray-serve-cluster", component: "worker", min: 1 },
];
const kuberay = alertFiles({ ...PLACEHOLDERS, rayWorkersMin: KUBERAY }, ALERTS);

interface AlertFile extends RuleFile {
  readonly tests: readonly {
    readonly name: string;
    readonly promql_expr_test: readonly { readonly expr: string; readonly exp_samples: readonly unknown[] }[];
  }[];
}

describe("the alerts on the ML stack", () => {
  it("are at least ten, each under a name of its own", () => {
    const names = alerts.map(({ alert }) => alert);
    assert.ok(names.length >= 10, `only ${names.length} alerts: ten are promised`);
    assert.deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      [],
    );
  });

  it("say how long, how bad, what happened and what to do", () => {
    for (const { alert, for: duration, labels, annotations } of alerts) {
      assert.match(duration, /^\d+m$/, alert);
      assert.match(String(labels["severity"]), /^(critical|warning|info)$/, alert);
      assert.match(String(annotations["summary"]), /\.$/, alert);
      const runbook = `docs/runbooks/${alert}.md`;
      assert.equal(annotations["runbook"], runbook, alert);
      assert.match(
        fs.readFileSync(path.join(ROOT, runbook), "utf8"),
        /^## Look at$[^]*^## Do$/m,
        `${alert}: its runbook`,
      );
    }
  });

  it("are rules of the stacks that have what they watch, all files of them", async () => {
    const rules = new Set<string>();
    for (const shape of SHAPES) {
      const { seen } = await program(shape);
      const { spec } = only(seen, "kubernetes:monitoring.coreos.com/v1:PrometheusRule", "ml-platform-alerts").inputs;
      for (const group of spec.groups) for (const { alert } of group.rules) if (alert) rules.add(alert);
    }
    const next = "a file that no component offers (components/base/offer.ts) watches nothing";
    assert.deepEqual([...rules].sort(), alerts.map(({ alert }) => alert).sort(), next);
  });

  it("take their numbers from the config", () => {
    const rules = JSON.stringify(
      alertFiles(
        {
          ...PLACEHOLDERS,
          ...{
            namespace: "elsewhere",
            rayWorkersMin: [{ cluster: "ray", component: "worker", min: 7 }],
            applications: [],
          },
          objectives: {
            predictions: { availability: 0.98, latency: { share: 0.97, milliseconds: 200 } },
            features: { availability: 0.96, freshness: { share: 0.95, hours: 3 } },
          },
        },
        ALERTS,
      ),
    );
    for (const budget of ["0.02", "0.03", "0.04", "0.05"]) {
      assert.ok(rules.includes(`label_replace(vector(${budget}), \\"slo\\"`), budget);
    }
    assert.match(rules, /le=~\\"200\(/);
    assert.match(rules, /> bool 10800/);
    assert.match(rules, /vector\(7\)/);
    assert.match(rules, /namespace=\\"elsewhere\\"/);
    assert.doesNotMatch(rules, /\$\{/);
  });

  it("watch Ray in both modes", () => {
    const jobs = alerts.flatMap(({ alert, expr }) =>
      [...expr.matchAll(/job=~?"(ray[^"]*)"/g)].map(([, job]) => `${alert} ${String(job)}`),
    );
    assert.ok(jobs.length > 0, "no alert names a job: does the pattern still match?");
    assert.deepEqual(
      jobs.filter((one) => !one.endsWith(" ray|ray-cluster|ray-serve-cluster")),
      [],
    );
  });

  it("know how old each view of the repository may become: its TTL, and two hours for the runs that copy it", () => {
    const files = fs.readdirSync(FEATURES.repository).filter((file) => file.endsWith(".py"));
    const definitions = files.map((file) => fs.readFileSync(path.join(FEATURES.repository, file), "utf8")).join("\n");
    const views = [...definitions.matchAll(/= view\(\s*"(\w+)",\s*timedelta\((hours|days)=(\d+)\)/g)];
    assert.equal(views.length, definitions.split(" = view(").length - 1);
    const allowed = views.map(
      ([, view = "", unit, ttl]) => `${view}_features ${Number(ttl) * (unit === "days" ? 24 : 1) + 2}`,
    );
    const { expr = "" } = alerts.find(({ alert }) => alert === "MLModelFeaturesOld") ?? {};
    const limits = [...expr.matchAll(/view="(\w+)"\}\[10m\]\)\) > (\d+) \* 3600/g)];
    assert.deepEqual(limits.map(([, view = "", hours = ""]) => `${view} ${hours}`).sort(), allowed.sort());
  });

  it("have tests that fire and tests that stay silent", () => {
    const cases = ALERTS.flatMap((file) => casesOf(file).tests).flatMap((one) => one.promql_expr_test);
    for (const { alert } of alerts) {
      const own = cases.filter(({ expr }) => expr.includes(`alertname="${alert}"`));
      for (const fires of [true, false]) {
        const found = own.some(({ exp_samples: samples }) => samples.length > 0 === fires);
        assert.ok(found, `no test has ${alert} ${fires ? "fire" : "stay silent"}`);
      }
    }
  });

  it("fire and stay silent as promtool's tests say", async function () {
    // It plays days of metrics.
    this.timeout(180_000);
    const run = await promtool(this);
    const directory = temporaryDirectory();
    fs.cpSync(CASES, directory, { recursive: true });
    for (const file of ALERTS) {
      const { groups, tests } = casesOf(file);
      const rules = groups.map(({ name }) => `rules/${name}.yaml`);
      fs.writeFileSync(
        path.join(directory, path.basename(file)),
        stringify({ rule_files: rules, evaluation_interval: "1m", tests }),
      );
    }
    const own = (folder: string) => fs.readdirSync(folder).filter((file) => file.endsWith(".yaml"));
    for (const [folder, rendered] of Object.entries({ rules: files, "rules-kuberay": kuberay })) {
      const rules = path.join(directory, folder);
      fs.mkdirSync(rules);
      for (const file of rendered) {
        fs.writeFileSync(path.join(rules, `${file.groups[0]?.name ?? ""}.yaml`), stringify(file));
      }
      run(rules, "check", "rules", ...own(rules));
    }
    run(directory, "test", "rules", ...own(directory));
  });
});

function casesOf(file: string): AlertFile {
  return parse(fs.readFileSync(file, "utf8")) as AlertFile;
}
