import * as fs from "node:fs";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import type { ChartPin } from "../../../components/base/versions";
import type { Manifest } from "../../operators/operator";
import { ROOT } from "../../program/evaluate";

/** The roles of the charts with their default values, one file for each chart. */
const RIGHTS = path.join(ROOT, "..", "shared", "rbac");

/** Whether the roles of the real charts are at hand. */
export const haveRights = fs.existsSync(RIGHTS);

interface Owner {
  readonly namespace: string;
  readonly name: string;
}

interface Role extends Manifest {
  readonly rules: readonly { readonly resources?: readonly string[] }[];
}

interface Binding extends Manifest {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly name: string }[];
}

// What lies in no namespace stays the chart's ClusterRole's, wherever the rest is given.
const CLUSTER_WIDE = ["storageclasses"];

/**
 * The roles that the chart binds to an account whose name ends like that of ours, bound to ours; every right where the roles of the
 * charts are not at hand.
 *
 * @param within are the namespaces where it has them. @default the whole cluster
 */
export function rights({ chart, version }: ChartPin, account: Owner, within?: readonly string[]): Manifest[] {
  if (!haveRights) return [everything(account)];
  const text = fs.readFileSync(path.join(RIGHTS, `${chart}-${version}.yaml`), "utf8");
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  const subjects = [{ kind: "ServiceAccount", ...account }];
  const named = (objects as Binding[])
    .filter(
      ({ kind, subjects: whom = [] }) =>
        kind === "ClusterRoleBinding" && whom.some(({ name }) => name.endsWith(account.name)),
    )
    .map(({ roleRef }) => roleRef.name);
  const roles = (objects as Role[]).filter(
    ({ kind, metadata }) => kind === "ClusterRole" && named.includes(metadata.name),
  );
  if (roles.length === 0) throw new Error(`${chart}: no role is bound to ${account.name}`);
  return roles.flatMap((role) => {
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.metadata.name };
    const binding = { apiVersion: "rbac.authorization.k8s.io/v1", roleRef, subjects };
    const name = role.metadata.name;
    if (within === undefined) return [role, { ...binding, kind: "ClusterRoleBinding", metadata: { name } }];
    const wide = role.rules.filter(({ resources = [] }) => resources.some((one) => CLUSTER_WIDE.includes(one)));
    const cluster = { ...binding, kind: "ClusterRoleBinding", metadata: { name: `${name}-cluster` } };
    return [
      role,
      ...within.map((namespace) => ({ ...binding, kind: "RoleBinding", metadata: { name, namespace } })),
      { ...role, metadata: { name: `${name}-cluster` }, rules: wide },
      { ...cluster, roleRef: { ...roleRef, name: `${name}-cluster` } },
    ];
  });
}

function everything(account: Owner): Manifest {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: account.name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", ...account }],
  };
}
