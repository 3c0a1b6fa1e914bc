import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { version as kubernetesSdk } from "@pulumi/kubernetes/package.json";
import * as pulumi from "@pulumi/pulumi";
import { build, compile, faults, measure, type Tool, totalSeconds } from "./toolchain/build";
import { download } from "./toolchain/download";
import { withLock } from "./toolchain/lock";
import { officialReleases, type Release } from "./toolchain/releases";

/** The tools of a rehearsal, ready to run. */
export interface Toolchain {
  /** Directory of all of them: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok, helm, pulumi. */
  readonly bin: string;
  readonly pulumi: string;
  readonly pulumiLanguageNodejs: string;
  /** The official kubernetes plugin, and its version. */
  readonly kubernetesPlugin: { readonly binary: string; readonly version: string; readonly isBuilt: boolean };
  /** The one directory outside of the checkout that is written to. */
  readonly cache: string;
}

/** Tools that are built together where they cannot be downloaded, named by the content of their go.mod files and of our own programs. */
export interface ToolSet {
  /** Whose tools they are, for messages. */
  readonly owner: string;
  /** Directory of the Go module that pins them. */
  readonly directory: string;
  readonly tools: readonly Tool[];
  /** Where to download them, instead. */
  readonly releases?: readonly Release[];
}

const MODULE = path.join(__dirname, "toolchain");
const LANGUAGE_HOST_MODULE = "nodejs"; // of its own: its SDK is too old for the CLI's module
const KUBERNETES_PLUGIN_MODULE = "kubernetes-plugin"; // of its own: it does not compile with these versions of its libraries
// Not as the engine calls it: that would find it in PATH, and pass over the one that KUBERNETES_PLUGIN names.
const PLUGIN = "kubernetes-plugin";
const CERT_MANAGER = "cert-manager"; // of its own: it is built where Go is alone
const KUBERNETES_PLUGIN = "github.com/pulumi/pulumi-kubernetes/provider/v4";

/** The pinned versions, read from the go.mod files, which alone decide them. */
export const versions = {
  kubernetes: pinned("k8s.io/kubernetes"),
  etcd: pinned("go.etcd.io/etcd/server/v3"),
  kwok: pinned("sigs.k8s.io/kwok"),
  helm: pinned("helm.sh/helm/v3"),
  pulumi: pinned("github.com/pulumi/pulumi/pkg/v3"),
  pulumiLanguageNodejs: pinned("github.com/pulumi/pulumi/sdk/v3", path.join(MODULE, LANGUAGE_HOST_MODULE)),
  /** The kubernetes plugin that is downloaded: the SDK's. */
  kubernetesPlugin: `v${kubernetesSdk}`,
  /** The kubernetes plugin that is built: the newest that the module proxy serves. */
  kubernetesPluginModule: pinned(KUBERNETES_PLUGIN, path.join(MODULE, KUBERNETES_PLUGIN_MODULE)),
  certManager: pinned("github.com/cert-manager/cert-manager", path.join(MODULE, CERT_MANAGER)),
} as const;

/** The version of a module that a go.mod file requires. */
export function pinned(module: string, directory = MODULE): string {
  const file = path.join(directory, "go.mod");
  const words = fs.readFileSync(file, "utf8").split(/\s+/);
  const version = words.find((word, index) => words[index - 1] === module && /^v\d/.test(word));
  if (version === undefined) throw new Error(`${file}: requires no version of ${module}; run \`go get -tool\` for it`);
  return version;
}

const STRIP = "-s -w";
/** Without these, the binaries of Kubernetes call themselves v0.0.0, and charts that look at the version refuse it. */
export const KUBERNETES = [
  STRIP,
  `-X k8s.io/component-base/version.gitVersion=${versions.kubernetes}`,
  `-X k8s.io/component-base/version.gitMajor=${versions.kubernetes.slice(1).split(".")[0] ?? ""}`,
  `-X k8s.io/component-base/version.gitMinor=${versions.kubernetes.split(".")[1] ?? ""}`,
].join(" ");
const PULUMI = `${STRIP} -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=${versions.pulumi}`;

