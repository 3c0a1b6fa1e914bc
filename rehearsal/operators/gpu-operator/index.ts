import { charts } from "../../../components/base/versions";
import { type CustomKind, type CustomResource, INERT, type Operator, type PodSet, type Resources } from "../operator";

type Part = { readonly enabled?: boolean; readonly resources?: Resources };
type PolicySpec = Readonly<Partial<Record<"toolkit" | "devicePlugin" | "gfd" | "validator", Part>>>;

/** The parts that run, by their DaemonSet and what else of its pods upstream's assets/ name. */
const AGENTS = {
  toolkit: ["nvidia-container-toolkit-daemonset", "nvidia-container-toolkit", {}],
  devicePlugin: ["nvidia-device-plugin-daemonset", "nvidia-device-plugin", {}],
  gfd: ["gpu-feature-discovery", "nvidia-gpu-feature-discovery", { "app.kubernetes.io/part-of": "nvidia-gpu" }],
  validator: [
    "nvidia-operator-validator",
    "nvidia-operator-validator",
    { "app.kubernetes.io/part-of": "gpu-operator" },
  ],
} as const satisfies Record<keyof PolicySpec, readonly [string, string, Readonly<Record<string, string>>]>;

const policy: CustomKind = {
  ...INERT,
  ofCharts: true,
  demand: ({ spec }: CustomResource<PolicySpec>) => ({
    podSets: Object.entries(AGENTS).map(([part, [name, serviceAccountName, labels]]): PodSet => ({
      name,
      replicas: "each node",
      labels: { app: name, ...labels },
      spec: {
        serviceAccountName,
        nodeSelector: { "nvidia.com/gpu.present": "true" },
        containers: [{ resources: spec[part as keyof PolicySpec]?.resources }],
      },
    })),
  }),
};

export const gpuOperator: Operator = {
  name: "gpu-operator",
  origin: `chart gpu-operator ${charts.gpuOperator.version}`,
  kinds: { "nvidia.com/v1/ClusterPolicy": policy },
};
