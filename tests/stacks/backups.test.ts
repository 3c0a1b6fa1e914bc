import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { parseConfig } from "../../stacks/config";
import { all, only } from "../support/mocks";
import { allPods, type Labels, selected } from "../support/manifests";
import { configOf, program, run } from "../support/program";
import { read } from "../support/sources";

const CNPG = "kubernetes:postgresql.cnpg.io/v1";
const OBJECT_STORE = "kubernetes:barmancloud.cnpg.io/v1:ObjectStore";

describe("backups of PostgreSQL", () => {
  it("go to a bucket that the login of all other buckets does not open", async () => {
    const { seen } = await program("prod");
    const jobs = all(seen, "kubernetes:batch/v1:Job").map(({ inputs }) => inputs.spec.template.spec.containers[0]);
    const policies = jobs.flatMap(({ env = [] }) => env.filter(({ name }: any) => name === "POLICY"));
    const [bucket = ""] =
      /^s3:\/\/(.*)\/$/.exec(only(seen, OBJECT_STORE).inputs.spec.configuration.destinationPath)?.slice(1) ?? [];
    const naming = policies
      .filter(({ value }: any) => value.includes(`:::${bucket}"`))
      .map(({ value }) => JSON.parse(value));
    assert.equal(naming.length, 1);
    for (const { Resource } of naming[0].Statement) assert.equal(Resource.length, 1);
  });

  it("go where the config names an external target, with the login that its provider issued", async () => {
    const config = configOf("prod");
    const { backups } = config.postgres;
    assert.ok(backups);
    const target = {
      kind: "external" as const,
      url: "https://s3.example.com:8443",
      cidrs: ["203.0.113.0/24"],
      region: "eu-central-1",
      bucket: "carbon-backups",
    };
    const postgres = { ...config.postgres, backups: { ...backups, target } };
    await assert.rejects(run({ ...config, postgres }), /carbon:backupAccessKey is not set, and nobody can generate it/);
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
    const policy = only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "postgres-to-backups-egress").inputs
      .spec;
    assert.deepEqual(policy.egress, [
      { to: [{ ipBlock: { cidr: "203.0.113.0/24" } }], ports: [{ protocol: "TCP", port: 8443 }] },
    ]);
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
    assert.deepEqual([beside.spec.imageName, beside.spec.storage], [spec.imageName, spec.storage]);
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
    const ports = (rules: any[]): number[] =>
      rules.flatMap((rule) => rule.ports.map(({ port }: any) => port as number));
    const [ingress, egress, store] = policies;
    const wire = (name: string) => only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", name).inputs.spec;
    assert.deepEqual(ports(ingress.spec.ingress), ports(wire("cnpg-to-postgres-ingress").ingress));
    assert.deepEqual(ports(egress.spec.egress), ports(wire("cnpg-to-postgres-egress").egress));
    assert.deepEqual(ports(store.spec.ingress), ports(wire("postgres-to-minio-ingress").ingress));
  });
});
