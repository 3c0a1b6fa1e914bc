import type { Registration } from "../../program/evaluate";
import { bytes } from "../../program/quantity";

interface Container {
  readonly resources?: object;
}

interface Pods {
  readonly name: string;
  readonly pods: { readonly start: number; readonly most: number };
  readonly volumes?: readonly number[];
}

/** How `rehearsal/program/demand.ts` counts pods of a custom resource. */
type Count<Group> = (object: Registration, pod: { readonly containers: readonly Container[] }, own: Pods) => Group;

interface NodePoolSpec extends Container {
  readonly replicas: number;
  readonly storage: { readonly volumes: readonly { readonly size: string }[] };
}

/** Strimzi makes a pod for each node of a pool, and replaces them one after the other. */
export function kafkaNodePool<Group, Made>(
  object: Registration,
  { group, withClaims }: { readonly group: Count<Group>; readonly withClaims: (pods: Group, count: number) => Made },
): Made {
  const { metadata, spec } = object.inputs as {
    readonly metadata: { readonly name: string; readonly labels: Readonly<Record<"strimzi.io/cluster", string>> };
    readonly spec: NodePoolSpec;
  };
  const nodes = group(object, podOf(spec), {
    name: `${metadata.labels["strimzi.io/cluster"]}-${metadata.name}`,
    pods: { start: spec.replicas, most: spec.replicas },
    volumes: spec.storage.volumes.map(({ size }) => bytes(size)),
  });
  return withClaims(nodes, spec.replicas);
}

interface KafkaSpec {
  readonly entityOperator: Readonly<Record<"topicOperator" | "userOperator", Container>>;
}

// <cluster>-kafka-bootstrap and -kafka-brokers.
const SERVICES = 2;

/** Besides the nodes there are Services and the entity operator, which no rollout doubles. */
export function kafka<Group, Made>(
  object: Registration,
  {
    group,
    countedIn,
  }: {
    readonly group: Count<Group>;
    readonly countedIn: (object: Registration, amounts: Readonly<Record<string, number>>) => Made;
  },
): Made & { readonly groups: readonly Group[] } {
  const { topicOperator, userOperator } = (object.inputs["spec"] as KafkaSpec).entityOperator;
  const { name } = object.inputs["metadata"] as { readonly name: string };
  const own = { name: `${name}-entity-operator`, pods: { start: 1, most: 1 } };
  const pods = group(object, podOf(topicOperator, userOperator), own);
  return { ...countedIn(object, { services: SERVICES }), groups: [pods] };
}

function podOf(...containers: readonly Container[]): { readonly containers: readonly Container[] } {
  return { containers: containers.map(({ resources }) => (resources ? { resources } : {})) };
}
