import * as pulumi from "@pulumi/pulumi";
import { observe } from "../../base/connect";
import type { PodIdentity } from "../../base/endpoint";
import { grant } from "../../base/grant";
import { HEAD_PORTS } from "./pods";

/** Who may reach the dashboard, job API and client port; nobody else can. */
export interface RayAccess {
  /** Pods that may reach the ports; they also need the token. */
  readonly pods: readonly PodIdentity[];
  /** Kubernetes groups that may read the token and forward a port to the head. */
  readonly groups: readonly string[];
}

/** What access is granted to. */
export interface RayEntrance {
  readonly head: PodIdentity;
  /** The head's pod, which always has this name. */
  readonly podName: string;
  readonly authSecret: string;
}

/** Grants the access. */
export function grantAccess(
  parent: pulumi.Resource,
  name: string,
  { pods, groups }: RayAccess,
  { head, podName, authSecret }: RayEntrance,
): void {
  for (const client of pods) {
    observe(parent, client, {
      kind: "pods",
      server: head,
      ports: [{ port: HEAD_PORTS.dashboard }, { port: HEAD_PORTS.client }],
      why: "ray",
    });
  }
  if (groups.length === 0) return;
  const subjects = groups.map((group) => ({ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: group }));
  grant(parent, `${name}-user`, head.namespace, subjects, [
    { apiGroups: [""], resources: ["secrets"], resourceNames: [authSecret], verbs: ["get"] },
    { apiGroups: [""], resources: ["pods"], resourceNames: [podName], verbs: ["get"] },
    // kubectl uses POST or, over WebSockets, GET.
    { apiGroups: [""], resources: ["pods/portforward"], resourceNames: [podName], verbs: ["create", "get"] },
  ]);
}
