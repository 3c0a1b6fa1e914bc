import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AppsV1Api,
  CoreV1Api,
  KubeConfig,
  type KubernetesObject,
  loadAllYaml,
  type V1CustomResourceDefinition,
} from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import { existingClasses } from "../../stacks/config/lasting";
import { nodeLabels } from "../../stacks/config/cluster";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { type AddOnKey, existingAddOns } from "../../stacks/config/add-ons";
import { ADD_ONS } from "../../stacks/layers/foundation";
import { CrdLibrary } from "../operators/crds";
import { checkCapacity } from "../program/capacity";
import { evaluateConfig, type FilledChart } from "../program/charts";
import { type Adapted, fillChartDirectory } from "./charts";
import { type Cluster, startCluster } from "./cluster";
import { stopClusterAt, sweep } from "./cluster/guardian";
import { Engine, type EngineResult, quoted } from "./engine";
import { overridden, readStackFile, ROOT } from "../program/evaluate";
import { told } from "./events";
import { MemoryMeter } from "./memory";
import { installPlugins, type Plugins } from "./plugins";
import { chartSummary, inspect, isReadyOrDone, type Report } from "./report";
import { cacheDirectory, ensureCertManager, ensureToolchain, type Toolchain, versions } from "./toolchain";
import { FailureWatch } from "./watch";

/** What to rehearse. */
export interface RehearsalOptions {
  readonly stack: string;
  /** Values that replace those of the stack file: `ray.workers.max` to `3`; `null` takes one out. */
  readonly overrides?: Readonly<Record<string, string>>;
  /** Directory of real charts, instead of the stack's own; what it lacks gets a stand-in. */
  readonly charts?: string;
  /** Leaves the cluster running under a directory of its own, until `--down`. */
  readonly keep?: boolean;
  readonly progress: (line: string) => void;
  /** Where to bring it up. @default a control plane with simulated nodes */
  readonly site?: Site;
}

/** What every rehearsal starts. */
interface RehearsalTools {
  readonly toolchain: Toolchain;
  readonly plugins: Plugins;
}

/** A cluster of another kind than the simulated one, and what then runs in place of stand-ins. */
export interface Site {
  /** At hand: where the site is, there may be no network to fetch them by. */
  readonly tools: RehearsalTools;
  readonly start: (config: PlatformConfig, directory: string, progress: (line: string) => void) => Promise<Cluster>;
  readonly adapted: Adapted;
  /** Directory of its runs, which it cleans itself: whoever is in a namespace of processes takes all others' runs for dead. */
  readonly runs: string;
}

/** A running control plane and an engine that knows the stack: what a rehearsal and its tests work on. */
export interface Rehearsal {
  readonly stack: string;
  readonly config: PlatformConfig;
  readonly directory: string;
  readonly cluster: Cluster;
  readonly engine: Engine;
  readonly plugins: Plugins;
  /** Who signs certificates. */
  readonly certManager: string;
  readonly helm: string;
  /** What the stack installs, and whether upstream published it. */
  readonly charts: readonly FilledChart[];
  readonly api: { readonly core: CoreV1Api; readonly apps: AppsV1Api };
  /** About as many as the engine will make. */
  readonly resources: number;
  readonly seconds: { readonly tools: number; readonly controlPlane: number };
}

// What a controller may take after `up` to bring the last pods up: an autoscaler looks every 15 s.
const SETTLE_SECONDS = 60;

/** Brings a stack up on a simulated cluster, twice, and says how that went. */
export async function rehearse(options: RehearsalOptions, interrupted: AbortSignal): Promise<Report> {
  const started = Date.now();
  const { progress } = options;
  const memory = new MemoryMeter();
  memory.start();
  const rehearsal = await openRehearsal(options, interrupted);
  const { cluster, engine } = rehearsal;
  try {
    const up = await watchedUp(rehearsal, progress, interrupted);
    interrupted.throwIfAborted();
    if (up.ok) progress("waiting until every pod is Ready and every claim is bound");
    const settled = up.ok ? await settle(rehearsal, interrupted) : [];
    const works = up.ok && settled.length === 0;
    if (works) progress("up again: it must change nothing");
    const made = Object.values(up.changes).reduce((sum, count) => sum + count, 0);
    const again = { saveOnce: true, signal: interrupted, progress: told("up again", made, progress) };
    const secondUp = works ? await engine.run("up", again) : undefined;
    interrupted.throwIfAborted();
    const outputs = up.ok ? (JSON.parse(await engine.query("stack", "output", "--json")) as unknown) : {};
    const report = await inspect(rehearsal, {
      up,
      settled,
      ...(secondUp && { secondUp }),
      outputs,
      peakMemoryMiB: memory.stop(),
      totalSeconds: (Date.now() - started) / 1000,
    });
    interrupted.throwIfAborted();
    if (!options.keep) {
      await cluster.stop();
      return report;
    }
    await cluster.keep();
    return { ...report, kubeconfig: cluster.kubeconfig, envFile: handOver(rehearsal, options.overrides) };
  } catch (error) {
    await cluster.stop();
    throw error;
  } finally {
    memory.stop();
  }
}

