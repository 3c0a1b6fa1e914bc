import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { outputsSchema } from "../commands/schema";
import { atLeast, contractChange, isAtLeast, type Schema, versionOf } from "../rehearsal/program/contract-change";
import { version } from "../packages/platform-outputs/package.json";
import { CONTRACT } from "../stacks/contract/outputs";
import { program } from "./support/program";
import { RELEASES, releasedState, type ReleasedResource } from "./support/releases";
import { read } from "./support/sources";

const CHANGELOG = read("CHANGELOG.md");

describe("the outputs", () => {
  for (const release of fs.readdirSync(RELEASES)) {
    it(`still hold what those of ${release} held, or a new contract says what to change`, () => {
      const old = JSON.parse(fs.readFileSync(path.join(RELEASES, release, "outputs.schema.json"), "utf8")) as Schema;
      const now = outputsSchema() as Schema;
      const { level, broken, added } = contractChange(old, now);
      const said = section(CHANGELOG, `### Outputs, contract ${CONTRACT}`);
      const unsaid = broken.filter(({ key }) => key !== "contract" && !said.includes(`\`${key}\``));
      assert.deepEqual(
        unsaid,
        [],
        `${level} change: ${unsaid.map(({ key, what }) => `${key} ${what}`).join("; ")}. Other programs read these outputs: ` +
          "put them back as they were. To replace one, keep it for a release beside its successor, raise CONTRACT in " +
          "stacks/contract/outputs.ts, and say under `### Outputs, contract N` in CHANGELOG.md what its readers must change",
      );
      const least = atLeast(versionOf(old), level);
      const next = `${level} change since ${release} (${added.length} keys added, ${broken.length} changed)`;
      assert.ok(
        isAtLeast(version, least),
        `${next}: raise the version in packages/platform-outputs from ${version} to ${least}`,
      );
      assert.equal(CONTRACT, Number(version.split(".")[0]), `${next}: CONTRACT is the package's major version`);
      const python = read("packages/platform-outputs-python/pyproject.toml");
      assert.equal(/^version = "(.*)"$/m.exec(python)?.[1], version, "both packages have one version");
    });
  }

  it("are compared by what a reader relies on: each one, its type, and that it is there", () => {
    const text = { type: "string" };
    const one = { properties: { c: text }, required: ["c"] };
    const old = { properties: { a: text, b: one }, required: ["a"], additionalProperties: false };
    const level = (now: Schema) => contractChange(old, now).level;
    assert.equal(level({ ...old, title: "Another" }), "none");
    assert.equal(level({ ...old, properties: { ...old.properties, added: text }, required: ["a", "added"] }), "minor");
    assert.equal(
      level({
        ...old,
        properties: { a: text, b: { allOf: [{ $ref: "#/definitions/One" }] } },
        definitions: { One: one },
      }),
      "none",
      "a shape that got a name",
    );
    const { broken } = contractChange(old, { properties: { a: { enum: ["x"] }, b: { properties: { c: text } } } });
    assert.deepEqual(
      broken.map(({ key, what }) => `${key} ${what}`),
      [
        "a may be absent now",
        'a type was "string", is undefined',
        'a enum was undefined, is ["x"]',
        "b.c may be absent now",
      ],
    );
    assert.deepEqual(contractChange(old, { ...old, properties: { a: text, b: { properties: {} } } }).broken, [
      { key: "b.c", what: "is gone" },
    ]);
  });
});

/** The text below a heading, up to the next one. */
function section(text: string, heading: string): string {
  const [, below = ""] = text.split(`${heading}\n`);
  return below.split(/^##/m)[0] ?? "";
}

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
