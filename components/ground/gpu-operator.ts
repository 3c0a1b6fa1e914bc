import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import {
  ChartCrds,
  ChartRelease,
  type DeclaredHook,
  type DeclaredWorkload,
  type HelmValue,
  podsOf,
} from "../base/chart-release";
import type { ApiServer } from "../base/endpoint";
import { type ContainerSize, type ResourceQuantities, resources } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { type ChartPin, charts } from "../base/versions";

const OPERATOR = "gpu-operator";
const DISCOVERY = "node-feature-discovery";
const DISCOVERY_MASTER = `${DISCOVERY}-master`;
const METRICS = { name: "metrics", number: 8080 };
const DISCOVERY_METRICS = { name: "http", number: 8080 };
const OWN_PODS = "they set up nodes before anything else runs there";

const NONE = { request: 0, limit: 0 };
// Before the release goes. Its chart has no size for it.
const CLEANUP: DeclaredHook = {
  name: `${OPERATOR}-cleanup-gpucluster`,
  when: "on delete",
  serviceAccount: OPERATOR,
  size: { cpu: NONE, memoryMiB: NONE },
};

/** Inputs of {@link GpuOperator}. */
export interface GpuOperatorArgs {
  /** Namespace of every object made here; it must exist and be privileged. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  readonly operator: ContainerSize;
  /** Each agent on a node with GPUs. */
  readonly agent: ContainerSize;
  /** Each pod of Node Feature Discovery, which tells what hardware a node has. */
  readonly discovery: ContainerSize;
  readonly metrics: Metrics;
}

/**
 * NVIDIA's GPU operator: makes the GPUs of nodes schedulable as `nvidia.com/gpu`. Its values are those for Tesla K80, the last
 * driver of which, R470, must be on the host (docs/gpus.md).
 */
export class GpuOperator extends pulumi.ComponentResource {
  /** Files with its alerts. */
  readonly alerts = [path.join(__dirname, "gpu-operator.alerts.yaml")];

  constructor(name: string, args: GpuOperatorArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:GpuOperator", name, {}, opts);
    const { namespace, metrics } = args;
    const discovery = this.release(DISCOVERY, charts.nodeFeatureDiscovery, args, {
      values: discoveryValues(args),
      workloads: discoveryWorkloads(args.discovery),
    });
    const operator = operatorWorkload(args.operator);
    this.release(OPERATOR, charts.gpuOperator, args, {
      values: operatorValues(args),
      workloads: [operator, ...agents(args.agent)],
      hooks: [CLEANUP],
      after: discovery,
    });
    scrape(this, { pods: podsOf(operator, namespace), port: METRICS, by: metrics });
    const pods = discovery.identity(DISCOVERY_MASTER);
    scrape(this, { pods, port: DISCOVERY_METRICS, job: DISCOVERY, by: metrics });
    this.registerOutputs();
  }

  private release(
    name: string,
    pin: ChartPin,
    { namespace, chartDirectory, kubeApi }: GpuOperatorArgs,
    chart: {
      readonly values: { readonly [key: string]: HelmValue };
      readonly workloads: readonly DeclaredWorkload[];
      readonly hooks?: readonly DeclaredHook[];
      readonly after?: ChartRelease;
    },
  ): ChartRelease {
    const { values, workloads, hooks = [], after } = chart;
    const crds = new ChartCrds(name, pin, chartDirectory, { parent: this });
    return new ChartRelease(
      name,
      pin,
      {
        namespace,
        directory: chartDirectory,
        values,
        declares: { workloads, services: [], hooks, crds: [] },
        talksTo: Object.fromEntries([...workloads, ...hooks].map((one) => [one.name, [kubeApi]])),
      },
      { parent: this, dependsOn: [crds, ...(after ? [after] : [])] },
    );
  }
}

function operatorWorkload(size: ContainerSize): DeclaredWorkload {
  return {
    kind: "Deployment",
    name: OPERATOR,
    labels: { app: OPERATOR, "app.kubernetes.io/component": OPERATOR },
    serviceAccount: OPERATOR,
    replicas: 1,
    outsideMesh: OWN_PODS,
    ports: { [METRICS.name]: METRICS.number },
    size,
  };
}

