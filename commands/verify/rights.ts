import type { Question } from "./check";
import type { ClusterView } from "./cluster";
import type { Expected } from "./expected";

// What the provider does with every object: read, create, change, watch, delete.
const VERBS = ["get", "list", "watch", "create", "patch", "delete"];

/** What Helm and its charts need besides the program's own objects, by namespace of the release. */
const CHART_KINDS = {
  namespaced: [
    { group: "", kind: "Secret" }, // Helm's own records
    { group: "", kind: "Service" },
    { group: "", kind: "ServiceAccount" },
    { group: "", kind: "ConfigMap" },
    { group: "apps", kind: "Deployment" },
    { group: "rbac.authorization.k8s.io", kind: "Role" },
    { group: "rbac.authorization.k8s.io", kind: "RoleBinding" },
  ],
  clusterWide: [
    { group: "rbac.authorization.k8s.io", kind: "ClusterRole" },
    { group: "rbac.authorization.k8s.io", kind: "ClusterRoleBinding" },
    { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition" },
    { group: "admissionregistration.k8s.io", kind: "ValidatingWebhookConfiguration" },
    { group: "admissionregistration.k8s.io", kind: "MutatingWebhookConfiguration" },
  ],
};

interface Resource {
  readonly group: string;
  readonly resource: string;
  /** Absent for cluster-scoped resources. */
  readonly namespace?: string;
}

/** Whether the kubeconfig's user may do what an `up` does: one check per kind. */
export function rights(expected: Expected, cluster: ClusterView): Question[] {
  const wanted = resourcesOf(expected);
  const kinds = [...new Set(wanted.map(kindName))].sort();
  return kinds.map((kind) => ({
    topic: "rights",
    name: kind,
    ask: async () => {
      const here = wanted.filter((one) => kindName(one) === kind);
      const refused = (await Promise.all(here.map((one) => refusedVerbs(one, cluster)))).flat();
      const places = here.flatMap(({ namespace }) => namespace ?? []);
      return {
        found: places.length === 0 ? "cluster-wide" : places.join(", "),
        faults: refused.map(({ namespace, verbs }) => ({
          what: `may not ${verbs.join(", ")} ${kind}${namespace === undefined ? "" : ` in ${namespace}`}`,
          next: "use an authorized user, or have it granted",
        })),
      };
    },
  }));
}

function kindName({ group, resource }: Resource): string {
  return group === "" ? resource : `${resource}.${group}`;
}

/** Each kind that the program or its charts write, once per namespace. */
export function resourcesOf(expected: Expected): Resource[] {
  const own = expected.objects.map(({ apiVersion, kind, namespace }) => ({
    group: apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "",
    resource: pluralOf(kind),
    ...(namespace !== undefined && { namespace }),
  }));
  const byCharts = expected.releases.flatMap(({ namespace }) => [
    ...CHART_KINDS.namespaced.map(({ group, kind }) => ({ group, resource: pluralOf(kind), namespace })),
    ...CHART_KINDS.clusterWide.map(({ group, kind }) => ({ group, resource: pluralOf(kind) })),
  ]);
  const all = new Map([...own, ...byCharts].map((one) => [JSON.stringify(one), one]));
  return [...all.values()];
}

/** The plural name of a kind in the API. */
export function pluralOf(kind: string): string {
  const name = kind.toLowerCase();
  if (/(s|x|ch|sh)$/.test(name)) return `${name}es`;
  return /[^aeiou]y$/.test(name) ? `${name.slice(0, -1)}ies` : `${name}s`;
}

async function refusedVerbs(
  { group, resource, namespace }: Resource,
  { authorization }: ClusterView,
): Promise<{ namespace?: string; verbs: string[] }[]> {
  const allowed = await Promise.all(
    VERBS.map(async (verb) => {
      const { status } = await authorization.createSelfSubjectAccessReview({
        body: {
          spec: { resourceAttributes: { group, resource, verb, ...(namespace !== undefined && { namespace }) } },
        },
      });
      return status?.allowed === true;
    }),
  );
  const verbs = VERBS.filter((_, index) => !allowed[index]);
  return verbs.length === 0 ? [] : [{ ...(namespace !== undefined && { namespace }), verbs }];
}
