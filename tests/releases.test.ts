import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { outputsSchema } from "../commands/schema";
import { program } from "./support/program";
import { RELEASES, releasedState, type ReleasedResource } from "./support/releases";

interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly [keyword: string]: unknown;
}

/** What whoever reads outputs of the old schema would miss in those of the new one. */
function broken(old: Schema, now: Schema, at = ""): string[] {
  const { properties: before = {}, required: promised = [], ...shape } = old;
  const { properties: after = {}, required: kept = [] } = now;
  const changed = Object.keys(shape).filter(
    (keyword) =>
      !["title", "description"].includes(keyword) && JSON.stringify(shape[keyword]) !== JSON.stringify(now[keyword]),
  );
  return [
    ...changed.map(
      (keyword) => `${at}: ${keyword} was ${JSON.stringify(old[keyword])}, is ${JSON.stringify(now[keyword])}`,
    ),
    ...Object.entries(before).flatMap(([key, schema]) => {
      const here = at === "" ? key : `${at}.${key}`;
      const found = after[key];
      if (found === undefined) return [`${here}: is gone`];
      const optional = promised.includes(key) && !kept.includes(key) ? [`${here}: may be absent now`] : [];
      return [...optional, ...broken(schema, found, here)];
    }),
  ];
}

describe("the outputs", () => {
  for (const release of fs.readdirSync(RELEASES)) {
    it(`still hold what those of ${release} held`, () => {
      const old = JSON.parse(fs.readFileSync(path.join(RELEASES, release, "outputs.schema.json"), "utf8")) as Schema;
      const faults = broken(old, outputsSchema() as Schema).filter((fault) => !fault.startsWith("contract: "));
      assert.deepEqual(
        faults,
        [],
        `${faults.join("; ")}. Other programs read these outputs: put them back as they were. To replace one, keep it for a ` +
          "release beside its successor, raise `contract` in stacks/contract/outputs.ts, and say so in CHANGELOG.md",
      );
    });
  }

  it("are compared by what a reader relies on: each one, its type, and that it is there", () => {
    const text = { type: "string" };
    const old = { properties: { a: text, b: { properties: { c: text }, required: ["c"] } }, required: ["a"] };
    assert.deepEqual(
      broken(old, { ...old, properties: { ...old.properties, added: text }, required: ["a", "added"] }),
      [],
    );
    assert.deepEqual(broken(old, { properties: { a: { type: "integer" }, b: { properties: { c: text } } } }), [
      "a: may be absent now",
      'a: type was "string", is "integer"',
      "b.c: may be absent now",
    ]);
    assert.deepEqual(broken(old, { properties: { a: text, b: { properties: {} } }, required: ["a"] }), [
      "b.c: is gone",
    ]);
  });
});

// One policy for each kind of pods took the place of two for each wire. Under mocks there are neither CRDs nor the engine's own.
const MAY_GO =
  /^carbon:base:Wire$|:(NetworkPolicy|CustomResourceDefinition)$|^pulumi:(pulumi:Stack|providers:(random|pulumi))$/;
// Namespaces that held nothing of ours: the gateway has another.
const EMPTY = /> ?kubernetes:core\/v1:Namespace::kong$|^carbon:ground:Tenant::kong$/;
// What Kubernetes never changes in an object: another value is another object.
const IDENTITY = ["apiVersion", "kind", "metadata.namespace", "metadata.name", "namespace", "name"];
const HOLDS_DATA = /:(StatefulSet|Cluster|KafkaNodePool|Elasticsearch)$/;
const FIXED = [
  "spec.selector",
  "spec.serviceName",
  "spec.volumeClaimTemplates",
  "spec.storage",
  "spec.nodeSets.0.name",
];

for (const release of fs.readdirSync(RELEASES)) {
  it(`takes over a stack of ${release}: nothing goes but policies, wires and an empty namespace, and nothing is made anew`, async () => {
    const { seen } = await program("dev");
    const made = new Map(seen.map((one) => [placeOf(one), one]));
    const released = releasedState(release).filter((one) => !MAY_GO.test(one.type) && !EMPTY.test(placeOf(one)));
    assert.ok(released.length > 300, "the state of the release holds too little to be one");
    const faults = released.flatMap((one) => {
      const place = placeOf(one);
      const now = made.get(place);
      if (now === undefined) return [`${place} is gone`];
      const fixed = one.external ? [] : [...IDENTITY, ...(HOLDS_DATA.test(one.type) ? FIXED : [])];
      return fixed.flatMap((key) =>
        isDeepStrictEqual(at(one.inputs, key), at(now.inputs, key)) ? [] : [`${place}: ${key} is another`],
      );
    });
    const next =
      "an `up` would delete or replace it: keep it, or give what moved `aliases` and name it in CHANGELOG.md";
    assert.deepEqual(faults, [], next);
  });
}

/** What the engine knows a resource by: its type and name, and those of its parent. */
function placeOf({ urn, parent = "" }: Pick<ReleasedResource, "urn" | "parent">): string {
  const short = (one: string): string => one.split("::").slice(2).join("::").split("$").at(-1) ?? "";
  return [parent.includes("pulumi:pulumi:Stack") ? "" : short(parent), short(urn)].filter(Boolean).join(" > ");
}

function at(value: unknown, keys: string): unknown {
  return keys
    .split(".")
    .reduce<unknown>((parent, key) => (parent as Record<string, unknown> | undefined)?.[key], value);
}
