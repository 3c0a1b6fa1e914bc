import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type ChartPin, charts as pins } from "../components/base/versions";
import type { Manifest } from "../rehearsal/operators/operator";
import {
  chartVersion,
  type DeclaredRelease,
  evaluateConfig,
  releasesOf,
  type StackEvaluation,
} from "../rehearsal/program/charts";
import { bad, verdict } from "../rehearsal/simulation/colours";
import { collect, command, JSON_OPTION, progress, run, show } from "./cli";
import { type Cluster, startCluster } from "../rehearsal/simulation/cluster";
import { sweep } from "../rehearsal/simulation/cluster/guardian";
import { type Evaluation, overridden, readStackFile, ROOT } from "../rehearsal/program/evaluate";
import { plain } from "../rehearsal/program/values";
import { knownSecrets, secretFaults } from "../rehearsal/program/secret-references";
import { table } from "../rehearsal/simulation/tables";
import { ensureToolchain, type Toolchain } from "../rehearsal/simulation/toolchain";
import { Admission } from "./charts/admission";
import { declarationFaults, workloadsOf } from "./charts/declaration";
import { imageFaults } from "./charts/images";
import { apiVersions, RenderError, type Renderer, renderRelease } from "../rehearsal/simulation/helm-template";
import { writeRendered } from "./charts/rendered";
import { generatedFaults, soundnessFaultsOf } from "./charts/soundness";
import { parseConfig, type PlatformConfig } from "../stacks/config/schema";
import { allKeys, unknownKeys } from "./charts-keys";

/** The result of checking a release against its real chart. */
export interface CheckedRelease {
  readonly stack: string;
  readonly release: string;
  readonly chart: string;
  readonly version: string;
  /** Number of rendered objects by kind; all zero if the chart could not be rendered. */
  readonly rendered: Readonly<Record<"objects" | "workloads" | "services" | "crds", number>>;
  readonly faults: readonly string[];
}

/** Options of {@link checkReleases}. */
export interface CheckOptions {
  readonly stack: string;
  readonly evaluation: Evaluation;
  /** Directory with one folder for each chart. */
  readonly charts: string;
  readonly kubernetesVersion: string;
  readonly images: Pick<PlatformConfig["images"], "mirrors" | "pullSecret">;
  readonly helm: string;
  readonly admission: Admission;
  readonly progress: (line: string) => void;
  /** Whether to write what `npm test` holds the declarations to. */
  readonly write?: boolean;
}

/** Renders every release of an evaluation from real charts and compares it with the program's declarations and rules. */
export async function checkReleases(options: CheckOptions): Promise<CheckedRelease[]> {
  const { stack, evaluation, admission, images, progress } = options;
  const releases = releasesOf(evaluation);
  const own = objectsOf(evaluation);
  const refused = await admission.prepare(evaluation);
  if (refused.length > 0) throw new Error(`the API server rejects objects of the program:\n${refused.join("\n")}`);

  // A chart may test for the CRDs of another: collect all CRDs before the final rendering.
  const first = await renderAll(releases, { ...options, apiVersions: apiVersions(own.filter(isCrd)) });
  const installed = [...own, ...first.flatMap(({ objects }) => objects)].filter(isCrd);
  const renderer = { ...options, apiVersions: apiVersions(installed) };
  const once = await renderAll(releases, renderer);
  const again = await renderAll(releases, renderer);
  const secrets = knownSecrets([
    ...own,
    ...once.flatMap(({ release, objects }) =>
      [...objects, ...secretsOfHooks(release)].map((object) => within(release.namespace, object)),
    ),
  ]);

  const checked: CheckedRelease[] = [];
  for (const [index, { release, objects, faults }] of once.entries()) {
    progress(`${stack}: ${release.release} (${release.chart} ${release.version})`);
    if (options.write && faults.length === 0) writeRendered(release, objects);
    const found =
      faults.length > 0
        ? faults
        : [
            ...keyFaults(release, options.charts),
            ...declarationFaults(release, objects),
            ...soundnessFaultsOf(objects),
            ...imageFaults(objects, images),
            ...generatedFaults(objects, again[index]?.objects ?? []),
            ...secretFaults(objects, secrets, release.namespace),
            ...(await admission.faults(objects, release.namespace)),
          ];
    const { chart, version } = release;
    const rendered = {
      objects: objects.length,
      workloads: workloadsOf(objects).length,
      services: objects.filter(({ kind }) => kind === "Service").length,
      crds: objects.filter(isCrd).length,
    };
    checked.push({ stack, release: release.release, chart, version, rendered, faults: [...new Set(found)] });
  }
  return checked;
}

