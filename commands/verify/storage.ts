import type {
  V1Endpoint,
  V1PersistentVolume,
  V1PersistentVolumeClaim,
  V1Pod,
  V1Service,
} from "@kubernetes/client-node";
import { bytes } from "../../rehearsal/program/quantity";
import type { Question } from "./check";
import { type ClusterView, nameOf } from "./cluster";
import { type Expected, ofKind } from "./expected";
import { storageClasses } from "../../stacks/config/lasting";

/** Whether claims are bound, as large as declared, and used, and volumes claimed. */
export function storage(expected: Expected, cluster: ClusterView): Question[] {
  const { namespaces, config, stack } = expected;
  const topic = "storage";
  const claims = async () => (await cluster.claims()).filter(isIn(namespaces));
  return [
    {
      topic,
      name: "claims are bound",
      ask: async () => {
        const all = await claims();
        const unbound = all.filter(({ status }) => status?.phase !== "Bound");
        return {
          found: `${all.length - unbound.length} of ${all.length} bound`,
          faults: unbound.map((claim) => ({
            what: `${nameOf(claim)} is ${claim.status?.phase} (class ${claim.spec?.storageClassName ?? "none"})`,
            next: `kubectl describe pvc -n ${claim.metadata?.namespace} ${claim.metadata?.name}`,
          })),
        };
      },
    },
    {
      topic,
      name: "claims have their size",
      ask: async () => {
        const compared = (await claims()).flatMap((claim) => {
          const size = declaredSize(claim, expected);
          return size === undefined ? [] : [{ claim, size, has: bytes(claim.status?.capacity?.["storage"] ?? "0") }];
        });
        const wrong = compared.filter(({ size, has }) => has !== size);
        return {
          found: `${compared.length - wrong.length} of ${compared.length}`,
          faults: wrong.map(({ claim, size, has }) => ({
            what: `${nameOf(claim)} has ${has / 2 ** 30} GiB, and the program declares ${size / 2 ** 30}`,
            next: `kubectl describe pvc -n ${claim.metadata?.namespace} ${claim.metadata?.name}; docs/volumes.md`,
          })),
        };
      },
    },
    {
      topic,
      name: "claims are used",
      ask: async () => {
        const [all, pods] = [await claims(), await cluster.pods()];
        const declared = new Set(
          ofKind(expected, "PersistentVolumeClaim").map((one) => `${one.namespace}/${one.name}`),
        );
        const unused = all.filter((claim) => !declared.has(nameOf(claim)) && !isClaimUsed(claim, pods));
        return {
          found: `${all.length - unused.length} of ${all.length} used`,
          faults: unused.map((claim) => ({
            what: `${nameOf(claim)}: no pod uses it, and it is not in the program`,
            next: `look at its data, then kubectl delete pvc -n ${claim.metadata?.namespace} ${claim.metadata?.name}`,
          })),
        };
      },
    },
    {
      topic,
      name: "volumes are claimed",
      ask: async () => {
        const classes = storageClasses(config);
        const ours = (await cluster.volumes()).filter((volume) => isOurs(volume, namespaces, classes));
        const free = ours.filter(({ status }) => status?.phase !== "Bound");
        return {
          found: `${ours.length - free.length} of ${ours.length} claimed`,
          faults: free.map((volume) => ({
            what: `${nameOf(volume)} is ${volume.status?.phase}${lastClaim(volume)}`,
            next: `npm run volumes -- --stack ${stack}; recover its data, or kubectl delete pv ${nameOf(volume)}`,
          })),
        };
      },
    },
  ];
}

function isIn(namespaces: readonly string[]) {
  return ({ metadata }: { readonly metadata?: { readonly namespace?: string } }): boolean =>
    namespaces.includes(metadata?.namespace ?? "");
}

