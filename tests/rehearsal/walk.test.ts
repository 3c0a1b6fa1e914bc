import * as assert from "node:assert/strict";
import { KubeConfig, PatchStrategy, setHeaderOptions, StorageV1Api } from "@kubernetes/client-node";
import type { StackValues } from "../../rehearsal/simulation/engine";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { generator, type Random } from "../support/random";
import { assertUnchanged, only } from "./command";

// The nightly workflow takes more, and another seed each time.
const STEPS = Number(process.env["CARBON_WALK_STEPS"] ?? "6");
const SEED = Number(process.env["CARBON_WALK_SEED"] ?? "1");
const MERGE = setHeaderOptions("Content-Type", PatchStrategy.MergePatch);

type Values = any;

/** What somebody may do to the stack file, and what the preview says where it cannot be. */
const CHANGES: Readonly<Record<string, { readonly make: (values: Values, random: Random) => unknown; says?: RegExp }>> =
  {
    "a larger volume": {
      make: ({ redis }, random) => redis && (redis.volume.sizeGiB = Number(redis.volume.sizeGiB) + 1 + random(3)),
      says: /redis\.volume\.sizeGiB from .* it cannot grow/,
    },
    "a smaller volume": {
      make: ({ redis }) => redis && redis.volume.sizeGiB > 1 && --redis.volume.sizeGiB,
      says: /redis\.volume\.sizeGiB from .* it can only be raised/,
    },
    "another class": {
      make: ({ storage }) => (storage.className = "other"),
      says: /storage\.className from .* it is fixed by the first up/,
    },
    "more memory": { make: ({ redis }, random) => redis && (redis.memoryMiB.limit = 256 + random(256)) },
    "another limit of CPU": { make: ({ redis }, random) => redis && (redis.cpu.limit = 1 + random(10) / 10) },
    "another quota": { make: ({ quota }, random) => (quota.pods = 60 + random(60)) },
    "another pod network": { make: ({ cluster }, random) => (cluster.podCidr = `10.${100 + random(9)}.0.0/16`) },
    "another domain": { make: (values, random) => (values.domain = `dev${random(9)}.254carbon.com`) },
    "protection lifted": { make: (values) => (values.protection = { lifted: ["redis"] }) },
    "protection as before": { make: (values) => delete values.protection },
    "redis off": { make: (values) => delete values.redis, says: /protect/ },
    "redis on": {
      make: (values, random) => (values.redis ??= { ...redis, memoryMiB: { request: 64, limit: 256 + random(9) } }),
    },
    "no number": { make: ({ redis }) => redis && (redis.volume.sizeGiB = 0.5), says: /redis\.volume\.sizeGiB/ },
  };
/** As it was last: its claim stays when it is taken out, and cannot shrink either. */
let redis: Values;

describe("a running stack", function () {
  this.timeout(14_400_000);
  let rehearsal: Rehearsal;
  let now: StackValues;
  before(async () => {
    rehearsal = await openRehearsal({ stack: "dev", overrides: only("redis"), progress: () => undefined });
    rehearsal.engine.setValues((values) => (now = values));
    ({ redis } = now as Values);
    assert.deepEqual((await rehearsal.engine.run("up")).errors, []);
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
    const storage = kubeconfig.makeApiClient(StorageV1Api);
    const provisioner = { provisioner: "example.com/disk", reclaimPolicy: "Retain" };
    await storage.createStorageClass({ body: { metadata: { name: "other" }, ...provisioner } });
    const { className } = rehearsal.config.storage;
    if (SEED % 2 === 1)
      await storage.patchStorageClass({ name: className, body: { allowVolumeExpansion: true } }, MERGE);
  });
  after(() => rehearsal.cluster.stop());

  it(`ends ${STEPS} random changes each in what its file says, or refuses in the preview (seed ${SEED})`, async () => {
    const random = generator(SEED);
    for (let step = 1; step <= STEPS; step++) {
      const names = Object.keys(CHANGES);
      const what = names[random(names.length)] ?? "";
      const next = structuredClone(now) as Values;
      CHANGES[what]?.make(next, random);
      rehearsal.engine.setValues(() => next);
      const told = `step ${step} of seed ${SEED}, ${what}`;
      const preview = await rehearsal.engine.run("preview");
      if (!preview.ok) {
        assert.match(preview.output, CHANGES[what]?.says ?? /^$/, told);
        continue;
      }
      assert.deepEqual((await rehearsal.engine.run("up")).errors, [], told);
      assertUnchanged(await rehearsal.engine.run("up"));
      now = next;
      redis = next.redis ?? redis;
      if (next.redis !== undefined) assert.equal(await size(), `${next.redis.volume.sizeGiB}Gi`, told);
    }
  });

  async function size(): Promise<string | undefined> {
    const claim = { namespace: "data-platform", name: "data-redis-0" };
    const { spec } = await rehearsal.api.core.readNamespacedPersistentVolumeClaim(claim);
    return spec?.resources?.requests?.["storage"];
  }
});