function secretsOfHooks({ declares: { hooks = [] } }: DeclaredRelease): Manifest[] {
  const names = hooks.flatMap(({ secrets = [] }) => secrets);
  return names.map((name) => ({ apiVersion: "v1", kind: "Secret", metadata: { name } }));
}

interface Rendered {
  readonly release: DeclaredRelease;
  readonly objects: readonly Manifest[];
  /** Why rendering failed. */
  readonly faults: readonly string[];
}

function renderAll(releases: readonly DeclaredRelease[], renderer: Renderer): Promise<Rendered[]> {
  return Promise.all(
    releases.map(async (release) => {
      const missing = versionFault(release, renderer.charts);
      if (missing !== undefined) return { release, objects: [], faults: [missing] };
      try {
        return { release, objects: await renderRelease(release, renderer), faults: [] };
      } catch (error) {
        if (error instanceof RenderError)
          return { release, objects: [], faults: [`values: helm says: ${error.message}`] };
        throw error;
      }
    }),
  );
}

function versionFault({ chart, version }: DeclaredRelease, directory: string): string | undefined {
  const folder = path.join(directory, chart);
  const found = chartVersion(folder);
  if (found === version) return undefined;
  return `${folder}: ${found === undefined ? "does not exist" : `has version ${found}`}, but ${version} is pinned; run \`npm run charts:pull\``;
}

function keyFaults({ chart, values }: DeclaredRelease, directory: string): string[] {
  const folder = path.join(directory, chart);
  const keys = unknownKeys(values, allKeys(chart, folder)).map((fault) => `values: ${fault}`);
  return [...keys, ...crdFolderFaults(chart, folder)];
}

/** The program installs the CRDs in `crds/` itself, because its releases skip them. */
function crdFolderFaults(chart: string, folder: string): string[] {
  const { crds = [], crdFolder = "crds" } = Object.values<ChartPin>(pins).find((pin) => pin.chart === chart) ?? {};
  const directory = path.join(folder, crdFolder);
  const files = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  const names = files.flatMap((file) => {
    const text = fs.readFileSync(path.join(directory, file), "utf8");
    return [...text.matchAll(/^ {2}name: (\S+\.\S+)$/gm)].map(([, name]) => name ?? "");
  });
  const same = JSON.stringify(names.sort()) === JSON.stringify([...crds].sort());
  return same ? [] : [`components/base/versions.ts: the crds of ${chart} are ${names.join(", ") || "none"}`];
}

function objectsOf({ registrations }: Evaluation): Manifest[] {
  return registrations
    .filter(({ type, inputs, read }) => type.startsWith("kubernetes:") && inputs["kind"] !== undefined && !read)
    .map(({ inputs }) => plain(inputs) as Manifest);
}

function within(namespace: string, object: Manifest): Manifest {
  return { ...object, metadata: { namespace, ...object.metadata } };
}

function isCrd({ kind }: Manifest): boolean {
  return kind === "CustomResourceDefinition";
}

