import * as fs from "node:fs";
import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { parse, parseAllDocuments } from "yaml";
import { connect, type Destination } from "./connect";
import type { PodIdentity } from "./endpoint";
import type { ContainerSize } from "./pod";
import type { EnvSecret } from "./secret";
import type { ChartPin, ManifestPin } from "./versions";
import { claim, type NamedVolume } from "./volume";

/**
 * Helm values, without null, which the plugin drops. They never contain passwords: charts get the names of Secrets, and
 * checksums that roll pods when these change.
 */
export type HelmValue =
  | string
  | number
  | boolean
  | undefined
  | EnvSecret["checksum"]
  | readonly HelmValue[]
  | { readonly [key: string]: HelmValue };

/** A workload that a chart runs, itself or through its operator, derived from the same numbers as its values. */
export interface DeclaredWorkload {
  readonly kind: "Deployment" | "StatefulSet" | "DaemonSet";
  readonly name: string;
  /** Where the chart puts it. @default the release's namespace */
  readonly namespace?: pulumi.Input<string>;
  /** Labels that select its pods. */
  readonly labels: Readonly<Record<string, string>>;
  /** Other labels of its pods, which distinguish their metrics. */
  readonly podLabels?: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  /** Labels of the nodes where it runs. @default it runs on any */
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** Taints of nodes that its pods put up with. @default none */
  readonly tolerations?: readonly object[];
  /** Why its pods are not in the mesh. @default they are */
  readonly outsideMesh?: string;
  readonly replicas: number;
  /** Named container ports that the program's Services or monitors use. */
  readonly ports?: Readonly<Record<string, number>>;
  /** The size of one pod, all its containers together. */
  readonly size: ContainerSize;
  /** What the one pod of a StatefulSet claims. */
  readonly volume?: NamedVolume;
}

/** A chart's hook, a Job that Helm runs when it installs or upgrades; or a suspended CronJob, for Jobs of the same name. */
export interface DeclaredHook {
  readonly name: string;
  /**
   * Whether Helm runs it before or after the rest of the chart and waits for its success, or only after it has installed that
   * for the first time, or before it deletes the release, or an operator when needed.
   */
  readonly when: "before" | "after" | "after install" | "on delete" | "on demand";
  readonly serviceAccount: string;
  readonly size: ContainerSize;
  /** Labels of the nodes where it runs. @default it runs on any */
  readonly nodeSelector?: Readonly<Record<string, string>>;
  /** Taints of nodes that its pods put up with. @default none */
  readonly tolerations?: readonly object[];
  /** Secrets that it makes for the chart's pods. @default none */
  readonly secrets?: readonly string[];
}

/** A Service that a chart makes. */
export interface DeclaredService {
  readonly name: string;
  readonly port: number;
  readonly podPort: number;
  /** Name of the workload behind it. */
  readonly workload: string;
}

/** What a chart runs: the program relies on it, capacity counts it, and a rehearsal without the chart simulates it. */
export interface ChartDeclaration {
  readonly workloads: readonly DeclaredWorkload[];
  readonly services: readonly DeclaredService[];
  /** Its hooks that run pods; none where absent. */
  readonly hooks?: readonly DeclaredHook[];
  /** Who creates the service accounts: the program if the chart's would mount a token. @default "chart" */
  readonly serviceAccounts?: "chart" | "program";
  /** CRDs that the chart's templates install: `<plural>.<group>`. */
  readonly crds: readonly string[];
}

/** Inputs of {@link ChartRelease}. */
export interface ChartReleaseArgs {
  readonly namespace: pulumi.Input<string>;
  /** Directory that holds one folder for each chart. */
  readonly directory: string;
  readonly values: { readonly [key: string]: HelmValue };
  readonly declares: ChartDeclaration;
  /** Wires from the chart's pods, by the name of their declared workload or hook. */
  readonly talksTo: Readonly<Record<string, readonly Destination[]>>;
  /** How long Helm waits for each hook, and then for the workloads, in seconds. @default 600 */
  readonly timeoutSeconds?: number;
  /** Paths in `values` of the sizes of volumes, if the chart puts them into templates that Kubernetes lets nobody change. */
  readonly firstSizes?: readonly string[];
  /** Refuses to delete or replace the release. @default false */
  readonly protect?: boolean;
}

/** A Helm release of a pinned chart, under a fixed name, from the chart directory. */
export class ChartRelease extends pulumi.ComponentResource {
  /** Resolves once Helm has installed it and its workloads are ready. */
  readonly installed: pulumi.Output<string>;
  private readonly identities: ReadonlyMap<string, PodIdentity>;

  constructor(name: string, pin: ChartPin, args: ChartReleaseArgs, opts: pulumi.ComponentResourceOptions) {
    // The declaration is an input so that evaluations under mocks can read it.
    super("carbon:base:ChartRelease", name, { chart: pin.chart, version: pin.version, declares: args.declares }, opts);
    const { namespace, directory, values, declares, talksTo, firstSizes = [] } = args;
    const { timeoutSeconds = 600, protect = false } = args;
    const chart = findChart(directory, pin);

    const { workloads, hooks = [] } = declares;
    const identities = [
      ...workloads.map((workload) => podsOf(workload, namespace)),
      ...hooks.map((hook) => hookPods(hook, namespace)),
    ];
    this.identities = new Map(identities.map((identity) => [identity.name, identity]));
    const wires = Object.entries(talksTo).flatMap(([workload, destinations]) =>
      connect(this, { from: this.identity(workload), talksTo: destinations }),
    );
    for (const { name: set, volume } of workloads) {
      if (volume !== undefined) claim({ namespace, name: set }, volume, { parent: this });
    }
    const release = new k8s.helm.v3.Release(
      name,
      {
        name,
        chart,
        namespace,
        values: values as Record<string, unknown>,
        skipCrds: true,
        // Else the plugin drops empty lists, and the chart's default stays.
        allowNullValues: true,
        timeout: timeoutSeconds,
        // A failed install or upgrade is taken back, so that a later `up` starts from a whole release. Not where hooks of an
        // upgrade have already changed data: the old revision does not fit it, and a roll-back does not run them.
        atomic: hooks.every(({ when }) => ["after install", "on delete"].includes(when)),
      },
      { parent: this, dependsOn: wires, protect, ignoreChanges: firstSizes.map((path) => `values.${path}`) },
    );
    this.installed = release.id;
    this.registerOutputs();
  }

