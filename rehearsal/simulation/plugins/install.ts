/**
 * Puts the plugins of `kubernetes` and `random` where the engine looks for them: the official ones where they can be
 * had, else the stand-ins of this folder.
 *
 * The caller decides on the Pulumi home. One that lasts between runs also keeps the official plugins and the memory of
 * a failed download (else each run waits up to 20 s for it). Several checkouts may share it, and the last one to
 * install wins: a stand-in is a script that names its checkout's node_modules, beside a compiled copy of this folder.
 */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { promisify } from "node:util";

/** Where a plugin comes from. */
export type PluginSource = "official" | "stand-in";

/** Inputs of {@link installPlugins}. */
export interface InstallOptions {
  /** Directory that the engine is given as PULUMI_HOME. */
  readonly pulumiHome: string;
  /** The helm binary that the stand-in installs charts with. */
  readonly helm: string;
  /** The pulumi binary, which downloads official plugins. */
  readonly pulumi: string;
  /** Is told what happens, one line at a time. */
  progress(line: string): void;
}

const DOWNLOAD_SECONDS = 20;
const RETRY_AFTER_HOURS = 24;
/** Second line of a stand-in's script: tells it from an official binary. */
const STAND_IN_MARK = "# carbon: stand-in plugin";

const CHECKOUT = path.resolve(__dirname, "../../..");

interface Plugin {
  readonly name: "kubernetes" | "random";
  readonly version: string;
  /** Directory that the engine looks into. */
  readonly directory: string;
  readonly binary: string;
}

/** Installs both plugins and says where each came from; safe to run several times and at the same time. */
export async function installPlugins(options: InstallOptions): Promise<Record<Plugin["name"], PluginSource>> {
  const [kubernetes, random] = await Promise.all([
    install(await plugin("kubernetes", options), options),
    install(await plugin("random", options), options),
  ]);
  return { kubernetes, random };
}

