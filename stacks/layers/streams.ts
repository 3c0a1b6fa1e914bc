import type { TopicOperation } from "../../components/base/endpoint";
import { trinoKafkaAccess } from "../../components/analytics/trino/catalogs";
import { kafkaAccess } from "../../components/catalog/datahub";
import { kafkaAccess as ingestionKafkaAccess } from "../../components/catalog/ingestion";
import { Kafka, type KafkaClient } from "../../components/data/kafka";
import type { PlatformConfig } from "../config/schema";
import type { OwnClient } from "../config/streams";
import { tenantGrants } from "../config/tenants";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";

const TOPIC_RIGHTS = {
  read: ["Read", "Describe"],
  write: ["Read", "Write", "Describe"],
} as const satisfies Record<string, readonly TopicOperation[]>;

/** The streaming systems. */
export interface Streams {
  readonly kafka: Kafka<OwnClient> | undefined;
}

/** Kafka, its topics and its clients. */
export function streams(config: PlatformConfig, secrets: Secrets, ground: Foundation): Streams {
  if (config.kafka === undefined) return { kafka: undefined };
  const { brokers, volume, operator, entityOperator, topics, clients, ...size } = config.kafka;
  const { at, namespaces, chartDirectory, kubeApi, authority, clusterDomain, metrics, isProtected } = ground;
  const namespace = namespaces["data-platform"];

  const kafka = new Kafka<OwnClient>(
    "kafka",
    {
      namespace,
      operatorNamespace: namespaces["strimzi-system"],
      chartDirectory,
      kubeApi,
      authority,
      clusterDomain,
      brokers,
      size,
      volume: ground.volumeOf(volume),
      operatorSize: operator,
      entityOperatorSize: entityOperator,
      topics,
      clients: {
        ...catalogClients(),
        ...(config.trino && {
          trino: { password: secrets.get("kafkaTrinoPassword"), ...trinoKafkaAccess(Object.keys(topics)) },
        }),
        ...outsiders(),
        ...tenantClients(),
      },
      metrics,
      protect: isProtected("kafka"),
    },
    at("kafka"),
  );
  return { kafka };

  function catalogClients(): Partial<Record<OwnClient, KafkaClient>> {
    if (config.datahub === undefined) return {};
    return {
      datahub: { password: secrets.get("kafkaDatahubPassword"), ...kafkaAccess() },
      ingestion: { password: secrets.get("kafkaIngestionPassword"), ...ingestionKafkaAccess() },
    };
  }

  function tenantClients(): Record<string, KafkaClient> {
    return Object.fromEntries(
      tenantGrants(config, "topic").map(({ tenant, user, name, access }) => [
        user,
        {
          password: secrets.ofTenant(user),
          topics: { [name]: TOPIC_RIGHTS[access] },
          // No name of a tenant has a dot, so none begins like another.
          groups: [`${tenant}.*`],
          ...(access === "write" && { transactionalIds: [`${tenant}.*`] }),
        },
      ]),
    );
  }

  function outsiders(): Record<string, KafkaClient> {
    return Object.fromEntries(
      Object.entries(clients).map(([name, { topics: rights, groups, transactionalIds, pods }]) => [
        name,
        {
          topics: rights,
          groups,
          transactionalIds,
          ...(pods && {
            pods: {
              ...{ name, namespace: namespaces[pods.namespace] },
              ...{ matchLabels: pods.labels, serviceAccount: pods.serviceAccount },
            },
          }),
        },
      ]),
    );
  }
}
