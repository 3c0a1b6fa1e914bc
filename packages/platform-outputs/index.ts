import * as fs from "node:fs";
import * as path from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import { CONTRACT, DOCUMENT, OUTPUTS, PlatformOutputs } from "../../stacks/contract/outputs";

export type { PlatformOutputs } from "../../stacks/contract/outputs";
export type { CaReference } from "../../stacks/contract/shapes";

/** A system that a stack may deploy, by its key in the outputs. */
export type System = keyof typeof OUTPUTS;

/** The outputs of a stack that deploys these systems. */
export type Platform<Used extends System = never> = PlatformOutputs & {
  readonly [Name in Used]-?: NonNullable<PlatformOutputs[Name]>;
};

/** The outputs of a stack for a Pulumi program; fails if the stack does not deploy all systems that are used. */
export function platform<Used extends System = never>(
  stack: pulumi.StackReference,
  uses: readonly Used[] = [],
): pulumi.Output<Platform<Used>> {
  return stack.name.apply((name) => stack.outputs.apply((outputs) => parsePlatform(outputs, name, uses)));
}

/** A tenant of a stack, which was granted these things: what its pods run in, and the Secret of each grant. */
export interface Tenant<Grant extends string> {
  readonly namespace: string;
  readonly secrets: Readonly<Record<Grant, { readonly namespace: string; readonly name: string }>>;
}

/** A tenant's namespace and Secrets for a Pulumi program; fails if the stack has no such tenant, or the tenant not all that is used. */
export function tenant<Grant extends string>(
  stack: pulumi.StackReference,
  name: string,
  uses: readonly Grant[],
): pulumi.Output<Tenant<Grant>> {
  return stack.name.apply((source) => stack.outputs.apply((outputs) => parseTenant(outputs, source, name, uses)));
}

/** A tenant in a document, or in the ConfigMap that holds it; `source` names it in errors. */
export function parseTenant<Grant extends string>(
  document: unknown,
  source: string,
  name: string,
  uses: readonly Grant[],
): Tenant<Grant> {
  const found = parsePlatform(document, source).tenants?.[name];
  const at = `${source}: tenants.${name}`;
  if (found === undefined) {
    throw new Error(`${at}: is absent; add it to the stack file of the platform (contract ${CONTRACT})`);
  }
  const faults = uses
    .filter((grant) => found.secrets[grant] === undefined)
    .map((grant) => `${at}.secrets.${grant}: is absent; it was not granted (contract ${CONTRACT})`);
  if (faults.length > 0) throw new Error(faults.join("\n"));
  return found as Tenant<Grant>;
}

/** The outputs in a file, in a directory where the ConfigMap is mounted, or in what `kubectl get --output json` says of it. */
export function readPlatform<Used extends System = never>(place: string, uses: readonly Used[] = []): Platform<Used> {
  const file = fs.statSync(place).isDirectory() ? path.join(place, DOCUMENT) : place;
  return parsePlatform(parseJson(fs.readFileSync(file, "utf8"), file), file, uses);
}

/** The outputs in a document or in the ConfigMap that holds it; `source` names it in errors. */
export function parsePlatform<Used extends System = never>(
  document: unknown,
  source: string,
  uses: readonly Used[] = [],
): Platform<Used> {
  const outputs = isConfigMap(document) ? parseJson(document.data[DOCUMENT] ?? "{}", source) : document;
  const { contract } = (outputs ?? {}) as { readonly contract?: unknown };
  if (contract !== CONTRACT) throw new Error(`${source}: contract: ${anotherContract(contract)}`);
  const parsed = PlatformOutputs.safeParse(outputs);
  const faults = parsed.success
    ? uses.flatMap((system) => (parsed.data[system] ? [] : [`${system}: is absent; the stack does not deploy it`]))
    : parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  if (!parsed.success || faults.length > 0) {
    throw new Error(faults.map((fault) => `${source}: ${fault} (contract ${CONTRACT})`).join("\n"));
  }
  return parsed.data as Platform<Used>;
}

function anotherContract(contract: unknown): string {
  if (typeof contract !== "number") return "is absent: these are no outputs of a 254Carbon stack, or it never came up";
  const next =
    contract > CONTRACT
      ? `install major version ${contract} of the package`
      : `bring the stack up with a release of contract ${CONTRACT}`;
  return `is ${contract}, and this package reads ${CONTRACT}; ${next}`;
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${source}: is no JSON: ${(error as Error).message}`, { cause: error });
  }
}

function isConfigMap(document: unknown): document is { readonly data: Readonly<Record<string, string>> } {
  return typeof document === "object" && document !== null && "kind" in document && document.kind === "ConfigMap";
}
