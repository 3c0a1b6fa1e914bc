import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { ensureKafka } from "../../../rehearsal/software/kafka";
import { ensureVenv } from "../../../rehearsal/software/venvs";
import { issuedAs } from "./certificates";
import { eventually } from "./eventually";
import type { Site } from "./pod";
import type { Program } from "./program";
import { python } from "./python";
import { type ExecOptions, Sandbox } from "./sandbox";

const UID = 1001; // the user of Strimzi's images
// Where its image has the libraries and finds what the operator writes.
const LIBRARIES = "/opt/kafka/libs";
const SETTINGS = "/opt/kafka/custom-config";
// The operators' own listeners, on which a certificate is the login.
const CONTROL = { name: "CONTROLPLANE-9090", port: 9090 };
const REPLICATION = { name: "REPLICATION-9091", port: 9091 };

// Of the metrics that Strimzi allows unless it is told which, those that the program may name.
const ALLOWED = ["kafka_server_replicamanager.*"];

const ADMIN = `
import concurrent.futures
from confluent_kafka import admin
client = admin.AdminClient(input["operator"])
`;

// What the topic operator and the user operator ask of the broker.
const OPERATE = `${ADMIN}
def wait(futures):
    for future in concurrent.futures.as_completed(futures.values(), timeout=60):
        future.result()
present = client.list_topics(timeout=10).topics
topics = [topic for topic in input["topics"] if topic["topic"] not in present]
if topics:
    wait(client.create_topics([admin.NewTopic(**topic) for topic in topics]))
scram = admin.ScramCredentialInfo(admin.ScramMechanism.SCRAM_SHA_512, 4096)
wait(client.alter_user_scram_credentials([
    admin.UserScramCredentialUpsertion(user["name"], scram, user["password"].encode()) for user in input["users"]
]))
types = {"topic": "TOPIC", "group": "GROUP", "transactionalId": "TRANSACTIONAL_ID"}
patterns = {"literal": "LITERAL", "prefix": "PREFIXED"}
operations = {"DescribeConfigs": "DESCRIBE_CONFIGS", "AlterConfigs": "ALTER_CONFIGS"}
wait(client.create_acls([
    admin.AclBinding(
        admin.ResourceType[types[rule["resource"]["type"]]],
        rule["resource"]["name"],
        admin.ResourcePatternType[patterns[rule["resource"]["patternType"]]],
        "User:" + user["name"],
        "*",
        admin.AclOperation[operations.get(operation, operation.upper())],
        admin.AclPermissionType.ALLOW,
    )
    for user in input["users"] for rule in user["acls"] for operation in rule["operations"]
]))
print(json.dumps(None))
`;

const DESCRIBE = `${ADMIN}
resources = [admin.ConfigResource(admin.ResourceType[one["type"]], one["name"]) for one in input["resources"]]
found = client.describe_configs(resources)
print(json.dumps([
    # What the broker does not know, it shows without its value.
    {entry.name: entry.value for entry in found[resource].result(30).values() if not entry.is_default}
    for resource in resources
]))
`;

// Each attempt is a client of its own, as a program that tries this alone.
const ATTEMPT = `
import concurrent.futures
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition, admin

def connect(base):
    faults = []
    client = Producer({**base, "error_cb": faults.append})
    while not faults:
        try:
            client.list_topics(timeout=1)
            return
        except KafkaException:
            client.poll(0.1)
    raise KafkaException(faults[0])

def produce(base, topic):
    faults = []
    producer = Producer({**base, "enable.idempotence": True, "message.timeout.ms": 30000})
    producer.produce(topic, b"1", b"key", partition=0, on_delivery=lambda fault, _: faults.append(fault))
    producer.flush(30)
    if faults[0]:
        raise KafkaException(faults[0])

def poll(consumer, passed=()):
    while True:
        message = consumer.poll(30)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if not message.error() or message.error().name() == "_PARTITION_EOF":
            return
        if message.error().name() not in passed:
            raise KafkaException(message.error())

def read(base, topic):
    # This library asks for the group although nobody joins it.
    consumer = Consumer({**base, "group.id": "none", "enable.partition.eof": True})
    fault = consumer.list_topics(topic, 30).topics[topic].error
    if fault:
        raise KafkaException(fault)
    consumer.assign([TopicPartition(topic, 0, 0)])
    poll(consumer, ["GROUP_AUTHORIZATION_FAILED"])

def consume(base, topic, group):
    consumer = Consumer({**base, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    poll(consumer)
    consumer.commit(asynchronous=False)
    consumer.close()

def transact(base, topic, identity):
    producer = Producer({**base, "transactional.id": identity})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"1", b"key", partition=0)
    producer.commit_transaction(30)

def create(base, topic):
    client = admin.AdminClient(base)
    client.create_topics([admin.NewTopic(topic, 1, 1)])[topic].result(30)

def delete(base, topic):
    client = admin.AdminClient(base)
    client.delete_topics([topic])[topic].result(30)

def describe(base, topic):
    client = admin.AdminClient(base)
    [future] = client.describe_configs([admin.ConfigResource(admin.ResourceType.TOPIC, topic)]).values()
    future.result(30)

def outcome(attempt):
    user, action, *what = attempt
    try:
        globals()[action]({**input["client"], **user}, *what)
        return "OK"
    except KafkaException as error:
        return error.args[0].name()

with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(outcome, input["attempts"]))))
`;

