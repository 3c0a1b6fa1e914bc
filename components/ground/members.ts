import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { grant, type Rule } from "../base/grant";
import type { PriorityClassName } from "../base/pod";

/** Inputs of {@link Members}. */
export interface MembersArgs {
  /** The namespace in which they work; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Kubernetes groups whose people they are. */
  readonly groups: readonly string[];
}

/** People who run what they like in one namespace, and touch neither its limits and policies nor anything outside. */
export class Members extends pulumi.ComponentResource {
  constructor(name: string, { namespace, groups }: MembersArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Members", name, {}, opts);
    const subjects = groups.map((group) => ({ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: group }));
    grant(this, name, namespace, subjects, RULES);
    // Else their pods could push those of the platform off a node.
    new k8s.core.v1.ResourceQuota(
      `${name}-priorities`,
      {
        metadata: { name: "priorities", namespace },
        spec: {
          hard: { pods: "0" },
          scopeSelector: {
            matchExpressions: [{ scopeName: "PriorityClass", operator: "In", values: [...FOR_THE_PLATFORM] }],
          },
        },
      },
      { parent: this },
    );
    this.registerOutputs();
  }
}

const FOR_THE_PLATFORM = [
  "critical-services" satisfies PriorityClassName,
  "system-cluster-critical",
  "system-node-critical",
];

const READ = ["get", "list", "watch"];
const WRITE = [...READ, "create", "update", "patch", "delete", "deletecollection"];

// The ClusterRole `edit` without NetworkPolicies, ways in from outside and the tokens of accounts; and what operators add to it.
const RULES: Rule[] = [
  {
    apiGroups: [""],
    resources: ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims"],
    verbs: WRITE,
  },
  { apiGroups: [""], resources: ["pods/eviction"], verbs: ["create"] },
  // kubectl uses POST or, over WebSockets, GET.
  { apiGroups: [""], resources: ["pods/attach", "pods/exec", "pods/portforward"], verbs: ["create", "get"] },
  {
    apiGroups: [""],
    resources: ["endpoints", "events", "limitranges", "pods/log", "pods/status", "resourcequotas", "serviceaccounts"],
    verbs: READ,
  },
  { apiGroups: ["apps"], resources: ["deployments", "replicasets", "statefulsets"], verbs: WRITE },
  {
    apiGroups: ["apps"],
    resources: ["deployments/scale", "replicasets/scale", "statefulsets/scale"],
    verbs: ["get", "update", "patch"],
  },
  { apiGroups: ["batch"], resources: ["cronjobs", "jobs"], verbs: WRITE },
  { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: WRITE },
  { apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: WRITE },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: READ },
  { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: READ },
  { apiGroups: ["metrics.k8s.io"], resources: ["pods"], verbs: READ },
  { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: READ },
];
