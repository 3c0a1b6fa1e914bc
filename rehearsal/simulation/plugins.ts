import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { promisify } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { type Toolchain, versions } from "./toolchain";

/** Where the plugins of a rehearsal come from, as its report says it. */
export interface Plugins {
  /** Directory of all plugins, in the engine's layout. */
  readonly directory: string;
  /** Always the official one. */
  readonly kubernetes: string;
  /** The official one, or our stand-in. */
  readonly random: string;
}

const DOWNLOAD_SECONDS = 20;
const RETRY_AFTER_HOURS = 24;

/**
 * Puts the plugins of `kubernetes` and `random` into `home`, where the engine looks for them. KUBERNETES_PLUGIN and
 * RANDOM_PLUGIN name binaries to take instead. Safe to run several times and at the same time.
 */
export async function installPlugins(
  toolchain: Toolchain,
  home: string,
  progress: (line: string) => void,
): Promise<Plugins> {
  const [kubernetes, random] = await Promise.all([
    installKubernetes(toolchain, home),
    installRandom(toolchain, home, progress),
  ]);
  progress(`plugins: kubernetes ${kubernetes}; random ${random}`);
  return { directory: path.join(home, "plugins"), kubernetes, random };
}

async function installKubernetes({ bin }: Toolchain, home: string): Promise<string> {
  const sdk = await sdkVersion("kubernetes");
  const given = process.env["KUBERNETES_PLUGIN"];
  await link(home, "kubernetes", given ?? path.join(bin, "pulumi-resource-kubernetes"));
  if (given) return "official, from KUBERNETES_PLUGIN";
  return `official, built from its Go module at ${versions.kubernetesPlugin} (older than the SDK ${sdk})`;
}

async function installRandom(
  { pulumi: cli }: Toolchain,
  home: string,
  progress: (line: string) => void,
): Promise<string> {
  const given = process.env["RANDOM_PLUGIN"];
  if (given) {
    await link(home, "random", given);
    return "official, from RANDOM_PLUGIN";
  }
  const version = await sdkVersion("random");
  const official = path.join(home, "official", "plugins", path.basename(path.dirname(pathOf(home, "random", version))));
  const binary = path.join(official, "pulumi-resource-random");
  const failed = path.join(home, `random-${version}-not-downloaded`);
  if (!(await isThere(binary)) && !(await isRecent(failed))) {
    progress(`random plugin ${version}: downloading (at most ${DOWNLOAD_SECONDS} s)`);
    const env = { ...process.env, PULUMI_HOME: path.join(home, "official"), PULUMI_SKIP_UPDATE_CHECK: "true" };
    const args = ["plugin", "install", "resource", "random", version, "--non-interactive"];
    await promisify(execFile)(cli, args, { timeout: DOWNLOAD_SECONDS * 1000, killSignal: "SIGKILL", env }).catch(
      (error: unknown) => fs.writeFile(failed, String(error)),
    );
  }
  if (await isThere(binary)) {
    await link(home, "random", binary);
    return "official, downloaded";
  }
  await writeStandIn(home);
  return "stand-in, because the official one could not be downloaded";
}

function pathOf(home: string, name: string, version: string): string {
  return path.join(home, "plugins", `resource-${name}-v${version}`, `pulumi-resource-${name}`);
}

async function sdkVersion(name: string): Promise<string> {
  const manifest = await fs.readFile(require.resolve(`@pulumi/${name}/package.json`), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

async function link(home: string, name: "kubernetes" | "random", binary: string): Promise<void> {
  const target = path.resolve(binary);
  await fs.access(target, fs.constants.X_OK).catch(() => {
    const variable = `${name.toUpperCase()}_PLUGIN`;
    throw new pulumi.RunError(
      `${target} is no executable file; set ${variable} to the official plugin's binary, or unset it`,
    );
  });
  await replace(pathOf(home, name, await sdkVersion(name)), (file) => fs.symlink(target, file));
}

async function writeStandIn(home: string): Promise<void> {
  const script = `#!/bin/sh\nexec '${process.execPath}' '${path.join(__dirname, "random-plugin.cjs")}' "$@"\n`;
  const file = pathOf(home, "random", await sdkVersion("random"));
  await replace(file, (draft) => fs.writeFile(draft, script, { mode: 0o755 }));
}

/** Writes beside the file and renames: whoever starts the plugin at the same time sees the old one or the new one. */
async function replace(file: string, write: (draft: string) => Promise<void>): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  await fs.mkdir(path.dirname(file), { recursive: true });
  await write(draft);
  await fs.rename(draft, file);
}

async function isThere(file: string): Promise<boolean> {
  return (await fs.stat(file).catch(() => undefined)) !== undefined;
}

async function isRecent(file: string): Promise<boolean> {
  const stat = await fs.stat(file).catch(() => undefined);
  return stat !== undefined && Date.now() - stat.mtimeMs < RETRY_AFTER_HOURS * 3_600_000;
}
