import assert from "node:assert/strict";
import { lastingValues } from "../../stacks/config/lasting";
import { SHAPES, shaped } from "../support/program";

describe("what the first up decides", () => {
  it("is the class, every volume, Kafka's brokers, each topic's partitions and the prefix of buckets", () => {
    const config = shaped("prod");
    const { fixed, raised, volume } = lastingValues(config);
    assert.deepEqual(fixed, {
      "storage.className": config.storage.className,
      "objectStore.bucketPrefix": "",
      "kafka.brokers": config.kafka.brokers,
    });
    const topics = Object.entries(config.kafka.topics);
    assert.ok(topics.length > 0, "prod has no topic");
    assert.deepEqual(
      raised,
      Object.fromEntries(topics.map(([name, { partitions }]) => [`kafka.topics.${name}.partitions`, partitions])),
    );
    assert.deepEqual(volume, sizes(config));
  });

  for (const shape of SHAPES) {
    it(`has keys that a ConfigMap takes: ${shape}`, () => {
      const keys = Object.values(lastingValues(shaped(shape))).flatMap(Object.keys);
      assert.deepEqual(
        keys.filter((key) => !/^[-._a-zA-Z0-9]{1,240}$/.test(key)),
        [],
      );
    });
  }
});

/** Every `volume.sizeGiB` below a value, by its path. */
function sizes(value: unknown, path: readonly string[] = []): Record<string, number> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) =>
      key === "sizeGiB" && path.at(-1) === "volume"
        ? [[[...path, key].join("."), inner]]
        : Object.entries(sizes(inner, [...path, key])),
    ),
  );
}
