import * as pulumi from "@pulumi/pulumi";
import { readStackFile } from "../../rehearsal/program/evaluate";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { pulumiCli } from "../pulumi";

/** The config that a cluster is compared with. */
export interface Basis {
  readonly config: PlatformConfig;
  /** Where it comes from, in words. */
  readonly from: string;
  /** The keys whose values in the stack file were not deployed. */
  readonly notDeployed: readonly string[];
}

/** The config in the stack file. `why` says why that and no other. */
export function ofStackFile(stack: string, why: string): Basis {
  const config = parseConfig(readStackFile(stack)["carbon:platform"], `Pulumi.${stack}.yaml`);
  return { config, from: `Pulumi.${stack}.yaml, ${why}`, notDeployed: [] };
}

// A backend that does not answer must not keep the cluster waiting.
const BACKEND_SECONDS = 30;

/**
 * The config of the last `up` or `destroy`, by the stack's history, which takes no passphrase: an edit of the stack file that was not
 * deployed is no fault of the cluster. Without a login at the backend it is the stack file.
 */
export async function deployedConfig(stack: string): Promise<Basis> {
  const signal = AbortSignal.timeout(BACKEND_SECONDS * 1000);
  const { ok, stdout, stderr } = await pulumiCli(["stack", "history", "--json", "--stack", stack], { signal });
  if (!ok) {
    const why = signal.aborted
      ? `no answer within ${BACKEND_SECONDS} s`
      : (stderr.trim().split("\n")[0] ?? "no answer");
    return ofStackFile(stack, `since the history of ${stack} cannot be read (${why})`);
  }
  return basisOf(stack, JSON.parse(stdout) as Update[], readStackFile(stack)["carbon:platform"]);
}

/** An entry of `pulumi stack history --json`. */
export interface Update {
  readonly kind: string;
  readonly endTime?: string;
  readonly config: Readonly<Record<string, { readonly objectValue?: unknown }>>;
}

/** What was deployed according to a history, newest first; `values` are those of the stack file. */
export function basisOf(stack: string, history: readonly Update[], values: unknown): Basis {
  const last = history.find(({ kind }) => kind === "update" || kind === "destroy");
  if (last?.kind !== "update") return ofStackFile(stack, "since nothing is deployed");
  const deployed = last.config["carbon:platform"]?.objectValue;
  const at = last.endTime ?? "just now";
  const config = understood(deployed, at);
  if (config === undefined)
    return ofStackFile(stack, `since the last up (${at}) was of another version of the program`);
  return {
    config,
    from: `the last up of ${stack} (${at})`,
    // Where charts are read from differs between machines, and says nothing about the cluster.
    notDeployed: differences(deployed, values).filter((key) => !key.startsWith("charts.")),
  };
}

function understood(values: unknown, at: string): PlatformConfig | undefined {
  try {
    return parseConfig(values, `the config deployed at ${at}`);
  } catch (error) {
    if (pulumi.RunError.isInstance(error)) return undefined;
    throw error;
  }
}

/** The keys whose values differ, down to the innermost. */
function differences(one: unknown, other: unknown, at: readonly string[] = []): string[] {
  if (!isObject(one) || !isObject(other)) {
    return JSON.stringify(one) === JSON.stringify(other) ? [] : [at.join(".")];
  }
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...keys].flatMap((key) => differences(one[key], other[key], [...at, key]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
