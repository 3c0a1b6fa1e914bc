import assert from "node:assert/strict";
import { label, objects } from "../support/manifests";
import { program, ALL_SHAPES } from "../support/program";

// Where Kubernetes or an operator reads `{}` as a word of its own.
const MEANINGFUL: Readonly<Record<string, string>> = {
  "NetworkPolicy podSelector": "every pod of the namespace",
  "Issuer selfSigned": "a certificate is signed with its own key; there is nothing to set",
  "Elasticsearch podDisruptionBudget": "the operator makes none of its own",
};

for (const shape of ALL_SHAPES) {
  describe(`the objects of ${shape}`, () => {
    it("hold no empty map: the API server drops some of them, and every `up` would add these again", async () => {
      const { seen } = await program(shape);
      const found = objects(seen).flatMap((one) =>
        emptyMaps(one.inputs).flatMap((path) =>
          `${one.inputs.kind} ${path.at(-1)}` in MEANINGFUL ? [] : [`${label(one)}: ${path.join(".")}`],
        ),
      );
      assert.deepEqual(found, [], "leave the key out, or name it here with what it means");
    });
  });
}

function emptyMaps(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [];
  const entries = Object.entries(value);
  if (entries.length === 0) return Array.isArray(value) ? [] : [path];
  return entries.flatMap(([key, inner]) => emptyMaps(inner, [...path, key]));
}
