import type { Amounts, Made, PodGroup, PodSpec } from "../demand";
import type { Registration } from "../evaluate";
import { bytes } from "../quantity";

type Resources = PodSpec["containers"][number]["resources"];
type Group = (object: Registration, spec: PodSpec, own: Pick<PodGroup, "pods"> & Partial<PodGroup>) => PodGroup;

interface Metadata {
  readonly name: string;
  readonly labels: { readonly "strimzi.io/cluster": string };
}

interface NodePoolSpec {
  readonly replicas: number;
  readonly resources?: Resources;
  readonly storage: { readonly volumes: readonly { readonly size: string }[] };
}

/** Strimzi makes a pod for each node of a pool, and replaces them one after the other. */
export function kafkaNodePool(
  object: Registration,
  { group, withClaims }: { readonly group: Group; readonly withClaims: (pods: PodGroup, count: number) => Made },
): Made {
  const { replicas, resources, storage } = object.inputs["spec"] as NodePoolSpec;
  const { name, labels } = object.inputs["metadata"] as Metadata;
  const nodes = group(object, podOf(resources), {
    name: `${labels["strimzi.io/cluster"]}-${name}`,
    pods: { start: replicas, most: replicas },
    volumes: storage.volumes.map(({ size }) => bytes(size)),
  });
  return withClaims(nodes, replicas);
}

interface KafkaSpec {
  readonly entityOperator: Readonly<Record<"topicOperator" | "userOperator", { readonly resources?: Resources }>>;
}

// <cluster>-kafka-bootstrap and -kafka-brokers.
const KAFKA_SERVICES = 2;

/** Besides the nodes: the entity operator, which a rollout replaces, and Services. */
export function kafka(
  object: Registration,
  { group, countedIn }: { readonly group: Group; readonly countedIn: (object: Registration, amounts: Amounts) => Made },
): Made {
  const { topicOperator, userOperator } = (object.inputs["spec"] as KafkaSpec).entityOperator;
  const { name } = object.inputs["metadata"] as { name: string };
  const spec = podOf(topicOperator.resources, userOperator.resources);
  const pods = group(object, spec, { name: `${name}-entity-operator`, pods: { start: 1, most: 1 } });
  return { groups: [pods], ...countedIn(object, { services: KAFKA_SERVICES }) };
}

function podOf(...containers: readonly Resources[]): PodSpec {
  return { containers: containers.map((resources) => (resources ? { resources } : {})) };
}
