import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { type ChartPin, charts } from "../components/base/versions";
import { operators } from "../rehearsal/operators";
import { crdFixtures, definedKind, type Definition, definitions, toYaml } from "../rehearsal/operators/crds";
import type { Operator } from "../rehearsal/operators/operator";
import { ROOT } from "../rehearsal/program/evaluate";
import { verdict } from "../rehearsal/simulation/colours";
import { folded } from "../rehearsal/simulation/tables";
import { command, print, run } from "./cli";

/** The layout that `--from` expects. */
const LAYOUT = "it needs charts as <chart>/ or charts/<chart>/, or CRDs as crds/<operator>/*.yaml";

/** Directory of the pinned charts' value keys. */
export const KEY_FIXTURES = path.join(ROOT, "tests/fixtures/chart-keys");

/** What a chart's values may contain: keys, a single value, or anything. */
export type KeyTree = "value" | "any" | { readonly [key: string]: KeyTree };

/** The keys of one chart's values. */
export interface ChartKeys {
  readonly chart: string;
  readonly version: string;
  /** The Kubernetes versions it supports, as a Helm constraint. */
  readonly kubeVersion?: string;
  readonly keys: KeyTree;
}

/** Keys that a chart's templates read but its values.yaml does not list, and maps that it passes on unchanged. */
const UNLISTED: Readonly<Record<string, KeyTree>> = {
  datahub: {
    imagePullSecrets: "any",
    datahubSystemCronHourly: { imagePullSecrets: "any", nodeSelector: "any", tolerations: "any" },
    "datahub-frontend": { existingGmsSecret: { name: "value", key: "value" } },
    datahubUpgrade: { extraEnvs: "any", extraVolumeMounts: "any", extraVolumes: "any", serviceAccount: "value" },
    datahubSystemUpdate: {
      bootstrapMCPs: { datahubGC: { values: { schedule: { interval: "value" } } } },
      extraEnvs: "any",
      extraVolumeMounts: "any",
      extraVolumes: "any",
    },
    global: {
      credentialsAndCertsSecrets: { name: "value", path: "value", secureEnv: "any" },
      datahub: { enable_retention: "value" },
      elasticsearch: {
        auth: { username: "value", password: { secretRef: "value", secretKey: "value" } },
        indexPrefix: "value",
      },
      hostAliases: "any",
      kafka: { replicationFactor: "value" },
      neo4j: { database: "value" },
      nodeSelector: "any",
      springKafkaConfigurationOverrides: "any",
      tolerations: "any",
    },
  },
  cni: { profile: "value" },
  istiod: { global: { enableReaderRBAC: "value" }, meshConfig: { trustDomain: "value" }, profile: "value" },
  "gpu-operator": { validator: { cuda: { env: "any" } } },
  "gateway-helm": { config: { envoyGateway: { provider: { kubernetes: "any" } } } },
  "kuberay-operator": { watchNamespace: "any" },
  seaweedfs: { global: { imagePullSecrets: "any" }, s3: { affinity: "value" } },
  "strimzi-kafka-operator": { image: { imagePullSecrets: "any" } },
  "kube-prometheus-stack": {
    alertmanager: { alertmanagerSpec: { configSecret: "value" } },
    grafana: { "grafana.ini": "any", podAnnotations: "any", priorityClassName: "value" },
    "kube-state-metrics": { priorityClassName: "value" },
    prometheusOperator: {
      alertmanagerDefaultBaseImageRegistry: "value",
      priorityClassName: "value",
      prometheusDefaultBaseImageRegistry: "value",
    },
    "prometheus-node-exporter": { priorityClassName: "value" },
  },
};

/** Writes the fixture of every operator and chart found under `from`; returns one line for each. Throws if there is none. */
export function regenerate(from: string): string[] {
  let found = 0;
  const written = (fixture: string, sources: readonly string[], write: (source: string) => string): string => {
    const source = sources.find((one) => fs.existsSync(one));
    if (source === undefined) return `${fixture}: ${sources.join(" or ")} does not exist; its fixture is unchanged`;
    found += 1;
    return write(source);
  };
  const crds = operators.map((operator) =>
    written(`crds/${operator.name}`, [path.join(from, "crds", upstreamFolder(operator))], (source) =>
      writeCrds(operator, source),
    ),
  );
  const keys = Object.values(charts).map((pin) =>
    written(pin.chart, [path.join(from, "charts", pin.chart), path.join(from, pin.chart)], (source) =>
      writeKeys(pin, source),
    ),
  );
  if (found === 0) throw new pulumi.RunError(`--from ${from}: has none of the pinned charts or CRDs; ${LAYOUT}`);
  return [...crds, ...keys];
}

