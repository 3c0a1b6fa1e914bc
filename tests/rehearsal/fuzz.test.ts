import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { Admission } from "../../commands/charts/admission";
import { CrdLibrary } from "../../rehearsal/operators/crds";
import type { Manifest } from "../../rehearsal/operators/operator";
import { evaluateConfig, releasesOf } from "../../rehearsal/program/charts";
import { type Evaluation, stackConfig } from "../../rehearsal/program/evaluate";
import { plain } from "../../rehearsal/program/values";
import { type Cluster, startCluster } from "../../rehearsal/simulation/cluster";
import { ensureToolchain } from "../../rehearsal/simulation/toolchain";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { SHAPES, shaped } from "../support/program";
import { generator, type Random } from "../support/random";

// The nightly workflow takes more, and another seed each time.
const MUTANTS = Number(process.env["CARBON_FUZZ_MUTANTS"] ?? "40");
const SEED = Number(process.env["CARBON_FUZZ_SEED"] ?? "1");

const NUMBERS = [-1, 0, 1e-9, 0.0004, 0.5, 1.5, 255, 65536, 2 ** 31, 2 ** 53];
const TEXTS = [
  ...[
    "",
    " ",
    "a",
    "A_B",
    "ü",
    "a\nb",
    "-a",
    "a-",
    "a".repeat(64),
    "a".repeat(254),
    "*",
    ".security",
    "../x",
    "latest",
  ],
  ...["#{x}", "$__env{PATH}", "${x}", "$(x)", "{{ .x }}", "%s", "'", '"', "\\", "true", "1.0", "1e3", "null"],
  ...[
    "10.0.0.1/8",
    "0.0.0.0/0",
    "https://user:password@example.com",
    "system:authenticated",
    "a:b",
    "a,b",
    "a=b",
    "a b",
  ],
];

/** A value of a config, by its path. */
interface Place {
  readonly keys: readonly string[];
  readonly value: unknown;
}

describe("a config that is not sound", function () {
  this.timeout(18_000_000);
  let runs: string;
  let cluster: Cluster;
  let admission: Admission;
  const sound = new Map<string, { readonly config: PlatformConfig; readonly objects: ReadonlyMap<string, Manifest> }>();

  before(async () => {
    const toolchain = await ensureToolchain(console.log);
    runs = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-fuzz-"));
    const spec = { name: "fuzz", context: "fuzz", nodes: [], storageClasses: [] };
    cluster = await startCluster(toolchain, spec, path.join(runs, "cluster"), () => undefined);
    admission = new Admission(path.join(toolchain.bin, "kubectl"), cluster.kubeconfig);
    const library = new CrdLibrary();
    for (const shape of SHAPES) {
      const config = { ...shaped(shape), charts: stackConfig("prod").charts };
      const evaluation = await evaluateConfig("prod", config);
      assert.deepEqual(await admission.prepare(evaluation), []);
      const crds = new Set(releasesOf(evaluation).flatMap(({ declares }) => declares.crds));
      const ofOperators = [...crds].map((name) => parse(library.text(name)) as Manifest);
      assert.deepEqual(await admission.faults(ofOperators, "data-platform"), []);
      sound.set(shape, { config, objects: objectsOf(evaluation) });
    }
  });
  after(async () => {
    await cluster.stop();
    fs.rmSync(runs, { recursive: true });
  });

  it(`is refused by the key, or an API server takes all of it: ${MUTANTS} changes (seed ${SEED})`, async () => {
    const random = generator(SEED);
    const faults: string[] = [];
    for (let mutant = 0; mutant < MUTANTS; mutant++) {
      const fault = await faultOf(random);
      if (fault !== undefined) faults.push(fault);
    }
    assert.deepEqual(faults, []);
  });

  async function faultOf(random: Random): Promise<string | undefined> {
    const shape = pick(SHAPES, random);
    const { config, objects } = sound.get(shape) ?? assert.fail(shape);
    const mutant = structuredClone(config);
    const place = pick(places(config), random);
    const told = `${shape}, ${place.keys.join(".")}: ${change(mutant, place, random)}`;
    let parsed: PlatformConfig;
    try {
      parsed = parseConfig(mutant, "FILE");
    } catch (error) {
      return namesKey(error, place) ? undefined : `${told}\n  ${String(error)}`;
    }
    try {
      const evaluation = await evaluateConfig("prod", parsed);
      const changed = [...objectsOf(evaluation)].filter(
        ([name, object]) => !isDeepStrictEqual(object, objects.get(name)),
      );
      const said = await admission.faults(
        changed.map(([, object]) => object),
        "data-platform",
      );
      // Namespaces, policies and CRDs were made for the others.
      const refused = said.filter((message) => !message.includes("(AlreadyExists)"));
      return refused.length === 0 ? undefined : `${told}\n  ${refused.join("\n  ")}`;
    } catch (error) {
      // What only components can know, such as how many connections the clients of PostgreSQL open.
      const isNamed = error instanceof Error && /^[a-z]\w*\.[^ ]+: /.test(error.message);
      return isNamed ? undefined : `${told}\n  ${String(error)}`;
    }
  }
});

/** Whether a fault is of the system whose key was changed, or says the key in its reason, or that its new name is unknown. */
function namesKey(error: unknown, { keys }: Place): boolean {
  if (!(error instanceof pulumi.RunError)) return false;
  const [system = ""] = keys;
  const faults = error.message.split("\n  ").slice(1);
  return faults.some(
    (fault) =>
      fault.startsWith(`${system}.`) ||
      fault.startsWith(`${system}:`) ||
      fault.includes(keys.join(".")) ||
      fault.includes(": unknown key"),
  );
}

function objectsOf({ registrations }: Evaluation): Map<string, Manifest> {
  return new Map(
    registrations
      .filter(({ type, read }) => type.startsWith("kubernetes:") && type !== "kubernetes:helm.sh/v3:Release" && !read)
      .map(({ urn, inputs }) => [urn, plain(inputs) as Manifest]),
  );
}

function places(value: unknown, keys: readonly string[] = []): Place[] {
  const inner =
    typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, below]) => places(below, [...keys, key]))
      : [];
  return keys.length === 0 ? inner : [{ keys, value }, ...inner];
}

/** Changes a value of its kind, renames its key, or takes it out; says what it did. */
function change(config: PlatformConfig, { keys, value }: Place, random: Random): string {
  const last = keys.at(-1) ?? "";
  const parent = keys.slice(0, -1).reduce<any>((inside, key) => inside[key], config);
  const put = (next: unknown): string => {
    parent[last] = next;
    return JSON.stringify(next);
  };
  if (typeof value === "number") return put(pick(NUMBERS, random));
  if (typeof value === "string") return put(pick(TEXTS, random));
  if (typeof value === "boolean") return put(!value);
  if (Array.isArray(value)) return put(pick([[], [...value, ...value], [...value, pick(TEXTS, random)]], random));
  Reflect.deleteProperty(parent, last);
  if (random(4) === 0) return "taken out";
  const name = pick(TEXTS, random);
  parent[name] = value;
  return `is called ${JSON.stringify(name)}`;
}

function pick<T>(values: readonly T[], random: Random): T {
  const value = values[random(values.length)];
  assert.ok(value !== undefined, "there is nothing to choose from");
  return value;
}
