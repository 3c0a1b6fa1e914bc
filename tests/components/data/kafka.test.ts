import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "../../../components/base/endpoint";
import { hostPort } from "../../../components/base/endpoint";
import { Kafka, type KafkaArgs } from "../../../components/data/kafka";
import { makeChartDirectory } from "../../support/chart-directory";
import { all, mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { wires } from "../../support/manifests";
import { kubeApi, metrics, onCluster, SIZE } from "../../support/stubs";

const chartDirectory = makeChartDirectory();
const STRIMZI = "kubernetes:kafka.strimzi.io/v1";
const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";

const portal: PodIdentity = {
  name: "portal",
  namespace: "data",
  matchLabels: { app: "portal" },
  serviceAccount: "portal",
};

const CLIENTS: KafkaArgs["clients"] = {
  catalog: {
    password: pulumi.secret("catalog-password"),
    topics: { "Metadata*": ["Read", "Write", "Create"], "*": ["DescribeConfigs"] },
    groups: ["catalog-*"],
  },
  portal: { topics: { prices: ["Read"] }, groups: ["portal"], pods: portal },
};

async function kafka(own: Partial<KafkaArgs> = {}): Promise<{ seen: Registered[]; component: Kafka }> {
  const seen = await mockEngine();
  const by = metrics();
  const component = new Kafka(
    "kafka",
    {
      namespace: "data",
      operatorNamespace: "operators",
      chartDirectory,
      kubeApi,
      authority: { issuer: "ca", ready: by.crds },
      clusterDomain: "cluster.test",
      brokers: 3,
      size: SIZE,
      volume: { storageClass: "disk", sizeGiB: 10 },
      operatorSize: SIZE,
      entityOperatorSize: SIZE,
      topics: {
        prices: { partitions: 12, retentionDays: 7, cleanup: "delete" },
        changes: { partitions: 3, retentionDays: 365, cleanup: "compact" },
      },
      clients: CLIENTS,
      metrics: by,
      protect: true,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const spec = (seen: readonly Registered[]): any => only(seen, `${STRIMZI}:Kafka`).inputs.spec;
const pool = (seen: readonly Registered[]): any => only(seen, `${STRIMZI}:KafkaNodePool`).inputs.spec;
const user = (seen: readonly Registered[], name: string): any =>
  only(seen, `${STRIMZI}:KafkaUser`, `kafka-${name}-user`);
const rules = (seen: readonly Registered[], name: string): string[] =>
  user(seen, name).inputs.spec.authorization.acls.map(
    ({ resource, operations }: any) =>
      `${String(operations.join("+"))} ${String(resource.type)} ${String(resource.patternType)} ${String(resource.name)}`,
  );

describe("Kafka", () => {
  for (const [brokers, factor, inSync] of [
    [1, 1, 1],
    [3, 3, 2],
    [5, 3, 2],
  ] as const) {
    it(`keeps ${factor} copies of a record on ${brokers} nodes, of which ${inSync} must have it`, async () => {
      const { seen } = await kafka({ brokers });
      const { config } = spec(seen).kafka;
      assert.equal(pool(seen).replicas, brokers);
      for (const key of ["default", "offsets.topic", "transaction.state.log"]) {
        assert.equal(config[`${key}.replication.factor`], factor, key);
      }
      for (const key of ["min.insync.replicas", "transaction.state.log.min.isr"])
        assert.equal(config[key], inSync, key);
      for (const { inputs } of all(seen, `${STRIMZI}:KafkaTopic`)) assert.equal(inputs.spec.replicas, factor);
    });
  }

  it("makes the topics that it is given, and no other on demand", async () => {
    const { seen } = await kafka();
    const topics = all(seen, `${STRIMZI}:KafkaTopic`).map(({ inputs: { metadata, spec: topic } }) => [
      metadata.name,
      topic.partitions,
      topic.config,
    ]);
    assert.deepEqual(topics.sort(), [
      ["changes", 3, { "cleanup.policy": "compact", "retention.ms": 31_536_000_000 }],
      ["prices", 12, { "cleanup.policy": "delete", "retention.ms": 604_800_000 }],
    ]);
    assert.equal(spec(seen).kafka.config["auto.create.topics.enable"], false);
  });

  it("keeps a topic below the size that it may have, by whole segments that hold the largest record", async () => {
    const GIB = 1024 ** 3;
    const topic = { partitions: 4, retentionDays: 7, cleanup: "delete" } as const;
    const { seen } = await kafka({
      topics: { large: { ...topic, retentionGiB: 8 }, small: { ...topic, retentionGiB: 0.1 } },
      clients: {},
    });
    const limits = (name: string): number[] => {
      const { config } = only(seen, `${STRIMZI}:KafkaTopic`, `kafka-${name}`).inputs.spec;
      return [config["retention.bytes"], config["segment.bytes"]];
    };
    assert.deepEqual(limits("large"), [2 * GIB, Math.floor(0.2 * GIB)]);
    const { "message.max.bytes": largest } = spec(seen).kafka.config;
    const [bytes = 0, segment = 0] = limits("small");
    assert.equal(bytes, Math.floor(0.025 * GIB));
    assert.ok(segment >= largest, `a segment of ${segment} bytes takes no record of ${String(largest)}`);
  });

  it("makes topics whose names an object may not have", async () => {
    const topic = { partitions: 1, retentionDays: 7, cleanup: "delete" } as const;
    const names = ["Prices_v1", "prices_v1", "prices.v1"];
    const { seen } = await kafka({ topics: Object.fromEntries(names.map((name) => [name, topic])), clients: {} });
    const made = all(seen, `${STRIMZI}:KafkaTopic`).map(
      ({
        inputs: {
          metadata,
          spec: { topicName },
        },
      }) => [topicName ?? metadata.name, metadata.name],
    );
    assert.deepEqual(made.map(([name]) => name).sort(), [...names].sort());
    assert.equal(new Set(made.map(([, object]) => object)).size, names.length);
    for (const [, object] of made) assert.match(object, /^[a-z0-9.-]+$/);
  });

  it("lets a client write in transactions under its own IDs alone", async () => {
    const { seen } = await kafka({ clients: { desk: { topics: {}, transactionalIds: ["desk-*"] } } });
    assert.deepEqual(rules(seen, "desk"), ["Describe+Write transactionalId prefix desk-"]);
  });

  it("lets each client do what it names, and nothing else", async () => {
    const { seen } = await kafka();
    assert.deepEqual(rules(seen, "catalog"), [
      "Read+Write+Create topic prefix Metadata",
      "DescribeConfigs topic literal *",
      "Read group prefix catalog-",
    ]);
    assert.deepEqual(rules(seen, "portal"), ["Read topic literal prices", "Read group literal portal"]);
    assert.deepEqual(
      spec(seen).kafka.authorization,
      { type: "simple" },
      "no rule means no right, and nobody stands above",
    );
    for (const { inputs } of all(seen, `${STRIMZI}:KafkaUser`)) assert.equal(inputs.spec.authorization.type, "simple");
  });

  it("refuses a client that asks for a topic which nobody makes, by name", async () => {
    const clients = {
      portal: { topics: { price: ["Read"], changes: ["Read"], "pri*": ["Read"] } },
      catalog: { topics: { events: ["Read", "Create"], lineage: ["Write"] } },
    } as const;
    await assert.rejects(kafka({ clients }), (error: Error) => {
      assert.ok(pulumi.ResourceError.isInstance(error), "the fault does not name its resource: throw a ResourceError");
      assert.match(
        error.message,
        /the client portal asks for the topic price,.*the client catalog asks for the topic lineage,/,
      );
      assert.doesNotMatch(error.message, /changes|events|pri\*/);
      return true;
    });
  });

  it("lets in only who logs in, over TLS under names that its certificate has", async () => {
    const { seen, component } = await kafka();
    const [listener, ...others] = spec(seen).kafka.listeners;
    assert.deepEqual(others, []);
    assert.deepEqual([listener.port, listener.tls, listener.authentication], [9092, true, { type: "scram-sha-512" }]);
    const { brokerCertChainAndKey, useServiceDnsDomain = false } = listener.configuration;
    const certificate = only(seen, "kubernetes:cert-manager.io/v1:Certificate").inputs;
    assert.equal(brokerCertChainAndKey.secretName, certificate.spec.secretName);
    assert.deepEqual([brokerCertChainAndKey.certificate, brokerCertChainAndKey.key], ["tls.crt", "tls.key"]);
    const names: string[] = certificate.spec.dnsNames;
    // A star stands for one label: brokers must be named under it.
    assert.equal(useServiceDnsDomain, false);
    assert.ok(
      names.includes("*.kafka-kafka-brokers.data.svc"),
      "clients are sent on to brokers whose names the certificate lacks",
    );
    assert.ok(
      names.includes(await valueOf(component.bootstrap.host)),
      "the certificate lacks the name that clients call first",
    );
    for (const service of ["kafka-kafka-bootstrap", "kafka-service"]) {
      for (const suffix of ["", ".data", ".data.svc", ".data.svc.cluster.test"]) {
        assert.ok(names.includes(service + suffix), service + suffix);
      }
    }
  });

  it("shows a password in its own Secret alone, from which the operator takes it", async () => {
    const { seen } = await kafka();
    const secret = only(seen, "kubernetes:core/v1:Secret");
    assert.deepEqual(secret.inputs.stringData, { username: "catalog", password: "catalog-password" });
    const { metadata, spec: own } = user(seen, "catalog").inputs;
    assert.deepEqual(own.authentication.password.valueFrom.secretKeyRef, { name: "kafka-catalog", key: "password" });
    assert.match(metadata.annotations["checksum.254carbon.com/kafka-catalog"], /^[0-9a-f]{32}$/);
    const rest = JSON.stringify(seen.filter((one) => one !== secret).map(({ inputs }) => inputs));
    assert.doesNotMatch(rest, /catalog-password/);
  });

  it("has the operator make up the password of a client outside, in a Secret that no other system has", async () => {
    const { seen, component } = await kafka();
    assert.deepEqual(user(seen, "portal").inputs.spec.authentication, { type: "scram-sha-512" });
    assert.equal(spec(seen).entityOperator.userOperator.secretPrefix, "kafka-user-");
    assert.throws(() => component.login("portal"), /no user portal/);
  });

  it("hands a client its user, the address, and whom to trust", async () => {
    const { component } = await kafka();
    const { bootstrap, login, trust } = component.login("catalog");
    assert.equal(await valueOf(hostPort(bootstrap)), "kafka-kafka-bootstrap.data.svc:9092");
    assert.deepEqual([await valueOf(login.username), await valueOf(login.password)], ["catalog", "catalog-password"]);
    assert.equal(await pulumi.isSecret(login.password), true);
    assert.deepEqual(trust.volume, {
      secret: {
        secretName: "kafka-tls",
        items: [
          { key: "ca.crt", path: "ca.crt" },
          { key: "truststore.p12", path: "truststore.p12" },
        ],
      },
    });
  });

  it("lets a client start when its user and the topics stand", async () => {
    const { seen, component } = await kafka();
    const ready = await Promise.all(component.login("catalog").bootstrap.ready.map((one) => valueOf(one.urn)));
    const needed = [
      only(seen, `${STRIMZI}:Kafka`),
      ...all(seen, `${STRIMZI}:KafkaTopic`),
      user(seen, "catalog") as Registered,
    ];
    assert.deepEqual(ready.sort(), needed.map(({ urn }) => urn).sort());
    for (const one of needed) assert.equal(one.inputs.metadata.annotations["pulumi.com/waitFor"], "condition=Ready");
    assertOrder(seen, user(seen, "catalog"), only(seen, "kubernetes:core/v1:Secret"));
  });

  it("opens to each pod the ports that it needs: nodes, operators, the scraper and pods of clients", async () => {
    const { seen } = await kafka();
    assert.deepEqual(wires(seen), [
      // Brokers read their certificates from Secrets; the operators work on the API.
      "kafka -> kafka 9090,9091",
      "kafka -> kube-api 6443",
      "kafka-client-portal -> kafka 9092",
      "kafka-entity-operator -> kafka 9091",
      "kafka-entity-operator -> kube-api 6443",
      "prometheus -> kafka 9404",
      "prometheus -> strimzi-cluster-operator 8080",
      "strimzi-cluster-operator -> kafka 9090,9091,8443",
      "strimzi-cluster-operator -> kube-api 6443",
    ]);
    const { metadata, spec } = only(seen, POLICY, "kafka-ingress").inputs;
    assert.equal(metadata.namespace, "data");
    assert.deepEqual(spec.podSelector.matchLabels, {
      "strimzi.io/cluster": "kafka",
      "strimzi.io/broker-role": "true",
    });
  });

  it("lets in pods of clients that are called like a system of ours", async () => {
    const rights = { topics: { prices: ["Read"] }, pods: portal } as const;
    const { seen } = await kafka({ clients: { kafka: rights, prometheus: rights } });
    for (const client of ["kafka", "prometheus"]) {
      assert.ok(wires(seen).includes(`kafka-client-${client} -> kafka 9092`), client);
    }
  });

  it("watches its namespace alone, and leaves policies to the program", async () => {
    const { seen } = await kafka();
    const { namespace, values } = only(seen, "kubernetes:helm.sh/v3:Release").inputs;
    assert.equal(namespace, "operators");
    assert.deepEqual(values.watchNamespaces, ["data"]);
    assert.equal(values.generateNetworkPolicy, false);
  });

  it("keeps what it was given, whatever becomes of the program", async () => {
    const { seen } = await kafka();
    const { storage } = pool(seen);
    assert.deepEqual(
      storage.volumes.map((v: any) => [v.type, v.class, v.size, v.deleteClaim]),
      [["persistent-claim", "disk", "10Gi", false]],
    );
    const owners = ["Kafka", "KafkaNodePool", "KafkaTopic"].flatMap((kind) => all(seen, `${STRIMZI}:${kind}`));
    assert.equal(owners.length, 4);
    for (const { protect, name } of owners) assert.ok(protect, name);
    const { env } = spec(seen).entityOperator.template.topicOperatorContainer;
    assert.deepEqual(
      env,
      [{ name: "STRIMZI_USE_FINALIZERS", value: "false" }],
      "no topic outlives its operator for ever",
    );
  });

  it("leaves half of its memory to the page cache", async () => {
    const { jvmOptions } = pool((await kafka()).seen);
    assert.deepEqual(jvmOptions, { "-Xms": "1024m", "-Xmx": "1024m" });
  });

  it("runs pods that Pod Security restricted admits, with a size for every container", async () => {
    const { seen } = await kafka();
    const { template } = pool(seen);
    const { entityOperator } = spec(seen);
    for (const pod of [template.pod, entityOperator.template.pod]) {
      const { runAsNonRoot, seccompProfile } = pod.securityContext;
      assert.deepEqual([runAsNonRoot, seccompProfile.type], [true, "RuntimeDefault"]);
      assert.equal(pod.priorityClassName, "critical-services");
      assert.equal(pod.topologySpreadConstraints[0].whenUnsatisfiable, "ScheduleAnyway");
    }
    const { topicOperatorContainer, userOperatorContainer } = entityOperator.template;
    for (const { securityContext } of [template.kafkaContainer, topicOperatorContainer, userOperatorContainer]) {
      const { allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities } = securityContext;
      assert.deepEqual([allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities.drop], [false, true, ["ALL"]]);
    }
    for (const { resources } of [pool(seen), entityOperator.topicOperator, entityOperator.userOperator]) {
      assert.deepEqual(resources, {
        requests: { cpu: "500m", memory: "1Gi" },
        limits: { cpu: "1", memory: "2Gi" },
      });
    }
  });
});
