import * as assert from "node:assert/strict";
import { LastingValues, type LastingValuesArgs } from "../../components/ground/lasting-values";
import { type Program, startWorld, type TestStack, type World } from "./plugin-world";

const FIRST = {
  fixed: { "storage.className": "disk", "objectStore.bucketPrefix": "" },
  raised: { "kafka.topics.prices.partitions": 6 },
  volume: { "redis.volume.sizeGiB": 10 },
};

function values(change: Partial<LastingValuesArgs["values"]>, storageClass = "disk"): Program {
  return ({ namespace, opts }) => {
    // Of a name of its own: policies have no namespace.
    new LastingValues(namespace, { namespace, storageClass, values: { ...FIRST, ...change } }, opts);
    return {};
  };
}

describe("what the first up has decided", function () {
  this.timeout(300_000);
  let world: World;
  let stack: TestStack;
  before(async () => {
    world = await startWorld();
    for (const [name, allowVolumeExpansion] of Object.entries({ disk: true, directory: false })) {
      await world.apply({
        ...{ apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name }, allowVolumeExpansion },
        provisioner: "example.com/disk",
      });
    }
    stack = await world.stack("lasting");
    await stack.up(values({}));
  });
  after(() => world.stop());

  it("changes where it can: what is raised, what a volume grows, what comes and goes", async () => {
    const raised = { "kafka.topics.prices.partitions": 12, "kafka.topics.news.partitions": 1 };
    await stack.preview(values({ raised, volume: { "redis.volume.sizeGiB": 11 } }));
    await stack.preview(values({ volume: {} }));
  });

  it("is refused in a preview where it cannot, all of it at once, by the keys of the stack file", async () => {
    const said = await stack.previewFailure(
      values({
        fixed: { "storage.className": "fast", "objectStore.bucketPrefix": "ours-" },
        raised: { "kafka.topics.prices.partitions": 2 },
        volume: { "redis.volume.sizeGiB": 9 },
      }),
    );
    for (const sentence of [
      'storage.className from "disk" to "fast": it is fixed by the first up; put "disk" back, or see docs/volumes.md',
      'objectStore.bucketPrefix from "" to "ours-": it is fixed by the first up; put "" back',
      'kafka.topics.prices.partitions from "6" to "2": it can only be raised; put "6" back',
      'redis.volume.sizeGiB from "10" to "9": it can only be raised; put "10" back',
    ]) {
      assert.ok(said.includes(sentence), said);
    }
  });

  it("does not grow where the StorageClass does not expand volumes", async () => {
    const other = await world.stack("directory");
    await other.up(values({}, "directory"));
    const said = await other.previewFailure(values({ volume: { "redis.volume.sizeGiB": 11 } }, "directory"));
    const sentence =
      'redis.volume.sizeGiB from "10" to "11": it cannot grow, since StorageClass directory does not expand volumes; put "10" back';
    assert.ok(said.includes(sentence), said);
  });

  it("is forgotten as docs/volumes.md says", async () => {
    const other = values({ fixed: { "storage.className": "directory" } }, "directory");
    await world.kubectl("delete", "configmap", "lasting", "-n", stack.namespace);
    await stack.refresh(values({}));
    await stack.up(other);
    assert.deepEqual(await stack.up(other), { same: 6 });
  });
});
