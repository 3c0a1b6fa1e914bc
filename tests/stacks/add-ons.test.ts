import assert from "node:assert/strict";
import { parseConfig } from "../../stacks/config/schema";
import { readStackFile } from "../../rehearsal/program/evaluate";
import { all, only } from "../support/mocks";
import { configOf, type Program, run } from "../support/program";

describe("a cluster that has cert-manager and the Prometheus operator", () => {
  let seen: Program["seen"];

  before(async () => {
    const config = configOf("prod");
    ({ seen } = await run({
      ...config,
      certManager: "existing" as const,
      monitoring: { ...config.monitoring, operator: "existing" as const },
    }));
  });

  it("keeps them: nothing is installed, no namespace is made, and no policy selects their pods", () => {
    const releases = all(seen, "kubernetes:helm.sh/v3:Release");
    assert.ok(!releases.some(({ name }) => name === "cert-manager"), "a second cert-manager would be installed");
    const { prometheusOperator } = only(seen, "kubernetes:helm.sh/v3:Release", "kube-prometheus-stack").inputs.values;
    assert.deepEqual(prometheusOperator, { enabled: false });
    const namespaces = all(seen, "kubernetes:core/v1:Namespace").filter(({ read }) => !read);
    assert.ok(!namespaces.some(({ name }) => name === "cert-manager"), "their namespace would be taken over");
    const policies = all(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy");
    assert.deepEqual(
      policies.filter(({ inputs }) => inputs.metadata.namespace === "cert-manager").map(({ name }) => name),
      [],
    );
    const crds = all(seen, "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition").filter(({ read }) => !read);
    assert.deepEqual(
      crds.filter(({ name }) => name.includes("prometheus-operator")).map(({ name }) => name),
      [],
    );
  });

  it("uses them: certificates, monitors and rules are made, and Prometheus reaches cert-manager", () => {
    assert.ok(all(seen, "kubernetes:cert-manager.io/v1:Certificate").length > 0, "no certificate is asked for");
    assert.ok(all(seen, "kubernetes:monitoring.coreos.com/v1:PrometheusRule").length > 0, "no rule is made");
    const monitor = only(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor", "cert-manager-metrics");
    assert.equal(monitor.inputs.metadata.namespace, "cert-manager");
    const { egress } = only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "prometheus-egress").inputs.spec;
    assert.match(JSON.stringify(egress), /"kubernetes.io\/metadata.name":"cert-manager".*?"port":9402/);
  });

  it("is described by that word alone", () => {
    const values = readStackFile("prod")["carbon:platform"] as object;
    assert.doesNotThrow(() => parseConfig({ ...values, certManager: "existing" }, "Pulumi.prod.yaml"));
    assert.throws(
      () => parseConfig({ ...values, certManager: "there" }, "Pulumi.prod.yaml"),
      /certManager: "there" is not allowed: expected "existing" or its sizes; correct it in Pulumi\.prod\.yaml/,
    );
    const { certManager, ...without } = values as { readonly certManager: unknown };
    assert.ok(certManager, "prod installs cert-manager, which this test takes away");
    assert.throws(
      () => parseConfig(without, "Pulumi.prod.yaml"),
      /certManager: missing: expected "existing" or its sizes/,
    );
    assert.throws(
      () => parseConfig({ ...values, certManager: { cpu: { request: 2, limit: 1 } } }, "Pulumi.prod.yaml"),
      /2 fault.*certManager\.cpu\.limit: 1 is below request \(2\).*certManager\.memoryMiB: missing/s,
    );
  });
});
