import { charts } from "../../../components/base/versions";
import {
  claim,
  type Container,
  type CustomKind,
  type CustomResource,
  INERT,
  type Manifest,
  type Operator,
} from "../operator";

interface KafkaSpec {
  readonly entityOperator: {
    readonly topicOperator: Container;
    readonly userOperator: Container & { readonly secretPrefix?: string };
  };
}

const AUTHORITY = ["ca.crt", "ca.p12", "ca.password"];

const kafka: CustomKind = {
  /** Besides the nodes there are Services and the entity operator, which no rollout doubles. */
  demand: ({ metadata, spec: { entityOperator } }: CustomResource<KafkaSpec>) => {
    const containers = [entityOperator.topicOperator, entityOperator.userOperator];
    // <cluster>-kafka-bootstrap and -kafka-brokers.
    return { podSets: [{ name: `${metadata.name}-entity-operator`, replicas: 1, spec: { containers } }], services: 2 };
  },
  secrets: ({ metadata: { name } }) => ({
    [`${name}-cluster-ca-cert`]: AUTHORITY,
    [`${name}-clients-ca-cert`]: AUTHORITY,
  }),
};

interface NodePoolSpec extends Container {
  readonly replicas: number;
  readonly storage: { readonly volumes: readonly { readonly size: string }[] };
}

const nodePool: CustomKind = {
  ...INERT,
  /** A pod for each node, replaced one after the other. */
  demand: (pool: CustomResource<NodePoolSpec>) => {
    const { replicas, resources, storage } = pool.spec;
    const claims = storage.volumes.map(({ size }) => claim(size));
    const name = `${clusterOf(pool)}-${pool.metadata.name}`;
    return { podSets: [{ name, replicas, spec: { containers: [{ resources }] }, claims }] };
  },
};

interface UserSpec {
  readonly authentication?: { readonly type?: string };
}

const user: CustomKind = {
  ...INERT,
  /** The cluster says how the name of such a Secret begins. */
  secrets: (one: CustomResource<UserSpec>, all) => {
    const cluster = all.find(({ kind, metadata }) => kind === "Kafka" && metadata.name === clusterOf(one));
    const { secretPrefix = "" } =
      (cluster as CustomResource<KafkaSpec> | undefined)?.spec.entityOperator.userOperator ?? {};
    const isScram = one.spec.authentication?.type === "scram-sha-512";
    const keys = isScram
      ? ["password", "sasl.jaas.config"]
      : ["ca.crt", "user.crt", "user.key", "user.p12", "user.password"];
    return { [`${secretPrefix}${one.metadata.name}`]: keys };
  },
};

function clusterOf({ metadata }: Manifest): string {
  return metadata.labels?.["strimzi.io/cluster"] ?? "";
}

export const strimzi: Operator = {
  name: "strimzi",
  origin: `chart strimzi-kafka-operator ${charts.strimzi.version}`,
  kinds: {
    "kafka.strimzi.io/v1/Kafka": kafka,
    "kafka.strimzi.io/v1/KafkaNodePool": nodePool,
    "kafka.strimzi.io/v1/KafkaTopic": INERT,
    "kafka.strimzi.io/v1/KafkaUser": user,
  },
};
