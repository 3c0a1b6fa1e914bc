/** Helm releases (`kubernetes:helm.sh/v3:Release`) by the helm binary. */
import { execFile, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { difference, prune } from "./diff";
import {
  NotReady,
  type CheckRequest,
  type CreateRequest,
  type DeleteRequest,
  type DiffRequest,
  type Difference,
  type Failure,
  type Found,
  type Host,
  type ReadRequest,
  type ResourceType,
  type UpdateRequest,
} from "./plugin";
import {
  isList,
  isObject,
  isSet,
  isUnknown,
  markSecrets,
  numberAt,
  plain,
  plainObject,
  secret,
  textAt,
  UNKNOWN,
  without,
  withoutSecrets,
  type Properties,
  type Value,
} from "../../program/values";

/** What the releases of one provider have in common. */
export interface ReleasesOptions {
  readonly host: Host;
  readonly cancelled: AbortSignal;
  readonly context: string | undefined;
  readonly namespace: string;
}

const DEFAULT_TIMEOUT_SECONDS = 300;
// Inputs of the official resource that would need what the stand-in does not do.
const REFUSED = [
  "repositoryOpts",
  "postrender",
  "verify",
  "keyring",
  "devel",
  "dependencyUpdate",
  "lint",
  "replace",
  "recreatePods",
];

/** A release as `helm … -o json` prints it. */
interface HelmRelease {
  readonly name: string;
  readonly namespace: string;
  readonly version: number;
  readonly manifest?: string;
  readonly info: { readonly status: string };
  readonly chart: {
    readonly metadata: { readonly name: string; readonly version: string; readonly appVersion?: string };
  };
  readonly config?: Properties;
}

/** What helm said when it failed. */
class HelmError extends Error {}

/** Helm releases of charts that lie in a directory or an archive. */
export class Releases implements ResourceType {
  private readonly running = new Set<ChildProcess>();

  constructor(private readonly options: ReleasesOptions) {
    // A helm without its plugin would go on, and nobody would know of the release.
    process.on("exit", () => {
      this.running.forEach((child) => child.kill("SIGKILL"));
    });
    // Helm marks an interrupted release as failed, from which the next update goes on.
    options.cancelled.addEventListener("abort", () => {
      this.running.forEach((child) => child.kill("SIGINT"));
    });
  }

  async check({ urn, news }: CheckRequest): Promise<{ inputs: Properties; failures: readonly Failure[] }> {
    const given = without(news, "resourceNames", "status", "checksum");
    const release = plainObject(given);
    const failures: Failure[] = [];
    if (textAt(release, "name") === "") {
      const reason = `${urn.split("::").at(-1) ?? urn} (helm.sh/v3:Release) has no name; this program fixes the name of every release: set it`;
      failures.push({ property: "name", reason });
    }
    for (const property of REFUSED.filter((key) => isSet(release[key]))) {
      const reason = `the stand-in for the kubernetes plugin installs charts from a directory or an archive, without ${property}; leave it out`;
      failures.push({ property, reason });
    }
    const waits = release["skipAwait"] !== true && release["timeout"] === undefined;
    const defaults = {
      ...(textAt(release, "namespace") === "" && { namespace: this.options.namespace }),
      ...(waits && { timeout: DEFAULT_TIMEOUT_SECONDS }),
    };
    const chart = release["chart"];
    let resolved: Properties = {};
    if (typeof chart === "string" && !isUnknown(chart)) {
      try {
        const { version } = await chartMetadata(chart, (arguments_) => this.helm(arguments_));
        const wanted = textAt(release, "version");
        if (wanted !== "" && !isUnknown(wanted) && wanted !== version) {
          const reason = `${chart} has version ${version}, not ${wanted}; fill the chart directory with the pinned version`;
          failures.push({ property: "version", reason });
        }
        resolved = { version, checksum: await checksum(chart) };
      } catch (error) {
        const reason = `${error instanceof Error ? error.message : String(error)}; check that the chart is in the chart directory`;
        failures.push({ property: "chart", reason });
      }
    }
    return { inputs: { ...onlySet(given), ...defaults, ...resolved }, failures };
  }

  diff({ state, news }: DiffRequest): Promise<Difference> {
    const oldInputs = inputsOf(state);
    const changes = difference(prune(plainObject(state), oldInputs), plainObject(news), ["name", "namespace"]);
    return Promise.resolve({ changes, deleteBeforeReplace: false });
  }

  async create({ news, preview }: CreateRequest): Promise<{ id: string; state: Properties }> {
    const release = plainObject(news);
    if (preview) {
      return { id: "", state: checkpoint(news, undefined) };
    }
    const id = `${textAt(release, "namespace")}/${textAt(release, "name")}`;
    const installed = await this.run(["install", ...installFlags(release)], release, news).catch(
      async (error: unknown) => {
        throw await this.failure(error, `Helm release ${id} was not installed`, id, release, news);
      },
    );
    return { id, state: checkpoint(news, installed) };
  }

  async read({ id, state, inputs }: ReadRequest): Promise<Found | undefined> {
    const [name = "", namespace = this.options.namespace] = id.split("/").reverse();
    const found = await this.find(name, namespace);
    if (found === undefined) {
      return undefined;
    }
    if (Object.keys(state).length > 0) {
      return { id, state: checkpoint(inputs, found), inputs };
    }
    const { metadata } = found.chart;
    const imported = { name, namespace, chart: metadata.name, version: metadata.version, values: found.config ?? {} };
    return { id, state: checkpoint(imported, found), inputs: imported };
  }

  async update({ id, state, news, preview }: UpdateRequest): Promise<Properties> {
    if (preview) {
      return checkpoint(news, undefined);
    }
    const release = {
      ...plainObject(news),
      namespace: textAt(plainObject(state), "namespace") || textAt(news, "namespace"),
    };
    const upgraded = await this.run(["upgrade", ...upgradeFlags(release)], release, news).catch(
      async (error: unknown) => {
        throw await this.failure(error, `Helm release ${id} was not upgraded`, id, release, news);
      },
    );
    return checkpoint(news, upgraded);
  }

  async delete({ state }: DeleteRequest): Promise<void> {
    const release = plainObject(state);
    const waits = release["atomic"] === true || release["skipAwait"] !== true;
    const flags = waits ? ["--wait", "--timeout", `${timeoutOf(release)}s`] : [];
    await this.helm(["uninstall", textAt(release, "name"), "--namespace", textAt(release, "namespace"), ...flags]);
  }

  /** The error of a failed write: with the state where the release is there, so that the next update goes on from it. */
  private async failure(
    error: unknown,
    what: string,
    id: string,
    release: Properties,
    news: Properties,
  ): Promise<Error> {
    const message = withoutSecrets(`${what}: ${error instanceof Error ? error.message : String(error)}`, news);
    // A release that is there without having failed is another one of that name, or has an operation under way.
    const found = await this.find(textAt(release, "name"), textAt(release, "namespace")).catch(() => undefined);
    if (found?.info.status !== "failed") {
      return new Error(message);
    }
    return new NotReady(message, id, checkpoint(news, found), [message]);
  }

  private async find(name: string, namespace: string): Promise<HelmRelease | undefined> {
    try {
      // Of a release that is there helm prints the chart apart from the rest.
      const [release, chart] = await Promise.all(
        [["status"], ["get", "metadata"]].map((command) =>
          this.helm([...command, name, "--namespace", namespace, "-o", "json"]),
        ),
      );
      const metadata = JSON.parse(chart ?? "") as Properties;
      const { version, appVersion } = {
        version: textAt(metadata, "version"),
        appVersion: textAt(metadata, "appVersion"),
      };
      const found = JSON.parse(release ?? "") as HelmRelease;
      return { ...found, chart: { metadata: { name: textAt(metadata, "chart"), version, appVersion } } };
    } catch (error) {
      if (error instanceof HelmError && error.message.includes("release: not found")) {
        return undefined;
      }
      throw error;
    }
  }

  /** Values go through a file that only this user can read, for as long as helm runs. */
  private async run(command: readonly string[], release: Properties, news: Properties): Promise<HelmRelease> {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), "carbon-values-"));
    try {
      const file = path.join(directory, "values.json");
      await fs.writeFile(file, JSON.stringify(await valuesOf(news)), { mode: 0o600 });
      const [verb = "", ...flags] = command;
      const target = [textAt(release, "name"), textAt(release, "chart"), "--namespace", textAt(release, "namespace")];
      return JSON.parse(await this.helm([verb, ...target, "--values", file, ...flags, "-o", "json"])) as HelmRelease;
    } finally {
      await fs.rm(directory, { recursive: true, force: true });
    }
  }

  private helm(arguments_: readonly string[]): Promise<string> {
    const binary = process.env["CARBON_HELM"] ?? "helm";
    const context = this.options.context === undefined ? [] : ["--kube-context", this.options.context];
    if (this.options.cancelled.aborted) {
      return Promise.reject(new HelmError("the operation was cancelled"));
    }
    return new Promise((resolve, reject) => {
      const child = execFile(
        binary,
        [...arguments_, ...context],
        { maxBuffer: 256 * 1024 * 1024 },
        (error, stdout, stderr) => {
          this.running.delete(child);
          if (error === null) {
            resolve(stdout);
          } else if (typeof error.code === "string") {
            reject(new Error(`${binary} cannot be run (${error.code}); set CARBON_HELM to the helm binary`));
          } else {
            reject(new HelmError(stderr.trim() || error.message));
          }
        },
      );
      this.running.add(child);
    });
  }
}

