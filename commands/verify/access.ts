import type { RbacV1Subject, V1PolicyRule, V1RoleRef } from "@kubernetes/client-node";
import type { Question } from "./check";
import { type ClusterView, nameOf } from "./cluster";
import type { Expected } from "./expected";

/** The namespace of the stores: who reads its Secrets, or runs pods there, which mount them, has the data of all. */
const NAMESPACE = "data-platform";

// Any of them is enough: what makes pods, or changes those that are there, mounts any Secret.
const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch"];
const POWERS: readonly {
  readonly group: string;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}[] = [
  { group: "", resources: ["secrets"], verbs: READ },
  { group: "", resources: ["pods", "pods/ephemeralcontainers", "replicationcontrollers"], verbs: WRITE },
  // kubectl uses POST or, over WebSockets, GET.
  { group: "", resources: ["pods/attach", "pods/exec"], verbs: ["create", "get"] },
  { group: "apps", resources: ["daemonsets", "deployments", "replicasets", "statefulsets"], verbs: WRITE },
  { group: "batch", resources: ["cronjobs", "jobs"], verbs: WRITE },
];

/** Who, besides the cluster's own components and the accounts in the program's namespaces, may get at the data of the platform. */
export function access({ objects }: Expected, cluster: ClusterView): Question[] {
  const own = new Set(objects.filter(({ kind }) => kind === "Namespace").map(({ name }) => name));
  const isOutsider = ({ kind, name, namespace = "" }: RbacV1Subject) =>
    kind === "ServiceAccount" ? !own.has(namespace) && namespace !== "kube-system" : !name.startsWith("system:");
  return [
    {
      topic: "rights",
      name: `who may read Secrets or run pods in ${NAMESPACE}`,
      ask: async () => {
        const [roles, clusterRoles] = [await cluster.roles(), await cluster.clusterRoles()];
        const rulesOf = ({ kind, name }: V1RoleRef): V1PolicyRule[] => {
          const found =
            kind === "Role"
              ? roles.find((one) => nameOf(one) === `${NAMESPACE}/${name}`)
              : clusterRoles.find((one) => nameOf(one) === name);
          return found?.rules ?? [];
        };
        const bound = [
          ...(await cluster.roleBindings()).filter(({ metadata }) => metadata?.namespace === NAMESPACE),
          ...(await cluster.clusterRoleBindings()),
        ];
        const powerful = bound.filter(({ roleRef }) => rulesOf(roleRef).some(grantsPower));
        const subjects = powerful.flatMap(({ subjects: all = [] }) => all.filter(isOutsider).map(titleOf));
        return { found: [...new Set(subjects)].sort().join(", ") || "nobody besides the cluster's own" };
      },
    },
  ];
}

// A rule for objects by name is the program's own, such as that for Ray's token.
function grantsPower({ apiGroups = [], resources = [], resourceNames = [], verbs }: V1PolicyRule): boolean {
  if (resourceNames.length > 0) return false;
  const has = (granted: readonly string[], any: readonly string[]) =>
    granted.includes("*") || any.some((one) => granted.includes(one));
  return POWERS.some(
    (power) => has(apiGroups, [power.group]) && has(resources, power.resources) && has(verbs, power.verbs),
  );
}

function titleOf({ kind, name, namespace }: RbacV1Subject): string {
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}
