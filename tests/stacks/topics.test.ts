import assert from "node:assert/strict";
import type { Registered } from "../support/mocks";
import { program, SHAPES } from "../support/program";
import { askedTopics, refusedTopics } from "../support/topics";

for (const shape of SHAPES) {
  it(`gives every system of ${shape} a rule for each topic that it is configured with`, async () => {
    const { seen } = await program(shape);
    assert.deepEqual(refusedTopics(seen, askedTopics(seen)), []);
  });
}

describe("a topic without a rule", () => {
  const registered = (type: string, name: string, inputs: object): Registered => ({
    ...{
      urn: `urn:${name}`,
      custom: true,
      read: false,
      protect: false,
      provider: "",
      parent: "",
      path: [],
      dependencies: [],
    },
    ...{ type, name, inputs },
  });
  const user = (name: string, rules: readonly (readonly [patternType: string, topic: string, ...string[]])[]) =>
    registered("kubernetes:kafka.strimzi.io/v1:KafkaUser", `kafka-${name}-user`, {
      metadata: { name },
      spec: {
        authorization: {
          acls: [
            { resource: { type: "group", patternType: "literal", name: "changes" }, operations: ["Read"] },
            ...rules.map(([patternType, topic, ...operations]) => ({
              resource: { type: "topic", patternType, name: topic },
              operations,
            })),
          ],
        },
      },
    });
  const release = (name: string, values: object) => registered("kubernetes:helm.sh/v3:Release", name, { values });
  const trino = release("trino", { catalogs: { kafka: "connector.name=kafka\nkafka.table-names=prices,changes\n" } });
  const datahub = release("datahub", { global: { kafka: { topics: { log: "Log_v1", usage: "Usage_v1" } } } });
  const faults = (...seen: Registered[]) => refusedTopics(seen, askedTopics(seen));

  it("is named, with the system that asks for it", () => {
    const reads = ["Read", "DescribeConfigs"] as const;
    const granted = user("trino", [
      ["literal", "prices", ...reads],
      ["literal", "changes", ...reads],
    ]);
    assert.deepEqual(faults(trino, granted), []);
    assert.deepEqual(faults(trino, user("trino", [["literal", "prices", ...reads]])), [
      "trino may not Read the topic changes",
      "trino may not DescribeConfigs the topic changes",
    ]);
  });

  it("is one that a rule for others does not cover", () => {
    const all = ["Create", "Read", "Write"] as const;
    assert.deepEqual(faults(datahub, user("datahub", [["prefix", "Log_", ...all]])), [
      "datahub may not Create the topic Usage_v1",
      "datahub may not Read the topic Usage_v1",
      "datahub may not Write the topic Usage_v1",
    ]);
    assert.deepEqual(faults(datahub, user("datahub", [["literal", "*", "Create", "Read"]])), [
      "datahub may not Write the topic Log_v1",
      "datahub may not Write the topic Usage_v1",
    ]);
  });

  it("is every topic of a system that has no user", () => {
    assert.deepEqual(faults(trino), [
      "trino asks for the topic prices, and has no user",
      "trino asks for the topic changes, and has no user",
    ]);
  });

  it("is found where a system does not say its topics", () => {
    const silent = release("datahub", { global: { kafka: {} } });
    assert.deepEqual(faults(silent), ["datahub asks for the topic (its values name none), and has no user"]);
  });
});
