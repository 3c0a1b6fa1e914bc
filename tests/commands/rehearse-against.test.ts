import * as assert from "node:assert/strict";
import { changesOf } from "../../rehearsal/simulation/against/changes";
import { MOST_CHARACTERS, toMarkdown, type Written } from "../../rehearsal/simulation/against/markdown";
import type { PreviewedStack } from "../../rehearsal/simulation/against/preview";
import type { Step, StepState } from "../../rehearsal/simulation/events";

const DATABASE = step("delete", "postgresql.cnpg.io/v1:Database", "postgres-pricing");
const STORE = "apps/v1:StatefulSet";

describe("the Markdown of a preview", () => {
  it("refuses that data goes, and says what to write if it may", () => {
    const { reasons, text } = markdown([DATABASE]);
    assert.match(
      firstLine(text),
      /^### ❌ `dev`: `Database data-platform\/postgres-pricing` owns data and would be deleted$/,
    );
    assert.match(
      reasons[0] ?? "",
      /Pulumi\.dev\.yaml.*`protection: \{ acknowledged: \["Database data-platform\/postgres-pricing"\] \}`/,
    );
  });

  it("lets data go that the stack file names, and says so first", () => {
    const { reasons, text } = markdown([DATABASE], { acknowledged: ["Database data-platform/postgres-pricing"] });
    assert.deepEqual(reasons, []);
    assert.match(firstLine(text), /^### ⚠️ `dev`: `Database .*` is deleted, as `protection\.acknowledged` lets it be$/);
  });

  it("names protected data that the engine refuses to replace", () => {
    const { urn } = step("replace", STORE, "minio");
    const message = `Preview failed: unable to replace resource "${urn}"\nas it is currently marked for protection`;
    const { text } = markdown([], { faults: [{ urn, message }] });
    assert.match(
      firstLine(text),
      /^### ❌ `dev`: `StatefulSet minio` owns data, is protected and would be replaced or deleted$/,
    );
  });

  it("says who loses a store while it restarts", () => {
    const template = { spec: { template: { spec: { containers: [{ image: "a" }] } } } };
    const later = { spec: { template: { spec: { containers: [{ image: "b" }] } } } };
    const change = step("update", STORE, "minio", { ...template, protect: true }, later, [
      "spec.template.spec.containers[0].image",
    ]);
    const { text, reasons } = markdown([change], { callers: { minio: ["feast", "mlflow"] } });
    assert.deepEqual(reasons, []);
    assert.equal(firstLine(text), "### ⚠️ `dev`: `data-platform/minio` restarts: feast, mlflow lose it for a moment");
  });

  it("refuses that a volume of an operator's shrinks", () => {
    const size = (text: string) => ({ spec: { storage: { size: text } } });
    const change = step("update", "postgresql.cnpg.io/v1:Cluster", "postgres", size("20Gi"), size("10Gi"), [
      "spec.storage.size",
    ]);
    assert.match(
      markdown([change]).reasons[0] ?? "",
      /`spec\.storage\.size` from `20Gi` to `10Gi`: no volume can shrink/,
    );
  });

  it("is cut with a note, where it is longer than GitHub takes", () => {
    const many = Array.from({ length: 1000 }, (_, index) =>
      step("create", "core/v1:ConfigMap", `one-of-many-${index}`),
    );
    const { text, whole } = markdown(many);
    assert.ok(whole.length > MOST_CHARACTERS && text.length <= MOST_CHARACTERS, `${text.length} of ${whole.length}`);
    assert.match(text, /<\/details>\n\n… cut here: the whole is the artifact `preview` of this run\.\n$/);
  });
});

function step(op: string, type: string, name: string, old: object = {}, now: object = {}, fields: string[] = []): Step {
  const kind = type.split(":")[1] ?? "";
  const state = (inputs: object): StepState => {
    const { protect = false, ...rest } = inputs as { protect?: boolean };
    const metadata = { name, namespace: "data-platform" };
    return { type: `kubernetes:${type}`, parent: "", protect, inputs: { kind, metadata, ...rest } };
  };
  return {
    op,
    urn: `urn:pulumi:dev::carbon::kubernetes:${type}::${name}`,
    old: op === "create" ? null : state(old),
    new: op === "delete" ? null : state(now),
    detailedDiff: Object.fromEntries(fields.map((field) => [field, {}])),
  };
}

function markdown(steps: readonly Step[], known: Partial<PreviewedStack> = {}): Written {
  const capacity = { systems: [], quotas: [], nodes: [], lostNodes: [], notCounted: [], faults: [] };
  const stack: PreviewedStack = {
    ...{ stack: "dev", seconds: { preview: 1 }, resources: 1, faults: [], failed: [], changes: changesOf(steps) },
    ...{
      rolled: undefined,
      acknowledged: [],
      callers: {},
      charts: [],
      capacity: { before: capacity, after: capacity },
    },
    ...known,
  };
  const contract = { level: "none", broken: [], added: [], before: {}, after: {} } as const;
  return toMarkdown({ ref: "main", contract, stacks: [stack] });
}

function firstLine(text: string): string {
  return text.split("\n")[0] ?? "";
}