/** Settings of a client, as librdkafka names them, which replace those of a user who may come in. */
export type ClientSettings = Readonly<Record<string, string>>;

/** What a client tries: its settings, what it does, with which topic, and by which name of a group or transactions. */
export type Attempt = readonly [
  client: ClientSettings,
  action: "connect" | "produce" | "read" | "consume" | "transact" | "create" | "delete" | "describe",
  ...what: string[],
];

/** A node of Kafka, as Strimzi makes one from a Kafka, its node pool, its topics and its users. */
export class Kafka {
  private readonly passwords = new Map<string, string>();

  private constructor(
    /** Its address among the pods. */
    readonly address: string,
    private readonly server: Sandbox,
    /** The user operator's settings, which let it do anything. */
    readonly operator: ClientSettings,
    /** What its clients trust, in PEM. */
    private readonly ca: string,
  ) {}

  /**
   * Starts the node of a cluster with all topics and users of the program.
   *
   * @param publish gives the pod its names, before it looks for them.
   */
  static async start(site: Site, name: string, publish: (pod: string, address: string) => void): Promise<Kafka> {
    const { metadata, spec } = site.program.object(name, "Kafka");
    const pool = poolOf(site.program, name);
    const pod = `${name}-${pool.metadata.name}-0`;
    const address = site.join(pod);
    publish(pod, address);
    const host = `${pod}.${name}-kafka-brokers.${metadata.namespace}.svc`;
    const [{ id }] = pool["spec"].storage.volumes;
    const volumes = path.join(site.scratch, "volumes", pod);
    const [settings, data] = [path.join(volumes, "settings"), path.join(volumes, "data")];
    for (const directory of [settings, data]) fs.mkdirSync(directory, { recursive: true });
    fs.chownSync(data, UID, UID);
    identify(settings, name, host);
    const properties = {
      ...settingsOf(site.program, name, host, settings),
      "log.dirs": `/var/lib/kafka/data-${id}/kafka-log0`,
    };
    const lines = Object.entries(properties).map(([key, value]) => `${key}=${value.replaceAll("\n", "\\n")}\n`);
    fs.writeFileSync(path.join(settings, "server.config"), lines.join(""));
    const venv = await ensureVenv("datahub", () => undefined); // its client is the tests', too
    const java = fs.readdirSync("/etc").filter((directory) => /^java-\d+-openjdk$/.test(directory));
    const scratch = path.join(site.scratch, "containers", pod, "kafka");
    fs.mkdirSync(scratch, { recursive: true });
    const heap = Object.entries(pool["spec"].jvmOptions).map(([option, value]) => `${option}${String(value)}`);
    const run = `java -cp '${LIBRARIES}/*' -Dorg.apache.logging.log4j.level=INFO`;
    const cluster = randomBytes(16).toString("base64url");
    const server = Sandbox.start({
      name: pod,
      pod,
      command: [
        "sh",
        "-ec",
        `${run} kafka.tools.StorageTool format -t=${cluster} -c=${SETTINGS}/server.config -g
        exec ${run} ${heap.join(" ")} kafka.Kafka ${SETTINGS}/server.config`,
      ],
      env: { PATH: `${venv.directory}/bin:/usr/bin:/bin`, HOME: "/tmp", LC_ALL: "C.UTF-8" },
      uid: UID,
      pieces: [
        { kind: "ro", source: await ensureKafka(() => undefined), target: LIBRARIES },
        { kind: "ro", source: settings, target: SETTINGS },
        { kind: "rw", source: data, target: `/var/lib/kafka/data-${id}` },
        { kind: "tmpfs", target: "/tmp", options: "mode=1777" },
        ...[venv.directory, venv.base, ...java.map((directory) => `/etc/${directory}`)].map(
          (source) => ({ kind: "ro", source, target: source }) as const,
        ),
      ],
      scratch,
      log: path.join(site.logs, `${pod}.kafka.log`),
      hosts: site.hosts,
    });
    const operator = {
      "bootstrap.servers": `${host}:${REPLICATION.port}`,
      "security.protocol": "ssl",
      "ssl.ca.pem": fs.readFileSync(path.join(settings, "node.crt"), "utf8"),
      "ssl.certificate.location": `${SETTINGS}/operator.crt`,
      "ssl.key.location": `${SETTINGS}/operator.key`,
    };
    const kafka = new Kafka(address, server, operator, certificateOf(site.program, spec)["ca.crt"] ?? "");
    await kafka.ready();
    await kafka.follow(site.program);
    return kafka;
  }