function installFlags(release: Properties): string[] {
  return [
    ...commonFlags(release),
    ...flag(release, "createNamespace", "--create-namespace"),
    ...flag(release, "disableWebhooks", "--no-hooks"),
  ];
}

function upgradeFlags(release: Properties): string[] {
  return [
    ...commonFlags(release),
    // 0 keeps every revision, which is the resource's default; helm's own is 10.
    ...["--history-max", String(numberAt(release, "maxHistory") ?? 0)],
    ...flag(release, "cleanupOnFail", "--cleanup-on-fail"),
    ...flag(release, "forceUpdate", "--force"),
    ...flag(release, "resetValues", "--reset-values"),
    ...flag(release, "reuseValues", "--reuse-values"),
    ...flag(release, "disableCRDHooks", "--no-hooks"),
  ];
}

function commonFlags(release: Properties): string[] {
  const description = textAt(release, "description");
  return [
    ...(release["skipAwait"] === true ? [] : ["--wait", ...flag(release, "waitForJobs", "--wait-for-jobs")]),
    ...["--timeout", `${timeoutOf(release)}s`],
    ...flag(release, "atomic", "--atomic"),
    ...flag(release, "skipCrds", "--skip-crds"),
    ...flag(release, "disableOpenapiValidation", "--disable-openapi-validation"),
    ...flag(release, "renderSubchartNotes", "--render-subchart-notes"),
    ...(description === "" ? [] : ["--description", description]),
  ];
}

