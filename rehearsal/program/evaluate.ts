import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse, stringify } from "yaml";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { platform } from "../../stacks/platform";
import { wantedCredentials } from "../../stacks/config/secrets";
import { SECRET_KEYS } from "../../stacks/config/systems";
import { sparePromiseStacks } from "./promise-stacks";

/** One registration of a program, as the engine would receive it. */
export interface Registration {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  /** False for components. */
  readonly custom: boolean;
  /** True for resources that the program only reads. */
  readonly read: boolean;
  /** Names of its parent components, outermost first. */
  readonly path: readonly string[];
}

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
  const { config = {} } = parse(fs.readFileSync(file, "utf8")) as { config?: Record<string, unknown> };
  return config;
}

/** The values of a stack file with overrides, such as `3` for `ray.workers.max`; `null` removes a value. */
export function overridden(values: unknown, overrides: Readonly<Record<string, string>>): unknown {
  const copy = parse(stringify(values)) as Record<string, unknown>;
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
  sparePromiseStacks();
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, id }) => ({
        id: id === undefined || id === "" ? `${name}-id` : id,
        state: { ...(inputs as object), ...computed(type, name) },
      }),
      call: ({ token }) => {
        throw new Error(`the program calls ${token}, which the mocks do not know`);
      },
    },
    "carbon",
    stack,
    false,
  );
  pulumi.runtime.setAllConfig(
    Object.fromEntries(Object.entries(credentials).map(([key, value]) => [`carbon:${key}`, value])),
  );
  const registrations = recordRegistrations();
  const outputs = await valueOf(platform(config));
  await pulumi.runtime.disconnect();
  return { registrations, outputs };
}

// The fields of engine requests that are read here; mocks do not receive the parent.
interface Request {
  getType(): string;
  getName(): string;
  getParent(): string;
  getCustom?(): boolean;
  getObject?(): { toJavaScript(): Record<string, unknown> } | undefined;
}
type Answer = (error: unknown, response?: { getUrn(): string }) => void;
type Handler = (request: Request, answer: Answer) => Promise<void>;

/** Fills the returned list while the program runs. */
function recordRegistrations(): Registration[] {
  const registrations: Registration[] = [];
  const paths = new Map<string, readonly string[]>();
  const monitor = pulumi.runtime.getMonitor() as unknown as Record<"registerResource" | "readResource", Handler>;
  for (const method of ["registerResource", "readResource"] as const) {
    const original = monitor[method].bind(monitor);
    monitor[method] = (request, answer) =>
      original(request, (error, response) => {
        if (response !== undefined) {
          const path = paths.get(request.getParent()) ?? [];
          const [type, name] = [request.getType(), request.getName()];
          paths.set(response.getUrn(), [...path, name]);
          registrations.push({
            type,
            name,
            path,
            inputs: request.getObject?.()?.toJavaScript() ?? {},
            custom: request.getCustom?.() ?? true,
            read: method === "readResource",
          });
        }
        answer(error, response);
      });
  }
  return registrations;
}

/** The value of an Output; rejects if the program failed before. */
function valueOf(value: pulumi.Input<unknown>): Promise<unknown> {
  return (pulumi.output(value) as unknown as { promise(): Promise<unknown> }).promise();
}

/** A stand-in for a credential: valid for every form in SECRET_KEYS, and easy to find where it must not be. */
export function canary(key: string): string {
  return `canary-${key}`;
}

function canaries(stack: string, required: readonly string[]): Record<string, string> {
  const set = Object.keys(SECRET_KEYS).filter(
    (key) => required.includes(key) || `carbon:${key}` in readStackFile(stack),
  );
  return Object.fromEntries(set.map((key) => [key, canary(key)]));
}

/** The outputs that the engine, a plugin or the cluster would add to a resource's inputs. */
export function computed(type: string, name: string): object {
  return COMPUTED[type]?.(name) ?? {};
}

const COMPUTED: Readonly<Record<string, (name: string) => object>> = {
  "kubernetes:core/v1:Namespace": (name) => ({ metadata: { name, uid: "00000000-0000-0000-0000-000000000000" } }),
  "kubernetes:storage.k8s.io/v1:StorageClass": () => ({ reclaimPolicy: "Retain" }),
  "pulumi:index:Stash": () => ({ output: "00000000-0000-0000-0000-000000000000" }),
  "random:index/randomPassword:RandomPassword": (name) => ({ result: `generated-${name}` }),
};