async function plugin(name: Plugin["name"], options: InstallOptions): Promise<Plugin> {
  const manifest = await fs.readFile(require.resolve(`@pulumi/${name}/package.json`), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  const directory = path.join(path.resolve(options.pulumiHome), "plugins", `resource-${name}-v${version}`);
  return { name, version, directory, binary: path.join(directory, `pulumi-resource-${name}`) };
}

async function install(plugin: Plugin, options: InstallOptions): Promise<PluginSource> {
  const label = `${plugin.name} plugin ${plugin.version}`;
  const variable = `${plugin.name.toUpperCase()}_PLUGIN`;
  const given = process.env[variable];
  if (given !== undefined && given !== "") {
    await link(plugin, path.resolve(given), variable);
    options.progress(`${label}: official, from ${variable}`);
    return "official";
  }
  if (await hasOfficial(plugin)) {
    options.progress(`${label}: official, already installed`);
    return "official";
  }
  const failure = await rememberedFailure(plugin, options);
  if (failure === undefined) {
    options.progress(`${label}: downloading the official one (at most ${DOWNLOAD_SECONDS} s)`);
    const error = await download(plugin, options);
    if (error === undefined) {
      options.progress(`${label}: official, downloaded`);
      return "official";
    }
    await rememberFailure(plugin, options, error);
  }
  await writeStandIn(plugin, options);
  options.progress(`${label}: stand-in, because the official one could not be downloaded`);
  return "stand-in";
}

async function link(plugin: Plugin, target: string, variable: string): Promise<void> {
  await fs.access(target, fs.constants.X_OK).catch(() => {
    throw new Error(`${variable}: ${target} is not an executable file; name the official plugin's binary, or unset it`);
  });
  const current = await fs.readlink(plugin.binary).catch(() => undefined);
  if (current === target) {
    return;
  }
  await fs.mkdir(plugin.directory, { recursive: true });
  const temporary = `${plugin.binary}.${suffix()}`;
  await fs.symlink(target, temporary);
  await fs.rename(temporary, plugin.binary);
}

/** A link counts only while its variable names it; what is no script of ours is the official binary. */
async function hasOfficial(plugin: Plugin): Promise<boolean> {
  const stat = await fs.lstat(plugin.binary).catch(() => undefined);
  return stat?.isFile() === true && stat.size > 0 && !(await head(plugin.binary)).includes(STAND_IN_MARK);
}

async function head(file: string): Promise<string> {
  const handle = await fs.open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(200), 0, 200, 0);
    return buffer.toString("latin1", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** Downloads into a home of its own, so that a half-written plugin is never seen; returns what went wrong. */
async function download(plugin: Plugin, options: InstallOptions): Promise<string | undefined> {
  const home = path.join(path.resolve(options.pulumiHome), `.download-${suffix()}`);
  try {
    await fs.mkdir(home, { recursive: true });
    await promisify(execFile)(
      options.pulumi,
      ["plugin", "install", "resource", plugin.name, plugin.version, "--non-interactive"],
      {
        timeout: DOWNLOAD_SECONDS * 1000,
        killSignal: "SIGKILL",
        env: { ...process.env, PULUMI_HOME: home, PULUMI_SKIP_UPDATE_CHECK: "true" },
      },
    );
    const fresh = path.join(home, "plugins", path.basename(plugin.directory));
    await fs.access(path.join(fresh, path.basename(plugin.binary)), fs.constants.X_OK);
    await fs.mkdir(path.dirname(plugin.directory), { recursive: true });
    // A stand-in may be in the way; two runs may be here at once, and the one that comes second keeps the first's.
    await fs.rename(plugin.directory, path.join(home, "replaced")).catch(ifMissing);
    await fs.rename(fresh, plugin.directory).catch(async (error: unknown) => {
      if (!(await hasOfficial(plugin))) {
        throw error;
      }
    });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await fs.rm(home, { recursive: true, force: true });
  }
}

function memory(plugin: Plugin, options: InstallOptions): string {
  return path.join(path.resolve(options.pulumiHome), `not-downloaded-${plugin.name}.json`);
}

async function rememberedFailure(plugin: Plugin, options: InstallOptions): Promise<string | undefined> {
  const text = await fs.readFile(memory(plugin, options), "utf8").catch(ifMissing);
  if (text === undefined) {
    return undefined;
  }
  const { version, at, error } = JSON.parse(text) as { version: string; at: string; error: string };
  const age = Date.now() - Date.parse(at);
  return version === plugin.version && age < RETRY_AFTER_HOURS * 3_600_000 ? error : undefined;
}

async function rememberFailure(plugin: Plugin, options: InstallOptions, error: string): Promise<void> {
  await fs.mkdir(options.pulumiHome, { recursive: true });
  const record = { version: plugin.version, at: new Date().toISOString(), error };
  await replaceFile(memory(plugin, options), `${JSON.stringify(record, undefined, 2)}\n`, 0o644);
}

async function writeStandIn(plugin: Plugin, options: InstallOptions): Promise<void> {
  const program = path.join(await compile(plugin.directory), `${plugin.name}.js`);
  const modules = path.join(CHECKOUT, "node_modules");
  const script = [
    "#!/bin/sh",
    STAND_IN_MARK,
    `for file in ${quote(program)} ${quote(modules)} ${quote(process.execPath)}; do`,
    `  [ -e "$file" ] || { echo "$file is gone, which this stand-in runs; rehearse again to renew it" >&2; exit 1; }`,
    "done",
    `helm=${quote(options.helm)}`,
    `export NODE_PATH=${quote(modules)} CARBON_HELM="\${CARBON_HELM:-$helm}"`,
    `exec ${quote(process.execPath)} ${quote(program)} "$@"`,
    "",
  ].join("\n");
  const stat = await fs.lstat(plugin.binary).catch(ifMissing);
  const current = stat?.isFile() === true ? await fs.readFile(plugin.binary, "utf8") : undefined;
  if (current !== script) {
    await replaceFile(plugin.binary, script, 0o755);
  }
}

/**
 * Compiles this folder into a directory named by its content, and returns that. The engine starts each plugin anew for
 * every operation: running the TypeScript itself would take another second and 70 MiB each time.
 */
async function compile(directory: string): Promise<string> {
  const names = (await fs.readdir(__dirname)).filter((name) => name.endsWith(".ts")).sort();
  const sources = await Promise.all(names.map((name) => fs.readFile(path.join(__dirname, name), "utf8")));
  const content = createHash("sha256")
    .update(JSON.stringify([names, sources]))
    .digest("hex")
    .slice(0, 16);
  const compiled = path.join(directory, `stand-in-${content}`);
  if ((await fs.stat(compiled).catch(ifMissing)) !== undefined) {
    return compiled;
  }
  const { ModuleKind, ScriptTarget, transpileModule } = await import("typescript");
  const compilerOptions = { module: ModuleKind.CommonJS, target: ScriptTarget.ES2022 };
  const temporary = `${compiled}.${suffix()}`;
  await fs.mkdir(temporary, { recursive: true });
  for (const [index, name] of names.entries()) {
    const { outputText } = transpileModule(sources[index] ?? "", { compilerOptions, fileName: name });
    await fs.writeFile(path.join(temporary, name.replace(/\.ts$/, ".js")), outputText);
  }
  await fs.rename(temporary, compiled).catch(async (error: unknown) => {
    // Another run has just put the same there.
    await fs.rm(temporary, { recursive: true });
    await fs.access(compiled).catch(() => {
      throw error;
    });
  });
  return compiled;
}

/** Readers see the old content or the new one, never a part of it. */
async function replaceFile(file: string, content: string, mode: number): Promise<void> {
  const temporary = `${file}.${suffix()}`;
  await fs.writeFile(temporary, content, { mode });
  await fs.rename(temporary, file);
}

function suffix(): string {
  return randomBytes(6).toString("hex");
}

function quote(text: string): string {
  return `'${text.replace(/'/g, `'\\''`)}'`;
}

function ifMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
    throw error;
  }
}
