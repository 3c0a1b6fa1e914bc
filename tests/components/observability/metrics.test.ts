import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { dashboard } from "../../../components/observability/ml-monitoring";
import { PLACEHOLDERS, RULES } from "../../support/alerts";
import { exported, fixture, fixtureOf, METRIC_FIXTURES } from "../../support/metrics";

// What Prometheus adds to every series of a monitor (components/base/scrape.ts: the job and `component`).
const TARGET_LABELS = ["job", "instance", "namespace", "pod", "container", "component"];
// Fixtures that are written by hand, as they say at their top: no kubelet and no operator runs in the tests.
const DOCUMENTED = ["cert-manager", "gpu-operator", "kafka", "kubernetes", "postgres"];
// Words of PromQL that are no functions.
const WORDS = ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"];

const known = new Map(fs.readdirSync(METRIC_FIXTURES).flatMap((file) => [...fixture(path.basename(file, ".txt"))]));
// Prometheus makes it for each target.
known.set("up", new Set());
// Recorded series have the labels of their rule, and those that it groups by or sets.
for (const rule of RULES) {
  if (!("record" in rule)) continue;
  const grouped = [...rule.expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(", "));
  const set = [...rule.expr.matchAll(/\blabel_replace\(vector\([^)]*\), "(\w+)"/g)].map(([, label = ""]) => label);
  const labels = [...Object.keys(rule.labels ?? {}), ...grouped, ...set];
  known.set(rule.record, new Set([...(known.get(rule.record) ?? []), ...labels]));
}

const queries = [
  ...RULES.map((rule) => ({ where: "alert" in rule ? rule.alert : rule.record, expr: rule.expr })),
  ...(
    JSON.parse(dashboard(PLACEHOLDERS)) as { panels: { title: string; targets?: { expr: string }[] }[] }
  ).panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr }))),
];

const documented = new Set(DOCUMENTED.flatMap((name) => [...fixture(name).keys()]));

describe("the metrics that rules and panels name", () => {
  for (const { where, expr } of queries) {
    const names = [...expr.matchAll(/[a-zA-Z_:][\w:]*/g)].map(([name]) => name);
    const source = names.some((name) => documented.has(name))
      ? "stand in the documents or sources of who exports them"
      : "were exported by the real software";
    it(`${where}: ${source}, with these labels`, () => {
      assert.deepEqual(faults(expr), []);
    });
  }

  it("are found missing when a name or a label is wrong", () => {
    assert.deepEqual(faults('sum by (deployment) (rate(ray_serve_deployment_request_counter{job="ray"}[5m]))'), [
      "ray_serve_deployment_request_counter is exported by nothing",
      "no metric here has the label deployment",
    ]);
    assert.deepEqual(faults('up{job="ray", ray_node_type="worker"} == 0'), ["up has no label ray_node_type"]);
    assert.deepEqual(faults("feast_latency > 1"), ["feast_latency names no job"]);
  });
});

describe("a fixture of metrics", () => {
  it("keeps names and labels of what an exporter answers, and can be read again", () => {
    const text = [
      "# HELP a_total Help",
      'a_total{path="/x,y={}",code="a\\"b"} 1.0',
      'a_total{other="1"} 2',
      "b 3",
    ].join("\n");
    const reduced = fixtureOf(exported(text));
    assert.equal(reduced, "a_total{code,other,path}\nb\n");
    assert.deepEqual(exported(reduced), exported(text));
  });
});

/** What is wrong with the metrics of a query. Each must name the job that it is from, so that no other is taken for it. */
function faults(expr: string): string[] {
  const selectors = [...expr.matchAll(/([a-zA-Z_:][\w:]*)\{([^}]*)\}/g)].map(([, name = "", matchers = ""]) => ({
    name,
    labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label),
  }));
  const groupings = [...expr.matchAll(/\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g)];
  const grouped = groupings.flatMap(([, list = ""]) => list.split(",").map((label) => label.trim()));
  const bare = expr
    .replaceAll(/[a-zA-Z_:][\w:]*\{[^}]*\}|\[\w+\]|"[^"]*"|\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, " ")
    .matchAll(/[a-zA-Z_:][\w:]*(?!\s*\(|\w)/g);
  const labelsOf = (name: string): ReadonlySet<string> => new Set([...(known.get(name) ?? []), ...TARGET_LABELS]);
  return [
    ...[...bare].flatMap(([name]) => (WORDS.includes(name) ? [] : [`${name} names no job`])),
    ...selectors.flatMap(({ name, labels }) =>
      known.has(name)
        ? labels.flatMap((label) => (labelsOf(name).has(label) ? [] : [`${name} has no label ${label}`]))
        : [`${name} is exported by nothing`],
    ),
    ...grouped
      .filter((label) => !selectors.some(({ name }) => labelsOf(name).has(label)))
      .map((label) => `no metric here has the label ${label}`),
  ];
}
