import * as fs from "node:fs";
import * as path from "node:path";
import type {
  ChartDeclaration,
  DeclaredHook,
  DeclaredService,
  DeclaredWorkload,
} from "../../components/base/chart-release";
import { resources } from "../../components/base/pod";
import type { PlatformConfig } from "../../stacks/config/schema";
import { CrdLibrary, toYaml } from "../operators/crds";
import type { Manifest } from "../operators/operator";
import { type FilledChart, fillPins, releasesOf } from "../program/charts";
import { evaluate, type Evaluation } from "../program/evaluate";

/** What a stand-in installs besides CRDs, as somebody wants it: operators that run, for example. */
export type Adapted = (release: string, objects: readonly Manifest[]) => readonly Manifest[];

/**
 * Fills a directory with every pinned chart and manifest file: what upstream published where `config.charts.directory`
 * holds it in the pinned version, else a stand-in, which runs what the program declares about the chart and installs
 * its CRDs. Returns what the stack installs of it. CARBON_CRDS names a directory with the full CRDs, in the layout of
 * the fixtures, that stand-ins then take.
 */
export async function fillChartDirectory(
  directory: string,
  stack: string,
  config: PlatformConfig,
  adapted: Adapted = (_, objects) => objects,
): Promise<FilledChart[]> {
  const filled = fillPins(directory, config.charts.directory);
  // The program runs as soon as each stand-in has its Chart.yaml; what it then declares becomes their templates.
  const evaluation = await evaluate(stack, { ...config, charts: { directory } });
  for (const { release, chart, declares } of releasesOf(evaluation)) {
    const isStandIn = filled.some(({ name, source }) => name === chart && source === "stand-in");
    if (isStandIn) writeTemplates(path.join(directory, chart), release, declares, adapted);
  }
  const installed = installedPins(evaluation);
  return filled.filter(({ name }) => installed.includes(name));
}

function installedPins({ registrations }: Evaluation): string[] {
  return registrations.flatMap(({ type, inputs: { chart, repository } }) => {
    if (type === "carbon:base:ManifestFile") return path.posix.basename(repository as string);
    return type === "carbon:base:ChartRelease" || type === "carbon:base:ChartCrds" ? (chart as string) : [];
  });
}

function writeTemplates(chart: string, release: string, declares: ChartDeclaration, adapted: Adapted): void {
  const crds = new CrdLibrary();
  const objects = [...adapted(release, standInObjects(declares)), ...declares.crds.map((name) => kept(crds.one(name)))];
  const templates = path.join(chart, "templates");
  fs.mkdirSync(templates, { recursive: true });
  for (const object of objects) {
    const file = path.join(templates, `${release}-${object.kind}-${object.metadata.name}.yaml`.toLowerCase());
    // A chart may be installed twice, and what each release runs was declared for it alone.
    fs.writeFileSync(file, `{{- if eq .Release.Name "${release}" }}\n${escapeTemplate(toYaml(object))}{{- end }}\n`);
  }
}

/** What a stand-in chart installs besides CRDs. */
function standInObjects({ workloads, services, hooks = [], serviceAccounts }: ChartDeclaration): Manifest[] {
  const accounts = [...new Set([...workloads, ...hooks].map(({ serviceAccount }) => serviceAccount))];
  const made = serviceAccounts === "program" ? [] : accounts;
  const namespaceOfAccount = (name: string) =>
    workloads.find(({ serviceAccount }) => serviceAccount === name)?.namespace as string | undefined;
  const isEarly = (name: string) => hooks.some((hook) => hook.serviceAccount === name && hook.when === "before");
  return [
    ...made.map((name) => ({
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: {
        name,
        namespace: namespaceOfAccount(name),
        ...(isEarly(name) && { annotations: { "helm.sh/hook": BEFORE, "helm.sh/hook-weight": "-1" } }),
      },
    })),
    ...hooks.map(hookObject),
    ...workloads.map((workload) => workloadObject(workload, services)),
    ...services.map((service) => serviceObject(service, workloads)),
  ];
}

