import * as fs from "node:fs";
import * as path from "node:path";
import { RENDERED, type RenderedChart } from "../../../commands/charts/rendered";
import type { Manifest } from "../../../rehearsal/operators/operator";
import { evaluateStack, releasesOf } from "../../../rehearsal/program/charts";
import type { Evaluation, Registration } from "../../../rehearsal/program/evaluate";
import { plain } from "../../../rehearsal/program/values";

const BUILT_IN = [
  "Namespace",
  "PriorityClass",
  "ServiceAccount",
  "Secret",
  "Service",
  "ConfigMap",
  "PersistentVolumeClaim",
  "ResourceQuota",
  "LimitRange",
  "Role",
  "RoleBinding",
  "ClusterRole",
  "ClusterRoleBinding",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
];
const OPERATED = [
  ...["cert-manager.io", "postgresql.cnpg.io", "elasticsearch.k8s.elastic.co", "monitoring.coreos.com"],
  ...["gateway.networking.k8s.io", "gateway.envoyproxy.io"],
];

/** A stack's program without the plugin for backups: none runs here, and CloudNativePG refuses a Cluster that names one. */
export async function operatedProgram(stack: string): Promise<Evaluation> {
  const { registrations, outputs } = await evaluateStack(stack);
  return { registrations: registrations.map(withoutPlugins), outputs };
}

function withoutPlugins(registration: Registration): Registration {
  if (registration.type !== "kubernetes:postgresql.cnpg.io/v1:Cluster") return registration;
  const spec = Object.entries(registration.inputs["spec"] as object).filter(([key]) => key !== "plugins");
  return { ...registration, inputs: { ...registration.inputs, spec: Object.fromEntries(spec) } };
}

/** What the program makes that the operators read or that decides whether their pods are admitted. */
export function objectsOf(program: Evaluation): Manifest[] {
  const { registrations } = program;
  const own = registrations
    .filter(({ type, read }) => /^kubernetes:(?!helm)/.test(type) && !read)
    .map(({ inputs }) => plain(inputs) as Manifest)
    .filter(
      ({ apiVersion, kind }) => BUILT_IN.includes(kind) || OPERATED.some((group) => apiVersion.startsWith(`${group}/`)),
    )
    .filter(({ kind }) => kind !== "ScheduledBackup"); // of the plugin that is left out
  return [...own, ...charted(program), ...monitored(registrations)];
}

/** The Services of charts, to which routes lead. */
function charted(program: Evaluation): Manifest[] {
  return releasesOf(program).flatMap(({ namespace, declares }) =>
    declares.services.map(({ name, port }) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace },
      spec: { ports: [{ port }] },
    })),
  );
}

const RELEASE = "kube-prometheus-stack";

/** Prometheus and Alertmanager as the chart makes them of the values: their names and images are those of the real chart. */
function monitored(registrations: Evaluation["registrations"]): Manifest[] {
  const release = registrations.find(({ inputs }) => inputs["name"] === RELEASE && inputs["values"] !== undefined);
  if (release === undefined) return [];
  const { namespace, values } = plain(release.inputs) as { namespace: string; values: any };
  const { objects } = JSON.parse(fs.readFileSync(path.join(RENDERED, `${RELEASE}.json`), "utf8")) as RenderedChart;
  const monitors = ["serviceMonitor", "podMonitor", "probe", "rule", "scrapeConfig"];
  const everything = monitors.flatMap((one) => [`${one}Selector`, `${one}NamespaceSelector`]).map((key) => [key, {}]);
  const specs: Record<string, any> = {
    // Its values say with `NilUsesHelmValues: false` that every monitor counts.
    Prometheus: { ...Object.fromEntries(everything), ...values.prometheus.prometheusSpec },
    Alertmanager: values.alertmanager.alertmanagerSpec,
  };
  const accounts = objects.filter(({ kind }) => kind === "ServiceAccount").map(({ metadata }) => metadata.name);
  const servers = objects
    .filter(({ kind }) => kind in specs)
    .map((object) => {
      const { storageSpec, storage = storageSpec, ...spec } = specs[object.kind];
      const fields = Object.entries(spec).filter(([key]) => !key.endsWith("NilUsesHelmValues"));
      return {
        ...object,
        metadata: { ...object.metadata, namespace },
        spec: {
          ...DEFAULTS,
          ...(object["spec"] as { image: string }),
          version: (object["spec"] as { image: string }).image.split(":")[1],
          ...Object.fromEntries(fields),
          securityContext: { ...DEFAULTS.securityContext, ...spec.securityContext },
          storage,
        },
      };
    });
  return [
    ...accounts.map((name) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } })),
    ...servers,
  ];
}

// The chart's own values, of which ours are changes.
const DEFAULTS = {
  replicas: 1,
  securityContext: {
    runAsGroup: 2000,
    runAsNonRoot: true,
    runAsUser: 1000,
    fsGroup: 2000,
    seccompProfile: { type: "RuntimeDefault" },
  },
};