  /** The pods of a declared workload or hook, as policies see them. */
  identity(workload: string): PodIdentity {
    const identity = this.identities.get(workload);
    if (identity === undefined) throw new Error(`the chart declares no workload ${workload}`);
    return identity;
  }
}

// Charts give the pods of a hook no labels of their own: this one is the Job controller's.
function hookPods({ name, serviceAccount }: DeclaredHook, namespace: pulumi.Input<string>): PodIdentity {
  return { name, namespace, matchLabels: { "batch.kubernetes.io/job-name": name }, serviceAccount };
}

/** The pods of a declared workload, as policies see them: for wires between the workloads of one chart. */
export function podsOf(
  { name, namespace, labels, serviceAccount, outsideMesh }: DeclaredWorkload,
  releaseNamespace: pulumi.Input<string>,
): PodIdentity {
  return {
    name,
    namespace: namespace ?? releaseNamespace,
    matchLabels: labels,
    serviceAccount,
    ...(outsideMesh !== undefined && { outsideMesh }),
  };
}

/**
 * Applies the manifests of a pinned file from the chart directory, with one resource per object: Helm would install CRDs in a
 * chart's `crds/` once and never upgrade them.
 */
export class ManifestFile extends pulumi.ComponentResource {
  constructor(name: string, pin: ManifestPin, directory: string, opts: pulumi.ComponentResourceOptions) {
    super("carbon:base:ManifestFile", name, { repository: pin.repository, version: pin.version }, opts);
    const file = path.join(directory, manifestFileName(pin));
    if (!fs.existsSync(file)) throw missing(file, `${pin.repository} ${pin.version}`);
    applyManifests(this, file);
    this.registerOutputs();
  }
}

/** Applies the CRDs in a folder of a pinned chart, which Releases skip, with one resource per CRD. */
export class ChartCrds extends pulumi.ComponentResource {
  constructor(name: string, pin: ChartPin, directory: string, opts: pulumi.ComponentResourceOptions) {
    super("carbon:base:ChartCrds", name, { chart: pin.chart, version: pin.version }, opts);
    const folder = path.join(findChart(directory, pin), pin.crdFolder ?? "crds");
    if (!fs.existsSync(folder)) throw missing(folder, `chart ${pin.chart} ${pin.version} with CRDs`);
    for (const file of fs.readdirSync(folder).sort()) applyManifests(this, path.join(folder, file));
    this.registerOutputs();
  }
}

function applyManifests(parent: pulumi.Resource, file: string): void {
  for (const manifest of manifestsOf(fs.readFileSync(file, "utf8"))) {
    new k8s.apiextensions.CustomResource(`${manifest.kind}/${manifest.metadata.name}`, manifest, { parent });
  }
}

// Tests run the program many times in one process, and CRDs take long to parse.
const parsed = new Map<string, readonly KubernetesManifest[]>();

function manifestsOf(text: string): readonly KubernetesManifest[] {
  const manifests =
    parsed.get(text) ??
    parseAllDocuments(text).flatMap((document) => {
      const manifest = withoutEmptyMaps(document.toJS()) as KubernetesManifest | null;
      return manifest === null ? [] : [manifest];
    });
  parsed.set(text, manifests);
  return manifests;
}

// The API server drops these where they are empty, and the kubernetes plugin would add them again at every `up`.
const DROPPED = ["labels", "annotations", "properties", "patternProperties", "definitions", "dependencies"];

/** What the API server stores of a manifest. The keys of a map that it drops are names: none of them means anything. */
function withoutEmptyMaps(value: unknown, areNames = false): unknown {
  if (Array.isArray(value)) return value.map((one) => withoutEmptyMaps(one));
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const isDropped = !areNames && DROPPED.includes(key);
    if (isDropped && Object.keys(inner as object).length === 0) return [];
    // A default is whatever its field holds.
    return [[key, key === "default" && !areNames ? inner : withoutEmptyMaps(inner, isDropped)]];
  });
  return Object.fromEntries(kept);
}

interface KubernetesManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/** Name of a pinned manifest file in the chart directory. */
export function manifestFileName({ repository, version }: ManifestPin): string {
  return `${path.posix.basename(repository)}-${version}.yaml`;
}

function findChart(directory: string, pin: ChartPin): string {
  const chart = path.join(directory, pin.chart);
  const file = path.join(chart, "Chart.yaml");
  if (!fs.existsSync(file)) throw missing(chart, `chart ${pin.chart} ${pin.version}`);
  const { version } = parse(fs.readFileSync(file, "utf8")) as { version: string };
  if (version === pin.version) return chart;
  throw new pulumi.RunError(`${file}: version ${version}, but ${pin.version} is pinned; run \`npm run charts:pull\``);
}

function missing(where: string, what: string): pulumi.RunError {
  return new pulumi.RunError(`${where}: ${what} is not there; run \`npm run charts:pull\` to fill the chart directory`);
}
