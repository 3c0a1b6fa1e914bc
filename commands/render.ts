import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { evaluateStack } from "../rehearsal/program/charts";
import { type Evaluation, type Registration, STACKS } from "../rehearsal/program/evaluate";
import { verdict } from "../rehearsal/simulation/colours";
import { command, JSON_OPTION, run, show } from "./cli";
import { table } from "../rehearsal/simulation/tables";

/** A rendered object of the program. */
export interface RenderedObject {
  /** Namespace, or `cluster` for cluster-scoped objects. */
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  /** Path below the output directory. */
  readonly file: string;
  readonly text: string;
}

interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

/** Every Kubernetes object of an evaluation as YAML with sorted keys and masked Secrets. */
export function renderObjects({ registrations }: Evaluation): RenderedObject[] {
  const objects = registrations.filter(({ type, read }) => type.startsWith("kubernetes:") && !read).map(asObject);
  const shortNames = objects.map((object) => fileOf(object, object.kind));
  return objects
    .map((object) => {
      const short = fileOf(object, object.kind);
      // If two operators use the same kind, both names include the group.
      const isUnique = shortNames.filter((name) => name === short).length === 1;
      const group = object.apiVersion.split("/")[0] ?? "";
      const text = stringify(masked(object), { sortMapEntries: true, lineWidth: 0, aliasDuplicateObjects: false });
      const file = isUnique ? short : fileOf(object, `${object.kind}.${group}`);
      refuseCredentials(file, text);
      const { name, namespace = CLUSTER } = object.metadata;
      return { namespace, kind: object.kind, name, file, text };
    })
    .sort((a, b) => (a.file < b.file ? -1 : 1));
}

const CLUSTER = "cluster";

function fileOf({ metadata }: KubernetesObject, kind: string): string {
  return `${metadata.namespace ?? CLUSTER}/${kind}-${metadata.name}.yaml`.toLowerCase();
}

/** The object as the API server receives it; for a Helm release, its inputs to Helm. */
function asObject({ type, inputs }: Registration): KubernetesObject {
  if (type !== "kubernetes:helm.sh/v3:Release") return inputs as KubernetesObject;
  const { name, namespace, chart, values } = inputs as Record<"name" | "namespace" | "chart", string> & {
    values: unknown;
  };
  return {
    apiVersion: "helm.sh/v3",
    kind: "Release",
    metadata: { name, namespace },
    spec: { chart: path.basename(chart), values },
  };
}

const MASK = "***";

/** The object without the data of a Secret and without any other secret values. */
function masked(object: KubernetesObject): KubernetesObject {
  const plain = withoutSecrets(object) as KubernetesObject;
  if (plain.kind !== "Secret") return plain;
  const { data, stringData } = plain;
  return {
    ...plain,
    ...(data !== undefined && { data: hidden(data) }),
    ...(stringData !== undefined && { stringData: hidden(stringData) }),
  };
}

function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== "object" || value === null) return value;
  const entries = value as Record<string, unknown>;
  if (entries[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) return hidden(entries["value"]);
  return Object.fromEntries(Object.entries(entries).map(([key, inner]) => [key, withoutSecrets(inner)]));
}

/** The shape of a value without its content. */
function hidden(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hidden);
  if (typeof value !== "object" || value === null) return MASK;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, hidden(inner)]));
}

/** Evaluations use recognizable stand-ins for credentials; none may appear outside Secrets. */
function refuseCredentials(file: string, text: string): void {
  const found = /canary-\w+|generated-\w+/.exec(text);
  if (found !== null) throw new Error(`${file}: holds the credential ${found[0]} in plain text`);
}

// Lists the files of a run, so that the next run removes only those.
const LIST = ".rendered";

/** Writes the objects after removing those of an earlier run. Throws a RunError for a directory with other files. */
export function writeObjects(directory: string, objects: readonly RenderedObject[]): void {
  const list = path.join(directory, LIST);
  if (fs.existsSync(list)) {
    for (const file of fs.readFileSync(list, "utf8").trim().split("\n"))
      fs.rmSync(path.join(directory, file), { force: true });
  } else if (fs.existsSync(directory) && fs.readdirSync(directory).length > 0) {
    throw new pulumi.RunError(
      `--out ${directory}: is not empty and was not written by this command; choose a new or an empty directory`,
    );
  }
  for (const { file, text } of objects) {
    fs.mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
    fs.writeFileSync(path.join(directory, file), text);
  }
  fs.writeFileSync(list, `${objects.map(({ file }) => file).join("\n")}\n`);
}

function summary(objects: readonly RenderedObject[]): string {
  const namespaces = [...new Set(objects.map(({ namespace }) => namespace))];
  const rows = namespaces.map((namespace) => {
    const kinds = objects.filter((object) => object.namespace === namespace).map(({ kind }) => kind);
    const counts = [...new Set(kinds)].map((kind) => `${kinds.filter((one) => one === kind).length} ${kind}`);
    return [namespace, counts.join(", "), `${kinds.length}`];
  });
  return table(["namespace", "kinds", "objects"], rows);
}

interface Options {
  readonly stack: string;
  readonly out: string;
  readonly charts?: string;
  readonly json?: string | true;
}

/** The command line. */
export const program = command(
  "render",
  "Writes every Kubernetes object of a stack as YAML, one file each, without a cluster.",
  ["npm run render -- --stack prod --out out/prod", "npm run --silent render -- --stack dev --out out/dev --json"],
)
  .requiredOption("--stack <name>", `the stack: ${STACKS.join(" or ")}`)
  .requiredOption("--out <dir>", "output directory: new, empty, or written by this command")
  .option("--charts <dir>", "directory of the pinned charts and manifest files (default: the stack's, else stand-ins)")
  .option(...JSON_OPTION)
  .addHelpText(
    "after",
    "\nThe data of Secrets is masked. A Helm release is written as its values, for `helm template`." +
      "\nExit codes: 0 written, 2 wrong usage or config.",
  )
  .action(async ({ stack, out, charts, json }: Options) => {
    const objects = renderObjects(await evaluateStack(stack, { ...(charts !== undefined && { charts }) }));
    writeObjects(out, objects);
    const list = objects.map(({ namespace, kind, name, file }) => ({ namespace, kind, name, file }));
    const written = `Wrote ${objects.length} objects of ${stack} to ${out}; the data of Secrets is masked`;
    show(json, { stack, directory: out, objects: list }, [summary(objects), "", verdict(true, written)].join("\n"));
  });

if (require.main === module) void run(program);
