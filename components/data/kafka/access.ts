import type { KafkaAccess } from "../../base/endpoint";

/** The ACL rules of a KafkaUser; nothing else is allowed. */
export function acls({ topics, groups = [], transactionalIds = [] }: KafkaAccess): object[] {
  return [
    ...Object.entries(topics).map(([topic, operations]) => ({
      resource: { type: "topic", ...pattern(topic) },
      operations: [...operations],
    })),
    // Joining a group and committing for it need Read.
    ...groups.map((group) => ({ resource: { type: "group", ...pattern(group) }, operations: ["Read"] })),
    ...transactionalIds.map((id) => ({
      resource: { type: "transactionalId", ...pattern(id) },
      operations: ["Describe", "Write"],
    })),
  ];
}

/** The client's topics that do not exist and that it may not create. */
export function absentTopics({ topics }: KafkaAccess, present: readonly string[]): string[] {
  return Object.entries(topics).flatMap(([topic, operations]) =>
    topic.endsWith("*") || operations.includes("Create") || present.includes(topic) ? [] : [topic],
  );
}

// Kafka treats only a lone star as a wildcard.
function pattern(name: string): { readonly name: string; readonly patternType: "literal" | "prefix" } {
  if (name === "*" || !name.endsWith("*")) return { name, patternType: "literal" };
  return { name: name.slice(0, -1), patternType: "prefix" };
}