/** What the operator runs on each node with GPUs. */
function agents(size: ContainerSize): DeclaredWorkload[] {
  const agent = (name: string, serviceAccount: string, labels: Readonly<Record<string, string>> = {}) => ({
    kind: "DaemonSet" as const,
    name,
    labels: { app: name, ...labels },
    serviceAccount,
    replicas: 1,
    outsideMesh: OWN_PODS,
    nodeSelector: { "nvidia.com/gpu.present": "true" },
    size,
  });
  return [
    agent("nvidia-container-toolkit-daemonset", "nvidia-container-toolkit"),
    agent("nvidia-device-plugin-daemonset", "nvidia-device-plugin"),
    agent("gpu-feature-discovery", "nvidia-gpu-feature-discovery", { "app.kubernetes.io/part-of": "nvidia-gpu" }),
    agent("nvidia-operator-validator", "nvidia-operator-validator", { "app.kubernetes.io/part-of": OPERATOR }),
  ];
}

/** The keys of the chart that we set. */
type OperatorValues = {
  readonly [part: string]: {
    readonly enabled?: boolean;
    readonly resources?: ResourceQuantities;
    readonly [key: string]: HelmValue;
  };
};

function operatorValues({ operator, agent }: GpuOperatorArgs): OperatorValues {
  const off = { enabled: false };
  return {
    operator: {
      resources: resources(operator),
      // The program brings the CRDs.
      upgradeCRD: false,
    },
    // A release of its own, so that its CRDs lie where those of other charts do.
    nfd: off,
    // R470, the last branch for Kepler, is in no container for the distributions of today.
    driver: off,
    toolkit: { resources: resources(agent) },
    devicePlugin: { resources: resources(agent) },
    gfd: { resources: resources(agent) },
    // Its test runs a kernel of CUDA 13, which has none for compute capability 3.7.
    validator: { resources: resources(agent), cuda: { env: [{ name: "WITH_WORKLOAD", value: "false" }] } },
    // Generated specifications are untested with R470: the runtime's hook is what served these cards.
    cdi: off,
    // DCGM 4 does not know Kepler; the kubelet tells which cards are healthy (docs/gpus.md).
    dcgmExporter: off,
    // For cards that can be divided or handed to virtual machines.
    migManager: off,
    vgpuDeviceManager: off,
    vfioManager: off,
    sandboxDevicePlugin: off,
    kataSandboxDevicePlugin: off,
  };
}

function discoveryWorkloads(size: ContainerSize): DeclaredWorkload[] {
  const part = (kind: "Deployment" | "DaemonSet", role: string): DeclaredWorkload => ({
    kind,
    name: `${DISCOVERY}-${role}`,
    labels: { "app.kubernetes.io/name": DISCOVERY, "app.kubernetes.io/instance": DISCOVERY, role },
    serviceAccount: DISCOVERY,
    ports: { [DISCOVERY_METRICS.name]: DISCOVERY_METRICS.number },
    replicas: 1,
    outsideMesh: OWN_PODS,
    size,
  });
  return [part("Deployment", "master"), part("Deployment", "gc"), part("DaemonSet", "worker")];
}

/** Those of the GPU operator's chart, where it has any. */
function discoveryValues({ discovery }: GpuOperatorArgs): { readonly [key: string]: HelmValue } {
  const account = { name: DISCOVERY, create: false };
  const podSecurityContext = { seccompProfile: { type: "RuntimeDefault" } };
  return {
    priorityClassName: "system-node-critical",
    // It would take labels from the nodes with a Job that nothing lets through to the API server.
    postDeleteCleanup: false,
    master: {
      resources: resources(discovery),
      serviceAccount: { name: DISCOVERY, create: true },
      config: { extraLabelNs: ["nvidia.com"] },
      podSecurityContext,
    },
    gc: { resources: resources(discovery), serviceAccount: account, podSecurityContext },
    worker: {
      resources: resources(discovery),
      serviceAccount: account,
      podSecurityContext,
      tolerations: [
        { key: "node-role.kubernetes.io/control-plane", operator: "Equal", value: "", effect: "NoSchedule" },
        { key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" },
      ],
      config: {
        sources: {
          pci: { deviceClassWhitelist: ["02", "0200", "0207", "0300", "0302"], deviceLabelFields: ["vendor"] },
        },
      },
    },
  };
}
