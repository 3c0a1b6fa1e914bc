import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse, parseAllDocuments, stringify } from "yaml";
import {
  type ChartDeclaration,
  type DeclaredHook,
  type DeclaredService,
  type DeclaredWorkload,
  manifestFileName,
} from "../../components/base/chart-release";
import { resources } from "../../components/base/pod";
import { type ChartPin, charts, type ManifestPin, manifests } from "../../components/base/versions";
import type { PlatformConfig } from "../../stacks/config/schema";
import { evaluate, type Evaluation, ROOT, stackConfig } from "./evaluate";

/** A pin, and whether the chart directory got what upstream published or a stand-in for it. */
export interface FilledChart {
  readonly name: string;
  readonly version: string;
  readonly source: "upstream" | "stand-in";
}

const OPERATORS = path.join(__dirname, "..", "operators");

/** The folder of an operator's CRDs, without their descriptions; `npm run charts:keys` writes them. */
export function crdFixtures(operator: string): string {
  return path.join(OPERATORS, operator, "crds");
}

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
): Promise<FilledChart[]> {
  const filled = fillPins(directory, config.charts.directory);
  // The program runs as soon as each stand-in has its Chart.yaml; what it then declares becomes their templates.
  const evaluation = await evaluate(stack, { ...config, charts: { directory } });
  for (const { release, chart, declares } of releasesOf(evaluation)) {
    const isStandIn = filled.some(({ name, source }) => name === chart && source === "stand-in");
    if (isStandIn) writeTemplates(path.join(directory, chart), release, declares);
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

/** What an evaluation takes besides the config. */
export interface EvaluationOptions {
  /** Directory of real charts instead of the config's own. */
  readonly charts?: string;
  /** Values of credentials, instead of texts that nobody may find elsewhere. */
  readonly credentials?: Readonly<Record<string, string>>;
}

/** Evaluates a stack as its file has it, with stand-ins for charts that are not at hand. */
export async function evaluateStack(stack: string, options: EvaluationOptions = {}): Promise<StackEvaluation> {
  const config = stackConfig(stack);
  return { config, ...(await evaluateConfig(stack, config, options)) };
}

/** Evaluates a stack with a config of its own, as {@link evaluateStack} does. */
export async function evaluateConfig(
  stack: string,
  config: PlatformConfig,
  { charts: real = config.charts.directory, credentials }: EvaluationOptions = {},
): Promise<Evaluation> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-charts-"));
  try {
    fillPins(directory, real);
    return await evaluate(stack, { ...config, charts: { directory } }, credentials);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

/** An evaluation, and the config that it came from. */
export interface StackEvaluation extends Evaluation {
  readonly config: PlatformConfig;
}

/** A release of an evaluation. */
export interface DeclaredRelease {
  readonly release: string;
  readonly chart: string;
  readonly version: string;
  readonly declares: ChartDeclaration;
}

/** What an evaluation's releases declare. */
export function releasesOf({ registrations }: Evaluation): DeclaredRelease[] {
  return registrations
    .filter(({ type }) => type === "carbon:base:ChartRelease")
    .map(({ name, inputs }) => ({ release: name, ...(inputs as Omit<DeclaredRelease, "release">) }));
}

/** Makes the program run: what upstream published, or the least that it reads of a chart. */
function fillPins(directory: string, from: string): FilledChart[] {
  fs.mkdirSync(directory, { recursive: true });
  return [
    ...Object.values(charts).map((pin) => fillChart(directory, pin, from)),
    ...Object.values(manifests).map((pin) => fillManifests(directory, pin, from)),
  ];
}

function fillChart(directory: string, { chart, version, crds = [] }: ChartPin, from: string): FilledChart {
  const target = path.join(directory, chart);
  const real = path.resolve(ROOT, from, chart);
  if (chartVersion(real) === version) {
    fs.cpSync(real, target, { recursive: true });
    return { name: chart, version, source: "upstream" };
  }
  const description = `Stand-in for ${chart} ${version}: runs what this program declares about it`;
  write(path.join(target, "Chart.yaml"), stringify({ apiVersion: "v2", name: chart, version, description }));
  for (const name of crds) write(path.join(target, "crds", `${name}.yaml`), new CrdLibrary().text(name));
  return { name: chart, version, source: "stand-in" };
}

/** The version of the chart in a folder; undefined where there is none. */
export function chartVersion(chart: string): string | undefined {
  const file = path.join(chart, "Chart.yaml");
  if (!fs.existsSync(file)) return undefined;
  return (parse(fs.readFileSync(file, "utf8")) as { version: string }).version;
}

function fillManifests(directory: string, pin: ManifestPin, from: string): FilledChart {
  const file = manifestFileName(pin);
  const name = path.posix.basename(pin.repository);
  const real = path.resolve(ROOT, from, file);
  if (fs.existsSync(real)) {
    fs.copyFileSync(real, path.join(directory, file));
    return { name, version: pin.version, source: "upstream" };
  }
  write(path.join(directory, file), new CrdLibrary().operator(name).map(toYaml).join("---\n"));
  return { name, version: pin.version, source: "stand-in" };
}

/** A Kubernetes object, as YAML has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [key: string]: unknown;
  };
  readonly [key: string]: unknown;
}

/** The CRDs of a directory with one folder for each operator. */
class CrdLibrary {
  private readonly files: readonly { readonly operator: string; readonly text: string }[];

  private readonly directory = process.env["CARBON_CRDS"] ?? OPERATORS;

  constructor() {
    const { directory } = this;
    if (!fs.existsSync(directory)) {
      throw new pulumi.RunError(
        `CARBON_CRDS=${directory}: there is no such directory; name one with a folder of CRDs for each operator`,
      );
    }
    this.files = fs
      .readdirSync(directory, { recursive: true, encoding: "utf8" })
      .flatMap((file) =>
        file.endsWith(".yaml")
          ? [{ operator: file.split(path.sep)[0] ?? "", text: fs.readFileSync(path.join(directory, file), "utf8") }]
          : [],
      );
  }

  /** Every CRD of an operator. */
  operator(name: string): Manifest[] {
    const found = this.files.filter(({ operator }) => operator === name).flatMap(({ text }) => definitions(text));
    if (found.length === 0) throw this.missing(`CRDs of ${name}`);
    return found;
  }

  /** One CRD, by the name `<plural>.<group>`. */
  one(name: string): Manifest {
    // Full CRDs come to 30 MB: only what mentions the name is worth parsing.
    const candidates = this.files.filter(({ text }) => text.includes(`name: ${name}\n`));
    const found = candidates.flatMap(({ text }) => definitions(text)).find(({ metadata }) => metadata.name === name);
    if (found === undefined) throw this.missing(`CRD ${name}`);
    return found;
  }

  /** The file with one CRD, as it is: KubeRay's take a second each to parse, and only a stack that runs it does that. */
  text(name: string): string {
    const found = this.files.find(({ text }) => text.includes(`name: ${name}\n`));
    if (found === undefined) throw this.missing(`CRD ${name}`);
    return found.text;
  }

  private missing(what: string): Error {
    return new pulumi.RunError(`${this.directory}: ${what} not found; make them with \`npm run charts:keys\``);
  }
}

/** The CRDs of a text of YAML documents. */
export function definitions(text: string): Manifest[] {
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest | null);
  return objects
    .filter((object) => object !== null)
    .filter(({ kind }) => kind === "CustomResourceDefinition")
    .map((definition) => withoutDescriptions(definition) as Manifest);
}

// They are nine tenths of a CRD, check nothing, and would be written to the state with every step of the engine.
function withoutDescriptions(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDescriptions);
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).flatMap(([key, value]: [string, unknown]) => {
      if (key === "description" || key === "externalDocs") return [];
      // Names of fields and values of defaults are no keywords, whatever they are called.
      if (key === "default" || key === "enum") return [[key, value]];
      if (key !== "properties") return [[key, withoutDescriptions(value)]];
      const fields = Object.entries(value as object).map(
        ([name, field]) => [name, withoutDescriptions(field)] as const,
      );
      return [[key, Object.fromEntries(fields)]];
    }),
  );
}

