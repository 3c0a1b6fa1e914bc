import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { type ChartKeys, KEY_FIXTURES, type KeyTree, OPERATORS } from "../commands/charts-keys";
import { charts } from "../components/base/versions";
import { CRD_FIXTURES, definitions, releasesOf } from "../rehearsal/charts";
import { evaluate, type Registration } from "../rehearsal/evaluate";
import { configOf } from "./support/program";

describe("the values of charts", () => {
  for (const stack of ["dev", "prod"]) {
    it(`of ${stack} name only keys that the pinned charts have`, async () => {
      const evaluation = await evaluate(stack, configOf(stack));
      const faults = releasesOf(evaluation).flatMap(({ release, chart }) => {
        const { inputs } = only(evaluation.registrations, "kubernetes:helm.sh/v3:Release", release);
        return unknownKeys(inputs["values"], chartKeys(chart).keys).map((fault) => `${chart}: ${fault}`);
      });
      assert.deepEqual(faults, []);
    });
  }

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

describe("the fixtures of upstream", () => {
  for (const pin of Object.values(charts)) {
    it(`hold the keys of ${pin.chart} in the pinned version`, () => {
      assert.equal(chartKeys(pin.chart).version, pin.version, "run `npm run charts:keys -- --from DIR`");
    });
  }

  for (const [operator, { origin, used }] of Object.entries(OPERATORS)) {
    it(`hold the CRDs of ${origin}`, () => {
      const folder = path.join(CRD_FIXTURES, operator);
      const files = fs.readdirSync(folder).map((file) => fs.readFileSync(path.join(folder, file), "utf8"));
      for (const text of files) assert.ok(text.startsWith(`# ${origin}, `), `${operator}: made from another version`);
      const names = files.flatMap(definitions).map(({ metadata }) => metadata.name);
      assert.deepEqual(
        used.filter((crd) => !names.includes(crd)),
        [],
      );
    });
  }

  it("hold the schema of every custom resource that the program makes", async () => {
    const used = Object.values(OPERATORS).flatMap((operator) => operator.used);
    const files = fs.readdirSync(CRD_FIXTURES, { recursive: true, encoding: "utf8" });
    const kinds = files
      .filter((file) => used.includes(path.basename(file, ".yaml")))
      .flatMap((file) => definitions(fs.readFileSync(path.join(CRD_FIXTURES, file), "utf8")))
      .map(({ spec }) => spec as { group: string; names: { kind: string } })
      .map(({ group, names }) => `${group} ${names.kind}`);
    const { registrations } = await evaluate("prod", configOf("prod"));
    const made = registrations.flatMap(({ inputs, type }) => {
      const group = /^([^/]+\.[^/]+)\//.exec(String(inputs["apiVersion"]))?.[1] ?? "";
      const isOurs = type.startsWith("kubernetes:") && group !== "" && !group.endsWith(".k8s.io");
      return isOurs || group === "gateway.networking.k8s.io" ? [`${group} ${String(inputs["kind"])}`] : [];
    });
    assert.deepEqual(
      [...new Set(made)].filter((kind) => !kinds.includes(kind)),
      [],
    );
    assert.ok(made.length > 0);
  });
});

function only(registrations: readonly Registration[], type: string, name: string): Registration {
  const [one, ...more] = registrations.filter(
    (registration) => registration.type === type && registration.name === name,
  );
  assert.ok(one !== undefined && more.length === 0, `not one ${type} ${name}`);
  return one;
}

function chartKeys(chart: string): ChartKeys {
  return JSON.parse(fs.readFileSync(path.join(KEY_FIXTURES, `${chart}.json`), "utf8")) as ChartKeys;
}

function unknownKeys(value: unknown, keys: KeyTree, above: readonly string[] = []): string[] {
  if (keys === "any" || typeof value !== "object" || value === null) return [];
  const here = above.join(".");
  if (keys === "value")
    return [`${here} is a single value in the chart, not a ${Array.isArray(value) ? "list" : "map"}`];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const known = keys[key];
    if (known !== undefined) return unknownKeys(inner, known, [...above, key]);
    const [nearest = "none"] = Object.keys(keys).sort((a, b) => distance(a, key) - distance(b, key));
    const at = (name: string): string => [...above, name].join(".");
    return [`${at(key)} is no key of the chart; the nearest is ${at(nearest)}`];
  });
}

/** Letters to insert, delete or replace to make one word of another. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
