import { z } from "zod";
import { absentTopics } from "../../components/data/kafka/access";
import { kubernetesName, size, Size, sizeGiB } from "./shapes";

// The systems that are clients themselves: what they may do follows from what they are.
const OWN_CLIENTS = ["datahub", "ingestion", "trino"] as const;
export type OwnClient = (typeof OWN_CLIENTS)[number];

// Half of it is heap, of which what compacts topics takes 128 MiB as it starts.
const MIN_MEMORY_MIB = 1024;

const Topic = z.strictObject({
  partitions: z.int().min(1).meta({ description: "May be raised, never lowered" }),
  retentionDays: z.int().min(1).max(3650).meta({
    description: "How long records are kept; with cleanup `compact` alone, the last of each key stays for ever",
  }),
  cleanup: z
    .enum(["delete", "compact", "compact,delete"])
    .meta({ description: "Old records go by time, or all but the last of each key go, or both" }),
});

const topicPattern = z
  .string()
  .max(249)
  .regex(/^([a-zA-Z0-9._-]+\*?|\*)$/, "expected the name of a topic or group, with * at its end for all that begin so");

const Client = z.strictObject({
  topics: z
    .record(topicPattern, z.array(z.enum(["Read", "Write", "Describe", "DescribeConfigs"])).min(1))
    .meta({ description: "What the client may do with a topic, or with all that begin alike: `audit-*`" }),
  groups: z.array(topicPattern).default([]).meta({ description: "Consumer groups that it may join" }),
  pods: z
    .strictObject({
      namespace: z.literal("data-platform"),
      labels: z
        .record(z.string(), z.string())
        .refine((labels) => Object.keys(labels).length > 0, "selects every pod; name at least one label"),
    })
    .optional()
    .meta({ description: "Pods that act as this client; without them nobody reaches the brokers" }),
});

/** Kafka, its topics and who may use them. */
export const Kafka = z
  .strictObject({
    brokers: z.literal([1, 3, 5]).meta({
      description: "Nodes, each broker and controller; the controllers decide by majority",
      immutable: true,
    }),
    cpu: size.cpu,
    memoryMiB: size.memoryMiB.refine(({ limit }) => limit >= MIN_MEMORY_MIB, {
      path: ["limit"],
      error: `a node of Kafka needs ${MIN_MEMORY_MIB} MiB; raise it`,
    }),
    volume: z.strictObject({ sizeGiB }),
    operator: Size,
    entityOperator: Size.meta({ description: "The container that keeps topics, and the one that keeps users" }),
    topics: z.record(kubernetesName, Topic).meta({ description: "Topics of the platform: another is another entry" }),
    clients: z
      .record(
        kubernetesName.refine(
          (name) => !OWN_CLIENTS.some((own) => own === name),
          "a system of the platform has it; choose another",
        ),
        Client,
      )
      .default({})
      .meta({ description: "Clients outside the platform's systems, each a user with rights on what it names" }),
  })
  .superRefine(({ topics, clients }, context) => {
    for (const [client, access] of Object.entries(clients)) {
      for (const topic of absentTopics(access, Object.keys(topics))) {
        const message = "there is no such topic; add it to kafka.topics or correct its name";
        context.addIssue({ code: "custom", path: ["clients", client, "topics", topic], message });
      }
    }
  });
