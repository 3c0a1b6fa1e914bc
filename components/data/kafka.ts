import { createHash } from "node:crypto";
import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, serverCertificate } from "../base/certificate";
import { connect, observe } from "../base/connect";
import {
  type ApiServer,
  type Endpoint,
  type KafkaAccess,
  type KafkaLogin,
  type PodIdentity,
  podsNamed,
  serviceEndpoint,
  serviceNames,
  type Trust,
} from "../base/endpoint";
import { objectName } from "../base/names";
import type { Offer } from "../base/offer";
import { type ContainerSize, resources, RESTRICTED } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { kafkaVersion } from "../base/versions";
import type { Volume } from "../base/volume";
import { absentTopics, acls } from "./kafka/access";
import { strimzi } from "./kafka/operator";

const CLIENT_PORT = 9092;
const AUTHENTICATION = "scram-sha-512";
// Strimzi's fixed ports: controllers, replication and administration, and the agent that reports a node's state.
const CONTROLLER_PORT = 9090;
const REPLICATION_PORT = 9091;
const AGENT_PORT = 8443;
const METRICS_PORT = 9404;
const POOL = "broker";
// The user of Strimzi's images.
const STRIMZI_UID = 1001;
const API_VERSION = "kafka.strimzi.io/v1";
// The brokers' old name, which clients may still use.
const LEGACY_NAME = "kafka-service";
const GIB = 1024 ** 3;
const SEGMENT_SHARE = 0.1;
const DAY_MS = 24 * 60 * 60 * 1000;
// Ten times Kafka's default, because DataHub's metadata exceeds 1 MB.
const MAX_MESSAGE_BYTES = 10 * 1024 * 1024;

/** The cleanup policy: delete old records, keep only the latest record of each key, or both. */
export type Cleanup = "delete" | "compact" | "compact,delete";

/** A topic of the platform. */
export interface KafkaTopic {
  readonly partitions: number;
  /** How long records are kept. With `cleanup` `compact` the latest record of each key is kept for ever. */
  readonly retentionDays: number;
  /** How large it may become, in all partitions of one copy: older records are deleted. @default no limit */
  readonly retentionGiB?: number | undefined;
  readonly cleanup: Cleanup;
}

/** A client of the cluster; its user has the same name. */
export interface KafkaClient extends KafkaAccess {
  /** Absent for a client outside the program: the operator generates one. */
  readonly password?: pulumi.Output<string>;
  /** Pods outside the program that act as this client and may reach the brokers. */
  readonly pods?: PodIdentity;
}

/** Inputs of {@link Kafka}. */
export interface KafkaArgs {
  /** Namespace of the cluster; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Namespace of Strimzi; it must exist. */
  readonly operatorNamespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  readonly authority: Authority;
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  /** Nodes, each both broker and controller: an odd number, since controllers need a majority. */
  readonly brokers: number;
  /** Size of one node; its heap is half of its memory. */
  readonly size: ContainerSize;
  readonly volume: Volume;
  readonly operatorSize: ContainerSize;
  /** Size of the topic operator's container and of the user operator's. */
  readonly entityOperatorSize: ContainerSize;
  readonly topics: Readonly<Record<string, KafkaTopic>>;
  readonly clients: Readonly<Record<string, KafkaClient>>;
  readonly metrics: Metrics;
  /** Refuses to delete or replace the cluster and its topics. */
  readonly protect: boolean;
}

/** Kafka managed by Strimzi: one cluster without ZooKeeper, its topics, and a user with its own rights per client. */
export class Kafka<Client extends string = string> extends pulumi.ComponentResource {
  /** The bootstrap Service. */
  readonly bootstrap: Endpoint<"kafka">;
  readonly offers: Offer;
  /** Names of the platform's topics. */
  readonly topics: readonly string[];
  private readonly logins = new Map<string, KafkaLogin>();

