import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import * as automation from "@pulumi/pulumi/automation";
import { startCluster } from "../../rehearsal/simulation/cluster";
import { installPlugins } from "../../rehearsal/simulation/plugins";
import { ensureToolchain, type Toolchain } from "../../rehearsal/simulation/toolchain";

/** What every program of the suite gets. */
export interface Scene {
  /** Namespace of this test alone; it is there already. */
  readonly namespace: string;
  /** Options with the provider under test. */
  readonly opts: pulumi.CustomResourceOptions & { readonly provider: k8s.Provider };
}

/** A Pulumi program of the suite. */
export type Program = (scene: Scene) => pulumi.Inputs | undefined;

/** How many resources an operation created, updated, replaced, deleted and left alone. */
export type Changes = Readonly<Record<string, number>>;

/** Objects as kubectl prints them. */

export type Live = any;

/** One cluster, one Pulumi home with the plugins under test, and any number of stacks. */
export interface World {
  /** Where a test may leave files. */
  readonly directory: string;
  /** A stack, and a namespace of the same name. */
  stack(name: string): Promise<TestStack>;
  /** Runs kubectl; what it prints, as JSON where it is some. */
  kubectl(...args: readonly string[]): Promise<Live>;
  /** Applies an object by kubectl, as somebody else than Pulumi. */
  apply(object: object, ...args: readonly string[]): Promise<void>;
  helm(...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** A stack whose program may change between operations. */
export interface TestStack {
  readonly namespace: string;
  up(program: Program, options?: { readonly signal?: AbortSignal }): Promise<Changes>;
  preview(program: Program): Promise<Changes>;
  /** The error of an `up` that has to fail, with everything that was printed. */
  failure(program: Program): Promise<string>;
  previewFailure(program: Program): Promise<string>;
  /** Looks for drift without taking it into the state. */
  drift(program: Program): Promise<Changes>;
  refresh(program: Program): Promise<Changes>;
  destroy(program?: Program): Promise<void>;
  outputs(): Promise<Readonly<Record<string, Live>>>;
  /** The state as it lies on the disk. */
  stateText(): Promise<string>;
  /** A resource of the state, by its Pulumi name. */
  state(name: string): Promise<Live>;
}

const run = promisify(execFile);

/** Starts a cluster and installs the plugins under test. */
export async function startWorld(): Promise<World> {
  const directory = await mkdtemp(path.join(os.tmpdir(), "carbon-plugin-"));
  const toolchain = await ensureToolchain(() => undefined);
  const { bin, pulumi } = toolchain;
  const cluster = await startTestCluster(toolchain, path.join(directory, "cluster"));
  const { kubeconfig } = cluster;
  const home = path.join(directory, "home");
  const state = path.join(directory, "state");
  await mkdir(state, { recursive: true });
  await installPlugins(toolchain, home, () => undefined);
  const env: Record<string, string> = {
    PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}`,
    PULUMI_HOME: home,
    PULUMI_BACKEND_URL: `file://${state}`,
    PULUMI_CONFIG_PASSPHRASE: "plugin-test",
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK: "true",
    KUBECONFIG: kubeconfig,
  };
  const command = await automation.PulumiCommand.get({
    root: await cliRoot(directory, pulumi),
    skipVersionCheck: true,
  });
  const tool = async (name: string, args: readonly string[]): Promise<string> => {
    const { stdout } = await run(path.join(bin, name), args, { env: { ...process.env, ...env }, maxBuffer: 2 ** 26 });
    return stdout;
  };
  const kubectl = async (...args: readonly string[]): Promise<Live> => {
    const stdout = await tool("kubectl", args);
    return stdout.startsWith("{") ? JSON.parse(stdout) : stdout.trim();
  };
  return {
    directory,
    kubectl,
    apply: async (object, ...args) => {
      const file = path.join(directory, `object-${Math.random().toString(36).slice(2)}.json`);
      await writeFile(file, JSON.stringify(object));
      await kubectl("apply", "--server-side", "-f", file, ...args);
    },
    helm: (...args) => tool("helm", args),
    stack: async (name) => {
      await kubectl("create", "namespace", name);
      const stack = await automation.LocalWorkspace.createStack(
        { stackName: name, projectName: "plugin-test", program: () => Promise.resolve() },
        {
          pulumiCommand: command,
          envVars: env,
          workDir: await workDirectory(directory, name),
        },
      );
      return testStack(stack, name, path.join(state, ".pulumi", "stacks", "plugin-test", `${name}.json`));
    },
    stop: async () => {
      await cluster.stop();
      await rm(directory, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

function startTestCluster(toolchain: Toolchain, directory: string): ReturnType<typeof startCluster> {
  const size = { cpu: 16, memoryGiB: 64, ephemeralStorageGiB: 200, pods: 110, reserved: { cpu: 0, memoryMiB: 0 } };
  const spec = {
    name: "plugin",
    context: "plugin",
    nodes: [{ name: "node", labels: {}, taints: [], ...size }],
    storageClasses: [],
  };
  return startCluster(toolchain, spec, directory, () => undefined);
}

/** The automation API looks for `bin/pulumi` below a root. */
async function cliRoot(directory: string, pulumi: string): Promise<string> {
  const root = path.join(directory, "cli");
  await mkdir(path.join(root, "bin"), { recursive: true });
  const script = `#!/bin/sh\nexec '${pulumi}' "$@"\n`;
  await writeFile(path.join(root, "bin", "pulumi"), script, { mode: 0o755 });
  return root;
}

async function workDirectory(directory: string, name: string): Promise<string> {
  const result = path.join(directory, "work", name);
  await mkdir(result, { recursive: true });
  return result;
}

function testStack(stack: automation.Stack, namespace: string, file: string): TestStack {
  const use = (program: Program): void => {
    stack.workspace.program = () => {
      const provider = new k8s.Provider("provider", {
        enableSecretMutable: true,
        enableConfigMapMutable: true,
      });
      return Promise.resolve(program({ namespace, opts: { provider } }) ?? {});
    };
  };
  const failed = async (operation: (onOutput: (text: string) => void) => Promise<unknown>): Promise<string> => {
    let printed = "";
    try {
      await operation((text) => {
        printed += text;
      });
    } catch (error) {
      return `${printed}\n${error instanceof Error ? error.message : String(error)}`;
    }
    throw new Error(`the operation was to fail, but it succeeded:\n${printed}`);
  };
  const up: TestStack["up"] = async (program, options) => {
    use(program);
    const { summary } = await stack.up({ color: "never", parallel: 16, ...options });
    return summary.resourceChanges ?? {};
  };
  return {
    namespace,
    up,
    preview: async (program) => {
      use(program);
      return (await stack.preview({ color: "never" })).changeSummary;
    },
    failure: (program) => {
      use(program);
      return failed((onOutput) => stack.up({ color: "never", onOutput, onError: onOutput }));
    },
    previewFailure: (program) => {
      use(program);
      return failed((onOutput) => stack.preview({ color: "never", onOutput, onError: onOutput }));
    },
    drift: async (program) => {
      use(program);
      return (await stack.previewRefresh({ color: "never" })).changeSummary;
    },
    refresh: async (program) => {
      use(program);
      return (await stack.refresh({ color: "never" })).summary.resourceChanges ?? {};
    },
    destroy: async () => {
      await stack.destroy({ color: "never" });
    },
    outputs: async () => {
      const outputs = await stack.outputs();
      return Object.fromEntries(Object.entries(outputs).map(([key, { value }]) => [key, value]));
    },
    stateText: () => readFile(file, "utf8"),
    state: async (name) => {
      const { deployment } = (await stack.exportStack()) as Live;
      return deployment.resources.find(({ urn }: { urn: string }) => urn.endsWith(`::${name}`));
    },
  };
}
