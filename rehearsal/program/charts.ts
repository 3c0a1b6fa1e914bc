import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import { type ChartDeclaration, type DeclaredWorkload, manifestFileName } from "../../components/base/chart-release";
import { type ChartPin, charts, type ManifestPin, manifests } from "../../components/base/versions";
import type { PlatformConfig } from "../../stacks/config/schema";
import { CrdLibrary } from "../operators/crds";
import { evaluate, type Evaluation, ROOT, stackConfig } from "./evaluate";
import { unwrapped } from "./values";

/** A pin, and whether the chart directory got what upstream published or a stand-in for it. */
export interface FilledChart {
  readonly name: string;
  readonly version: string;
  readonly source: "upstream" | "stand-in";
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

/** A release of an evaluation: what the program declares of it, and all that Helm is told. */
export interface DeclaredRelease {
  readonly release: string;
  /** The outermost component that it belongs to. */
  readonly system: string;
  readonly chart: string;
  readonly version: string;
  readonly declares: ChartDeclaration;
  readonly namespace: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** The releases of an evaluation. */
export function releasesOf({ registrations }: Evaluation): DeclaredRelease[] {
  return registrations
    .filter(({ type }) => type === "carbon:base:ChartRelease")
    .map(({ name, path: [system = name], inputs }) => {
      const release = registrations.find((one) => one.type === "kubernetes:helm.sh/v3:Release" && one.name === name);
      if (release === undefined) throw new Error(`${name}: its component registers no Release`);
      const { chart, version, declares } = inputs as unknown as DeclaredRelease;
      const { namespace, values } = unwrapped(release.inputs) as DeclaredRelease;
      return { release: name, system, chart, version, declares, namespace, values };
    });
}

/** The namespace of a declared workload. */
export function namespaceOf(
  { namespace }: Pick<DeclaredWorkload, "namespace">,
  release: Pick<DeclaredRelease, "namespace">,
): string {
  return (namespace as string | undefined) ?? release.namespace;
}

/** Fills a directory with what makes the program run: what upstream published, or the least that it reads of a chart. */
export function fillPins(directory: string, from: string): FilledChart[] {
  fs.mkdirSync(directory, { recursive: true });
  return [
    ...Object.values(charts).map((pin) => fillChart(directory, pin, from)),
    ...Object.values(manifests).map((pin) => fillManifests(directory, pin, from)),
  ];
}

function fillChart(
  directory: string,
  { chart, version, crds = [], crdFolder = "crds" }: ChartPin,
  from: string,
): FilledChart {
  const target = path.join(directory, chart);
  const real = path.resolve(ROOT, from, chart);
  if (chartVersion(real) === version) {
    fs.cpSync(real, target, { recursive: true });
    return { name: chart, version, source: "upstream" };
  }
  const description = `Stand-in for ${chart} ${version}: runs what this program declares about it`;
  const folder = path.join(target, crdFolder);
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(target, "Chart.yaml"), stringify({ apiVersion: "v2", name: chart, version, description }));
  // The program applies them itself, and to Helm a folder below charts/ would be a chart without a name.
  fs.writeFileSync(path.join(target, ".helmignore"), `${crdFolder}\n`);
  for (const name of crds) fs.writeFileSync(path.join(folder, `${name}.yaml`), new CrdLibrary().text(name));
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
  fs.writeFileSync(path.join(directory, file), new CrdLibrary().operator(name).join("---\n"));
  return { name, version: pin.version, source: "stand-in" };
}
