import { charts } from "../../../components/base/versions";
import { type Container, type CustomKind, type CustomResource, INERT, type Operator, type PodSpec } from "../operator";

interface ProxySpec {
  readonly provider: {
    readonly kubernetes: {
      readonly envoyDeployment: {
        readonly name: string;
        readonly replicas: number;
        readonly pod: { readonly labels: Readonly<Record<string, string>> };
        readonly container: Container;
        readonly patch: {
          readonly value: {
            readonly spec: { readonly template: { readonly spec: PodSpec } };
          };
        };
      };
    };
  };
}

const proxy: CustomKind = {
  ...INERT,
  /** A Deployment with a container beside Envoy that drains it, and a Service. */
  demand: ({ spec }: CustomResource<ProxySpec>) => {
    const { name, replicas, pod, container, patch } = spec.provider.kubernetes.envoyDeployment;
    const patched = patch.value.spec.template.spec;
    const containers = [container, ...patched.containers];
    const ports = { "http-80": 10080, "https-443": 10443, metrics: 19001 };
    return {
      podSets: [
        {
          name,
          replicas,
          surge: 1,
          labels: pod.labels,
          ports,
          spec: { ...patched, serviceAccountName: name, containers },
        },
      ],
      services: 1,
    };
  },
};

const read = { ...INERT, withoutStage: "Envoy is told of it, and none runs" };

export const envoyGateway: Operator = {
  name: "envoy-gateway",
  origin: `envoy-gateway ${charts.envoyGateway.version}`,
  kinds: {
    "gateway.envoyproxy.io/v1alpha1/BackendTrafficPolicy": read,
    "gateway.envoyproxy.io/v1alpha1/ClientTrafficPolicy": read,
    "gateway.envoyproxy.io/v1alpha1/EnvoyProxy": proxy,
    "gateway.envoyproxy.io/v1alpha1/SecurityPolicy": read,
  },
};
