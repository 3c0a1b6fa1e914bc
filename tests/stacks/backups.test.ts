import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { readStackFile } from "../../rehearsal/program/evaluate";
import { parseConfig } from "../../stacks/config/schema";
import { all, only } from "../support/mocks";
import { allPods, type Labels, selected, wires } from "../support/manifests";
import { configOf, program, run } from "../support/program";
import { read } from "../support/sources";

const CNPG = "kubernetes:postgresql.cnpg.io/v1";
const OBJECT_STORE = "kubernetes:barmancloud.cnpg.io/v1:ObjectStore";

describe("backups of PostgreSQL", () => {
  it("go to a bucket that the login of all other buckets does not open", async () => {
    const { seen } = await program("prod");
    const policies = all(seen, "kubernetes:core/v1:Secret").flatMap(({ inputs: { stringData = {} } }) =>
      Object.entries(stringData).flatMap(([key, value]) => (key.endsWith(".json") ? [value as string] : [])),
    );
    const [bucket = ""] =
      /^s3:\/\/(.*)\/$/.exec(only(seen, OBJECT_STORE).inputs.spec.configuration.destinationPath)?.slice(1) ?? [];
    const naming = policies
      .filter((policy) => policy.includes(`:::${bucket}"`))
      .map((policy) => JSON.parse(policy) as { Statement: { Resource: string[] }[] });
    assert.equal(naming.length, 1);
    for (const { Resource } of naming[0]?.Statement ?? []) assert.equal(Resource.length, 1);
  });

  it("go where the config names an external target, with the login that its provider issued", async () => {
    const config = configOf("prod");
    const { backups } = config.postgres;
    assert.ok(backups, "the stack has no backups: take another one for this test");
    const target = {
      kind: "external" as const,
      url: "https://s3.example.com:8443",
      cidrs: ["203.0.113.0/24"],
      region: "eu-central-1",
      bucket: "carbon-backups",
    };
    const postgres = { ...config.postgres, backups: { ...backups, target } };
    const issued = { backupAccessKey: "issued-key", backupSecretKey: "issued-secret" };
    const { seen } = await run({ ...config, postgres }, issued);
    const { configuration } = only(seen, OBJECT_STORE).inputs.spec;
    assert.deepEqual(
      [configuration.destinationPath, configuration.endpointURL],
      ["s3://carbon-backups/", "https://s3.example.com:8443"],
    );
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "postgres-backups").inputs;
    assert.deepEqual(stringData, {
      ACCESS_KEY_ID: "issued-key",
      ACCESS_SECRET_KEY: "issued-secret",
      REGION: "eu-central-1",
    });
    const { spec } = only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "postgres-egress").inputs;
    assert.deepEqual(
      spec.egress.filter(({ ports }: any) => ports[0].port === 8443),
      [{ to: [{ ipBlock: { cidr: "203.0.113.0/24" } }], ports: [{ protocol: "TCP", port: 8443 }] }],
    );
  });
});

