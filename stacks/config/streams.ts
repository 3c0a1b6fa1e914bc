import { z } from "zod";
import { limitedGiB } from "../../components/data/kafka";
import { absentTopics } from "../../components/data/kafka/access";
import { clientAccount, kubernetesName, size, Size, Volume } from "./shapes";

// The platform's own clients, whose rights are defined in code.
const OWN_CLIENTS = ["datahub", "ingestion", "trino"] as const;
export type OwnClient = (typeof OWN_CLIENTS)[number];

// Half of it is heap, of which the log cleaner takes 128 MiB at start.
const MIN_MEMORY_MIB = 1024;

// Of a node's volume.
const TOPICS_SHARE = 0.8;

const Topic = z.strictObject({
  partitions: z.int().min(1).meta({ description: "Partitions", lasting: "raised" }),
  retentionDays: z.int().min(1).max(3650).meta({
    description: "How long records are kept; with cleanup `compact` the latest record of each key is kept for ever",
  }),
  retentionGiB: z.number().positive().optional().meta({
    description:
      "Size of one copy of the topic above which the oldest records are deleted, in GiB; by default without limit",
  }),
  cleanup: z
    .enum(["delete", "compact", "compact,delete"])
    .meta({ description: "`delete` removes old records, `compact` all but the latest record of each key" }),
});

/** The name of a topic. */
export const topicName = z
  .string()
  .max(249)
  .regex(
    /^(?!\.{1,2}$)[a-zA-Z0-9._-]+$/,
    "expected letters, digits, dots, underscores and dashes, as Kafka names topics",
  );

const topicPattern = z
  .string()
  .max(249)
  .regex(/^([a-zA-Z0-9._-]+\*?|\*)$/, "expected a name as Kafka takes it, or a prefix followed by *");

const Client = z.strictObject({
  topics: z
    .record(topicPattern, z.array(z.enum(["Read", "Write", "Describe", "DescribeConfigs"])).min(1))
    .meta({ description: "Allowed operations by topic, or by topic prefix such as `audit-*`" }),
  groups: z.array(topicPattern).default([]).meta({ description: "Consumer groups that the client may join" }),
  transactionalIds: z
    .array(topicPattern)
    .default([])
    .meta({ description: "IDs under which the client may write in transactions, or a prefix such as `price-desk-*`" }),
  pods: z
    .strictObject({
      namespace: z.literal("data-platform"),
      labels: z
        .record(z.string(), z.string())
        .refine((labels) => Object.keys(labels).length > 0, "selects every pod; name at least one label"),
      serviceAccount: clientAccount,
    })
    .optional()
    .meta({ description: "Pods of this client; without them it cannot reach the brokers" }),
});

/** Kafka, its topics and its clients. */
export const Kafka = z
  .strictObject({
    brokers: z.literal([1, 3, 5]).meta({
      description: "Nodes, each both broker and controller; the controllers need a majority",
      lasting: "fixed",
    }),
    cpu: size.cpu,
    memoryMiB: size.memoryMiB.refine(({ limit }) => limit >= MIN_MEMORY_MIB, {
      path: ["limit"],
      error: `a Kafka node needs at least ${MIN_MEMORY_MIB} MiB; raise it`,
    }),
    volume: Volume,
    operator: Size,
    entityOperator: Size.meta({ description: "The topic operator's container and the user operator's" }),
    topics: z.record(topicName, Topic).meta({ description: "The platform's topics by name" }),
    clients: z
      .record(
        kubernetesName.refine(
          (name) => !OWN_CLIENTS.some((own) => own === name),
          "a system of the platform uses it; choose another",
        ),
        Client,
      )
      .default({})
      .meta({
        description: "Clients besides the platform's own systems; each is a Kafka user with the rights listed here",
      }),
  })
  .superRefine(({ topics, clients, brokers, volume }, context) => {
    // Kafka's metrics write both as underscores.
    const names = Object.keys(topics).map((topic) => [topic, topic.replaceAll(".", "_")] as const);
    for (const [topic, metric] of names) {
      const [other] = names.find(([name, same]) => name < topic && same === metric) ?? [];
      if (other === undefined) continue;
      const message = `Kafka's metrics cannot tell it from ${other}, since they write dots as underscores; rename one`;
      context.addIssue({ code: "custom", path: ["topics", topic], message });
    }
    const limited = limitedGiB({ topics, brokers });
    if (limited > volume.sizeGiB * TOPICS_SHARE) {
      const message =
        `the topics with retentionGiB take up to ${Math.ceil(limited)} GiB of each node's ${volume.sizeGiB}, and a fifth must stay ` +
        `free for compaction and Kafka's own topics; raise volume.sizeGiB, or lower them`;
      context.addIssue({ code: "custom", path: ["topics"], message });
    }
    for (const [client, access] of Object.entries(clients)) {
      for (const topic of absentTopics(access, Object.keys(topics))) {
        const message = "there is no such topic; add it to kafka.topics or correct its name";
        context.addIssue({ code: "custom", path: ["clients", client, "topics", topic], message });
      }
    }
  });
