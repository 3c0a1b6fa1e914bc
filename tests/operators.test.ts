import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import { operators } from "../rehearsal/operators";
import { crdFixtures, definedKind, definitions } from "../rehearsal/operators/crds";
import { objects } from "./support/manifests";
import { program, SHAPES } from "./support/program";

const FOLDER = path.join(__dirname, "../rehearsal/operators");

describe("the operators of a rehearsal", () => {
  it("are all listed", () => {
    const folders = fs.readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    assert.deepEqual(
      operators.map(({ name }) => name),
      folders.map(({ name }) => name).sort(),
      "list each folder of rehearsal/operators in its index.ts",
    );
  });

  for (const { name, origin, kinds } of operators) {
    const crds = yamlFiles(crdFixtures(name));

    it(`have the CRDs of ${name} in the pinned version`, () => {
      for (const text of crds) assert.ok(text.startsWith(`# ${origin}, `), `${name}: run \`npm run charts:keys\``);
    });

    it(`know what each kind of ${name} accepts`, () => {
      // A CRD that is stored open is made of charts' objects alone.
      const isOpen = (text: string) => !text.includes("\n          properties:");
      const stored = new Map(crds.flatMap((text) => definitions(text).map((crd) => [definedKind(crd), isOpen(text)])));
      for (const [kind, { ofCharts = false }] of Object.entries(kinds)) {
        assert.equal(
          stored.get(kind),
          ofCharts,
          `${kind}: its CRD is not stored, or not as the operator's index.ts says`,
        );
      }
    });

    it(`act on each kind of ${name}, or say why not`, () => {
      const staged = stagesOf(name).map(({ apiGroup, kind }) => `${apiGroup}/${kind}`);
      for (const [kind, { withoutStage }] of Object.entries(kinds)) {
        assert.equal(staged.includes(kind), withoutStage === undefined, `${kind}: give it a Stage or \`withoutStage\``);
      }
    });
  }

  for (const shape of SHAPES) {
    it(`report what ${shape} waits for`, async () => {
      const { seen } = await program(shape);
      const faults = objects(seen).flatMap(({ inputs: { apiVersion, kind, metadata } }) => {
        const waitFor = String(metadata.annotations?.["pulumi.com/waitFor"] ?? "");
        const operator = operators.find(({ kinds }) => `${apiVersion}/${kind}` in kinds);
        const stages = operator === undefined ? "" : yamlFiles(path.join(FOLDER, operator.name)).join("\n");
        const conditions = [...waitFor.matchAll(/condition=(\w+)/g)].map(([, type]) => `type: .*\\b${type}\\b`);
        const fields = [...waitFor.matchAll(/jsonpath=\{[^}]*\.(\w+)\}/g)].map(([, field]) => `\\b${field}: `);
        return [...conditions, ...fields]
          .filter((pattern) => !new RegExp(pattern).test(stages))
          .map((pattern) => `${kind} ${metadata.name}: no Stage of ${operator?.name} writes ${pattern}`);
      });
      assert.deepEqual(faults, []);
    });
  }
});

function yamlFiles(folder: string): string[] {
  const files = fs.readdirSync(folder).filter((file) => file.endsWith(".yaml"));
  return files.map((file) => fs.readFileSync(path.join(folder, file), "utf8"));
}

function stagesOf(operator: string): { apiGroup: string; kind: string }[] {
  const stages = yamlFiles(path.join(FOLDER, operator)).flatMap((text) => parseAllDocuments(text));
  return stages.map((stage) => stage.toJS().spec.resourceRef);
}