const BEFORE = "pre-install,pre-upgrade";
const HOOKS = {
  before: BEFORE,
  after: "post-install,post-upgrade",
  "after install": "post-install",
  "on delete": "pre-delete",
};

function hookObject(hook: DeclaredHook): Manifest {
  const { name, when } = hook;
  const template = { spec: { ...podSpec(hook, []), restartPolicy: "Never" } };
  if (when === "on demand") {
    const spec = { schedule: "0 0 * * 0", suspend: true, jobTemplate: { spec: { template } } };
    return { apiVersion: "batch/v1", kind: "CronJob", metadata: { name }, spec };
  }
  const annotations = {
    "helm.sh/hook": HOOKS[when],
    "helm.sh/hook-delete-policy": "before-hook-creation",
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, annotations },
    spec: { template },
  };
}

function workloadObject(workload: DeclaredWorkload, services: readonly DeclaredService[]): Manifest {
  const { kind, name, labels, podLabels, replicas, volume } = workload;
  const namespace = workload.namespace as string | undefined;
  const behind = services.filter((service) => service.workload === name);
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name, namespace, labels },
    spec: {
      ...(kind !== "DaemonSet" && { replicas }),
      ...(kind === "StatefulSet" && { serviceName: behind[0]?.name ?? name }),
      ...(volume && { volumeClaimTemplates: [claimTemplate(volume)] }),
      selector: { matchLabels: labels },
      template: { metadata: { labels: { ...labels, ...podLabels } }, spec: podSpec(workload, behind) },
    },
  };
}

function claimTemplate({ name, storageClass, sizeGiB }: NonNullable<DeclaredWorkload["volume"]>): object {
  return {
    metadata: { name },
    spec: {
      accessModes: ["ReadWriteOnce"],
      storageClassName: storageClass,
      resources: { requests: { storage: `${sizeGiB}Gi` } },
    },
  };
}

/** A pod that the level `restricted` admits. Nobody pulls the image: the pods of a rehearsal are simulated. */
function podSpec(
  {
    name,
    serviceAccount,
    size,
    nodeSelector,
    tolerations,
    ports: named = {},
  }: Pick<DeclaredWorkload, "name" | "serviceAccount" | "size" | "nodeSelector" | "tolerations" | "ports">,
  services: readonly DeclaredService[],
): object {
  const unnamed = services.map(({ podPort }) => podPort).filter((port) => !Object.values(named).includes(port));
  return {
    serviceAccountName: serviceAccount,
    ...(nodeSelector && { nodeSelector }),
    ...(tolerations && { tolerations }),
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
    containers: [
      {
        name,
        image: "registry.k8s.io/pause:3.10",
        ports: [
          ...Object.entries(named).map(([port, containerPort]) => ({ name: port, containerPort })),
          ...[...new Set(unnamed)].map((containerPort) => ({ containerPort })),
        ],
        resources: resources(size),
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
      },
    ],
  };
}

function serviceObject(service: DeclaredService, workloads: readonly DeclaredWorkload[]): Manifest {
  const { name, port, podPort } = service;
  const workload = workloads.find((one) => one.name === service.workload);
  if (workload === undefined) throw new Error(`Service ${name}: the chart declares no workload ${service.workload}`);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: workload.namespace as string | undefined, labels: workload.labels },
    spec: { selector: workload.labels, ports: [{ port, targetPort: podPort }] },
  };
}

/** A CRD that outlives its release, as the charts' own switches have it: with the CRD would go every object of it. */
function kept(definition: Manifest): Manifest {
  const { metadata } = definition;
  return {
    ...definition,
    metadata: { ...metadata, annotations: { ...metadata.annotations, "helm.sh/resource-policy": "keep" } },
  };
}

/** Text that Helm's templating hands out unchanged. */
function escapeTemplate(text: string): string {
  return text.replaceAll("{{", '{{ "{{" }}');
}