function upstreamFolder({ name, crds }: Operator): string {
  return crds?.folder ?? name;
}

function writeCrds({ name, origin, kinds, crds }: Operator, source: string): string {
  const files = fs.readdirSync(source).filter((file) => file.endsWith(".yaml"));
  const all = files.flatMap((file) => definitions(fs.readFileSync(path.join(source, file), "utf8")));
  const ours = all.filter(({ spec }) => crds === undefined || spec.group === crds.group);
  const absent = Object.keys(kinds).filter((kind) => !ours.some((definition) => definedKind(definition) === kind));
  if (absent.length > 0) {
    throw new pulumi.RunError(
      `${source}: has no CRD of ${absent.join(", ")}; correct the kinds in rehearsal/operators/${name}/index.ts`,
    );
  }
  const target = crdFixtures(name);
  fs.rmSync(target, { recursive: true, force: true });
  fs.mkdirSync(target, { recursive: true });
  const isUsed = (definition: Definition): boolean => {
    const kind = kinds[definedKind(definition)];
    return kind !== undefined && kind.ofCharts !== true;
  };
  for (const definition of ours) {
    const keepSchema = isUsed(definition);
    const heading = `# ${origin}, ${keepSchema ? "without descriptions" : "open, since the program makes no such object"}\n`;
    fs.writeFileSync(
      path.join(target, `${definition.metadata.name}.yaml`),
      heading + toYaml(slim(definition, keepSchema)),
    );
  }
  const used = ours.filter(isUsed).length;
  return `${name}: ${used} CRDs with their schema, ${ours.length - used} open (${origin})`;
}

/** A CRD without its descriptions. */
function slim({ apiVersion, kind, metadata, spec }: Definition, keepSchema: boolean): object {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const versions = spec.versions.map(({ name, served, storage, subresources, schema }) => ({
    name,
    served,
    storage,
    ...(subresources && { subresources }),
    // The program's objects use the stored version.
    schema: { openAPIV3Schema: keepSchema && storage ? schema.openAPIV3Schema : open },
  }));
  const { name, annotations } = metadata;
  return { apiVersion, kind, metadata: { name, ...(annotations && { annotations }) }, spec: { ...spec, versions } };
}

interface ChartYaml {
  readonly version: string;
  readonly kubeVersion?: string;
}

function writeKeys({ chart, version }: ChartPin, source: string): string {
  const { version: found, kubeVersion } = readYaml(path.join(source, "Chart.yaml")) as ChartYaml;
  // Placeholders in the source of charts whose release process fills in the version; the last is Strimzi's.
  if (found !== version && !["v0.0.0", "0.0.0", "0.1.1"].includes(found)) {
    throw new pulumi.RunError(`${source}/Chart.yaml: version ${found}, but ${version} is pinned; fetch that one`);
  }
  const keys: ChartKeys = {
    chart,
    version,
    ...(kubeVersion && { kubeVersion }),
    keys: allKeys(chart, source),
  };
  fs.mkdirSync(KEY_FIXTURES, { recursive: true });
  fs.writeFileSync(path.join(KEY_FIXTURES, `${chart}.json`), `${JSON.stringify(keys, null, 2)}\n`);
  return `${chart}: keys of ${version}`;
}

/** The keys of a chart's values: from values.yaml, from its schema and from its subcharts. */
export function chartKeys(source: string): KeyTree {
  const values = readYaml(path.join(source, "values.yaml")) as Record<string, unknown>;
  // Istio's charts keep their defaults under this key, and take values without it.
  const keys = keysOfValues("", values["_internal_defaults_do_not_set"] ?? values);
  const file = path.join(source, "values.schema.json");
  const schema = fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as Schema) : undefined;
  const own = schema === undefined ? keys : merged(keys, keysOfSchema(schema, schema, []));
  return merged(own, keysOfSubcharts(source));
}

function keysOfSubcharts(source: string): KeyTree {
  const { dependencies = [] } = readYaml(path.join(source, "Chart.yaml")) as {
    dependencies?: { name: string; alias?: string }[];
  };
  const entries = dependencies.map(({ name, alias }) => {
    // Inside the chart as Helm packages it, or next to it.
    const candidates = [path.join(source, "charts", name), path.join(source, "..", name)];
    const found = candidates.find((folder) => fs.existsSync(path.join(folder, "values.yaml")));
    return [alias ?? name, found === undefined ? "any" : chartKeys(found)] as const;
  });
  return Object.fromEntries(entries);
}

// Kubernetes maps, which charts pass on unchanged.
const PASSED_ON = /(annotations|labels|selector|affinity|resources|securityContext|probe)$/i;

