import * as pulumi from "@pulumi/pulumi";
import { ChartCrds, ChartRelease, type HelmValue } from "../../base/chart-release";
import type { Destination } from "../../base/connect";
import { type ContainerSize, type ResourceQuantities, resources } from "../../base/pod";
import { type Metrics, scrape } from "../../base/scrape";
import { charts } from "../../base/versions";

// The chart uses this name for its Deployment, labels and account, whatever the release's name.
const OPERATOR = "strimzi-cluster-operator";
const METRICS_PORT = { name: "http", number: 8080 };

/** Inputs of {@link strimzi}. */
export interface StrimziArgs {
  /** Namespace of the operator; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** The only namespace besides its own whose custom resources it manages. */
  readonly watched: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly size: ContainerSize;
  readonly talksTo: readonly Destination[];
  readonly metrics: Metrics;
}

/** Installs the operator; returns the dependencies of its custom resources. */
export function strimzi(parent: pulumi.Resource, args: StrimziArgs): pulumi.Resource[] {
  const { namespace, watched, chartDirectory, size, talksTo, metrics } = args;
  const crds = new ChartCrds("strimzi", charts.strimzi, chartDirectory, { parent });
  const release = new ChartRelease(
    OPERATOR,
    charts.strimzi,
    {
      namespace,
      directory: chartDirectory,
      values: values(size, watched),
      declares: {
        workloads: [
          {
            kind: "Deployment",
            name: OPERATOR,
            labels: { name: OPERATOR, "strimzi.io/kind": "cluster-operator" },
            serviceAccount: OPERATOR,
            ports: { [METRICS_PORT.name]: METRICS_PORT.number },
            replicas: 1,
            size,
          },
        ],
        services: [],
        crds: [],
      },
      talksTo: { [OPERATOR]: talksTo },
    },
    { parent, dependsOn: crds },
  );
  scrape(parent, { pods: release.identity(OPERATOR), port: METRICS_PORT, job: OPERATOR, by: metrics });
  return [crds, release];
}

/** The keys of the chart that we set. */
type OperatorValues = {
  readonly watchNamespaces: HelmValue[];
  readonly resources: ResourceQuantities;
  readonly priorityClassName: string;
  readonly generateNetworkPolicy: false;
};

function values(size: ContainerSize, watched: pulumi.Input<string>): OperatorValues {
  return {
    watchNamespaces: [pulumi.output(watched)],
    resources: resources(size),
    priorityClassName: "critical-services",
    // Its policies would admit every pod to the brokers.
    generateNetworkPolicy: false,
  };
}
