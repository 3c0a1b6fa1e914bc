import { charts } from "../../../components/base/versions";
import {
  type CustomKind,
  type CustomResource,
  INERT,
  type Operator,
  type PodSet,
  type PodSpec,
  type Resources,
} from "../operator";

interface ClusterSpec {
  readonly autoscalerOptions?: { readonly resources?: Resources };
  readonly headGroupSpec: { readonly template: { readonly spec: PodSpec } };
  readonly workerGroupSpecs: readonly {
    readonly groupName: string;
    readonly minReplicas: number;
    readonly maxReplicas: number;
    readonly template: { readonly spec: PodSpec };
  }[];
}

interface ServiceSpec {
  readonly rayClusterConfig: ClusterSpec;
}

const cluster: CustomKind = {
  ...INERT,
  /** After a change all pods are made anew, but only when the old ones are gone. */
  demand: ({ metadata, spec }: CustomResource<ClusterSpec>) => ({ podSets: podSets(metadata.name, spec), services: 1 }),
};

const service: CustomKind = {
  ...INERT,
  /** A changed cluster stands beside the old one until it serves; each has a Service, and the RayService two. */
  demand: ({ metadata, spec }: CustomResource<ServiceSpec>) => ({
    podSets: podSets(metadata.name, spec.rayClusterConfig).map((set) => ({ ...set, surge: set.replicas.most })),
    services: 4,
  }),
};

type RayNodes = PodSet & { readonly replicas: { readonly start: number; readonly most: number } };

function podSets(name: string, { autoscalerOptions, headGroupSpec, workerGroupSpecs }: ClusterSpec): RayNodes[] {
  const head = headGroupSpec.template.spec;
  const containers = [...head.containers, { resources: autoscalerOptions?.resources }];
  return [
    { name: `${name}-head`, replicas: { start: 1, most: 1 }, spec: { ...head, containers } },
    ...workerGroupSpecs.map(({ groupName, minReplicas, maxReplicas, template }) => ({
      name: `${name}-${groupName}`,
      replicas: { start: minReplicas, most: maxReplicas },
      spec: template.spec,
    })),
  ];
}

export const kuberay: Operator = {
  name: "kuberay",
  origin: `chart kuberay-operator ${charts.kuberay.version}`,
  kinds: { "ray.io/v1/RayCluster": cluster, "ray.io/v1/RayService": service },
};
