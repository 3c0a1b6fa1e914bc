import { charts } from "../../../components/base/versions";
import type { Claim, CustomKind, CustomResource, Operator, PodSpec } from "../operator";

interface ElasticsearchSpec {
  readonly auth?: { readonly disableElasticUser?: boolean };
  readonly nodeSets: readonly {
    readonly name: string;
    readonly count: number;
    readonly podTemplate: { readonly spec: PodSpec };
    readonly volumeClaimTemplates: readonly Claim[];
  }[];
}

const elasticsearch: CustomKind = {
  /** A StatefulSet for each set of nodes; a rollout replaces one node after the other. */
  demand: ({ metadata, spec: { nodeSets } }: CustomResource<ElasticsearchSpec>) => ({
    podSets: nodeSets.map(({ name, count, podTemplate, volumeClaimTemplates }) => ({
      name: `${metadata.name}-es-${name}`,
      replicas: count,
      labels: { "elasticsearch.k8s.elastic.co/cluster-name": metadata.name },
      spec: podTemplate.spec,
      claims: volumeClaimTemplates,
    })),
    // <cluster>-es-http, -es-internal-http, -es-transport and one for each set of nodes.
    services: 3 + nodeSets.length,
  }),
  secrets: ({ metadata: { name }, spec: { auth } }: CustomResource<ElasticsearchSpec>) => ({
    ...(auth?.disableElasticUser !== true && { [`${name}-es-elastic-user`]: ["elastic"] }),
    [`${name}-es-http-certs-public`]: ["ca.crt", "tls.crt"],
    [`${name}-es-http-ca-internal`]: ["tls.crt", "tls.key"],
  }),
};

export const eck: Operator = {
  name: "eck",
  origin: `chart eck-operator ${charts.eckOperator.version}`,
  kinds: { "elasticsearch.k8s.elastic.co/v1/Elasticsearch": elasticsearch },
};
