import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import { Cluster } from "../../../components/ground/cluster";
import type { ExistingAddOn } from "../../../components/base/existing-add-ons";
import { ADD_ONS } from "../../../stacks/layers/foundation";
import { all, type Answers, mockEngine, only, type Registered, settled } from "../../support/mocks";

async function cluster(
  answers: Answers,
  addOns: readonly ExistingAddOn[] = [],
): Promise<{ seen: Registered[]; fault: Error | undefined }> {
  const seen = await mockEngine({ "pulumi:index:Stash": { output: "uid-1" }, ...live("uid-1", "Retain"), ...answers });
  const { provider } = new Cluster("cluster", {
    context: "prod",
    storageClasses: { disk: "storage.className", fast: "volume.className" },
    addOns,
  });
  new k8s.core.v1.Namespace("first-write", { metadata: { name: "first-write" } }, { provider });
  provider.wiring.complete();
  const fault = await settled().then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  return { seen, fault };
}

const EXISTING = (["certManager", "monitoring.operator"] as const).map((key) => ({ key, ...ADD_ONS[key] }));

const live = (uid: string, reclaimPolicy: string): Answers => ({
  "kubernetes:core/v1:Namespace::cluster-identity": { metadata: { name: "kube-system", uid } },
  "kubernetes:storage.k8s.io/v1:StorageClass": { reclaimPolicy },
});
const written = (seen: readonly Registered[]) =>
  seen.filter(({ type, read }) => type.startsWith("kubernetes:") && !read);

describe("Cluster", () => {
  it("writes to the cluster that the stack was made on", async () => {
    const { seen, fault } = await cluster({});
    assert.equal(fault, undefined);
    assert.deepEqual(
      written(seen).map(({ name }) => name),
      ["first-write"],
    );
    assert.equal(only(seen, "pulumi:index:Stash").inputs.input, "uid-1");
  });

  it("stops before it writes anything to another one, and says how to go on", async () => {
    const { seen, fault } = await cluster(live("uid-2", "Retain"));
    assert.deepEqual(written(seen), []);
    const urn = only(seen, "pulumi:index:Stash").urn;
    assert.match(
      fault?.message ?? "",
      /cluster\.context: prod leads to cluster uid-2, but .* was made on cluster uid-1;/,
    );
    assert.ok(
      fault?.message.includes(`run \`npx pulumi refresh\` and then \`npx pulumi up --replace '${urn}'\``),
      `the fault does not say what to run: ${String(fault?.message)}`,
    );
  });

  it("refuses a StorageClass that deletes volumes with their claims, before it writes anything", async () => {
    const { seen, fault } = await cluster(live("uid-1", "Delete"));
    assert.deepEqual(written(seen), []);
    assert.match(
      fault?.message ?? "",
      /storage\.className: disk has reclaimPolicy Delete.*name a StorageClass with reclaimPolicy Retain/,
    );
  });

  it("refuses add-ons of the cluster that are older than what it is tested with, all at once, before it writes anything", async () => {
    const crd = (name: string) => `kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition::${name}`;
    const old: Answers = {
      [crd("certManager-certificates.cert-manager.io")]: {
        metadata: { labels: { "app.kubernetes.io/version": "v1.5.3" } },
      },
      [crd("monitoring.operator-podmonitors.monitoring.coreos.com")]: { metadata: { labels: {}, annotations: {} } },
    };
    const { seen, fault } = await cluster(old, EXISTING);
    assert.deepEqual(written(seen), []);
    assert.match(
      fault?.message ?? "",
      /certManager: existing: the cluster has cert-manager v1\.5\.3, and .* upgrade it, or give certManager a size/,
    );
    assert.match(
      fault?.message ?? "",
      /monitoring\.operator: existing: podmonitors\.monitoring\.coreos\.com has no label or annotation operator\.prometheus/,
    );
  });

  it("takes add-ons of the cluster that are as new, or newer", async () => {
    const newer: Answers = {
      "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition": {
        metadata: {
          labels: { "app.kubernetes.io/version": "v1.99.0" },
          annotations: { "operator.prometheus.io/version": "0.99.1" },
        },
      },
    };
    const { fault } = await cluster(newer, EXISTING);
    assert.equal(fault, undefined);
  });

  it("reads through a provider of its own, so that reading needs no permission to write", async () => {
    const { seen } = await cluster({});
    for (const one of seen.filter(({ read }) => read)) assert.match(one.provider, /::cluster-reader::/);
  });

  it("records nothing of the kubeconfig of who deploys: with another's, every object would be replaced", async () => {
    const providers = all((await cluster({})).seen, "pulumi:providers:kubernetes");
    assert.deepEqual(
      providers.map(({ inputs }) => inputs.kubeconfig),
      ["", ""],
    );
  });

  it("changes Secrets and ConfigMaps in place: their names are fixed", async () => {
    const { inputs } = only((await cluster({})).seen, "pulumi:providers:kubernetes", "cluster");
    assert.deepEqual([inputs.enableSecretMutable, inputs.enableConfigMapMutable], ["true", "true"]);
  });
});
