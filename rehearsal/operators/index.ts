import { barmanCloud } from "./barman-cloud";
import { certManager } from "./cert-manager";
import { cnpg } from "./cnpg";
import { eck } from "./eck";
import { envoyGateway } from "./envoy-gateway";
import { gatewayApi } from "./gateway-api";
import { gpuOperator } from "./gpu-operator";
import { istio } from "./istio";
import { kuberay } from "./kuberay";
import { nodeFeatureDiscovery } from "./node-feature-discovery";
import type { CustomKind, Operator } from "./operator";
import { prometheusOperator } from "./prometheus-operator";
import { strimzi } from "./strimzi";

/** Every operator with CRDs of which there are objects. */
export const operators: readonly Operator[] = [
  barmanCloud,
  certManager,
  cnpg,
  eck,
  envoyGateway,
  gatewayApi,
  gpuOperator,
  istio,
  kuberay,
  nodeFeatureDiscovery,
  prometheusOperator,
  strimzi,
];

const kinds = new Map(operators.flatMap((operator) => Object.entries(operator.kinds)));

/** What is known of a kind, by `<apiVersion>/<Kind>`; undefined where no operator of ours acts on it. */
export function customKind(kind: string): CustomKind | undefined {
  return kinds.get(kind);
}

/** Whether a kind is of a group that an operator of ours acts on. */
export function isOperated(kind: string): boolean {
  const [group = ""] = kind.split("/");
  return [...kinds.keys()].some((known) => known.startsWith(`${group}/`));
}