function flag(release: Properties, key: string, name: string): string[] {
  return release[key] === true ? [name] : [];
}

function timeoutOf(release: Properties): number {
  return numberAt(release, "timeout") || DEFAULT_TIMEOUT_SECONDS;
}

function onlySet(properties: Properties): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => isSet(value)));
}

async function chartMetadata(
  chart: string,
  helm: (arguments_: readonly string[]) => Promise<string>,
): Promise<{ version: string }> {
  const stat = await fs.stat(chart).catch(() => undefined);
  if (stat === undefined) {
    throw new Error(`there is no chart at ${chart}`);
  }
  const text = stat.isDirectory()
    ? await fs.readFile(path.join(chart, "Chart.yaml"), "utf8").catch(() => {
        throw new Error(`${chart} has no Chart.yaml`);
      })
    : await helm(["show", "chart", chart]);
  return { version: textAt(parse(text) as Value, "version") };
}

/** Content of a chart: one that changed without its version is installed again. */
async function checksum(chart: string): Promise<string> {
  const hash = createHash("sha256");
  if ((await fs.stat(chart)).isFile()) {
    return hash.update(await fs.readFile(chart)).digest("hex");
  }
  const entries = await fs.readdir(chart, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  for (const file of files.sort()) {
    hash
      .update(`${path.relative(chart, file)}\0`)
      .update(await fs.readFile(file))
      .update("\0");
  }
  return hash.digest("hex");
}

async function valuesOf(news: Properties): Promise<Properties> {
  const release = plainObject(news);
  const files = release["valueYamlFiles"];
  const layers = await Promise.all((isList(files) ? files : []).map(assetValues));
  return [...layers, release["values"] ?? {}].reduce<Properties>((merged, layer) => merge(merged, layer), {});
}

async function assetValues(asset: Value): Promise<Value> {
  const file = textAt(asset, "path");
  const text = file === "" ? textAt(asset, "text") : await fs.readFile(file, "utf8");
  return (parse(text) as Value | undefined) ?? {};
}

function merge(base: Properties, over: Value): Properties {
  const result: Record<string, Value> = { ...base };
  for (const [key, value] of Object.entries(isObject(over) ? over : {})) {
    const current = result[key];
    result[key] = isObject(current) && isObject(value) ? merge(current, value) : value;
  }
  return result;
}

/** The state of a release; without one (a preview), what helm will say is unknown. */
function checkpoint(inputs: Properties, release: HelmRelease | undefined): Properties {
  const common = { ...inputs, __inputs: secret(inputs) };
  if (release === undefined) {
    return { ...common, resourceNames: UNKNOWN, status: UNKNOWN };
  }
  const { metadata } = release.chart;
  const values = merge(plainObject({ values: inputs["values"] ?? {} })["values"] as Properties, release.config ?? {});
  const outputs = {
    values,
    version: metadata.version,
    resourceNames: resourceNames(release.manifest ?? ""),
    status: {
      name: release.name,
      namespace: release.namespace,
      revision: release.version,
      status: release.info.status,
      version: metadata.version,
      appVersion: metadata.appVersion ?? "",
      chart: metadata.name,
    },
  };
  return { ...common, ...markSecrets(outputs, inputs) };
}

function inputsOf(state: Properties): Properties {
  const inputs = plain(state["__inputs"] ?? {});
  return isObject(inputs) ? inputs : {};
}

/** Names of the objects of a manifest, by group, kind and version, such as `Deployment.apps/apps/v1`. */
function resourceNames(manifest: string): Properties {
  const names = new Map<string, Set<string>>();
  for (const document of parseAllDocuments(manifest)) {
    const object = document.toJS() as Value;
    const [kind, apiVersion, name] = [
      textAt(object, "kind"),
      textAt(object, "apiVersion"),
      textAt(object, "metadata", "name"),
    ];
    if (kind !== "" && name !== "") {
      const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0] ?? ""}` : "";
      const namespace = textAt(object, "metadata", "namespace");
      const key = `${kind}${group}/${apiVersion}`;
      names.set(key, (names.get(key) ?? new Set()).add(namespace === "" ? name : `${namespace}/${name}`));
    }
  }
  return Object.fromEntries([...names].map(([key, set]) => [key, [...set].sort()]));
}
