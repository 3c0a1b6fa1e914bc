import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, observe } from "../../../components/base/connect";
import type { PodIdentity } from "../../../components/base/endpoint";
import { ClusterProvider } from "../../../components/base/wiring";
import { all, mockEngine, only, type Registered, settled, waitsFor } from "../../support/mocks";
import { endpoint, kubeApi } from "../../support/stubs";

const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const WIRES = "254carbon.com/wires";

const pods = (name: string, namespace = "apps"): PodIdentity => ({
  name,
  namespace,
  matchLabels: { app: name },
  serviceAccount: name,
});

/** A component of a program that hands over what the test says. */
async function program(handOver: (system: pulumi.ComponentResource) => void): Promise<Registered[]> {
  const seen = await mockEngine();
  const provider = new ClusterProvider("cluster");
  handOver(new pulumi.ComponentResource("test:System", "system", {}, { provider }));
  provider.wiring.complete();
  await settled();
  return seen;
}

const policies = (seen: readonly Registered[]): Record<string, any> =>
  Object.fromEntries(all(seen, POLICY).map(({ name, inputs }) => [name, inputs]));

describe("the wiring", () => {
  it("makes one policy for what pods reach and one for who reaches them, whoever handed it over", async () => {
    const db = endpoint("db", "postgresql", 5432);
    const seen = await program((system) => {
      connect(system, { from: pods("web"), talksTo: [db, kubeApi] });
      connect(system, { from: pods("jobs"), talksTo: [db] });
      connect(system, { from: pods("web"), talksTo: [endpoint("cache", "redis", 6379)] });
    });
    const made = policies(seen);
    assert.deepEqual(Object.keys(made).sort(), ["cache-ingress", "db-ingress", "jobs-egress", "web-egress"]);
    assert.equal(made["web-egress"].metadata.namespace, "apps");
    assert.deepEqual(made["web-egress"].spec, {
      podSelector: { matchLabels: { app: "web" } },
      policyTypes: ["Egress"],
      egress: [
        { to: [peer("elsewhere", "db")], ports: [{ protocol: "TCP", port: 5432 }] },
        { to: [peer("elsewhere", "cache")], ports: [{ protocol: "TCP", port: 6379 }] },
        { to: [{ ipBlock: { cidr: "10.0.0.1/32" } }], ports: [{ protocol: "TCP", port: 6443 }] },
      ],
    });
    assert.deepEqual(made["db-ingress"].spec.ingress, [
      { from: [peer("apps", "jobs"), peer("apps", "web")], ports: [{ protocol: "TCP", port: 5432 }] },
    ]);
  });

  it("says in each policy which wires it holds, and what for", async () => {
    const db = endpoint("db", "postgresql", 5432);
    const metrics = {
      kind: "pods",
      server: db.server,
      ports: [{ port: 9187 }, { port: 10010, endPort: 10999 }],
    } as const;
    const seen = await program((system) => {
      for (const name of ["web", "jobs"]) connect(system, { from: pods(name), talksTo: [db] });
      observe(system, pods("prometheus", "monitoring"), { ...metrics, why: "metrics" });
    });
    assert.equal(
      policies(seen)["db-ingress"].metadata.annotations[WIRES],
      "5432 (postgresql): jobs, web\n9187, 10010-10999 (metrics): prometheus",
    );
  });

  it("gives the same policies in whatever order things are handed over", async () => {
    const servers = () => [endpoint("db", "postgresql", 5432), endpoint("cache", "redis", 6379), kubeApi];
    const clients = ["web", "jobs", "beat"].map((name) => pods(name));
    const forwards = await program((system) => {
      for (const from of clients) connect(system, { from, talksTo: servers() });
    });
    const backwards = await program((system) => {
      for (const from of [...clients].reverse()) connect(system, { from, talksTo: servers().reverse() });
    });
    assert.deepEqual(policies(forwards), policies(backwards));
  });

  it("has a client wait for the policies of both ends, and for those alone", async () => {
    const seen = await program((system) => {
      const opts = (name: string, talksTo: Parameters<typeof connect>[1]["talksTo"]) => ({
        parent: system,
        dependsOn: connect(system, { from: pods(name), talksTo }),
      });
      new k8s.core.v1.ConfigMap("web", {}, opts("web", [endpoint("db", "postgresql", 5432)]));
      new k8s.core.v1.ConfigMap("jobs", {}, opts("jobs", [endpoint("cache", "redis", 6379)]));
    });
    const waited = all(seen, POLICY).filter((policy) =>
      waitsFor(seen, only(seen, "kubernetes:core/v1:ConfigMap", "web"), policy),
    );
    assert.deepEqual(waited.map(({ name }) => name).sort(), ["db-ingress", "web-egress"]);
  });

  it("applies nothing of a program that throws: half of a policy would cut off who is not in it yet", async () => {
    const seen = await mockEngine();
    const provider = new ClusterProvider("cluster");
    const system = new pulumi.ComponentResource("test:System", "system", {}, { provider });
    const dependsOn = connect(system, { from: pods("web"), talksTo: [kubeApi] });
    new k8s.core.v1.ConfigMap("web", {}, { parent: system, dependsOn });
    // Here the program throws: nobody completes the wiring.
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(
      seen.filter(({ type }) => type.startsWith("kubernetes:")).map(({ name }) => name),
      [],
    );
    await mockEngine();
  });

  it("refuses two kinds of pods under one name, since a policy is known by it", async () => {
    await program((system) => {
      connect(system, { from: pods("web"), talksTo: [kubeApi] });
      for (const other of [pods("web", "elsewhere"), { ...pods("web"), matchLabels: { app: "other" } }]) {
        assert.throws(() => connect(system, { from: other, talksTo: [kubeApi] }), /two kinds of pods are called web/);
      }
    });
  });

  it("refuses what is handed over too late, and a component without a cluster", async () => {
    const late: { system?: pulumi.ComponentResource } = {};
    await program((system) => {
      late.system = system;
    });
    const connectWeb = (system: pulumi.ComponentResource | undefined) => () => {
      assert.ok(system, "the program made a component");
      connect(system, { from: pods("web"), talksTo: [kubeApi] });
    };
    assert.throws(connectWeb(late.system), /web gets kube-api when the wiring is complete/);
    assert.throws(
      connectWeb(new pulumi.ComponentResource("test:System", "alone")),
      /has no wiring: hand it the provider/,
    );
  });
});

function peer(namespace: string, app: string): object {
  return {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    podSelector: { matchLabels: { app } },
  };
}
