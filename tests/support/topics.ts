import { all, type Registered } from "./mocks";

/** A topic that a system is configured with, and what it does with it. */
export interface Asked {
  readonly client: string;
  readonly topic: string;
  readonly operations: readonly string[];
}

/** What the systems of the program ask of Kafka, as their rendered configuration says, whoever wrote it. */
export function askedTopics(seen: readonly Registered[]): Asked[] {
  return [...trinoAsks(seen), ...datahubAsks(seen)];
}

/** A line for each operation on a topic that a system asks for and its user has no rule for. */
export function refusedTopics(seen: readonly Registered[], asked: readonly Asked[]): string[] {
  const users = new Map(
    all(seen, "kubernetes:kafka.strimzi.io/v1:KafkaUser").map(({ inputs: { metadata, spec } }) => [
      metadata.name as string,
      spec.authorization.acls as Rule[],
    ]),
  );
  return asked.flatMap(({ client, topic, operations }) => {
    const rules = users.get(client);
    if (rules === undefined) return [`${client} asks for the topic ${topic}, and has no user`];
    const refused = operations.filter((operation) => !rules.some((rule) => covers(rule, topic, operation)));
    return refused.map((operation) => `${client} may not ${operation} the topic ${topic}`);
  });
}

interface Rule {
  readonly type?: string;
  readonly resource: { readonly type: string; readonly name: string; readonly patternType: string };
  readonly operations: readonly string[];
}

// Who may read or write a topic may also describe it; the other way round nothing follows.
function covers({ type = "allow", resource, operations }: Rule, topic: string, operation: string): boolean {
  const { name, patternType } = resource;
  const isNamed = patternType === "prefix" ? topic.startsWith(name) : name === topic || name === "*";
  return type === "allow" && resource.type === "topic" && isNamed && operations.includes(operation);
}

/** Trino reads the topics that its catalog lists. */
function trinoAsks(seen: readonly Registered[]): Asked[] {
  const lists = seen.flatMap(({ inputs }) => JSON.stringify(inputs).match(/(?<=kafka\.table-names=)[^\\"\s]+/g) ?? []);
  return [...new Set(lists.flatMap((list) => list.split(",")))].map((topic) => ({
    client: "trino",
    topic,
    operations: ["Read", "DescribeConfigs"],
  }));
}

/** DataHub makes, writes and reads the topics that its values name. */
function datahubAsks(seen: readonly Registered[]): Asked[] {
  const releases = all(seen, "kubernetes:helm.sh/v3:Release").filter(({ name }) => name === "datahub");
  return releases.flatMap(({ inputs: { values } }) => {
    const topics: string[] = Object.values(values.global.kafka.topics ?? { unnamed: "(its values name none)" });
    return topics.map((topic) => ({ client: "datahub", topic, operations: ["Create", "Read", "Write"] }));
  });
}
