import { manifests } from "../../../components/base/versions";
import {
  type Claim,
  type CustomKind,
  type CustomResource,
  INERT,
  type Manifest,
  type Operator,
  type PodSpec,
  type Resources,
} from "../operator";

interface ServerSpec extends Pick<PodSpec, "nodeSelector" | "tolerations"> {
  readonly replicas?: number;
  readonly serviceAccountName?: string;
  readonly podMetadata?: { readonly labels?: Readonly<Record<string, string>> };
  readonly storage?: { readonly volumeClaimTemplate?: Claim };
  readonly resources?: Resources;
}

const server: CustomKind = {
  ...INERT,
  ofCharts: true,
  /** A StatefulSet, named and labelled after its kind, with a container beside it that reloads its configuration. */
  demand: ({ kind, metadata, spec }: CustomResource<ServerSpec>, all) => {
    const { replicas = 1, serviceAccountName = "default", podMetadata, storage, resources } = spec;
    const { nodeSelector = {}, tolerations = [] } = spec;
    const what = kind.toLowerCase();
    const name = `${what}-${metadata.name}`;
    const volume = storage?.volumeClaimTemplate;
    return {
      podSets: [
        {
          name,
          replicas,
          labels: {
            ...podMetadata?.labels,
            "app.kubernetes.io/name": what,
            "app.kubernetes.io/instance": metadata.name,
            "app.kubernetes.io/managed-by": "prometheus-operator",
            "operator.prometheus.io/name": metadata.name,
            [what]: metadata.name,
          },
          spec: {
            ...{ serviceAccountName, nodeSelector, tolerations },
            containers: [{ resources }, { resources: reloader(all) }],
          },
          claims: volume ? [{ ...volume, metadata: { name: volume.metadata?.name ?? `${name}-db` } }] : [],
        },
      ],
    };
  },
};

/** Its size stands on the operator's command line. */
function reloader(objects: readonly Manifest[]): Resources {
  const text = JSON.stringify(objects);
  const flag = (name: string): string => new RegExp(`"--config-reloader-${name}=([^"]*)"`).exec(text)?.[1] ?? "0";
  return {
    requests: { cpu: flag("cpu-request"), memory: flag("memory-request") },
    limits: { cpu: flag("cpu-limit"), memory: flag("memory-limit") },
  };
}

const read = { ...INERT, withoutStage: "Prometheus reads it, and none runs" };

export const prometheusOperator: Operator = {
  name: "prometheus-operator",
  origin: `prometheus-operator ${manifests.prometheusOperator.version}`,
  kinds: {
    "monitoring.coreos.com/v1/Alertmanager": server,
    "monitoring.coreos.com/v1/PodMonitor": read,
    "monitoring.coreos.com/v1/Prometheus": server,
    "monitoring.coreos.com/v1/PrometheusRule": read,
    "monitoring.coreos.com/v1/ServiceMonitor": read,
  },
};