/** Finds what every rehearsal starts, and downloads, builds or installs what is missing. */
export async function prepareTools(progress: (line: string) => void): Promise<RehearsalTools> {
  const toolchain = await ensureToolchain(progress);
  // A home of the checkout's own: the stand-in is a script that names its files.
  const home = path.join(toolchain.cache, "plugins", checkoutKey());
  return { toolchain, plugins: await installPlugins(toolchain, home, progress) };
}

/**
 * Makes ready all that an `up` needs: tools, plugins, charts, a control plane with the stack's nodes, and its config.
 * What is wrong with the config or does not fit is said first, before a tool is built.
 */
export async function openRehearsal(options: RehearsalOptions, interrupted?: AbortSignal): Promise<Rehearsal> {
  const { stack, overrides = {}, keep = false, progress } = options;
  const values = overridden(readStackFile(stack)["carbon:platform"], overrides);
  const given = withCharts(parseConfig(values, `Pulumi.${stack}.yaml`), options.charts);
  const evaluation = await evaluateConfig(stack, given);
  const faults = checkCapacity(evaluation, given);
  if (faults.length > 0) {
    throw new pulumi.RunError(`Pulumi.${stack}.yaml does not fit its quota or nodes:\n${faults.join("\n")}`);
  }

  const started = Date.now();
  const { site } = options;
  const { toolchain, plugins } = site?.tools ?? (await until(interrupted, () => prepareTools(progress)));
  const certManager = site ? undefined : await until(interrupted, () => findCertManager(given, progress));
  const tools = (Date.now() - started) / 1000;

  const runs = site?.runs ?? runsDirectory();
  if (site === undefined) await sweep(runs);
  const directory = path.join(runs, keep ? keptName(stack) : `${stack}-${randomBytes(4).toString("hex")}`);
  if (fs.existsSync(directory)) {
    throw new pulumi.RunError(
      `--keep: a rehearsal of ${stack} is kept already; use it (source ${path.join(directory, ENV_FILE)}) ` +
        `or end it with \`npm run rehearse -- --stack ${stack} --down\``,
    );
  }

  const config: PlatformConfig = { ...given, charts: { directory: path.join(directory, "charts") } };
  const startedCluster = Date.now();
  const cluster = site
    ? await site.start(config, directory, progress)
    : await startCluster(toolchain, { ...clusterSpec(stack, config), certManager }, directory, progress, interrupted);
  try {
    const controlPlane = (Date.now() - startedCluster) / 1000;
    interrupted?.throwIfAborted();
    const charts = await fillChartDirectory(config.charts.directory, stack, given, site?.adapted);
    progress(`charts: ${chartSummary(charts)}`);
    const engine = await Engine.create({
      toolchain,
      directory,
      plugins: plugins.directory,
      kubeconfig: cluster.kubeconfig,
      stack,
      config: { "carbon:platform": { ...(values as object), charts: config.charts } },
    });
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(cluster.kubeconfig);
    const api = { core: kubeconfig.makeApiClient(CoreV1Api), apps: kubeconfig.makeApiClient(AppsV1Api) };
    const seconds = { tools, controlPlane };
    // The credentials are set, so that none is generated.
    const resources = evaluation.registrations.filter(({ type }) => !type.startsWith("random:")).length;
    const helm = path.join(toolchain.bin, "helm");
    return {
      ...{ stack, config, directory, cluster, engine, plugins, helm, charts, api, resources, seconds },
      certManager: certManager === undefined && !site ? "simulated" : `${versions.certManager}, the real one`,
    };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** The real one, where there is Go; not for certificates of an ACME server, which nobody here can ask. */
async function findCertManager(
  { gateway }: PlatformConfig,
  progress: (line: string) => void,
): Promise<string | undefined> {
  if (gateway?.certificates.kind === "acme") return undefined;
  try {
    return await ensureCertManager(progress);
  } catch (error) {
    progress(`cert-manager is simulated: ${(error as Error).message.replaceAll("\n", " ")}`);
    return undefined;
  }
}

function withCharts(config: PlatformConfig, charts: string | undefined): PlatformConfig {
  if (charts === undefined) return config;
  if (!fs.existsSync(charts)) {
    throw new pulumi.RunError(`--charts ${charts}: there is no such directory; \`npm run charts:pull\` fills one`);
  }
  return { ...config, charts: { directory: path.resolve(charts) } };
}

/** Gives up waiting when interrupted: what a build has under way ends with this process. */
async function until<T>(interrupted: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  interrupted?.throwIfAborted();
  const interruption = new Promise<never>((_, reject) => {
    interrupted?.addEventListener("abort", () => {
      reject(interrupted.reason as Error);
    });
  });
  return Promise.race([work(), interruption]);
}

/** An `up` that ends as soon as something has failed for good; its first error then says what. */
export async function watchedUp(
  { engine, api, resources }: Rehearsal,
  progress: (line: string) => void,
  interrupted?: AbortSignal,
): Promise<EngineResult> {
  const watch = new FailureWatch(api.core, interrupted);
  watch.start();
  try {
    const result = await engine.run("up", {
      saveOnce: true,
      signal: watch.signal,
      progress: told("up", resources, progress),
    });
    return watch.failure === undefined ? result : { ...result, ok: false, errors: [watch.failure] };
  } finally {
    watch.stop();
  }
}

/** Waits until every pod that should run is Ready and every claim is bound; returns what is not, in time. */
export async function settle(rehearsal: Rehearsal, interrupted?: AbortSignal): Promise<string[]> {
  const deadline = Date.now() + SETTLE_SECONDS * 1000;
  for (;;) {
    const waiting = await unsettled(rehearsal);
    if (waiting.length === 0 || Date.now() > deadline) return waiting;
    interrupted?.throwIfAborted();
    await sleep(500);
  }
}

async function unsettled({ api }: Rehearsal): Promise<string[]> {
  const [pods, claims, deployments] = await Promise.all([
    api.core.listPodForAllNamespaces(),
    api.core.listPersistentVolumeClaimForAllNamespaces(),
    api.apps.listDeploymentForAllNamespaces(),
  ]);
  return [
    ...pods.items.filter((pod) => !isReadyOrDone(pod)).map((pod) => `pod ${nameOf(pod)} is ${pod.status?.phase}`),
    ...claims.items
      .filter(({ status }) => status?.phase !== "Bound")
      .map((claim) => `claim ${nameOf(claim)} is ${claim.status?.phase}`),
    ...deployments.items
      .filter(({ spec, status }) => (status?.readyReplicas ?? 0) < (spec?.replicas ?? 1))
      .map((d) => `deployment ${nameOf(d)} has ${d.status?.readyReplicas ?? 0} of ${d.spec?.replicas} pods ready`),
  ];
}

function nameOf({ metadata }: { metadata?: { namespace?: string; name?: string } }): string {
  return `${metadata?.namespace}/${metadata?.name}`;
}

/** Ends the kept rehearsal of a stack; says whether there was one. */
export async function takeDown(stack: string): Promise<boolean> {
  const directory = path.join(runsDirectory(), keptName(stack));
  if (!fs.existsSync(directory)) return false;
  await stopClusterAt(directory);
  return true;
}

const ENV_FILE = "env";

/**
 * Hands what stays to a shell: `npx pulumi` and `kubectl` work on it as in the returned file, and each command follows the
 * stack file with overrides. The kubeconfig is the cluster's own by default.
 */
export function handOver(
  { directory, engine, config }: Rehearsal,
  overrides: Readonly<Record<string, string>> = {},
  kubeconfig = engine.env["KUBECONFIG"] ?? "",
): string {
  engine.follow({ ...overrides, charts: JSON.stringify(config.charts) });
  const file = path.join(directory, ENV_FILE);
  const env = { ...engine.env, KUBECONFIG: kubeconfig };
  const lines = Object.entries(env).map(([key, value]) => `export ${key}=${quoted(value)}`);
  fs.writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 });
  return file;
}