/** Formats the report for people. */
export function describe(checked: readonly CheckedRelease[]): string {
  const rows = checked.map(({ stack, release, chart, version, rendered, faults }) => [
    stack,
    release,
    `${chart} ${version}`,
    ...["objects", "workloads", "services", "crds"].map((kind) => `${rendered[kind as keyof typeof rendered]}`),
    faults.length === 0 ? "as declared" : faults.length === 1 ? "1 fault" : `${faults.length} faults`,
  ]);
  const faults = checked.flatMap(({ stack, release, faults: own }) =>
    own.map((fault) => bad(`✗ ${stack}, ${release}: ${fault}`)),
  );
  return [
    table(["stack", "release", "chart", "objects", "workloads", "Services", "CRDs", ""], rows),
    "",
    ...faults,
    faults.length === 0
      ? verdict("ok", `${checked.length} releases are as declared`)
      : verdict("failed", `${faults.length} fault(s) in ${checked.length} releases. Next: docs/charts.md`),
  ].join("\n");
}

interface Options {
  readonly charts: string;
  readonly stack?: string;
  readonly config: Readonly<Record<string, string>>;
  readonly json?: string | true;
  readonly write?: boolean;
}

/** The command line. */
export const program = command(
  "charts:check",
  "Renders every release from the real charts and checks it against the program's declarations, its rules and an API server.",
  [
    "npm run charts:check -- --charts .charts",
    "npm run --silent charts:check -- --charts ../upstream --stack prod --json",
  ],
)
  .requiredOption("--charts <dir>", "directory of the pinned charts, filled by `npm run charts:pull`")
  .option("--stack <name>", "one stack (default: all)")
  .option(
    "--config <path=value>",
    "override a value of the stack files, or remove it (null); may be repeated",
    collect,
    {},
  )
  .option(...JSON_OPTION)
  .option("--write", "write the fixtures against which `npm test` checks the declarations")
  .addHelpText("after", "\nExit codes: 0 all releases are as declared, 1 faults found, 2 wrong usage or config.")
  .action(async ({ charts, stack, config, json, write = false }: Options) => {
    if (!fs.existsSync(charts)) {
      throw new pulumi.RunError(`--charts ${charts}: no such directory; \`npm run charts:pull\` creates one`);
    }
    const checked = await checkStacks(stack === undefined ? stacks() : [stack], config, path.resolve(charts), write);
    show(json, { releases: checked }, describe(checked));
    if (checked.some(({ faults }) => faults.length > 0)) process.exitCode = 1;
  });

function stacks(): string[] {
  return fs.readdirSync(ROOT).flatMap((name) => /^Pulumi\.(.+)\.yaml$/.exec(name)?.[1] ?? []);
}

/** Checks stacks one by one on a temporary API server. */
async function checkStacks(
  names: readonly string[],
  overrides: Readonly<Record<string, string>>,
  charts: string,
  write: boolean,
): Promise<CheckedRelease[]> {
  const evaluations: [string, StackEvaluation][] = [];
  // Only one program can run at a time: Pulumi's settings are global to the process.
  for (const name of names) {
    const values = overridden(readStackFile(name)["carbon:platform"], overrides);
    const config = parseConfig(values, `Pulumi.${name}.yaml`);
    evaluations.push([name, { config, ...(await evaluateConfig(name, config, { charts })) }]);
  }
  const toolchain = await ensureToolchain(progress);
  const cluster = await startApiServer(toolchain);
  try {
    const admission = new Admission(path.join(toolchain.bin, "kubectl"), cluster.kubeconfig);
    const helm = path.join(toolchain.bin, "helm");
    const checked: CheckedRelease[] = [];
    for (const [stack, evaluation] of evaluations) {
      const {
        cluster: { kubernetesVersion },
        images,
      } = evaluation.config;
      checked.push(
        ...(await checkReleases({
          stack,
          evaluation,
          charts,
          kubernetesVersion,
          images,
          helm,
          admission,
          progress,
          write,
        })),
      );
    }
    return checked;
  } finally {
    await cluster.stop();
  }
}

async function startApiServer(toolchain: Toolchain): Promise<Cluster> {
  const runs = path.join(toolchain.cache, "runs");
  await sweep(runs);
  const directory = path.join(runs, `charts-${randomBytes(4).toString("hex")}`);
  return startCluster(
    toolchain,
    { name: "charts", context: "charts", nodes: [], storageClasses: [] },
    directory,
    progress,
  );
}

if (require.main === module) void run(program);
