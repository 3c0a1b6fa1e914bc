import type { V1ClusterRole, V1ClusterRoleBinding } from "@kubernetes/client-node";
import type { Manifest } from "../../rehearsal/operators/operator";
import { securityFaults, soundnessFaults } from "../../rehearsal/program/pod-rules";
import { workloadsOf } from "./declaration";

// Agents that serve their node, the only pods that may be unrestricted.
const AGENTS = [
  "istio-cni-node",
  "kube-prometheus-stack-prometheus-node-exporter",
  "node-feature-discovery-worker",
  "ztunnel",
];
// Upstream's chart has no values for their rights and sizes; they run in a privileged namespace.
const LEFT_OPEN = ["gpu-operator", "gpu-operator-cleanup-gpucluster"];
// Upstream's charts leave the file systems of their images writable, without a value for it.
const WRITABLE = ["DaemonSet istio-cni-node: install-cni may write to its image"];

/** What the platform's rules forbid in a rendered chart. */
export function soundnessFaultsOf(objects: readonly Manifest[]): string[] {
  return [
    ...secretDataFaults(objects),
    ...workloadsOf(objects).flatMap(podFaults),
    ...objects.flatMap((object) => clusterRightsFaults(object, objects)),
  ];
}

/** Accounts that may touch Secrets in every namespace, because their software has no other way: docs/adr/0032-operators-rights.md. */
const SEES_EVERY_SECRET = [
  "barman-cloud",
  "cert-manager",
  "cert-manager-cainjector",
  "istiod",
  "kube-prometheus-stack-operator",
];

/** What holds in every namespace of a cluster, its future ones among them. */
function clusterRightsFaults(binding: Manifest, objects: readonly Manifest[]): string[] {
  if (binding.kind !== "ClusterRoleBinding") return [];
  const { roleRef, subjects } = binding as unknown as V1ClusterRoleBinding;
  const role = objects.find(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === roleRef.name);
  const rules = (role as V1ClusterRole | undefined)?.rules ?? [];
  const isAny = (values: readonly string[] = [], one: string) => values.includes(one) || values.includes("*");
  if (!rules.some(({ apiGroups, resources }) => isAny(apiGroups, "") && isAny(resources, "secrets"))) return [];
  return (subjects ?? [])
    .filter(({ name }) => !SEES_EVERY_SECRET.includes(name))
    .map(
      ({ name }) =>
        `ClusterRoleBinding ${binding.metadata.name}: ${name} may touch Secrets in every namespace; let it watch its own`,
    );
}

function podFaults({ kind, name, template }: ReturnType<typeof workloadsOf>[number]): string[] {
  if (template === undefined || LEFT_OPEN.includes(name)) return [];
  const faults = [...(AGENTS.includes(name) ? [] : securityFaults(template.spec)), ...soundnessFaults(template)];
  return faults.map((fault) => `${kind} ${name}: ${fault}`).filter((fault) => !WRITABLE.includes(fault));
}

/** A chart's Secret holds credentials that it generated or took from values: both end up in Helm's release record. */
function secretDataFaults(objects: readonly Manifest[]): string[] {
  return objects
    .filter(({ kind }) => kind === "Secret")
    .flatMap(({ metadata: { name }, data, stringData }) => {
      const keys = Object.keys({ ...(data as object | null), ...(stringData as object | null) });
      if (keys.length === 0) return []; // its operator fills it
      return [`Secret ${name}: the chart writes ${keys.join(", ")}; make the Secret here and give the chart its name`];
    });
}

/** Differences between two renderings with the same values: generated values would change with every upgrade. */
export function generatedFaults(once: readonly Manifest[], again: readonly Manifest[]): string[] {
  const others = new Map(again.map((object) => [identity(object), object]));
  return once.flatMap((object) => {
    const other = others.get(identity(object));
    if (other === undefined) return [`${title(object)}: has a different name at each rendering; set it in the values`];
    return differences(object, other).map(
      (place) => `${title(object)}: ${place} is generated at each rendering; set its source in the values`,
    );
  });
}

function identity({ apiVersion, kind, metadata: { name, namespace } }: Manifest): string {
  return JSON.stringify([apiVersion, kind, namespace, name]);
}

function title({ kind, metadata: { name } }: Manifest): string {
  return `${kind} ${name}`;
}

function differences(a: unknown, b: unknown, place = ""): string[] {
  if (a === b) return [];
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return [place];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const at = (key: string): string => (Array.isArray(a) ? `${place}[${key}]` : place === "" ? key : `${place}.${key}`);
  return keys.flatMap((key) =>
    differences((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key], at(key)),
  );
}
