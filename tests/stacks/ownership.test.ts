import assert from "node:assert/strict";
import { DATA_OWNERS, type DataOwner } from "../../stacks/config/schema";
import { all, only, type Registered, waitsFor } from "../support/mocks";
import { label, objects } from "../support/manifests";
import { configOf, program, run, ALL_SHAPES } from "../support/program";

// The session files and logs of the head: a lost volume costs no data.
const MAY_BE_REPLACED = ["StatefulSet data-platform/ray-head"];
// A tenant's goes with its grant, and leaves the database in the server.
const LEAVES_ITS_DATA = [
  ...["pricing", "orders"].map((database) => `Database data-platform/postgres-${database}`),
  "StatefulSet pricing/tenant-pricing-ray-head",
];

for (const shape of ALL_SHAPES) {
  describe(`the objects of ${shape}`, () => {
    it("have fixed names: kebab-case, at most 53 characters, each once", async () => {
      const { seen } = await program(shape);
      // Claims are called as their sets call them.
      const isClaim = ({ inputs }: Registered) => inputs.kind === "PersistentVolumeClaim";
      const ours = objects(seen).filter((one) => !isUpstream(one) && !isClaim(one));
      for (const one of ours)
        assert.match(one.inputs.metadata.name, /^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$/, label(one));
      for (const { inputs } of all(seen, "kubernetes:helm.sh/v3:Release"))
        assert.match(inputs.name, /^[-a-z0-9]{1,53}$/);
      assert.deepEqual(duplicates(objects(seen).map((one) => `${String(one.inputs.apiVersion)} ${label(one)}`)), []);
    });

    it("lie in namespaces of the program, never in default or kube-system", async () => {
      const { seen } = await program(shape);
      const made = all(seen, "kubernetes:core/v1:Namespace").filter(({ read }) => !read);
      const policies = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
      const roles = ["ClusterRole", "ClusterRoleBinding"];
      const others = ["Namespace", "PriorityClass", "CustomResourceDefinition", "GatewayClass", "StorageClass"];
      const clusterWide = [...others, ...policies, ...roles];
      for (const one of [...objects(seen), ...all(seen, "kubernetes:helm.sh/v3:Release")]) {
        if (clusterWide.includes(one.inputs.kind)) continue;
        const namespace: string = one.inputs.metadata?.namespace ?? one.inputs.namespace;
        const home = made.find(({ name }) => name === namespace);
        assert.ok(home, `${one.urn} is in namespace ${namespace}`);
        assert.ok(waitsFor(seen, one, home), `${one.urn} may come before its namespace`);
      }
    });

    it("come to the cluster only through the provider that the identity guard released", async () => {
      const { seen } = await program(shape);
      const guarded = only(seen, "pulumi:providers:kubernetes", "cluster");
      assert.ok(
        waitsFor(seen, guarded, only(seen, "pulumi:index:Stash")),
        "the provider does not wait for the cluster's recorded identity: make its context from what the guard checked",
      );
      const written = seen.filter(({ type, read }) => type.startsWith("kubernetes:") && !read);
      assert.deepEqual(
        written.flatMap(({ urn, provider }) => (provider.startsWith(`${guarded.urn}::`) ? [] : [urn])),
        [],
        "made on whatever cluster the kubeconfig names, for their provider is not the guarded one: " +
          "give a component `ground.opts`, and its children `parent: this`",
      );
    });

    it("keep their volumes in the configured StorageClass", async () => {
      const { config, seen } = await program(shape);
      const claims = all(seen, "kubernetes:apps/v1:StatefulSet").flatMap(({ inputs }) => {
        const { volumeClaimTemplates, persistentVolumeClaimRetentionPolicy: kept } = inputs.spec;
        if (volumeClaimTemplates === undefined) return [];
        assert.deepEqual(kept, { whenDeleted: "Retain", whenScaled: "Retain" });
        return volumeClaimTemplates.map((claim: any) => claim.spec.storageClassName);
      });
      const clusters = all(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster").map((one) => one.inputs.spec.storage);
      const pools = all(seen, "kubernetes:kafka.strimzi.io/v1:KafkaNodePool").flatMap((one) => {
        const { volumes } = one.inputs.spec.storage;
        for (const { id, deleteClaim } of volumes)
          assert.equal(deleteClaim, false, `${label(one)}, volume ${String(id)}`);
        return volumes.map((volume: any) => volume.class);
      });
      const search = all(seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch").flatMap(({ inputs }) =>
        inputs.spec.nodeSets[0].volumeClaimTemplates.map((claim: any) => claim.spec.storageClassName),
      );
      const classes = [...claims, ...pools, ...search, ...clusters.map(({ storageClass }) => storageClass)];
      assert.ok(classes.length >= 2, "too few volumes found: does the test still see them?");
      assert.deepEqual(new Set(classes), new Set([config.storage.className]));
      assert.deepEqual(all(seen, "kubernetes:core/v1:PersistentVolumeClaim"), []);
    });

    it("are protected where they own data", async () => {
      const { seen } = await program(shape);
      for (const one of dataOwners(seen)) {
        assert.equal(one.protect, ![...MAY_BE_REPLACED, ...LEAVES_ITS_DATA].includes(label(one)), label(one));
      }
    });
  });
}

describe("protection", () => {
  const lifted = async (names: DataOwner[]) =>
    (await run({ ...configOf("prod"), protection: { lifted: names, acknowledged: [] } })).seen;

  it("is lifted for the one that the config names, and for nothing else", async () => {
    const owners = (seen: readonly Registered[]) =>
      dataOwners(seen)
        .flatMap((one) => (one.protect ? [] : [label(one)]))
        .sort();
    assert.deepEqual(
      owners(await lifted(["object-store"])),
      [...MAY_BE_REPLACED, "StatefulSet data-platform/minio"].sort(),
    );
    assert.deepEqual(
      owners(await lifted(["postgres"])),
      [
        ...MAY_BE_REPLACED,
        "Cluster data-platform/postgres",
        ...["datahub", "dolphinscheduler", "feast", "mlflow", "polaris", "superset"].map(
          (database) => `Database data-platform/postgres-${database}`,
        ),
      ].sort(),
    );
  });

  it("stays on their namespace until the last one is lifted", async () => {
    assert.deepEqual(
      dataOwners(await lifted([...DATA_OWNERS])).filter((one) => one.protect),
      [],
    );
  });
});

function dataOwners(seen: readonly Registered[]): Registered[] {
  const kinds = ["Cluster", "Database", "Elasticsearch", "StatefulSet", "Kafka", "KafkaNodePool", "KafkaTopic"];
  return objects(seen).filter(({ inputs: { kind, metadata, spec } }) => {
    const keepsNothing = kind === "StatefulSet" && spec.volumeClaimTemplates === undefined;
    return (kinds.includes(kind) && !keepsNothing) || metadata.name === "data-platform";
  });
}

function isUpstream({ urn }: Registered): boolean {
  return /carbon:base:(ManifestFile|ChartCrds)\$/.test(urn);
}

function duplicates(names: readonly string[]): string[] {
  return names.filter((name, index) => names.indexOf(name) !== index);
}
