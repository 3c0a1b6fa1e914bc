import { charts } from "../../../components/base/versions";
import {
  claim,
  type Container,
  type CustomKind,
  type CustomResource,
  INERT,
  type Manifest,
  type Operator,
  type PodSpec,
} from "../operator";

type Labels = Readonly<Record<string, string>>;

interface PodTemplate {
  readonly metadata?: { readonly labels?: Labels };
  readonly affinity?: {
    readonly nodeAffinity?: { readonly requiredDuringSchedulingIgnoredDuringExecution?: Required };
  };
  readonly tolerations?: PodSpec["tolerations"];
}

interface Required {
  readonly nodeSelectorTerms: readonly {
    readonly matchExpressions: readonly { readonly key: string; readonly values: readonly string[] }[];
  }[];
}

/** Where pods run: each of our expressions has one value, as a selector has. */
function where({ affinity, tolerations = [] }: PodTemplate = {}): Pick<PodSpec, "nodeSelector" | "tolerations"> {
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const pairs = terms.flatMap(({ matchExpressions }) =>
    matchExpressions.map(({ key, values }) => [key, values[0] ?? ""]),
  );
  return { nodeSelector: Object.fromEntries(pairs) as Labels, tolerations };
}

interface KafkaSpec {
  readonly kafka: {
    readonly listeners: readonly { readonly name: string; readonly port: number }[];
    readonly metricsConfig?: object;
  };
  readonly entityOperator: {
    readonly template?: { readonly pod?: PodTemplate };
    readonly topicOperator: Container;
    readonly userOperator: Container & { readonly secretPrefix?: string };
  };
}

const AUTHORITY = ["ca.crt", "ca.p12", "ca.password"];

const kafka: CustomKind = {
  /** Besides the nodes there are Services and the entity operator, which no rollout doubles. */
  demand: ({ metadata, spec: { entityOperator } }: CustomResource<KafkaSpec>) => {
    const containers = [entityOperator.topicOperator, entityOperator.userOperator];
    const labels = labelsOf(metadata.name, "entity-operator");
    const name = `${metadata.name}-entity-operator`;
    const podSet = {
      name,
      replicas: 1,
      labels,
      spec: { containers, serviceAccountName: name, ...where(entityOperator.template?.pod) },
    };
    // <cluster>-kafka-bootstrap and -kafka-brokers.
    return { podSets: [podSet], services: 2 };
  },
  secrets: ({ metadata: { name } }) => ({
    [`${name}-cluster-ca-cert`]: AUTHORITY,
    [`${name}-clients-ca-cert`]: AUTHORITY,
  }),
};

interface NodePoolSpec extends Container {
  readonly replicas: number;
  readonly roles: readonly string[];
  readonly storage: { readonly volumes: readonly { readonly size: string }[] };
  readonly template?: { readonly pod?: PodTemplate };
}

const nodePool: CustomKind = {
  ...INERT,
  /** A pod for each node, replaced one after the other. */
  demand: (pool: CustomResource<NodePoolSpec>, all) => {
    const { replicas, roles, resources, storage, template } = pool.spec;
    const { listeners = [], metricsConfig } = kafkaOf(pool, all)?.spec.kafka ?? {};
    const ports = Object.fromEntries(listeners.map(({ name, port }) => [`tcp-${name}`, port]));
    const nodes = {
      name: `${clusterOf(pool)}-${pool.metadata.name}`,
      replicas,
      labels: {
        ...template?.pod?.metadata?.labels,
        ...labelsOf(clusterOf(pool), "kafka"),
        "strimzi.io/pool-name": pool.metadata.name,
        "strimzi.io/broker-role": String(roles.includes("broker")),
        "strimzi.io/controller-role": String(roles.includes("controller")),
      },
      ports: { ...ports, ...(metricsConfig && { "tcp-prometheus": 9404 }) },
      spec: { containers: [{ resources }], serviceAccountName: `${clusterOf(pool)}-kafka`, ...where(template?.pod) },
      claims: storage.volumes.map(({ size }) => claim(size)),
    };
    return { podSets: [nodes] };
  },
};

interface UserSpec {
  readonly authentication?: { readonly type?: string };
}

const user: CustomKind = {
  ...INERT,
  /** The cluster says how the name of such a Secret begins. */
  secrets: (one: CustomResource<UserSpec>, all) => {
    const { secretPrefix = "" } = kafkaOf(one, all)?.spec.entityOperator.userOperator ?? {};
    const isScram = one.spec.authentication?.type === "scram-sha-512";
    const keys = isScram
      ? ["password", "sasl.jaas.config"]
      : ["ca.crt", "user.crt", "user.key", "user.p12", "user.password"];
    return { [`${secretPrefix}${one.metadata.name}`]: keys };
  },
};

function kafkaOf(part: Manifest, all: readonly Manifest[]): CustomResource<KafkaSpec> | undefined {
  const cluster = all.find(({ kind, metadata }) => kind === "Kafka" && metadata.name === clusterOf(part));
  return cluster as CustomResource<KafkaSpec> | undefined;
}

function labelsOf(cluster: string, what: string): Labels {
  return { "strimzi.io/cluster": cluster, "strimzi.io/kind": "Kafka", "strimzi.io/name": `${cluster}-${what}` };
}

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
