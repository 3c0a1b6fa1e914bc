import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as path from "node:path";
import { json } from "node:stream/consumers";
import { isDeepStrictEqual } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { evaluateConfig, evaluateStack, type StackEvaluation } from "../../../rehearsal/program/charts";
import { ROOT, stackConfig } from "../../../rehearsal/program/evaluate";
import type { PlatformConfig } from "../../../stacks/config/schema";
import { SECRET_KEYS, type SecretForm } from "../../../stacks/config/systems";
import { objectsOf } from "./charts";
import type { Labels, Rendered } from "./rendered";
import type { FullConfig } from "../../support/full";

const EVALUATE = path.join(__dirname, "evaluate.ts");

/** What the program renders for a stack, with credentials that processes can log in with. */
export class Program {
  private constructor(
    /** The credentials of the stack, as somebody would have set them. */
    readonly credentials: Readonly<Record<string, string>>,
    readonly config: FullConfig,
    /** What the stack hands out to other teams. */
    readonly outputs: any,
    private readonly objects: readonly Rendered[],
  ) {}

  /** Runs the program; every credential has a fresh value. */
  static async render(stack: string): Promise<Program> {
    const credentials = Object.fromEntries(Object.entries(SECRET_KEYS).map(([key, { form }]) => [key, MADE[form]()]));
    return Program.of(await evaluateStack(stack, { credentials }), credentials);
  }

  private static of({ config, outputs, registrations }: StackEvaluation, credentials: Record<string, string>): Program {
    const objects = registrations
      .filter(({ type, read }) => type.startsWith("kubernetes:") && !read)
      .map(({ inputs }) => revealed(inputs) as Rendered)
      .flatMap((object) => [object, ...objectsOf(object)]);
    return new Program(credentials, config as FullConfig, outputs, objects);
  }

  /** Runs the program with other values in the stack's file, and the same credentials. */
  async with(stack: string, values: Partial<PlatformConfig>): Promise<Program> {
    const { credentials } = this;
    const config = { ...stackConfig(stack), ...values };
    return Program.of({ config, ...(await evaluateConfig(stack, config, { credentials })) }, { ...credentials });
  }

  /** Runs the program of another copy of the repository, with the same credentials. */
  async again(stack: string, repository: string): Promise<Program> {
    const script = path.join(repository, path.relative(ROOT, EVALUATE));
    const child = spawn(process.execPath, ["-r", "ts-node/register/transpile-only", script, stack], {
      cwd: repository,
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.end(JSON.stringify(this.credentials));
    return Program.of((await json(child.stdout)) as StackEvaluation, { ...this.credentials });
  }

  /** The same object, where the program renders it, too. */
  find({ kind, metadata }: Rendered): Rendered | undefined {
    return this.objects.find(
      (one) =>
        one.kind === kind && one.metadata.name === metadata.name && one.metadata.namespace === metadata.namespace,
    );
  }

  /** Every object of a kind. */
  all(kind: string): Rendered[] {
    return this.objects.filter((object) => object.kind === kind);
  }

  /** The one object of this name among the kinds. */
  object(name: string, ...kinds: string[]): Rendered {
    const found = this.objects.filter(({ kind, metadata }) => kinds.includes(kind) && metadata.name === name);
    const [one] = found;
    // Several namespaces may have the same.
    const content = (object: Rendered) => ({ ...object, metadata: undefined });
    if (one === undefined || found.some((other) => !isDeepStrictEqual(content(other), content(one)))) {
      throw new Error(`the program renders ${found.length} of ${kinds.join(" or ")} ${name}`);
    }
    return one;
  }

  /** What a Secret or a ConfigMap holds: that of a namespace, if several have one of this name. */
  data(kind: "Secret" | "ConfigMap", name: string, namespace?: string): Readonly<Record<string, string>> {
    const { data = {}, stringData = {} } =
      (namespace && this.find({ apiVersion: "v1", kind, metadata: { name, namespace } })) || this.object(name, kind);
    if (kind === "ConfigMap") return data;
    const decoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(String(value), "base64").toString()]);
    return { ...Object.fromEntries(decoded), ...stringData };
  }

  /** What a ConfigMap holds as bytes. */
  binaries(name: string): Readonly<Record<string, Buffer>> {
    const { binaryData = {} } = this.object(name, "ConfigMap");
    return Object.fromEntries(
      Object.entries(binaryData).map(([key, value]) => [key, Buffer.from(String(value), "base64")]),
    );
  }
}

/** Whether a selector's `matchLabels` find these labels. */
export function selects(selector: Labels, labels: Labels = {}): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

const MADE: Record<SecretForm, () => string> = {
  user,
  password,
  token: password,
  key,
  logins: () => `{"auths":{"${user()}":{}}}`,
};

function key(): string {
  return randomBytes(16).toString("hex");
}

function user(): string {
  return `user-${randomBytes(6).toString("hex")}`;
}

// Besides what URLs, shells and YAML read as their own: each is allowed where somebody sets the password.
function password(): string {
  return `${randomBytes(16).toString("hex")}@:/?#%&$'"`;
}

/** Inputs with what was marked secret as plain values. */
function revealed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revealed);
  if (typeof value !== "object" || value === null) return value;
  const entries = value as Record<string, unknown>;
  if (entries[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) return revealed(entries["value"]);
  return Object.fromEntries(Object.entries(entries).map(([key, inner]) => [key, revealed(inner)]));
}