  constructor(
    name: string,
    args: KafkaArgs & { readonly clients: Readonly<Partial<Record<Client, KafkaClient>>> },
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:Kafka", name, {}, opts);
    const { namespace, kubeApi, topics, clients, protect }: KafkaArgs = args;
    refuseAbsentTopics(this, clients, Object.keys(topics));
    const nodes: PodIdentity = {
      name,
      namespace,
      matchLabels: { "strimzi.io/cluster": name, "strimzi.io/broker-role": "true" },
      serviceAccount: `${name}-kafka`,
    };
    const entityOperator = entityOperatorPods(name, namespace);
    const upkeep = {
      kind: "pods",
      server: nodes,
      ports: [{ port: REPLICATION_PORT }],
      why: "administration",
    } as const;
    const inside = { ...upkeep, ports: [{ port: CONTROLLER_PORT }, { port: REPLICATION_PORT }] };

    const operator = strimzi(this, {
      namespace: args.operatorNamespace,
      watched: namespace,
      chartDirectory: args.chartDirectory,
      size: args.operatorSize,
      talksTo: [kubeApi, { ...inside, ports: [...inside.ports, { port: AGENT_PORT }] }],
      metrics: args.metrics,
    });
    const wires = [
      // They read their certificates from Secrets through the API.
      ...connect(this, { from: nodes, talksTo: [kubeApi, { ...inside, why: "replication" }] }),
      ...connect(this, { from: entityOperator, talksTo: [kubeApi, upkeep] }),
    ];
    const certificate = serverCertificate(
      name,
      { namespace, authority: args.authority, dnsNames: dnsNames(name, args) },
      { parent: this },
    );
    const pool = new k8s.apiextensions.CustomResource(
      `${name}-${POOL}`,
      {
        apiVersion: API_VERSION,
        kind: "KafkaNodePool",
        metadata: { name: POOL, namespace, labels: { "strimzi.io/cluster": name } },
        spec: poolSpec(name, args),
      },
      { parent: this, protect, dependsOn: operator },
    );
    const cluster = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: API_VERSION,
        kind: "Kafka",
        metadata: { name, namespace, annotations: { "pulumi.com/waitFor": "condition=Ready" } },
        spec: clusterSpec(name, args, certificate.secretName),
      },
      { parent: this, protect, dependsOn: [pool, certificate.resource, ...wires] },
    );
    scrape(this, { pods: nodes, port: { name: "tcp-prometheus", number: METRICS_PORT }, by: args.metrics });

    const made: Made = { name, namespace, cluster, trust: certificate.trust };
    const topicsMade = Object.entries(topics).map(([topic, spec]) => this.makeTopic(made, topic, spec, args));
    this.topics = Object.keys(topics);
    this.bootstrap = serviceEndpoint("kafka", CLIENT_PORT, {
      service: bootstrapService(name),
      trust: certificate.trust,
      auth: AUTHENTICATION,
      server: nodes,
      ready: [cluster, ...topicsMade],
    });
    for (const [client, { pods, ...access }] of Object.entries(clients)) {
      this.makeUser(made, client, access);
      // A name of its own: the client may be called like a system of ours.
      if (pods !== undefined) observe(this, { ...pods, name: objectName(name, "client", client) }, this.bootstrap);
    }
    this.offers = {
      endpoints: { bootstrap: this.bootstrap },
      legacyNames: { [LEGACY_NAME]: [this.bootstrap] },
      alerts: [path.join(__dirname, "kafka.alerts.yaml")],
    };
    this.registerOutputs();
  }

  private makeTopic(
    made: Made,
    topic: string,
    { partitions, retentionDays, retentionGiB, cleanup }: KafkaTopic,
    args: KafkaArgs,
  ): pulumi.Resource {
    const object = topicObject(topic);
    return new k8s.apiextensions.CustomResource(
      `${made.name}-${topic}`,
      {
        apiVersion: API_VERSION,
        kind: "KafkaTopic",
        metadata: { name: object, ...partOf(made) },
        spec: {
          ...(object !== topic && { topicName: topic }),
          partitions,
          replicas: replication(args).factor,
          config: {
            "cleanup.policy": cleanup,
            "retention.ms": retentionDays * DAY_MS,
            ...(retentionGiB !== undefined && sizeLimit(retentionGiB, partitions)),
          },
        },
      },
      // Deleting a KafkaTopic would delete its records, which `destroy` keeps.
      { parent: this, protect: args.protect, retainOnDelete: true, dependsOn: made.cluster },
    );
  }

  private makeUser(made: Made, client: string, { password, ...access }: Omit<KafkaClient, "pods">): void {
    const { name, namespace, cluster, trust } = made;
    const secret =
      password &&
      envSecret(
        objectName(name, client),
        { namespace, type: "kubernetes.io/basic-auth", data: { username: client, password } },
        { parent: this },
      );
    const { annotations, ...metadata } = partOf(made);
    const user = new k8s.apiextensions.CustomResource(
      `${name}-${client}-user`,
      {
        apiVersion: API_VERSION,
        kind: "KafkaUser",
        metadata: {
          name: client,
          ...metadata,
          annotations: {
            ...annotations,
            // Makes the operator notice a new password immediately.
            ...(secret && { [`checksum.254carbon.com/${secret.name}`]: secret.checksum }),
          },
        },
        spec: {
          authentication: {
            type: AUTHENTICATION,
            ...(secret && { password: { valueFrom: { secretKeyRef: { name: secret.name, key: "password" } } } }),
          },
          authorization: { type: "simple", acls: acls(access) },
        },
      },
      { parent: this, dependsOn: [cluster, ...(secret ? [secret.resource] : [])] },
    );
    if (password === undefined) return;
    this.logins.set(client, {
      bootstrap: { ...this.bootstrap, ready: [...this.bootstrap.ready, user] },
      login: { username: pulumi.output(client), password },
      trust,
    });
  }

  /** The cluster and the user of a client. */
  login(client: Client): KafkaLogin {
    const login = this.logins.get(client);
    if (login === undefined) throw new Error(`Kafka has no user ${client}`);
    return login;
  }
}

