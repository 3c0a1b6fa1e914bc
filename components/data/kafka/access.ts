import type { KafkaAccess } from "../../base/endpoint";

/** The rules of a user, as KafkaUser takes them: all that it may do, since nothing else is allowed. */
export function acls({ topics, groups = [] }: KafkaAccess): object[] {
  return [
    ...Object.entries(topics).map(([topic, operations]) => ({
      resource: { type: "topic", ...pattern(topic) },
      operations: [...operations],
    })),
    // To join a group, and to commit for it, is to read it.
    ...groups.map((group) => ({ resource: { type: "group", ...pattern(group) }, operations: ["Read"] })),
  ];
}

/** The topics that a client names although there are none, and that it may not create. */
export function absentTopics({ topics }: KafkaAccess, present: readonly string[]): string[] {
  return Object.entries(topics).flatMap(([topic, operations]) =>
    topic.endsWith("*") || operations.includes("Create") || present.includes(topic) ? [] : [topic],
  );
}

// Kafka takes a single star for every name, and any other for a letter.
function pattern(name: string): { readonly name: string; readonly patternType: "literal" | "prefix" } {
  if (name === "*" || !name.endsWith("*")) return { name, patternType: "literal" };
  return { name: name.slice(0, -1), patternType: "prefix" };
}
