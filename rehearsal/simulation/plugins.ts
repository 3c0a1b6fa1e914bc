import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { version as kubernetesSdk } from "@pulumi/kubernetes/package.json";
import * as pulumi from "@pulumi/pulumi";
import { version as randomSdk } from "@pulumi/random/package.json";
import { download } from "./toolchain/download";
import { pluginRelease } from "./toolchain/releases";
import type { Toolchain } from "./toolchain";

/** Where the plugins of a rehearsal come from, as its report says it. */
export interface Plugins {
  /** Directory of all plugins, in the engine's layout. */
  readonly directory: string;
  /** Always the official one. */
  readonly kubernetes: string;
  /** The official one, or our stand-in. */
  readonly random: string;
}

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
  const kubernetes = await installKubernetes(toolchain, home);
  const random = await installRandom(home, progress);
  progress(`plugins: kubernetes ${kubernetes}; random ${random}`);
  return { directory: path.join(home, "plugins"), kubernetes, random };
}

async function installKubernetes({ kubernetesPlugin }: Toolchain, home: string): Promise<string> {
  const given = process.env["KUBERNETES_PLUGIN"];
  const { binary, version, isBuilt } = kubernetesPlugin;
  await link(home, "kubernetes", kubernetesSdk, given ?? binary);
  if (given) return "official, from KUBERNETES_PLUGIN";
  return isBuilt
    ? `official ${version}, built from its Go module: older than the SDK ${kubernetesSdk}`
    : `official ${version}, downloaded`;
}

async function installRandom(home: string, progress: (line: string) => void): Promise<string> {
  const given = process.env["RANDOM_PLUGIN"];
  if (given) {
    await link(home, "random", randomSdk, given);
    return "official, from RANDOM_PLUGIN";
  }
  const downloads = path.join(home, `random-v${randomSdk}`);
  const binary = path.join(downloads, "random-plugin");
  const refusal = path.join(downloads, "not-downloaded");
  if (!(await isThere(binary)) && !(await isRecent(refusal))) {
    await fs.mkdir(downloads, { recursive: true });
    const release = pluginRelease("random", `v${randomSdk}`);
    const refusals = await download([release], [path.basename(binary)], downloads, progress);
    if (refusals.length > 0) await fs.writeFile(refusal, refusals.join("\n"));
  }
  if (await isThere(binary)) {
    await link(home, "random", randomSdk, binary);
    return `official v${randomSdk}, downloaded`;
  }
  await writeStandIn(home);
  return "a stand-in, because the official one could not be downloaded";
}

async function link(home: string, name: "kubernetes" | "random", version: string, binary: string): Promise<void> {
  const target = path.resolve(binary);
  await fs.access(target, fs.constants.X_OK).catch(() => {
    const variable = `${name.toUpperCase()}_PLUGIN`;
    throw new pulumi.RunError(
      `${target} is no executable file; set ${variable} to the official plugin's binary, or unset it`,
    );
  });
  await replace(pathOf(home, name, version), (file) => fs.symlink(target, file));
}

async function writeStandIn(home: string): Promise<void> {
  const script = `#!/bin/sh\nexec '${process.execPath}' '${path.join(__dirname, "random-plugin.cjs")}' "$@"\n`;
  await replace(pathOf(home, "random", randomSdk), (file) => fs.writeFile(file, script, { mode: 0o755 }));
}

function pathOf(home: string, name: string, version: string): string {
  return path.join(home, "plugins", `resource-${name}-v${version}`, `pulumi-resource-${name}`);
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
