import * as pulumi from "@pulumi/pulumi";
import { observe } from "../../base/connect";
import type { PodIdentity } from "../../base/endpoint";
import { grant } from "./operator";
import { HEAD_PORTS } from "./pods";

/** Who may reach dashboard, job API and client port; nobody else does. */
export interface RayAccess {
  /** Pods of others: they reach the ports, and need the token besides. */
  readonly pods: readonly PodIdentity[];
  /** Groups of people: they may read the token and forward a port to the head, and nothing else. */
  readonly groups: readonly string[];
}

/** What somebody with access reaches. */
export interface RayEntrance {
  readonly head: PodIdentity;
  /** The head's pod, which always has this name. */
  readonly podName: string;
  readonly authSecret: string;
}

/** Lets the named ones in. */
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
    // kubectl asks with POST or, over WebSockets, with GET.
    { apiGroups: [""], resources: ["pods/portforward"], resourceNames: [podName], verbs: ["create", "get"] },
  ]);
}
