import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { platform } from "../../stacks/platform";
import { wantedCredentials } from "../../stacks/config/secrets";
import { SECRET_KEYS, type SecretName } from "../../stacks/config/systems";
import { type Registration, startMockEngine } from "./mock-engine";

export type { Registration };

/** The registrations and outputs of a stack's program, without an engine or a cluster. */
export interface Evaluation {
  readonly registrations: readonly Registration[];
  readonly outputs: unknown;
}

/** The repository: stack files and the project file lie here. */
export const ROOT = path.resolve(__dirname, "../..");

/** Every stack: each is a file `Pulumi.<stack>.yaml`. */
export const STACKS: readonly string[] = fs
  .readdirSync(ROOT)
  .flatMap((name) => /^Pulumi\.(.+)\.yaml$/.exec(name)?.[1] ?? [])
  .sort();

/** Reads the plain values of a stack from its file. Throws a RunError that lists the existing stacks. */
export function readStackFile(stack: string): Record<string, unknown> {
  const file = path.join(ROOT, `Pulumi.${stack}.yaml`);
  if (!STACKS.includes(stack)) {
    throw new pulumi.RunError(`--stack ${stack}: there is no Pulumi.${stack}.yaml; stacks are ${STACKS.join(", ")}`);
  }
  const text = fs.readFileSync(file, "utf8");
  const config = parsed.get(text) ?? (parse(text) as { config?: Record<string, unknown> }).config ?? {};
  parsed.set(text, config);
  return structuredClone(config);
}

// By the text: every command asks several times, and parsing takes longer than what it is asked for.
const parsed = new Map<string, Record<string, unknown>>();

/** The values of a stack file with overrides, such as `3` for `ray.workers.max`; `null` removes a value. */
export function overridden(values: unknown, overrides: Readonly<Record<string, string>>): unknown {
  const copy = structuredClone(values) as Record<string, unknown>;
  for (const [keyPath, text] of Object.entries(overrides)) {
    const keys = keyPath.split(".");
    const last = keys.pop() ?? keyPath;
    let parent = copy;
    for (const key of keys) {
      const child = parent[key];
      if (typeof child !== "object" || child === null) parent[key] = {};
      parent = parent[key] as Record<string, unknown>;
    }
    const value = parse(text) as unknown;
    if (value === null) Reflect.deleteProperty(parent, last);
    else parent[last] = value;
  }
  return copy;
}

/** Parses the platform config of a stack; `chartDirectory` stands in for its own. */
export function stackConfig(stack: string, chartDirectory?: string): PlatformConfig {
  const config = parseConfig(readStackFile(stack)["carbon:platform"], `Pulumi.${stack}.yaml`);
  return chartDirectory === undefined ? config : { ...config, charts: { directory: chartDirectory } };
}

/**
 * Runs the program under Pulumi's mocks, with fixed stand-ins for values that only a cluster knows. Credentials that the stack
 * file sets or must set get a canary, or the value in `credentials`; their real values are never read.
 */
export async function evaluate(
  stack: string,
  config: PlatformConfig,
  credentials = canaries(stack, wantedCredentials(config)),
): Promise<Evaluation> {
  const registrations: Registration[] = [];
  await startMockEngine({
    stack,
    config: Object.fromEntries(Object.entries(credentials).map(([key, value]) => [`carbon:${key}`, value])),
    onRegistration: (registration) => registrations.push(registration),
  });
  const outputs = await valueOf(platform(config));
  await pulumi.runtime.disconnect();
  return { registrations, outputs };
}

/** The value behind an Output; rejects when the program failed on the way to it. */
function valueOf(value: pulumi.Input<unknown>): Promise<unknown> {
  return (pulumi.output(value) as unknown as { promise(): Promise<unknown> }).promise();
}

/** A stand-in for a credential: valid for every form in SECRET_KEYS, and easy to find where it must not be. */
export function canary(key: string): string {
  const value = `canary-${key}`;
  return SECRET_KEYS[key as SecretName].form === "logins" ? JSON.stringify({ auths: { [value]: {} } }) : value;
}

function canaries(stack: string, required: readonly string[]): Record<string, string> {
  const values = readStackFile(stack);
  const set = Object.keys(SECRET_KEYS).filter((key) => required.includes(key) || `carbon:${key}` in values);
  return Object.fromEntries(set.map((key) => [key, canary(key)]));
}
