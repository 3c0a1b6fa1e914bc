import assert from "node:assert/strict";
import { lastingValues } from "../../stacks/config/lasting";
import { SHAPES, shaped } from "../support/program";

describe("what the first up decides", () => {
  it("is the class, every volume and its class, Kafka's brokers, each topic's partitions and the prefix of buckets", () => {
    const config = shaped("prod");
    const { fixed, raised, volume } = lastingValues(config).get(config.storage.className) ?? assert.fail();
    const classes = Object.keys(sizes(config)).map((key) => [key.replace("sizeGiB", "className"), ""]);
    assert.deepEqual(fixed, {
      ...Object.fromEntries(classes),
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

  it("asks the class of each volume whether that can grow", () => {
    const config = shaped("prod");
    const redis = { ...config.redis, volume: { ...config.redis.volume, className: "fast" } };
    const lasting = lastingValues({ ...config, redis });
    assert.deepEqual(lasting.get("fast"), {
      ...{ fixed: {}, raised: {} },
      volume: { "redis.volume.sizeGiB": config.redis.volume.sizeGiB },
    });
    const { fixed, volume } = lasting.get(config.storage.className) ?? assert.fail();
    assert.equal(fixed["redis.volume.className"], "fast");
    assert.ok(!("redis.volume.sizeGiB" in volume), "two classes are asked");
  });

  for (const shape of SHAPES) {
    it(`has keys that a ConfigMap takes: ${shape}`, () => {
      const keys = [...lastingValues(shaped(shape)).values()].flatMap(({ fixed, raised, volume }) =>
        Object.keys({ ...fixed, ...raised, ...volume }),
      );
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
