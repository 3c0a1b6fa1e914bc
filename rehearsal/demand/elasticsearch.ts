import type { Made, PodGroup, PodSpec } from "../demand";
import type { Registration } from "../evaluate";
import { bytes } from "../quantity";

/** What `rehearsal/demand.ts` makes of pods. */
interface Tools {
  readonly group: (object: Registration, spec: PodSpec, own: Pick<PodGroup, "pods"> & Partial<PodGroup>) => PodGroup;
  readonly withClaims: (pods: PodGroup, count: number, services: number) => Made;
}

interface NodeSet {
  readonly name: string;
  readonly count: number;
  readonly podTemplate: { readonly spec: PodSpec };
  readonly volumeClaimTemplates: readonly {
    readonly spec: { readonly resources: { readonly requests: { readonly storage: string } } };
  }[];
}

// <cluster>-es-http, -es-internal-http and -es-transport.
const CLUSTER_SERVICES = 3;

/** ECK makes a StatefulSet and a Service for each node set; a rollout replaces the nodes one after the other. */
export function elasticsearch(object: Registration, { group, withClaims }: Tools): Made {
  const { nodeSets } = object.inputs["spec"] as { readonly nodeSets: readonly NodeSet[] };
  const { name: cluster } = object.inputs["metadata"] as { readonly name: string };
  const made = nodeSets.map(({ name, count, podTemplate, volumeClaimTemplates }, index) => {
    const nodes = group(object, podTemplate.spec, {
      name: `${cluster}-es-${name}`,
      pods: { start: count, most: count },
      volumes: volumeClaimTemplates.map(({ spec }) => bytes(spec.resources.requests.storage)),
    });
    return withClaims(nodes, count, index === 0 ? CLUSTER_SERVICES + 1 : 1);
  });
  return {
    groups: made.flatMap(({ groups = [] }) => groups),
    objects: made.flatMap(({ objects = [] }) => objects),
  };
}