/** The cluster, as topics and users are made in it. */
interface Made {
  readonly name: string;
  readonly namespace: pulumi.Input<string>;
  readonly cluster: pulumi.Resource;
  readonly trust: Trust;
}

function partOf({ name, namespace }: Made) {
  return {
    namespace,
    labels: { "strimzi.io/cluster": name },
    annotations: { "pulumi.com/waitFor": "condition=Ready" },
  };
}

function entityOperatorPods(cluster: string, namespace: pulumi.Input<string>): PodIdentity {
  const name = `${cluster}-entity-operator`;
  return podsNamed(name, namespace, { "strimzi.io/cluster": cluster, "strimzi.io/name": name });
}

function bootstrapService(name: string): string {
  return `${name}-kafka-bootstrap`;
}

function dnsNames(name: string, { namespace, clusterDomain }: KafkaArgs): pulumi.Input<string>[] {
  // The last one names each broker, as they tell clients to go on.
  return [bootstrapService(name), LEGACY_NAME, `*.${name}-kafka-brokers`].flatMap((service) =>
    serviceNames(service, namespace, clusterDomain),
  );
}

function refuseAbsentTopics(kafka: pulumi.Resource, clients: KafkaArgs["clients"], topics: readonly string[]): void {
  const faults = Object.entries(clients).flatMap(([client, access]) =>
    absentTopics(access, topics).map((topic) => `the client ${client} asks for the topic ${topic}, which nobody makes`),
  );
  if (faults.length > 0) throw new pulumi.ResourceError(`${faults.join("; ")}; add it to kafka.topics`, kafka, true);
}

/** The GiB that topics with a size limit may take on each node's volume. */
export function limitedGiB({ topics, brokers }: Pick<KafkaArgs, "topics" | "brokers">): number {
  const all = Object.values(topics).reduce((sum, { retentionGiB = 0 }) => sum + retentionGiB, 0);
  return (all * (1 + SEGMENT_SHARE) * replication({ brokers }).factor) / brokers;
}