function writeTemplates(chart: string, release: string, declares: ChartDeclaration): void {
  const crds = new CrdLibrary();
  const objects = [...standInObjects(declares), ...declares.crds.map((name) => kept(crds.one(name)))];
  for (const object of objects) {
    const file = path.join(chart, "templates", `${release}-${object.kind}-${object.metadata.name}.yaml`.toLowerCase());
    // A chart may be installed twice, and what each release runs was declared for it alone.
    write(file, `{{- if eq .Release.Name "${release}" }}\n${escapeTemplate(toYaml(object))}{{- end }}\n`);
  }
}

/** What a stand-in chart installs besides CRDs. */
function standInObjects({ workloads, services, hooks = [], serviceAccounts }: ChartDeclaration): Manifest[] {
  const accounts = [...new Set([...workloads, ...hooks].map(({ serviceAccount }) => serviceAccount))];
  const made = serviceAccounts === "program" ? [] : accounts;
  return [
    ...made.map((name) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name } })),
    ...hooks.map(hookObject),
    ...workloads.map((workload) => workloadObject(workload, services)),
    ...services.map((service) => serviceObject(service, workloads)),
  ];
}

function hookObject(hook: DeclaredHook): Manifest {
  const { name, when } = hook;
  const annotations = {
    "helm.sh/hook": when === "before" ? "pre-install,pre-upgrade" : "post-install,post-upgrade",
    "helm.sh/hook-delete-policy": "before-hook-creation",
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, annotations },
    spec: { template: { spec: { ...podSpec(hook, []), restartPolicy: "Never" } } },
  };
}

function workloadObject(workload: DeclaredWorkload, services: readonly DeclaredService[]): Manifest {
  const { kind, name, labels, replicas, volume } = workload;
  const behind = services.filter((service) => service.workload === name);
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name, labels },
    spec: {
      ...(kind !== "DaemonSet" && { replicas }),
      ...(kind === "StatefulSet" && { serviceName: behind[0]?.name ?? name }),
      ...(volume && { volumeClaimTemplates: [claimTemplate(volume)] }),
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec(workload, behind) },
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
    ports: named = {},
  }: Pick<DeclaredWorkload, "name" | "serviceAccount" | "size" | "ports">,
  services: readonly DeclaredService[],
): object {
  const unnamed = services.map(({ podPort }) => podPort).filter((port) => !Object.values(named).includes(port));
  return {
    serviceAccountName: serviceAccount,
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
    metadata: { name, labels: workload.labels },
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

function toYaml(object: Manifest): string {
  return stringify(object, { lineWidth: 0, aliasDuplicateObjects: false });
}

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}
