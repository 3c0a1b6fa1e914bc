import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

/** A rule of a Role. */
export type Rule = k8s.types.input.rbac.v1.PolicyRule;

/** Grants subjects the rules in one namespace. */
export function grant(
  parent: pulumi.Resource,
  name: string,
  namespace: pulumi.Input<string>,
  subjects: k8s.types.input.rbac.v1.Subject[],
  rules: Rule[],
): pulumi.Resource[] {
  const metadata = { name, namespace };
  const role = new k8s.rbac.v1.Role(name, { metadata, rules }, { parent });
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name };
  const binding = new k8s.rbac.v1.RoleBinding(name, { metadata, roleRef, subjects }, { parent, dependsOn: role });
  return [role, binding];
}
