import * as assert from "node:assert/strict";
import { parseWaitFor } from "../../../rehearsal/simulation/plugins/wait-for";

const live = {
  metadata: { generation: 2 },
  status: {
    phase: "Running",
    replicas: 3,
    conditions: [
      { type: "Ready", status: "True", observedGeneration: 2 },
      { type: "Synced", status: "True", observedGeneration: 1 },
      { type: "Degraded", status: "False", reason: "AsExpected" },
    ],
  },
};

describe("pulumi.com/waitFor", () => {
  const holds: readonly (readonly [string, boolean])[] = [
    ["condition=Ready", true],
    ["condition=ready", true],
    ["condition=Degraded", false],
    ["condition=Degraded=False", true],
    ["condition=Missing", false],
    ["condition=Synced", false],
    ["jsonpath={.status.phase}=Running", true],
    ["jsonpath={.status.phase}=Pending", false],
    ["jsonpath={.status.phase}", true],
    ["jsonpath={.status.missing}", false],
    ["jsonpath={ $.status.replicas }=3", true],
    ["jsonpath={.status.conditions[0].status}=True", true],
    ["jsonpath={.status['phase']}=Running", true],
    ['jsonpath={.status.conditions[?(@.type=="Degraded")].reason}=AsExpected', true],
    ['["condition=Ready", "jsonpath={.status.phase}=Running"]', true],
    ['["condition=Ready", "condition=Degraded"]', false],
  ];
  for (const [expression, expected] of holds) {
    it(`${expected ? "holds" : "waits"} for ${expression}`, () => {
      assert.equal(parseWaitFor(expression)(live).kind, expected ? "ready" : "waiting");
    });
  }

  for (const expression of [
    "Ready",
    "jsonpath=.status.phase",
    "jsonpath='{.status.phase}'",
    "jsonpath={.a[?(@.b>1)]}",
    "[]",
  ]) {
    it(`refuses ${expression}`, () => {
      assert.throws(() => parseWaitFor(expression), /pulumi\.com\/waitFor/);
    });
  }
});
