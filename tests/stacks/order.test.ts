import assert from "node:assert/strict";
import { all, only, type Registered, waitsFor } from "../support/mocks";
import { assertOrder } from "../support/order";
import { label, ourPods, type Labels, selected } from "../support/manifests";
import { program, SHAPES } from "../support/program";

for (const shape of SHAPES) {
  describe(`the order of ${shape}`, () => {
    it("starts pods after the Secrets, accounts, priorities and policies that they need", async () => {
      const { seen } = await program(shape);
      const { wires } = only(seen, "carbon:base:Wires").inputs;
      for (const pods of ourPods(seen)) {
        const { owner, namespace, template, resource } = pods;
        const { serviceAccountName, containers } = template.spec;
        const secrets: string[] = containers.flatMap((c: any) => c.envFrom).map((from: any) => from.secretRef.name);
        const isOwn = (home: string, labels: Labels = {}) => selected([pods], home, labels).length > 0;
        const servers = wires.filter(({ from, observes }: any) => !observes && isOwn(from.namespace, from.labels));
        const entrances = servers.map(({ to }: any) => `${to.name}-ingress`);
        const policies = all(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy").filter(
          ({ name, inputs: { metadata, spec } }) =>
            entrances.includes(name) ||
            (spec.policyTypes.includes("Egress") && isOwn(metadata.namespace, spec.podSelector.matchLabels)),
        );
        assert.ok(policies.length > 0, "the workload has no policies");
        const needs = [
          ...all(seen, "kubernetes:scheduling.k8s.io/v1:PriorityClass"),
          ...policies,
          ...all(seen, "kubernetes:core/v1:Secret").filter((one) => secrets.includes(one.inputs.metadata.name)),
          ...all(seen, "kubernetes:core/v1:ServiceAccount").filter(
            ({ inputs: { metadata } }) => metadata.name === serviceAccountName && metadata.namespace === namespace,
          ),
        ];
        assert.ok(needs.length >= 4 + secrets.length, "too few needs found: does the test still see them?");
        for (const need of needs) assert.ok(waitsFor(seen, resource, need), `${owner} may start before ${label(need)}`);
      }
    });

    it("asks for custom resources after whoever brings their kind", async () => {
      const { seen } = await program(shape);
      const after = (later: Registered[], earlier: Registered) => {
        assert.ok(later.length > 0, "nothing comes later: does the test still see it?");
        for (const one of later) assert.ok(waitsFor(seen, one, earlier), label(one));
      };
      const crd = only(
        seen,
        "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
        "CustomResourceDefinition/examples.prometheus-operator.test",
      );
      after(all(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor"), crd);
      const operator = only(seen, "kubernetes:helm.sh/v3:Release", "cnpg");
      after(
        seen.filter(({ type }) => type.startsWith("kubernetes:postgresql.cnpg.io/")),
        operator,
      );
      after(
        all(seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch"),
        only(seen, "kubernetes:helm.sh/v3:Release", "elastic-operator"),
      );
    });

    it("asks for no object that a webhook refuses because it does not answer yet, when its pod is Ready", async () => {
      const { seen } = await program(shape);
      const releases = Object.fromEntries(
        all(seen, "kubernetes:helm.sh/v3:Release").map(({ name, inputs }) => [name, inputs.values]),
      );
      const letsPass = { failurePolicy: "Ignore" };
      assert.deepEqual(releases["cnpg"]?.webhook, { mutating: letsPass, validating: letsPass });
      const { enabled = true, admissionWebhooks } = releases["kube-prometheus-stack"].prometheusOperator;
      if (enabled) assert.equal(admissionWebhooks?.failurePolicy, "Ignore");
      // cert-manager's must see all: Helm waits until it does.
      assert.notEqual(releases["cert-manager"].startupapicheck?.enabled, false);
    });

    it("asks for a monitor after the certificate that it names, without which the operator leaves it out for good", async () => {
      const { seen } = await program(shape);
      const certificates = all(seen, "kubernetes:cert-manager.io/v1:Certificate");
      for (const monitor of seen.filter(({ type }) => /:(Pod|Service)Monitor$/.test(type))) {
        const named = certificates.filter(({ inputs }) =>
          JSON.stringify(monitor.inputs.spec).includes(`"name":"${inputs.spec.secretName}"`),
        );
        for (const one of named) assert.ok(waitsFor(seen, monitor, one), label(monitor));
      }
    });

    it("asks for Ray clusters after the operator, its kinds and its rights", async () => {
      const { seen } = await program(shape);
      const clusters = seen.filter(({ type }) => type.startsWith("kubernetes:ray.io/"));
      assert.equal(clusters.length, shape.includes("KubeRay") ? 2 : 0);
      for (const cluster of clusters) {
        const operator = only(seen, "kubernetes:helm.sh/v3:Release", "kuberay-operator");
        const rights = all(seen, "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding").filter(({ name }) =>
          name.startsWith("kuberay-operator"),
        );
        const kinds = all(seen, "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition").filter(({ name }) =>
          name.endsWith(".ray.io"),
        );
        assert.deepEqual([rights.length, kinds.length], [2, 4]);
        for (const one of [operator, ...rights, ...kinds]) assert.ok(waitsFor(seen, cluster, one), label(cluster));
        // It cannot start without its rights: Helm would wait for it in vain.
        for (const one of [...rights, ...kinds]) assert.ok(waitsFor(seen, operator, one), one.name);
      }
    });

    it("asks for Kafka after Strimzi, its kinds, its certificate and its wires; for topics and users after Kafka", async () => {
      const { seen } = await program(shape);
      const kafka = only(seen, "kubernetes:kafka.strimzi.io/v1:Kafka");
      const policies = all(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy").filter(({ name }) =>
        /^kafka(-entity-operator)?-(egress|ingress)$/.test(name),
      );
      const kinds = all(seen, "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition").filter(({ name }) =>
        name.endsWith(".strimzi.io"),
      );
      assert.deepEqual([policies.length, kinds.length], [3, 10]);
      const operator = only(seen, "kubernetes:helm.sh/v3:Release", "strimzi-cluster-operator");
      const pool = only(seen, "kubernetes:kafka.strimzi.io/v1:KafkaNodePool");
      const certificate = only(seen, "kubernetes:cert-manager.io/v1:Certificate", "kafka-tls");
      for (const one of [operator, pool, certificate, ...policies, ...kinds]) {
        assert.ok(waitsFor(seen, kafka, one), `it may come before ${one.name}`);
      }
      // It would find none of its kinds to watch, and end.
      for (const one of kinds) assert.ok(waitsFor(seen, operator, one), one.name);
      const entities = ["KafkaTopic", "KafkaUser"].flatMap((kind) =>
        all(seen, `kubernetes:kafka.strimzi.io/v1:${kind}`),
      );
      assert.ok(entities.length >= 12, "too few topics and users found: does the test still see them?");
      for (const one of entities) assert.ok(waitsFor(seen, one, kafka), label(one));
    });

    it("installs monitoring after the CRDs that it makes objects of, and after who certifies its webhooks", async () => {
      const { seen } = await program(shape);
      const monitoring = only(seen, "kubernetes:helm.sh/v3:Release", "kube-prometheus-stack");
      for (const need of [
        only(seen, "kubernetes:helm.sh/v3:Release", "cert-manager"),
        only(
          seen,
          "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
          "CustomResourceDefinition/examples.prometheus-operator.test",
        ),
        only(seen, "kubernetes:core/v1:Secret", "grafana-admin"),
        only(seen, "kubernetes:core/v1:Secret", "alertmanager-config"),
      ]) {
        assert.ok(waitsFor(seen, monitoring, need), `it may come before ${need.name}`);
      }
      // The webhook of the operator checks rules: without it a mistyped one would only be missing.
      const rules = only(seen, "kubernetes:monitoring.coreos.com/v1:PrometheusRule");
      assertOrder(seen, rules, monitoring);
    });

    it("destroys a system before the operator that cleans up after it", async () => {
      const { seen } = await program(shape);
      const operator = only(seen, "kubernetes:helm.sh/v3:Release", "cnpg");
      const cluster = only(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster");
      assert.ok(
        waitsFor(seen, cluster, operator) && !waitsFor(seen, operator, cluster),
        "the cluster waits for its operator, and never the reverse",
      );
    });
  });
}