function runsDirectory(): string {
  return path.join(cacheDirectory(), "runs");
}

// Two checkouts may each keep a rehearsal of the same stack.
function keptName(stack: string): string {
  return `${stack}-kept-${checkoutKey()}`;
}

function checkoutKey(): string {
  return createHash("sha256").update(ROOT).digest("hex").slice(0, 8);
}

// The folder of its CRDs, and the namespace where it runs.
const ADD_ON_FOLDERS: Readonly<Record<AddOnKey, string>> = {
  certManager: "cert-manager",
  "monitoring.operator": "prometheus-operator",
};

/** What a cluster has that has an add-on of its own, without its pods. */
function objectsOf(key: AddOnKey): KubernetesObject[] {
  const folder = ADD_ON_FOLDERS[key];
  const { versionLabel, oldest } = ADD_ONS[key];
  const crds = loadAllYaml(new CrdLibrary().operator(folder).join("---\n")) as V1CustomResourceDefinition[];
  for (const { metadata } of crds) Object.assign(metadata ?? {}, { labels: { [versionLabel]: oldest } });
  return [{ apiVersion: "v1", kind: "Namespace", metadata: { name: folder } }, ...crds];
}

function clusterSpec(stack: string, config: PlatformConfig): Parameters<typeof startCluster>[1] {
  const { cluster, storage } = config;
  return {
    name: `rehearsal-${stack}`,
    context: cluster.context,
    nodes: Object.entries(cluster.nodes).map(([name, { gpus, labels, reserved, taints, ...node }]) => ({
      name,
      ...node,
      labels: nodeLabels(name, { gpus, labels }),
      taints: taints.map(({ key, value, effect }) => ({ key, effect, ...(value !== undefined && { value }) })),
      ...(gpus && { gpus: { resource: "nvidia.com/gpu", count: gpus.count } }),
      reserved: { cpu: reserved.cpu, memoryMiB: reserved.memoryGiB * 1024 },
    })),
    existing: existingAddOns(config).flatMap(objectsOf),
    storageClasses: Object.keys(existingClasses(config)).map((name) => ({
      ...{ name, provisioner: "rancher.io/local-path", reclaimPolicy: "Retain" },
      default: name === storage.className,
    })),
  };
}
