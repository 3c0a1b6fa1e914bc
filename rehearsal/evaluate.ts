import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { parseConfig, type PlatformConfig } from "../stacks/config";
import { platform } from "../stacks/platform";

/** One registration of a program, as the engine would receive it. */
export interface Registration {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  /** False for components. */
  readonly custom: boolean;
}

/** What a stack's program registers and hands out, without an engine or a cluster. */
export interface Evaluation {
  readonly registrations: readonly Registration[];
  readonly outputs: unknown;
}

/** The repository: stack files and the project file lie here. */
export const ROOT = path.resolve(__dirname, "..");

/** Reads the plain values of a stack from its file. Throws a RunError that lists the stacks there are. */
export function readStackFile(stack: string): Record<string, unknown> {
  const file = path.join(ROOT, `Pulumi.${stack}.yaml`);
  if (!fs.existsSync(file)) {
    const stacks = fs.readdirSync(ROOT).flatMap((name) => /^Pulumi\.(.+)\.yaml$/.exec(name)?.[1] ?? []);
    throw new pulumi.RunError(`--stack ${stack}: there is no Pulumi.${stack}.yaml; stacks are ${stacks.join(", ")}`);
  }
  const { config = {} } = parse(fs.readFileSync(file, "utf8")) as { config?: Record<string, unknown> };
  return config;
}

/** Parses the platform config of a stack, with its charts taken from `chartDirectory`. */
export function stackConfig(stack: string, chartDirectory: string): PlatformConfig {
  const config = parseConfig(readStackFile(stack)["carbon:platform"], `Pulumi.${stack}.yaml`);
  return { ...config, charts: { directory: chartDirectory } };
}

/** Runs the program under Pulumi's mocks: every object it would make, with fixed stand-ins for what only a cluster knows. */
export async function evaluate(stack: string, config: PlatformConfig): Promise<Evaluation> {
  const registrations: Registration[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource: ({ type, name, inputs, custom = false, id }) => {
        registrations.push({ type, name, inputs: inputs as Record<string, unknown>, custom });
        return { id: id || `${name}-id`, state: { ...(inputs as object), ...COMPUTED[type]?.(name) } };
      },
      call: ({ token }) => {
        throw new Error(`the program calls ${token}, which the mocks do not know`);
      },
    },
    "carbon",
    stack,
    false,
  );
  const outputs = await outputOf(platform(config));
  await pulumi.runtime.disconnect();
  return { registrations, outputs };
}

// What the engine, a plugin or the cluster would add to a resource's inputs.
const COMPUTED: Readonly<Record<string, (name: string) => object>> = {
  "kubernetes:core/v1:Namespace": (name) => ({ metadata: { name, uid: "00000000-0000-0000-0000-000000000000" } }),
  "kubernetes:storage.k8s.io/v1:StorageClass": () => ({ reclaimPolicy: "Retain" }),
  "pulumi:index:Stash": () => ({ output: "00000000-0000-0000-0000-000000000000" }),
  "random:index/randomPassword:RandomPassword": (name) => ({ result: `generated-${name}` }),
};

function outputOf<T>(value: pulumi.Input<T>): Promise<unknown> {
  return new Promise((resolve) => pulumi.output(value).apply(resolve));
}