  /** Does what the operators do when topics and users change; what goes is left as it is. */
  async follow(program: Program): Promise<void> {
    const topics = program.all("KafkaTopic").map(({ metadata, spec }) => ({
      topic: spec.topicName ?? metadata.name,
      num_partitions: spec.partitions,
      replication_factor: spec.replicas,
      config: Object.fromEntries(Object.entries(spec.config).map(([key, value]) => [key, String(value)])),
    }));
    const users = program.all("KafkaUser").map(({ metadata: { name }, spec }) => {
      const secret = spec.authentication.password?.valueFrom.secretKeyRef;
      const password = secret ? program.data("Secret", secret.name)[secret.key] : undefined;
      this.passwords.set(name, password ?? this.passwords.get(name) ?? randomBytes(16).toString("hex"));
      return { name, password: this.passwords.get(name), acls: spec.authorization.acls };
    });
    await python(this, OPERATE, { operator: this.operator, topics, users });
  }

  /** The settings of brokers or topics that somebody set, with the values that hold. */
  describe(
    ...resources: readonly { type: "BROKER" | "TOPIC"; name: string }[]
  ): Promise<Record<string, string | null>[]> {
    return python(this, DESCRIBE, { operator: this.operator, resources });
  }

  /** The login of a user that the program declares. */
  user(name: string): ClientSettings {
    const password = this.passwords.get(name);
    if (password === undefined) throw new Error(`the program declares no KafkaUser ${name}`);
    return { "sasl.username": name, "sasl.password": password };
  }

  /** Tries everything at once over the clients' listener; of each: `OK`, or the name of Kafka's error. */
  attempt(...attempts: readonly Attempt[]): Promise<string[]> {
    const client = {
      "bootstrap.servers": "kafka-kafka-bootstrap.data-platform.svc.cluster.local:9092",
      "security.protocol": "sasl_ssl",
      "ssl.ca.pem": this.ca,
      "sasl.mechanism": "SCRAM-SHA-512",
    };
    return python(this, ATTEMPT, { client, attempts });
  }

  /** Runs a command beside the server. */
  exec(command: readonly string[], options?: ExecOptions): Promise<string> {
    return this.server.exec(command, options);
  }

  private ready(): Promise<void> {
    return eventually(
      60,
      async () => {
        await this.describe({ type: "BROKER", name: "0" });
      },
      () => {
        this.server.assertRunning();
      },
    );
  }
}

