import assert from "node:assert/strict";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { url } from "../../../components/base/endpoint";
import { images } from "../../../components/base/versions";
import { Elasticsearch, type ElasticsearchArgs } from "../../../components/data/elasticsearch";
import { makeChartDirectory } from "../../support/chart-directory";
import { wires } from "../../support/manifests";
import { mockEngine, only, type Registered, settled, valueOf, waitsFor } from "../../support/mocks";
import { podFaults } from "../../../rehearsal/program/pod-rules";
import { bytes } from "../../../rehearsal/program/quantity";
import { kubeApi, metrics, onCluster, SIZE } from "../../support/stubs";

const chartDirectory = makeChartDirectory();

async function elasticsearch(
  own: Partial<ElasticsearchArgs> = {},
): Promise<{ seen: Registered[]; component: Elasticsearch }> {
  const seen = await mockEngine();
  const by = metrics();
  const component = new Elasticsearch(
    "search",
    {
      namespace: "data",
      operatorNamespace: "operators",
      chartDirectory,
      kubeApi,
      authority: { issuer: "authority", ready: new k8s.core.v1.ConfigMap("authority") },
      clusterDomain: "cluster.test",
      aliases: ["search-service"],
      nodes: 3,
      size: SIZE,
      operatorSize: SIZE,
      volume: { storageClass: "disk", sizeGiB: 10 },
      clients: {
        catalog: {
          password: pulumi.secret("catalog-password"),
          cluster: ["monitor", "manage_ilm"],
          indices: [{ names: ["catalog_*"], privileges: ["all"] }],
        },
        reader: {
          password: pulumi.secret("reader-password"),
          cluster: [],
          indices: [{ names: ["events"], privileges: ["read"] }],
        },
      },
      exporter: { size: SIZE, password: pulumi.secret("exporter-password") },
      metrics: by,
      protect: true,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const cluster = (seen: readonly Registered[]): Registered =>
  only(seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch");
const nodeSet = (seen: readonly Registered[]): any => cluster(seen).inputs.spec.nodeSets[0];
const release = (seen: readonly Registered[]): any => only(seen, "kubernetes:helm.sh/v3:Release").inputs;
const secret = (seen: readonly Registered[], name: string): any => only(seen, "kubernetes:core/v1:Secret", name).inputs;

describe("Elasticsearch", () => {
  it("gives each client a user and a role of its own, in the forms that the operator reads", async () => {
    const { seen, component } = await elasticsearch();
    const { fileRealm, roles } = cluster(seen).inputs.spec.auth;
    assert.deepEqual(
      fileRealm.map(({ secretName }: any) => secretName),
      ["catalog", "reader", "exporter"].map((client) => component.offers.credentials?.[client]?.name),
    );
    for (const client of ["catalog", "reader"]) {
      const { type, stringData } = secret(seen, component.offers.credentials?.[client]?.name ?? "");
      assert.equal(type, "kubernetes.io/basic-auth");
      assert.deepEqual(stringData, { username: client, password: `${client}-password`, roles: client });
    }
    assert.deepEqual(parse(secret(seen, roles[0].secretName).stringData["roles.yml"]), {
      catalog: { cluster: ["monitor", "manage_ilm"], indices: [{ names: ["catalog_*"], privileges: ["all"] }] },
      reader: { cluster: [], indices: [{ names: ["events"], privileges: ["read"] }] },
      exporter: { cluster: ["monitor"], indices: [] },
    });
  });

  it("is watched over TLS by a user that sees the cluster and no document", async () => {
    const { seen } = await elasticsearch();
    const { containers, volumes } = only(seen, "kubernetes:apps/v1:Deployment").inputs.spec.template.spec;
    const [{ args, envFrom, volumeMounts }] = containers;
    assert.equal(args[0], "--es.uri=https://search-es-http.data.svc:9200");
    assert.deepEqual(
      args[1],
      `--es.ca=${String(volumeMounts.find(({ name }: any) => name === "trust").mountPath)}/ca.crt`,
    );
    assert.equal(volumes.find(({ name }: any) => name === "trust").secret.secretName, "search-tls");
    assert.deepEqual(envFrom, [{ secretRef: { name: "search-exporter-login" } }]);
    assert.deepEqual(secret(seen, "search-exporter-login").stringData, {
      ES_USERNAME: "exporter",
      ES_PASSWORD: "exporter-password",
    });
    const monitor = only(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor", "search-exporter-metrics").inputs.spec;
    assert.deepEqual(monitor.selector.matchLabels, { app: "search-exporter" });
  });

  it("leaves nobody the superuser of the vendor", async () => {
    assert.equal(cluster((await elasticsearch()).seen).inputs.spec.auth.disableElasticUser, true);
  });

  it("shows passwords in the clients' own Secrets alone", async () => {
    const { seen, component } = await elasticsearch();
    const own = ["catalog", "reader"].map((client) => component.offers.credentials?.[client]?.name);
    const rest = seen.filter(({ name }) => !own.includes(name)).map(({ inputs }) => inputs);
    assert.doesNotMatch(JSON.stringify(rest), /(catalog|reader)-password/);
  });

  it("hands a client its user, the address and whom to trust", async () => {
    const { component } = await elasticsearch();
    const { server, login, trust } = component.login("catalog");
    assert.equal(await valueOf(url(server)), "https://search-es-http.data.svc:9200");
    assert.deepEqual([await valueOf(login.username), await valueOf(login.password)], ["catalog", "catalog-password"]);
    assert.equal(await pulumi.isSecret(login.password), true);
    assert.equal(trust.volume.secret.secretName, "search-tls");
    assert.throws(() => component.login("nobody"), /no user nobody/);
  });

  it("shows clients a certificate for every name that leads to it, and to each node", async () => {
    const { seen } = await elasticsearch();
    const { dnsNames, secretName } = only(seen, "kubernetes:cert-manager.io/v1:Certificate").inputs.spec;
    assert.equal(cluster(seen).inputs.spec.http.tls.certificate.secretName, secretName);
    for (const service of ["search-es-http", "search-service", `*.search-es-${String(nodeSet(seen).name)}`]) {
      for (const suffix of ["", ".data", ".data.svc", ".data.svc.cluster.test"]) {
        assert.ok(dnsNames.includes(`${service}${suffix}`), `${service}${suffix}`);
      }
    }
  });

  it("is ready once the operator has done all that it was asked for, whatever the replicas of indices", async () => {
    const { seen, component } = await elasticsearch();
    const server = cluster(seen);
    assert.equal(server.inputs.metadata.annotations["pulumi.com/waitFor"], "jsonpath={.status.phase}=Ready");
    const needs = [
      only(seen, "kubernetes:helm.sh/v3:Release"),
      only(seen, "kubernetes:cert-manager.io/v1:Certificate"),
      ...["search-roles", "search-catalog", "search-reader", "search-exporter"].map((name) =>
        only(seen, "kubernetes:core/v1:Secret", name),
      ),
      ...["search-ingress", "search-egress", "elastic-operator-egress"].map((name) =>
        only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", name),
      ),
      only(seen, "kubernetes:core/v1:ServiceAccount", "search"),
    ];
    for (const need of needs) assert.ok(waitsFor(seen, server, need), need.name);
    const { ready } = component.login("reader").server;
    assert.deepEqual(await Promise.all(ready.map((one) => valueOf(one.urn))), [server.urn]);
  });

  it("runs nodes that Pod Security restricted admits, under an account without a token", async () => {
    const { seen } = await elasticsearch();
    const { podTemplate } = nodeSet(seen);
    // The operator brings the probe and the places to write.
    assert.deepEqual(podFaults(podTemplate, { longRunning: false }), []);
    assert.equal(podTemplate.spec.serviceAccountName, only(seen, "kubernetes:core/v1:ServiceAccount", "search").name);
    assert.deepEqual(
      podTemplate.spec.containers.map(({ name, image }: any) => [name, image]),
      [["elasticsearch", images.elasticsearch]],
    );
    assert.ok(
      images.elasticsearch.endsWith(`:${String(cluster(seen).inputs.spec.version)}`),
      "the cluster is of another version than its image: read both from versions.ts",
    );
    // Its check at the start asks for a kernel setting that only a privileged container could change.
    assert.equal(nodeSet(seen).config["node.store.allow_mmap"], false);
  });

  it("asks for the disk that its scratch volumes may take, Java's logs of garbage collections among them", async () => {
    const { seen } = await elasticsearch();
    const { volumes, containers } = nodeSet(seen).podTemplate.spec;
    const limits = new Map<string, number>(
      volumes.map(({ name, emptyDir }: any) => [name, bytes(emptyDir?.sizeLimit ?? "0")]),
    );
    // ECK 3.5, `buildVolumes` in pkg/controller/elasticsearch/nodespec/volumes.go: those without a limit of its own.
    for (const name of [
      "elasticsearch-logs",
      "tmp-volume",
      ...["bin", "config", "plugins"].map((directory) => `elastic-internal-elasticsearch-${directory}-local`),
    ])
      assert.ok((limits.get(name) ?? 0) > 0, `${name} counts, and has no limit`);
    // Elasticsearch 8, config/jvm.options: `filecount=32,filesize=64m`, and the file that is being written.
    assert.ok((limits.get("elasticsearch-logs") ?? 0) >= 33 * 64 * 1024 ** 2, "the kubelet evicts a node for its logs");
    const all = [...limits.values()].reduce((sum, limit) => sum + limit, 0);
    for (const kind of ["requests", "limits"])
      assert.ok(bytes(containers[0].resources[kind]["ephemeral-storage"]) >= all, `${kind} are less than its volumes`);
  });

  it("keeps its volumes when it goes", async () => {
    const { seen } = await elasticsearch();
    assert.equal(cluster(seen).protect, true);
    assert.equal(cluster(seen).inputs.spec.volumeClaimDeletePolicy, "DeleteOnScaledownOnly");
    const [claim] = nodeSet(seen).volumeClaimTemplates;
    // The operator knows the volume of the data by this name.
    assert.equal(claim.metadata.name, "elasticsearch-data");
    assert.deepEqual([claim.spec.storageClassName, claim.spec.resources.requests.storage], ["disk", "10Gi"]);
  });

  it("blocks no drain with the budget of a single node", async () => {
    assert.deepEqual(cluster((await elasticsearch({ nodes: 1 })).seen).inputs.spec.podDisruptionBudget, {});
    assert.equal(cluster((await elasticsearch()).seen).inputs.spec.podDisruptionBudget, undefined);
  });

  it("lets the operator reach the HTTP port, the nodes each other, and nobody the API server but the operator", async () => {
    const { seen } = await elasticsearch();
    assert.deepEqual(wires(seen), [
      "elastic-operator -> kube-api 6443",
      "elastic-operator -> search 9200",
      "prometheus -> elastic-operator 8080",
      "prometheus -> search-exporter 9114",
      "search -> search 9200,9300",
      "search-exporter -> search 9200",
    ]);
    const { spec } = only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "search-ingress").inputs;
    assert.deepEqual(spec.podSelector.matchLabels, { "elasticsearch.k8s.elastic.co/cluster-name": "search" });
  });

  it("gives the operator rights in two namespaces, and no webhook that would need more", async () => {
    const { values, namespace } = release((await elasticsearch()).seen);
    assert.equal(namespace, "operators");
    assert.deepEqual(values.managedNamespaces, ["data"]);
    assert.equal(values.createClusterScopedResources, false);
    assert.deepEqual([values.webhook.enabled, values.config.validateStorageClass], [false, false]);
    assert.equal(values.telemetry.disabled, true);
  });
});
