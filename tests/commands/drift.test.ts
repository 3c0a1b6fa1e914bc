import assert from "node:assert/strict";
import { driftOf, type Preview, toMarkdown } from "../../commands/drift";

type Step = NonNullable<Preview["steps"]>[number];

const TYPE = "kubernetes:core/v1:ResourceQuota";
const quota = (pods: string, own: object = {}) => ({
  type: TYPE,
  inputs: { kind: "ResourceQuota", metadata: { name: "q", namespace: "ns" }, spec: { hard: { pods } } },
  ...own,
});
const managedFields = [
  { manager: "pulumi-kubernetes-1a2b", time: "then", fieldsV1: { "f:spec": { "f:hard": {} } } },
  { manager: "kubectl-edit", time: "now", fieldsV1: { "f:spec": { "f:hard": { "f:pods": {} } } } },
];
const step = (op: string, own: Partial<Step>): Step => ({ op, urn: "q", ...own });
const refresh = (pods: string) => step("refresh", { oldState: quota(pods), newState: quota(pods) });
const update = (live: string, declared: string, field = "spec.hard.pods") =>
  step("update", {
    oldState: quota(live, { outputs: { metadata: { managedFields } } }),
    newState: quota(declared),
    detailedDiff: { [field]: { kind: "update" } },
  });

describe("drift", () => {
  it("names object, field, live and declared value, and who changed it", () => {
    const { drifted, notDeployed } = driftOf({ steps: [refresh("80"), update("75", "80")] });
    const found = { object: "ResourceQuota ns/q", field: "spec.hard.pods", live: '"75"', declared: '"80"' };
    assert.deepEqual([drifted, notDeployed], [[{ ...found, by: "kubectl-edit, now" }], []]);
  });

  it("takes a change of the program that was not deployed for none", () => {
    const { drifted, notDeployed } = driftOf({ steps: [refresh("80"), update("80", "90")] });
    assert.deepEqual(drifted, []);
    assert.deepEqual(
      notDeployed.map(({ live, declared }) => [live, declared]),
      [['"80"', '"90"']],
    );
  });

  it("names an object that is gone, and takes a new one for none", () => {
    const steps = [
      refresh("80"),
      step("create", { newState: quota("80") }),
      step("create", { urn: "new", newState: quota("80") }),
    ];
    const { drifted, notDeployed } = driftOf({ steps });
    assert.deepEqual(drifted, [{ object: "ResourceQuota ns/q", declared: "the object" }]);
    assert.equal(notDeployed.length, 1);
  });

  it("says nothing about what is no object: the providers' own settings", () => {
    const provider = { type: "pulumi:providers:kubernetes", inputs: {} };
    const steps = [step("update", { oldState: provider, newState: provider, diffReasons: ["enablePatchForce"] })];
    assert.deepEqual(driftOf({ steps }), { drifted: [], notDeployed: [] });
  });

  it("tells that a credential was changed, never which", () => {
    const secret = {
      type: "kubernetes:core/v1:Secret",
      inputs: { kind: "Secret", metadata: { name: "s" }, data: "[secret]" },
    };
    const steps = [
      step("refresh", { oldState: secret }),
      step("update", { oldState: secret, newState: secret, detailedDiff: { "data.password": {} } }),
    ];
    const value = '"[secret]"';
    assert.deepEqual(driftOf({ steps }).drifted, [
      { object: "Secret s", field: "data.password", live: value, declared: value },
    ]);
  });

  it("is unknown when the preview failed", () => {
    const diagnostics = [{ severity: "error", message: "error: the cluster cannot be reached" }];
    assert.throws(
      () => driftOf({ steps: [], diagnostics }),
      /so drift is unknown:\nerror: the cluster cannot be reached/,
    );
  });

  it("writes a table in which nobody who may change a label can write anything else", () => {
    const label = "a`|b @everyone <img src=x>\n# Title";
    const markdown = toMarkdown("dev", driftOf({ steps: [refresh("80"), update(label, "80")] }));
    assert.match(markdown, /^<!-- drift of dev -->\n### `dev`\n\n\*\*1 difference\(s\)\*\*/);
    const [row] = markdown.split("\n").filter((line) => line.includes("@everyone"));
    const value = '`"a\'\\|b @everyone <img src=x>\\n# Title"`';
    assert.equal(row, `| \`ResourceQuota ns/q\` | \`spec.hard.pods\` | ${value} | \`"80"\` | \`kubectl-edit, now\` |`);
  });

  it("leaves room for the rest of an issue, however much was changed", () => {
    const steps = Array.from({ length: 5000 }, (_, index) => [
      { ...refresh("80"), urn: `${index}` },
      { ...update("x".repeat(1000), "80"), urn: `${index}` },
    ]).flat();
    const markdown = toMarkdown("dev", driftOf({ steps }));
    assert.match(markdown, /… and 4850 more/);
    assert.ok(markdown.length < 32_000, `${markdown.length} characters of the 65,536 for two stacks`);
  });
});