// Only whole segments are deleted, so that a partition exceeds its limit by up to one. A segment has room for the largest record.
function sizeLimit(retentionGiB: number, partitions: number): Readonly<Record<string, number>> {
  const bytes = Math.floor((retentionGiB * GIB) / partitions);
  const segment = Math.max(2 * MAX_MESSAGE_BYTES, Math.floor(bytes * SEGMENT_SHARE));
  return { "retention.bytes": bytes, "segment.bytes": Math.min(segment, GIB) };
}

/** Name of a topic's object; a topic may have capitals and underscores, which the name of an object may not. */
function topicObject(topic: string): string {
  if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(topic)) return topic;
  const hash = createHash("sha256").update(topic).digest("hex").slice(0, 6);
  return `${topic
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")}-${hash}`;
}

// Three copies with two in sync for a write; with fewer nodes, as many as there are.
function replication({ brokers }: Pick<KafkaArgs, "brokers">): { readonly factor: number; readonly inSync: number } {
  return { factor: Math.min(brokers, 3), inSync: Math.min(brokers, 2) };
}

function poolSpec(name: string, { brokers, size, volume }: KafkaArgs): object {
  const heap = `${Math.floor(size.memoryMiB.limit / 2)}m`;
  return {
    replicas: brokers,
    roles: ["controller", "broker"],
    resources: resources(size),
    // The other half is the page cache, from which brokers serve recent records.
    jvmOptions: { "-Xms": heap, "-Xmx": heap },
    storage: {
      type: "jbod",
      volumes: [
        {
          id: 0,
          type: "persistent-claim",
          class: volume.storageClass,
          size: `${volume.sizeGiB}Gi`,
          kraftMetadata: "shared",
          deleteClaim: false,
        },
      ],
    },
    template: {
      // Rules select series by these two labels.
      pod: pod(`${name}-kafka`, { app: name, component: POOL }),
      kafkaContainer: { securityContext: RESTRICTED },
    },
  };
}

function clusterSpec(name: string, args: KafkaArgs, certificateSecret: string): object {
  const { factor, inSync } = replication(args);
  const brokerCertChainAndKey = { secretName: certificateSecret, certificate: "tls.crt", key: "tls.key" };
  const operatorContainer = { resources: resources(args.entityOperatorSize) };
  return {
    kafka: {
      version: kafkaVersion,
      listeners: [
        {
          name: "clients",
          port: CLIENT_PORT,
          type: "internal",
          tls: true,
          authentication: { type: AUTHENTICATION },
          configuration: { brokerCertChainAndKey },
        },
      ],
      // Without a rule nothing is allowed; Strimzi's own users have certificates.
      authorization: { type: "simple" },
      config: {
        "auto.create.topics.enable": false,
        "default.replication.factor": factor,
        "min.insync.replicas": inSync,
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": inSync,
        "message.max.bytes": MAX_MESSAGE_BYTES,
      },
      metricsConfig: { type: "strimziMetricsReporter" },
    },
    entityOperator: {
      topicOperator: operatorContainer,
      // A user's Secret has the user's name: the prefix distinguishes it from the systems' own Secrets.
      userOperator: { ...operatorContainer, secretPrefix: `${name}-user-` },
      template: {
        pod: pod(`${name}-entity-operator`),
        topicOperatorContainer: {
          securityContext: RESTRICTED,
          // With finalizers a KafkaTopic could not be deleted after the operator: `destroy` would wait for ever.
          env: [{ name: "STRIMZI_USE_FINALIZERS", value: "false" }],
        },
        userOperatorContainer: { securityContext: RESTRICTED },
      },
    },
  };
}

function pod(workload: string, labels?: Readonly<Record<string, string>>): object {
  return {
    ...(labels && { metadata: { labels } }),
    priorityClassName: "critical-services",
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: STRIMZI_UID,
      fsGroup: STRIMZI_UID,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: "kubernetes.io/hostname",
        whenUnsatisfiable: "ScheduleAnyway",
        labelSelector: { matchLabels: { "strimzi.io/name": workload } },
      },
    ],
  };
}