function keysOfValues(name: string, value: unknown): KeyTree {
  if (value === null || Array.isArray(value)) return "any";
  if (typeof value !== "object") return "value";
  const entries = Object.entries(value as Record<string, unknown>);
  if (entries.length === 0 || PASSED_ON.test(name)) return "any";
  return Object.fromEntries(entries.map(([key, inner]) => [key, keysOfValues(key, inner)]));
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
}

function keysOfSchema(
  root: Schema,
  { $ref, type, properties, additionalProperties }: Schema,
  above: string[],
): KeyTree {
  if ($ref !== undefined) {
    if (above.includes($ref)) return "any";
    return keysOfSchema(root, resolve(root, $ref), [...above, $ref]);
  }
  // A schema without properties allows any key.
  if (properties !== undefined && Object.keys(properties).length === 0) return "any";
  if (properties !== undefined && (additionalProperties === undefined || additionalProperties === false)) {
    return Object.fromEntries(
      Object.entries(properties).map(([key, schema]) => [key, keysOfSchema(root, schema, above)]),
    );
  }
  return ["string", "boolean", "integer", "number"].includes(String(type)) ? "value" : "any";
}

function resolve(root: Schema, reference: string): Schema {
  const parts = reference.replace(/^#\//, "").split("/");
  return parts.reduce<unknown>((schema, part) => (schema as Record<string, unknown>)[part], root) as Schema;
}

function merged(values: KeyTree, schema: KeyTree): KeyTree {
  if (typeof values === "object" && typeof schema === "object") {
    const keys = [...new Set([...Object.keys(values), ...Object.keys(schema)])];
    return Object.fromEntries(
      keys.map((key) => {
        const [a, b] = [values[key], schema[key]];
        return [key, a !== undefined && b !== undefined ? merged(a, b) : (a ?? b ?? "any")];
      }),
    );
  }
  if (typeof values === "object") return schema === "any" ? "any" : values;
  // A schema with keys says more than an empty map in the values.
  return typeof schema === "object" ? schema : values;
}

function readYaml(file: string): unknown {
  return parse(fs.readFileSync(file, "utf8"));
}

/** All keys of the chart in a directory: listed ones, and those in {@link UNLISTED}. */
export function allKeys(chart: string, source: string): KeyTree {
  return added(chartKeys(source), UNLISTED[chart] ?? {});
}

/** Adds keys. "any" stays "any", such as for a subchart whose values are not available. */
function added(keys: KeyTree, more: KeyTree): KeyTree {
  if (typeof keys !== "object" || typeof more !== "object") return keys === "any" ? keys : more;
  const all = Object.entries(more).map(([key, tree]) => [key, added(keys[key] ?? {}, tree)] as const);
  return { ...keys, ...Object.fromEntries(all) };
}

/** The keys of `value` that a chart does not have, each with the closest existing key. */
export function unknownKeys(value: unknown, keys: KeyTree, above: readonly string[] = []): string[] {
  if (keys === "any" || typeof value !== "object" || value === null) return [];
  const here = above.join(".");
  if (keys === "value")
    return [`${here} is a single value in the chart, not a ${Array.isArray(value) ? "list" : "map"}`];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const known = keys[key];
    if (known !== undefined) return unknownKeys(inner, known, [...above, key]);
    const [nearest = "none"] = Object.keys(keys).sort((a, b) => distance(a, key) - distance(b, key));
    const at = (name: string): string => [...above, name].join(".");
    return [`${at(key)} is no key of the chart; the nearest is ${at(nearest)}`];
  });
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1];
    for (const [j, other] of Array.from(b).entries()) {
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The command line. */
export const program = command(
  "charts:keys",
  "Regenerates the fixtures of the charts' value keys and of the operators' CRDs for the pinned versions.",
  ["npm run charts:keys -- --from .charts", "npm run charts:keys -- --from ../upstream"],
)
  .requiredOption(
    "--from <dir>",
    "directory with unpacked charts in <chart>/ or charts/<chart>/, and CRDs in crds/<operator>/*.yaml",
  )
  .addHelpText(
    "after",
    `
${folded(`CRD directories: ${[...new Set(operators.map(upstreamFolder))].join(", ")}.`, { isTTY: true })}
Fixtures of charts and CRDs that the directory lacks stay unchanged.
Exit codes: 0 written, 2 wrong usage, or the directory has no pinned chart or CRD, or other
versions.`,
  )
  .action(({ from }: { from: string }) => {
    if (!fs.existsSync(from)) {
      throw new pulumi.RunError(`--from ${from}: no such directory; ${LAYOUT}`);
    }
    const lines = regenerate(from);
    for (const line of lines) print(line);
    print(verdict("ok", `the fixtures are those of ${from}. Next: npm test -- tests/charts.test.ts`));
  });

if (require.main === module) void run(program);
