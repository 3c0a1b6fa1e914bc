import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import {
  type ChartKeys,
  chartKeys as keysOf,
  KEY_FIXTURES,
  type KeyTree,
  regenerate,
  unknownKeys,
} from "../commands/charts-keys";
import { manifestFileName } from "../components/base/chart-release";
import { type ChartPin, charts, manifests } from "../components/base/versions";
import { releasesOf } from "../rehearsal/program/charts";
import { fillChartDirectory } from "../rehearsal/simulation/charts";
import { STACKS } from "../rehearsal/program/evaluate";
import { openRehearsal } from "../rehearsal/simulation/rehearse";
import { chartSummary } from "../rehearsal/simulation/report";
import { evaluated } from "./commands/program";
import { configOf } from "./support/program";

describe("the values of charts", () => {
  for (const stack of STACKS) {
    it(`of ${stack} name only keys that the pinned charts have`, async () => {
      const evaluation = await evaluated(stack);
      const faults = releasesOf(evaluation).flatMap(({ chart, values }) =>
        unknownKeys(values, chartKeys(chart).keys).map((fault) => `${chart}: ${fault}`),
      );
      assert.deepEqual(faults, []);
    });
  }

  it("come with the oldest Kubernetes that their charts install on", () => {
    for (const { chart, kubernetes } of Object.values<ChartPin>(charts)) {
      const { kubeVersion } = chartKeys(chart);
      assert.equal(kubernetes, /^>=\s*(\d+\.\d+)/.exec(kubeVersion ?? "")?.[1], `${chart}: kubeVersion ${kubeVersion}`);
    }
  });

  it("are refused with the nearest key when one is mistyped", () => {
    const keys: KeyTree = { crds: { enabled: "value", keep: "value" }, resources: "any" };
    assert.deepEqual(unknownKeys({ crds: { enable: true }, resources: { limits: { cpu: 1 } } }, keys), [
      "crds.enable is no key of the chart; the nearest is crds.enabled",
    ]);
    assert.deepEqual(unknownKeys({ crds: { keep: { all: true } } }, keys), [
      "crds.keep is a single value in the chart, not a map",
    ]);
  });
});

describe("the keys of a chart", () => {
  let directory: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-keys-"));
  });
  afterEach(() => {
    fs.rmSync(directory, { recursive: true });
  });

  it("are those of its values, its schema and its subcharts; what Kubernetes defines is open", () => {
    const files = {
      "Chart.yaml": "dependencies: [{ name: sub, alias: nested }, { name: absent }]",
      "values.yaml": "replicas: 1\nenv: {}\nargs: [a]\nnodeSelector: { kubernetes.io/os: linux }\nimage: { tag: x }",
      "values.schema.json": JSON.stringify({
        properties: { image: { $ref: "#/$defs/image" }, labels: { type: "object" } },
        $defs: { image: { properties: { digest: { type: "string" } } } },
      }),
      "charts/sub/Chart.yaml": "name: sub",
      "charts/sub/values.yaml": "port: 80",
    };
    for (const [file, text] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
      fs.writeFileSync(path.join(directory, file), text);
    }
    assert.deepEqual(keysOf(directory), {
      replicas: "value",
      env: "any",
      args: "any",
      nodeSelector: "any",
      image: { tag: "value", digest: "value" },
      labels: "any",
      nested: { port: "value" },
      absent: "any",
    });
  });

  it("are not regenerated from a directory that holds no chart of ours", () => {
    fs.mkdirSync(path.join(directory, "charts", "foreign"), { recursive: true });
    assert.throws(() => regenerate(directory), /has none of the pinned charts or CRDs; it needs charts as <chart>\//);
  });
});

describe("the fixtures of upstream", () => {
  for (const pin of Object.values(charts)) {
    it(`hold the keys of ${pin.chart} in the pinned version`, () => {
      assert.equal(chartKeys(pin.chart).version, pin.version, "run `npm run charts:keys -- --from DIR`");
    });
  }
});