const TOOLS: readonly Tool[] = [
  { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", ldflags: KUBERNETES, seconds: 366 },
  {
    name: "kube-controller-manager",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    ldflags: KUBERNETES,
    seconds: 93,
  },
  { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler", ldflags: KUBERNETES, seconds: 8 },
  { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", ldflags: KUBERNETES, seconds: 38 },
  { name: "etcd", package: "go.etcd.io/etcd/server/v3", ldflags: STRIP, seconds: 14 },
  { name: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", ldflags: STRIP, seconds: 21 },
  { name: "helm", package: "helm.sh/helm/v3/cmd/helm", ldflags: STRIP, seconds: 25 },
  { name: "pulumi", package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", ldflags: PULUMI, seconds: 288 },
  {
    name: "pulumi-language-nodejs",
    module: LANGUAGE_HOST_MODULE,
    package: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    ldflags: STRIP,
    seconds: 45,
  },
  {
    name: PLUGIN,
    module: KUBERNETES_PLUGIN_MODULE,
    package: ".",
    ldflags: `${STRIP} -X ${KUBERNETES_PLUGIN}/pkg/version.Version=${versions.kubernetesPluginModule.slice(1)}`,
    embed: {
      file: "schema.json",
      module: KUBERNETES_PLUGIN,
      from: "cmd/pulumi-resource-kubernetes/schema.json",
    },
    seconds: 510,
  },
];

/** The tools of a rehearsal, and where this system can download them. */
export const REHEARSAL: ToolSet = {
  owner: "the rehearsal",
  directory: MODULE,
  tools: TOOLS,
  releases: officialReleases(versions),
};

/** cert-manager's programs. Upstream releases them in images alone. */
const CERTIFICATES: ToolSet = {
  owner: "cert-manager",
  directory: MODULE,
  tools: [{ name: CERT_MANAGER, module: CERT_MANAGER, package: ".", ldflags: STRIP, seconds: 180 }],
};

/** Seconds that it takes to build all of them on two idle cores. */
export const BUILD_SECONDS = totalSeconds(TOOLS);

/**
 * Finds the rehearsal's tools in the cache, and downloads or builds what is missing there: see {@link BUILD_SECONDS}.
 *
 * @param progress gets each line that a person who waits should see.
 * @throws Error that lists everything that keeps this machine from both, or with the end of the compiler's output.
 */
export async function ensureToolchain(progress: (line: string) => void): Promise<Toolchain> {
  const bin = await ensureTools(REHEARSAL, progress);
  const binary = path.join(bin, PLUGIN);
  const isBuilt = fs.existsSync(`${binary}.built`);
  const version = isBuilt ? versions.kubernetesPluginModule : versions.kubernetesPlugin;
  return {
    bin,
    pulumi: path.join(bin, "pulumi"),
    pulumiLanguageNodejs: path.join(bin, "pulumi-language-nodejs"),
    kubernetesPlugin: { binary, version, isBuilt },
    cache: cacheDirectory(),
  };
}

/**
 * Finds cert-manager in the cache, or builds it; returns its path.
 *
 * @throws Error that says what keeps this machine from it.
 */
export async function ensureCertManager(progress: (line: string) => void): Promise<string> {
  return path.join(await ensureTools(CERTIFICATES, progress), CERT_MANAGER);
}

/**
 * Finds a set of tools in the cache, and returns the directory that they lie in. What is missing there is downloaded; what
 * cannot be downloaded is built.
 */
export async function ensureTools(set: ToolSet, progress: (line: string) => void): Promise<string> {
  const { owner, tools, directory, releases = [] } = set;
  const cache = cacheDirectory();
  const bin = toolsDirectory(cache, set);
  const missing = (): Tool[] => tools.filter(({ name }) => !fs.existsSync(path.join(bin, name)));
  if (missing().length === 0) return bin;
  fs.mkdirSync(bin, { recursive: true });
  // One at a time, whatever it builds: two would each take twice as long.
  await withLock(path.join(cache, "build.lock"), progress, async () => {
    const names = missing().map(({ name }) => name); // another run may have brought them while we waited
    const refusals = await download(releases, names, bin, progress);
    const left = missing();
    if (left.length === 0) return;
    for (const refusal of refusals) progress(`not downloaded: ${refusal}`);
    const work = path.join(cache, "build"); // what an interrupted build left there is used again
    const found = faults(measure(cache, work));
    if (found.length > 0) {
      const ways = refusals.length > 0 ? "be neither downloaded nor built" : "not be built";
      throw new pulumi.RunError(`the tools of ${owner} can ${ways} here:\n${[...refusals, ...found].join("\n")}`);
    }
    const make = async (tool: Tool, output: string): Promise<void> => {
      await compile(directory, tool, output, work);
      fs.writeFileSync(path.join(bin, `${tool.name}.built`), "");
    };
    await build(left, tools, bin, make, progress);
    fs.rmSync(work, { recursive: true, force: true });
  });
  return bin;
}

/**
 * Puts the Pulumi CLI and its language host where the npm package `pulumi` looks before it downloads one, so that
 * `PULUMI_HOME=<pulumiHome> npx pulumi` runs them. What is there already stays.
 */
export function installPulumi(toolchain: Pick<Toolchain, "pulumi" | "pulumiLanguageNodejs">, pulumiHome: string): void {
  const bin = path.join(pulumiHome, "versions", versions.pulumi.slice(1), "bin");
  fs.mkdirSync(bin, { recursive: true });
  for (const file of [toolchain.pulumi, toolchain.pulumiLanguageNodejs]) {
    const link = path.join(bin, path.basename(file));
    if (!fs.existsSync(link)) {
      fs.rmSync(link, { force: true }); // a link into a cache that was removed
      fs.symlinkSync(file, link);
    }
  }
}

/** Where tools, plugins and runs lie: CARBON_CACHE, or `254carbon` in the user's cache directory. */
export function cacheDirectory(): string {
  const { CARBON_CACHE, XDG_CACHE_HOME } = process.env;
  return path.resolve(CARBON_CACHE ?? path.join(XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache"), "254carbon"));
}

function toolsDirectory(cache: string, set: ToolSet): string {
  return path.join(cache, "tools", toolsKey(set));
}

/** The helm of an earlier rehearsal; undefined where none was built yet. */
export function builtHelm(): string | undefined {
  const helm = path.join(toolsDirectory(cacheDirectory(), REHEARSAL), "helm");
  return fs.existsSync(helm) ? helm : undefined;
}

/** Names what is built, so that two versions of the checkout do not get in each other's way. */
function toolsKey({ directory, tools }: ToolSet): string {
  const builds = tools.map(({ name, module, package: source, ldflags }) => [name, module, source, ldflags]);
  const hash = crypto.createHash("sha256").update(JSON.stringify([process.platform, process.arch, ...builds]));
  for (const module of new Set(tools.map(({ module = "" }) => path.join(directory, module)))) {
    for (const file of ["go.mod", "go.sum"]) hash.update(fs.readFileSync(path.join(module, file)));
  }
  // Programs of our own.
  for (const { module = "", package: source } of tools.filter(({ package: source }) => source.startsWith("."))) {
    hash.update(fs.readFileSync(path.join(directory, module, source, "main.go")));
  }
  return hash.digest("hex").slice(0, 16);
}
