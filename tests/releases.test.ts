import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { outputsSchema } from "../commands/schema";

const RELEASES = path.join(__dirname, "fixtures", "releases");

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