describe("the chart directory of a rehearsal", () => {
  let directory: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-fill-"));
  });
  afterEach(() => {
    fs.rmSync(directory, { recursive: true });
  });

  it("gets a stand-in for each pin, with the pods, Services and CRDs that the program declares", async () => {
    const config = configOf("prod");
    const target = path.join(directory, "charts");
    const filled = await fillChartDirectory(target, "prod", { ...config, charts: { directory: "absent" } });
    assert.ok(
      filled.every(({ source }) => source === "stand-in"),
      "a clean clone has no charts from upstream: every one is a stand-in",
    );
    const pins = [
      ...Object.values(charts).map(({ chart }) => chart),
      ...Object.values(manifests).map(manifestFileName),
    ];
    assert.deepEqual(fs.readdirSync(target).sort(), pins.sort());

    for (const { release, chart, declares } of releasesOf(await evaluated("prod"))) {
      const templates = path.join(target, chart, "templates");
      const texts = fs.readdirSync(templates).map((file) => fs.readFileSync(path.join(templates, file), "utf8"));
      const heads = texts.map(
        (text) => /kind: (.*)\nmetadata:\n {2}name: (.*)\n/.exec(text)?.slice(1).join(" ") ?? text,
      );
      for (const { kind, name } of declares.workloads) assert.ok(heads.includes(`${kind} ${name}`), `${kind} ${name}`);
      for (const { name } of declares.services) assert.ok(heads.includes(`Service ${name}`), name);
      for (const name of declares.crds) assert.ok(heads.includes(`CustomResourceDefinition ${name}`), name);
      const crds = texts.filter((text) => text.includes("kind: CustomResourceDefinition"));
      assert.ok(
        crds.every((text) => text.includes("helm.sh/resource-policy: keep")),
        "a CRD that goes with its release takes every object along: keep it",
      );
      assert.ok(
        texts.every((text) => text.startsWith(`{{- if eq .Release.Name "${release}" }}\n`)),
        "a release would install what belongs to another of the same chart",
      );
    }
  });

  it("gets what upstream published where that is at hand in the pinned version", async () => {
    const real = path.join(directory, "real");
    const [{ chart, version }, other] = [charts.certManager, charts.cloudnativePg];
    writeChart(real, chart, version);
    writeChart(real, other.chart, "0.0.1");
    fs.writeFileSync(path.join(real, manifestFileName(manifests.gatewayApi)), "");
    const target = path.join(directory, "charts");
    const filled = await fillChartDirectory(target, "dev", { ...configOf("dev"), charts: { directory: real } });
    const upstream = filled.filter(({ source }) => source === "upstream").map(({ name }) => name);
    assert.deepEqual(upstream, [chart, "gateway-api"]);
    assert.equal(fs.readFileSync(path.join(target, chart, "values.yaml"), "utf8"), "real: true\n");
  });

  it("is refused before anything is built when it is to come from a directory that is not there", async () => {
    const options = { stack: "dev", charts: path.join(directory, "absent"), progress: () => undefined };
    await assert.rejects(
      openRehearsal(options),
      /--charts .*absent: there is no such directory; `npm run charts:pull`/,
    );
  });

  it("is counted in the report, with the name of each stand-in", () => {
    const chart = (name: string, source: "upstream" | "stand-in") => ({ name, version: "1.0.0", source });
    assert.equal(chartSummary([chart("a", "upstream")]), "1 of 1 as upstream published them");
    assert.equal(
      chartSummary([chart("a", "upstream"), chart("b", "stand-in"), chart("c", "stand-in")]),
      "1 of 3 as upstream published them, 2 stand-ins: b 1.0.0, c 1.0.0",
    );
  });
});

function writeChart(directory: string, chart: string, version: string): void {
  fs.mkdirSync(path.join(directory, chart), { recursive: true });
  fs.writeFileSync(path.join(directory, chart, "Chart.yaml"), `name: ${chart}\nversion: ${version}\n`);
  fs.writeFileSync(path.join(directory, chart, "values.yaml"), "real: true\n");
}

function chartKeys(chart: string): ChartKeys {
  return JSON.parse(fs.readFileSync(path.join(KEY_FIXTURES, `${chart}.json`), "utf8")) as ChartKeys;
}