/** The settings that Strimzi makes from a cluster, its listeners and its node pool, for its only node. */
function settingsOf(program: Program, name: string, host: string, directory: string): Record<string, string> {
  const { kafka } = program.object(name, "Kafka")["spec"];
  const read = (file: string): string => fs.readFileSync(path.join(directory, file), "utf8");
  const listeners = kafka.listeners.map((listener: any) => ({
    ...listener,
    name: `${listener.name}-${listener.port}`.toUpperCase(),
  }));
  const all = [CONTROL, REPLICATION, ...listeners];
  const users = [`${name}-kafka`, `${name}-entity-topic-operator`, `${name}-entity-user-operator`, "cluster-operator"];
  const { "tls.crt": chain, "tls.key": key } = certificateOf(program, { kafka });
  return {
    "node.id": "0",
    "process.roles": poolOf(program, name)["spec"].roles.join(","),
    "controller.listener.names": CONTROL.name,
    "controller.quorum.voters": `0@${host}:${CONTROL.port}`,
    listeners: all.map((one) => `${one.name}://0.0.0.0:${one.port}`).join(","),
    "advertised.listeners": all.map((one) => `${one.name}://${host}:${one.port}`).join(","),
    "listener.security.protocol.map": all.map((one) => `${one.name}:${protocolOf(one)}`).join(","),
    "inter.broker.listener.name": REPLICATION.name,
    "sasl.enabled.mechanisms": "",
    "ssl.endpoint.identification.algorithm": "HTTPS",
    ...Object.assign(
      {},
      ...[CONTROL, REPLICATION].map((one) =>
        ofListener(one.name, {
          "ssl.truststore.certificates": `${read("node.crt")}${read("operator.crt")}`,
          "ssl.truststore.type": "PEM",
          "ssl.keystore.certificate.chain": read("node.crt"),
          "ssl.keystore.key": read("node.key"),
          "ssl.keystore.type": "PEM",
          "ssl.client.auth": "required",
        }),
      ),
      ...listeners.map((one: any) =>
        ofListener(one.name, {
          ...(one.authentication?.type === "scram-sha-512" && {
            "scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
          }),
          ...(one.tls && {
            "ssl.keystore.certificate.chain": chain ?? "",
            "ssl.keystore.key": key ?? "",
            "ssl.keystore.type": "PEM",
          }),
        }),
      ),
    ),
    ...(kafka.authorization?.type === "simple" && {
      "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
      "super.users": users.map((user) => `User:CN=${user},O=io.strimzi`).join(";"),
    }),
    ...(kafka.metricsConfig?.type === "strimziMetricsReporter" && {
      "metric.reporters": "io.strimzi.kafka.metrics.KafkaPrometheusMetricsReporter",
      "kafka.metrics.reporters": "io.strimzi.kafka.metrics.YammerPrometheusMetricsReporter",
      "prometheus.metrics.reporter.listener": "http://:9404",
      "prometheus.metrics.reporter.allowlist": (kafka.metricsConfig.values?.allowList ?? ALLOWED).join(","),
    }),
    ...Object.fromEntries(Object.entries(kafka.config).map(([setting, value]) => [setting, String(value)])),
  };
}

function ofListener(name: string, settings: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [`listener.name.${name.toLowerCase()}.${key}`, value]),
  );
}

function protocolOf({ tls = true, authentication }: any): string {
  return `${authentication?.type === "scram-sha-512" ? "SASL_" : ""}${tls ? "SSL" : "PLAINTEXT"}`;
}

function poolOf(program: Program, cluster: string) {
  const [pool] = program
    .all("KafkaNodePool")
    .filter(({ metadata }) => metadata.labels?.["strimzi.io/cluster"] === cluster);
  if (pool === undefined) throw new Error(`the program renders no KafkaNodePool of ${cluster}`);
  return pool;
}

/** What cert-manager puts into the Secret that the clients' listener names. */
function certificateOf(program: Program, { kafka }: any): Record<string, string> {
  const [{ configuration }] = kafka.listeners;
  const { secretName } = configuration.brokerCertChainAndKey;
  const issued = issuedAs(secretName, program);
  if (issued === undefined) throw new Error(`no Certificate makes the Secret ${secretName}`);
  return Object.fromEntries(Object.entries(issued).map(([file, content]) => [file, content.toString()]));
}

/** Writes the certificates of Strimzi's own CA, here each its own: the node's and the user operator's. */
function identify(directory: string, cluster: string, host: string): void {
  const names = { node: `${cluster}-kafka`, operator: `${cluster}-entity-user-operator` };
  for (const [file, name] of Object.entries(names)) {
    const subject = ["-subj", `/O=io.strimzi/CN=${name}`, "-addext", `subjectAltName=DNS:${host}`];
    const output = ["-keyout", `${file}.key`, "-out", `${file}.crt`];
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", ...subject, ...output], {
      cwd: directory,
      stdio: "ignore",
    });
    fs.chownSync(path.join(directory, `${file}.key`), UID, UID);
  }
}