/** Bytes of the one volume of the group whose pods a claim is named for: `<template>-<group>-0`, or `<group>-1`. */
function declaredSize({ metadata }: V1PersistentVolumeClaim, { groups }: Expected): number | undefined {
  const { namespace, name = "" } = metadata ?? {};
  const group = groups.find(
    (one) =>
      one.namespace === namespace && new RegExp(`(^|-)${one.name}-[0-9]+$`).test(name) && one.volumes.length === 1,
  );
  return group?.volumes[0];
}

function isClaimUsed({ metadata }: V1PersistentVolumeClaim, pods: readonly V1Pod[]): boolean {
  return pods.some(
    (pod) =>
      pod.metadata?.namespace === metadata?.namespace &&
      pod.spec?.volumes?.some(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === metadata?.name),
  );
}

/** Other tenants' volumes are ignored. */
function isOurs({ spec }: V1PersistentVolume, namespaces: readonly string[], classes: readonly string[]): boolean {
  const namespace = spec?.claimRef?.namespace;
  return namespace === undefined ? classes.includes(spec?.storageClassName ?? "") : namespaces.includes(namespace);
}

function lastClaim({ spec }: V1PersistentVolume): string {
  const { namespace, name } = spec?.claimRef ?? {};
  return name === undefined ? "" : `; it belonged to ${namespace}/${name}`;
}

/** Whether Services have ready pods and a known owner. */
export function services(expected: Expected, cluster: ClusterView): Question[] {
  const topic = "Services";
  const ours = async () => (await cluster.services()).filter(isIn(expected.namespaces));
  return [
    {
      topic,
      name: "lead to ready pods",
      ask: async () => {
        const [all, slices] = [await ours(), await cluster.endpointSlices()];
        const ready = new Set(
          slices
            .filter(hasReady)
            .map(({ metadata }) => `${metadata?.namespace}/${metadata?.labels?.["kubernetes.io/service-name"]}`),
        );
        // An operator's Service may be empty by design, such as PostgreSQL's `-ro` with one instance.
        const served = all.filter(({ spec, metadata }) => spec?.selector && !metadata?.ownerReferences?.length);
        const empty = served.filter((service) => !ready.has(nameOf(service)));
        return {
          found: `${served.length - empty.length} of ${served.length}`,
          faults: empty.map((service) => ({
            what: `${nameOf(service)} leads to no ready pod: it selects ${selectorOf(service)}`,
            next: `kubectl get pods -n ${service.metadata?.namespace} -l ${selectorOf(service)}`,
          })),
        };
      },
    },
    {
      topic,
      name: "belong to the program",
      ask: async () => {
        const all = await ours();
        const made = new Set([
          ...ofKind(expected, "Service").map(({ namespace, name }) => `${namespace}/${name}`),
          ...expected.releases.flatMap(({ namespace, services: own }) => own.map((name) => `${namespace}/${name}`)),
        ]);
        const foreign = all.filter((service) => !made.has(nameOf(service)) && !hasOwner(service, expected));
        return {
          found: `${all.length - foreign.length} of ${all.length}`,
          faults: foreign.map((service) => ({
            what: `${nameOf(service)}: neither the program nor its operators make it`,
            next: `find out who needs it, then kubectl delete service -n ${service.metadata?.namespace} ${service.metadata?.name}`,
          })),
        };
      },
    },
  ];
}

/** The API returns null if there are none, despite its type. */
function hasReady({ endpoints }: { readonly endpoints: readonly V1Endpoint[] | null }): boolean {
  return endpoints?.some(({ conditions }) => conditions?.ready !== false) ?? false;
}

function selectorOf({ spec }: V1Service): string {
  return Object.entries(spec?.selector ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** Made by an operator, or by one of the program's charts. */
function hasOwner({ metadata }: V1Service, { releases }: Expected): boolean {
  const release = metadata?.annotations?.["meta.helm.sh/release-name"];
  return (metadata?.ownerReferences?.length ?? 0) > 0 || releases.some(({ name }) => name === release);
}
