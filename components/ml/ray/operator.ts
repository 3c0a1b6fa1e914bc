import * as pulumi from "@pulumi/pulumi";
import { ChartCrds, ChartRelease, type HelmValue } from "../../base/chart-release";
import type { Destination } from "../../base/connect";
import type { ApiServer } from "../../base/endpoint";
import { grant, type Rule } from "../../base/grant";
import { type ContainerSize, type ResourceQuantities, resources } from "../../base/pod";
import { type Metrics, scrape } from "../../base/scrape";
import { charts } from "../../base/versions";

const OPERATOR = "kuberay-operator";
const METRICS_PORT = { name: "http", number: 8080 };
// Fixed in the operator's main.go.
const LEASE = "ray-operator-leader";

/** Inputs of {@link rayOperator}. */
export interface OperatorArgs {
  /** Namespace of the operator; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  readonly size: ContainerSize;
  readonly metrics: Metrics;
}

/** What an operator acts on. */
export interface Watched {
  readonly namespace: pulumi.Input<string>;
  /** The pods that it asks. */
  readonly talksTo: readonly Destination[];
  /** Whether clusters that go have a state in Redis. */
  readonly cleansUp: boolean;
}

/** Installs the operator with rights in one namespace; returns the dependencies of its custom resources. */
export function rayOperator(
  parent: pulumi.Resource,
  { namespace, chartDirectory, kubeApi, size, metrics }: OperatorArgs,
  { namespace: watched, talksTo, cleansUp }: Watched,
): pulumi.Resource[] {
  const crds = new ChartCrds("kuberay", charts.kuberay, chartDirectory, { parent });
  const subjects = [{ kind: "ServiceAccount", name: OPERATOR, namespace }];
  const rights = [
    ...grant(parent, OPERATOR, watched, subjects, cleansUp ? [...RULES, CLEANS_UP] : RULES),
    ...grant(parent, `${OPERATOR}-leader`, namespace, subjects, LEADER_RULES),
  ];
  const release = new ChartRelease(
    OPERATOR,
    charts.kuberay,
    {
      namespace,
      directory: chartDirectory,
      values: values(size, watched),
      declares: {
        workloads: [
          {
            kind: "Deployment",
            name: OPERATOR,
            labels: { "app.kubernetes.io/name": OPERATOR, "app.kubernetes.io/instance": OPERATOR },
            serviceAccount: OPERATOR,
            ports: { [METRICS_PORT.name]: METRICS_PORT.number },
            replicas: 1,
            size,
          },
        ],
        services: [{ name: OPERATOR, port: METRICS_PORT.number, podPort: METRICS_PORT.number, workload: OPERATOR }],
        crds: [],
      },
      talksTo: { [OPERATOR]: [kubeApi, ...talksTo] },
    },
    { parent, dependsOn: [crds, ...rights] },
  );
  scrape(parent, { pods: release.identity(OPERATOR), port: METRICS_PORT, job: OPERATOR, by: metrics });
  return [crds, ...rights, release];
}

const READ = ["get", "list", "watch"];

// What the operator does with the custom resources that the program makes. The chart's own Role would also let it change
// Secrets, Jobs, Ingresses, NetworkPolicies and Gateway routes, for features that are off here (docs/adr/0015-kuberay.md).
const RULES: Rule[] = [
  { apiGroups: ["ray.io"], resources: ["rayclusters"], verbs: [...READ, "create", "update", "patch", "delete"] },
  { apiGroups: ["ray.io"], resources: ["rayservices"], verbs: [...READ, "update"] },
  { apiGroups: ["ray.io"], resources: ["rayclusters/status", "rayservices/status"], verbs: ["update"] },
  { apiGroups: ["ray.io"], resources: ["rayclusters/finalizers", "rayservices/finalizers"], verbs: ["update"] },
  { apiGroups: [""], resources: ["pods"], verbs: [...READ, "create", "update", "patch", "delete", "deletecollection"] },
  { apiGroups: [""], resources: ["services"], verbs: [...READ, "create", "update", "delete"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: READ },
  // Its cache reads every Secret of the namespace, although it needs only the token.
  { apiGroups: [""], resources: ["secrets"], verbs: READ },
  // A Role of each cluster for its autoscaler. To grant that, the operator must hold all of it: pods/resize, and to patch
  // pods and clusters.
  { apiGroups: [""], resources: ["serviceaccounts"], verbs: READ },
  { apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "rolebindings"], verbs: [...READ, "create"] },
  { apiGroups: [""], resources: ["pods/resize"], verbs: ["patch"] },
  // Only watched, because it does not start otherwise.
  { apiGroups: ["ray.io"], resources: ["rayjobs"], verbs: READ },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: READ },
  { apiGroups: ["batch"], resources: ["jobs"], verbs: READ },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

// A Job deletes the state of a cluster that goes.
const CLEANS_UP: Rule = { apiGroups: ["batch"], resources: ["jobs"], verbs: ["create"] };

const LEADER_RULES: Rule[] = [
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], resourceNames: [LEASE], verbs: ["get", "update"] },
  { apiGroups: ["", "events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
];

/** The keys of the chart that we set. */
type OperatorValues = {
  readonly resources: ResourceQuantities;
  readonly priorityClassName: string;
  readonly singleNamespaceInstall: true;
  readonly watchNamespace: HelmValue[];
  readonly rbacEnable: false;
  readonly env: { readonly name: string; readonly value: string }[];
};

function values(size: ContainerSize, watched: pulumi.Input<string>): OperatorValues {
  return {
    resources: resources(size),
    priorityClassName: "critical-services",
    singleNamespaceInstall: true,
    watchNamespace: [pulumi.output(watched)],
    // Replaced by the smaller Roles above.
    rbacEnable: false,
    // So that a Role can restrict port forwarding to the head.
    env: [{ name: "ENABLE_DETERMINISTIC_HEAD_POD_NAME", value: "true" }],
  };
}