describe("a target of backups inside the cluster that they protect", () => {
  const OUTSIDE = { url: "https://s3.example.com", cidrs: ["203.0.113.0/24"] };
  const faultOf = (address: object, own: object = {}, store: "target" | "objectStore" = "target"): string => {
    const config = readStackFile("prod")["carbon:platform"] as any;
    const { backups } = config.postgres;
    const { setup } = config.objectStore;
    const external = { kind: "external", region: "eu-west-1", ...OUTSIDE, ...address };
    const target = store === "target" ? { ...external, bucket: "carbon-backups" } : { kind: "object-store" };
    const postgres = { ...config.postgres, backups: { ...backups, target: { ...target, ...own } } };
    const objectStore = store === "target" ? config.objectStore : { ...external, setup };
    try {
      parseConfig({ ...config, postgres, objectStore }, "FILE");
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };

  for (const [address, reason] of [
    [{ url: "http://minio-service.data-platform.svc:9000" }, "url names the Service minio-service.data-platform.svc"],
    [{ url: "http://minio.old.svc.cluster.local:9000" }, "url names the Service minio.old.svc.cluster.local"],
    [{ url: "http://minio:9000" }, "url names the Service minio"],
    [{ cidrs: ["203.0.113.0/24", "10.244.3.0/24"] }, "10.244.3.0/24 of KEY.cidrs is inside cluster.podCidr"],
    [{ cidrs: ["10.244.0.0/16"] }, "10.244.0.0/16 of KEY.cidrs is inside cluster.podCidr"],
  ] as const) {
    it(`is refused, as a target and as the object store, unless somebody knows it: ${reason}`, () => {
      for (const [store, key] of [
        ["target", "backups.target"],
        ["objectStore", "objectStore"],
      ] as const) {
        const why = reason.startsWith("url") ? `${key}.${reason}` : reason.replace("KEY", key);
        const fault = faultOf(address, {}, store);
        assert.match(fault, /postgres\.backups\.target: .*add `acknowledges: lost-with-the-cluster` in FILE$/);
        assert.ok(fault.includes(`, since ${why}; `), fault);
        assert.equal(faultOf(address, { acknowledges: "lost-with-the-cluster" }, store), "");
      }
    });
  }

  it("is not what lies around the cluster, or elsewhere", () => {
    for (const address of [{}, { url: "https://203.0.113.7" }, { cidrs: ["0.0.0.0/0"] }, { cidrs: ["10.0.0.0/8"] }]) {
      for (const store of ["target", "objectStore"] as const) assert.equal(faultOf(address, {}, store), "");
    }
  });
});

describe("docs/backups.md", () => {
  it("shows config that the check takes", () => {
    // In YAML 1.1, which Pulumi reads: a moment wants its quotes.
    const [target, restored] = [...read("docs/backups.md").matchAll(/```yaml\n([^]*?)```/g)].map(
      ([, text = ""]) => parse(text, { schema: "yaml-1.1" }).postgres,
    );
    const { "carbon:platform": config } = parse(read("Pulumi.prod.yaml")).config;
    const backups = { ...config.postgres.backups, ...target.backups, ...restored.backups };
    const postgres = { ...config.postgres, ...restored, backups };
    assert.doesNotThrow(() => parseConfig({ ...config, postgres }, "FILE"));
  });
});

describe("docs/restore-beside.yaml", () => {
  const [beside, ...policies]: any[] = parseAllDocuments(read("docs/restore-beside.yaml")).map((one) => one.toJS());

  it("makes a server as large and as new as prod's, from its backups, that writes nowhere", async () => {
    const { seen } = await program("prod");
    const { spec, metadata } = only(seen, `${CNPG}:Cluster`).inputs;
    const { parameters, name } = beside.spec.externalClusters[0].plugin;
    assert.deepEqual(parameters, spec.plugins[0].parameters);
    assert.equal(name, spec.plugins[0].name);
    assert.equal(beside.metadata.namespace, metadata.namespace);
    assert.equal(beside.spec.imageName, spec.imageName.replace(/@.*/, ""));
    assert.deepEqual(beside.spec.storage, spec.storage);
    assert.equal(beside.spec.plugins, undefined);
  });

  it("opens the ways that prod's server has, to pods that are there", async () => {
    const { seen } = await program("prod");
    const own: Labels = { "cnpg.io/cluster": beside.metadata.name };
    const pods = allPods(seen);
    for (const { metadata, spec } of policies) {
      const labels: Labels = spec.podSelector.matchLabels;
      const isOwn = labels["cnpg.io/cluster"] === own["cnpg.io/cluster"];
      assert.ok(isOwn || selected(pods, metadata.namespace, labels).length > 0, metadata.name);
    }
    const opens = (ends: string, [{ ports }]: any) =>
      wires(seen).includes(
        `${ends} ${ports
          .map(({ port }: any) => port)
          .sort()
          .join()}`,
      );
    const [ingress, egress, store] = policies;
    assert.ok(opens("cnpg -> postgres", ingress.spec.ingress), "the operator to the server");
    assert.ok(opens("cnpg -> postgres", egress.spec.egress), "the operator out of its namespace");
    assert.ok(opens("postgres -> minio", store.spec.ingress), "the server to its backups");
  });
});
