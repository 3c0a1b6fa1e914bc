import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { ROOT, stackConfig } from "../../rehearsal/program/evaluate";
import { exported, fixture } from "../support/metrics";
import { TENANTS } from "../support/tenants";
import { outsideCertificate } from "./harness/certificates";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Attempt, ClientSettings, Kafka } from "./harness/kafka";

const OK = "OK";
const TOPIC = "TOPIC_AUTHORIZATION_FAILED";
const GROUP = "GROUP_AUTHORIZATION_FAILED";
const TRANSACTION = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
// Who may write to no topic at all is already refused the number that makes writes exactly one.
const NO_TOPIC = "CLUSTER_AUTHORIZATION_FAILED";

// How this library calls a connection that the server ends.
const CLOSED = "_ALL_BROKERS_DOWN";

describe("Kafka", () => {
  let cluster: Cluster;
  let kafka: Kafka;
  before(async () => {
    cluster = await theCluster();
    kafka = await cluster.kafka();
  });

  it("knows every setting of the program", async () => {
    const { config } = cluster.program.object("kafka", "Kafka")["spec"].kafka;
    const [found = {}] = await kafka.describe({ type: "BROKER", name: "0" });
    assert.deepEqual(kept(config, found), texts(config));
  });

  it("takes every topic with its settings", async () => {
    const topics = cluster.program.all("KafkaTopic");
    const names = topics.map(({ metadata, spec }) => spec.topicName ?? metadata.name);
    const found = await kafka.describe(...names.map((name) => ({ type: "TOPIC" as const, name })));
    assert.ok(topics.length >= 10, "fewer than ten topics are rendered");
    topics.forEach(({ spec }, index) => {
      assert.deepEqual(kept(spec.config, found[index] ?? {}), texts(spec.config));
    });
  });

  it("shows Prometheus each metric that alerts and panels may name", async () => {
    const real = exported(await (await fetch(`http://${kafka.address}:9404/metrics`)).text());
    const named = [...fixture("kafka").keys()];
    assert.ok(named.length > 0, "the fixture holds no metric");
    assert.deepEqual(
      named.filter((metric) => !real.has(metric)),
      [],
    );
  });

  it("lets each system do its work, and nothing else", async () => {
    const [datahub, ingestion, trino] = ["datahub", "ingestion", "trino"].map((name) => kafka.user(name));
    assert.ok(datahub && ingestion && trino, "dev has not all clients");
    const [own, platform] = ["MetadataChangeProposal_v1", "data-ingestion"];
    // DataHub makes its topics; the others are made by then.
    await expect([[datahub, "create", own], OK], [[datahub, "create", "another"], TOPIC]);
    await expect(
      [[datahub, "produce", own], OK],
      [[datahub, "consume", own, "generic-mae-consumer-job-client"], OK],
      [[datahub, "consume", own, "price-desk"], GROUP],
      [[datahub, "produce", platform], TOPIC],
      [[datahub, "read", platform], TOPIC],
      [[ingestion, "describe", platform], OK],
      [[ingestion, "describe", own], OK],
      [[ingestion, "read", platform], TOPIC],
      [[ingestion, "produce", platform], NO_TOPIC],
      [[trino, "read", platform], OK],
      [[trino, "describe", platform], OK],
      [[trino, "produce", platform], NO_TOPIC],
      [[trino, "consume", platform, "trino"], GROUP],
      [[trino, "read", own], TOPIC],
      [[trino, "delete", platform], TOPIC],
    );
  });

  it("refuses who comes without TLS, without its CA or without the password", async () => {
    const [trino, datahub] = [kafka.user("trino"), kafka.user("datahub")];
    await expect(
      [[trino, "connect"], OK],
      [[{ ...trino, "security.protocol": "sasl_plaintext" }, "connect"], CLOSED],
      [[{ ...trino, "security.protocol": "ssl" }, "connect"], CLOSED],
      [[{ ...trino, "ssl.ca.pem": outsideCertificate("another").cert.toString() }, "connect"], "_SSL"],
      [[{ ...trino, "sasl.password": "wrong" }, "connect"], "_AUTHENTICATION"],
      [[{ ...trino, "sasl.username": "nobody" }, "connect"], "_AUTHENTICATION"],
      [[{ ...trino, "sasl.password": datahub["sasl.password"] ?? "" }, "connect"], "_AUTHENTICATION"],
      [[{ ...trino, "sasl.mechanism": "PLAIN" }, "connect"], "_AUTHENTICATION"],
    );
  });

  it("lets tenants use the topic that they were granted, and a client do what docs/kafka.md declares", async () => {
    const { kafka: config, postgres } = stackConfig("dev");
    assert.ok(config && postgres !== undefined && postgres.kind !== "external", "dev has no Kafka or no PostgreSQL");
    const [{ kafka: topic }, { kafka: client }] = documented("kafka.md");
    const tenants = Object.fromEntries(
      Object.entries(TENANTS).map(([name, tenant]) => [
        name,
        { ...tenant, uses: tenant.uses.filter(({ kind }) => kind === "topic") },
      ]),
    );
    const program = await cluster.program.with("dev", {
      tenants,
      kafka: { ...config, topics: { ...config.topics, ...topic.topics }, clients: client.clients },
    });
    await kafka.follow(program);
    const login = (tenant: string): ClientSettings => {
      const secret = program.data("Secret", "topic-data-ingestion", tenant);
      return { "sasl.username": secret["username"] ?? "", "sasl.password": secret["password"] ?? "" };
    };
    const [pricing, trading, desk] = [login("pricing"), login("trading"), kafka.user("price-desk")];
    const [granted, other, corrections] = ["data-ingestion", "data-quality", "price-corrections"];
    await expect(
      [[pricing, "produce", granted], OK],
      [[pricing, "consume", granted, "pricing.desk"], OK],
      [[pricing, "transact", granted, "pricing.desk"], OK],
      [[pricing, "consume", granted, "trading.desk"], GROUP],
      [[pricing, "transact", granted, "trading.desk"], TRANSACTION],
      [[pricing, "produce", other], TOPIC],
      [[pricing, "read", other], TOPIC],
      [[pricing, "delete", granted], TOPIC],
      [[trading, "consume", granted, "trading.desk"], OK],
      [[trading, "produce", granted], NO_TOPIC],
      [[trading, "transact", granted, "trading.desk"], TRANSACTION],
      [[trading, "read", other], TOPIC],
      [[desk, "produce", corrections], OK],
      [[desk, "consume", corrections, "price-desk"], OK],
      [[desk, "transact", corrections, "price-desk-1"], OK],
      [[desk, "produce", "audit-api-calls"], OK],
      [[desk, "read", "audit-api-calls"], TOPIC],
      [[desk, "consume", corrections, "price-desk-2"], GROUP],
      [[desk, "produce", granted], TOPIC],
    );
  });

  /** Tries all at once, and compares what Kafka answers. */
  async function expect(...cases: [Attempt, string][]): Promise<void> {
    const found = await kafka.attempt(...cases.map(([attempt]) => attempt));
    const named = (answers: readonly string[]): string[] =>
      cases.map(([[client, ...what]], index) => [client["sasl.username"], ...what, answers[index]].join(" "));
    assert.deepEqual(named(found), named(cases.map(([, expected]) => expected)));
  }

  /** The examples of a document, in YAML. */
  function documented(file: string): any[] {
    const text = fs.readFileSync(path.join(ROOT, "docs", file), "utf8");
    return [...text.matchAll(/^```yaml\n(.*?)^```/gms)].map(([, example = ""]) => parse(example));
  }

  function texts(config: object): object {
    return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]));
  }

  function kept(config: object, found: Record<string, string | null>): object {
    return Object.fromEntries(Object.keys(config).map((key) => [key, found[key]]));
  }
});
