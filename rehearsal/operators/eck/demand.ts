import type { Registration } from "../../program/evaluate";
import { bytes } from "../../program/quantity";

interface NodeSet {
  readonly name: string;
  readonly count: number;
  readonly podTemplate: { readonly spec: Pod };
  readonly volumeClaimTemplates: readonly {
    readonly spec: { readonly resources: { readonly requests: { readonly storage: string } } };
  }[];
}

interface Pod {
  readonly containers: readonly object[];
}

interface Nodes {
  readonly name: string;
  readonly pods: { readonly start: number; readonly most: number };
  readonly volumes: readonly number[];
}

/** How `rehearsal/program/demand.ts` counts pods, their claims and Services. */
interface Count<Group, Made> {
  readonly group: (object: Registration, pod: Pod, nodes: Nodes) => Group;
  readonly withClaims: (group: Group, count: number, services: number) => Made;
}

// <cluster>-es-http, -es-internal-http, -es-transport and that of the node set.
const SERVICES = 4;

/** ECK makes a StatefulSet of the node set, of which a cluster of ours has one; a rollout replaces one node after the other. */
export function elasticsearch<Group, Made>(object: Registration, { group, withClaims }: Count<Group, Made>): Made {
  const { nodeSets } = object.inputs["spec"] as { readonly nodeSets: readonly [NodeSet] };
  const [{ name, count, podTemplate, volumeClaimTemplates }] = nodeSets;
  const nodes = group(object, podTemplate.spec, {
    name: `${object.name}-es-${name}`,
    pods: { start: count, most: count },
    volumes: volumeClaimTemplates.map(({ spec }) => bytes(spec.resources.requests.storage)),
  });
  return withClaims(nodes, count, SERVICES);
}
