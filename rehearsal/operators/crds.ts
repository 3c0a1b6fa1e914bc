import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parseAllDocuments, stringify } from "yaml";
import type { CustomResource, Manifest } from "./operator";

/** A CustomResourceDefinition. */
export type Definition = CustomResource<{
  readonly group: string;
  readonly names: { readonly kind: string };
  readonly versions: readonly {
    readonly name: string;
    readonly served: boolean;
    readonly storage: boolean;
    readonly subresources?: object;
    readonly schema: { readonly openAPIV3Schema: unknown };
  }[];
}>;

/** The folder of an operator's CRDs, without their descriptions; `npm run charts:keys` writes them. */
export function crdFixtures(operator: string): string {
  return path.join(__dirname, operator, "crds");
}

/** The kind that a CRD defines, in the version that is stored: `<apiVersion>/<Kind>`. */
export function definedKind({ spec: { group, names, versions } }: Definition): string {
  return `${group}/${versions.find(({ storage }) => storage)?.name}/${names.kind}`;
}

/**
 * The CRDs of a directory with one folder for each operator: CARBON_CRDS, or those stored here, which also stand in for what the
 * directory lacks.
 */
export class CrdLibrary {
  private readonly files: readonly CrdFile[];

  private readonly directory = process.env["CARBON_CRDS"] ?? __dirname;

  constructor() {
    const { directory } = this;
    if (!fs.existsSync(directory)) {
      throw new pulumi.RunError(
        `CARBON_CRDS=${directory}: there is no such directory; name one with a folder of CRDs for each operator`,
      );
    }
    this.files = crdFiles(directory);
  }

  /** Every CRD of an operator, as YAML. Those stored here go as they are: to parse them takes longer than the program. */
  operator(name: string): string[] {
    const found = this.files
      .filter(({ operator, text }) => operator === name && text.includes("kind: CustomResourceDefinition\n"))
      .flatMap(({ text }) => (this.directory === __dirname ? text : definitions(text).map(toYaml)));
    if (found.length === 0) throw this.missing(`CRDs of ${name}`);
    return found;
  }

  /** One CRD, by the name `<plural>.<group>`. */
  one(name: string): Definition {
    const found = definitions(this.text(name)).find(({ metadata }) => metadata.name === name);
    if (found === undefined) throw this.missing(`CRD ${name}`);
    return found;
  }

  /** The file that defines it, as it is: KubeRay's take a second each to parse, and only a stack that runs it does that. */
  text(name: string): string {
    const defines = ({ text }: CrdFile) => text.includes(`name: ${name}\n`);
    const found = this.files.find(defines) ?? crdFiles(__dirname).find(defines);
    if (found === undefined) throw this.missing(`CRD ${name}`);
    return found.text;
  }

  private missing(what: string): Error {
    return new pulumi.RunError(`${this.directory}: ${what} not found; make them with \`npm run charts:keys\``);
  }
}

interface CrdFile {
  readonly operator: string;
  readonly text: string;
}

// Read once: each evaluation of a process wants the same ones.
const read = new Map<string, readonly CrdFile[]>();

function crdFiles(directory: string): readonly CrdFile[] {
  const files = read.get(directory) ?? readCrdFiles(directory);
  read.set(directory, files);
  return files;
}

function readCrdFiles(directory: string): CrdFile[] {
  return fs
    .readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => ({
      operator: file.split(path.sep)[0] ?? "",
      text: fs.readFileSync(path.join(directory, file), "utf8"),
    }));
}

/** The CRDs of a text of YAML documents. */
export function definitions(text: string): Definition[] {
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest | null);
  return objects
    .filter((object) => object?.kind === "CustomResourceDefinition")
    .map((definition) => withoutDescriptions(definition) as Definition);
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

/** An object as one YAML document, without anchors: people and Helm read it. */
export function toYaml(object: object): string {
  return stringify(object, { lineWidth: 0, aliasDuplicateObjects: false });
}
