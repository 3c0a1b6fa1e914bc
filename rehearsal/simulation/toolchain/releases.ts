/** A file of an official release that holds tools. */
export interface Release {
  readonly url: string;
  /**
   * Where its SHA-256 is published: a file that holds it alone, a list as `sha256sum` prints it, or what GitHub's API
   * says of a release.
   */
  readonly checksum: string;
  /** What it holds: the path of each tool in the archive, or null where the file is the tool itself. */
  readonly tools: Readonly<Record<string, string | null>>;
}

/** Where the projects publish their releases. */
export const PUBLISHERS = {
  kubernetes: "https://dl.k8s.io",
  helm: "https://get.helm.sh",
  github: "https://github.com",
  githubApi: "https://api.github.com",
};

/** The versions to download. */
export interface ReleaseVersions {
  readonly kubernetes: string;
  readonly etcd: string;
  readonly kwok: string;
  readonly helm: string;
  readonly pulumi: string;
  readonly kubernetesPlugin: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** The official releases of a rehearsal's tools for a system; empty where upstream publishes none. */
export function officialReleases(
  versions: ReleaseVersions,
  platform: string = process.platform,
  nodeArchitecture: string = process.arch,
  publishers = PUBLISHERS,
): Release[] {
  const architecture = ARCHITECTURES[nodeArchitecture];
  if (architecture === undefined || !["linux", "darwin"].includes(platform)) return [];
  const { kubernetes, etcd, kwok, helm, pulumi, kubernetesPlugin } = versions;
  const system = `${platform}-${architecture}`;

  // The control plane is published for Linux alone.
  const servers = platform === "linux" ? ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] : [];
  const kubernetesFile = (name: string): Release => {
    const url = `${publishers.kubernetes}/release/${kubernetes}/bin/${platform}/${architecture}/${name}`;
    return { url, checksum: `${url}.sha256`, tools: { [name]: null } };
  };

  const etcdFolder = `etcd-${etcd}-${system}`;
  const etcdRelease = `${publishers.github}/etcd-io/etcd/releases/download/${etcd}`;
  const kwokProject = "kubernetes-sigs/kwok/releases";
  const helmFile = `${publishers.helm}/helm-${helm}-${system}.tar.gz`;
  const pulumiRelease = `${publishers.github}/pulumi/pulumi/releases/download/${pulumi}`;
  return [
    ...[...servers, "kubectl"].map(kubernetesFile),
    {
      url: `${etcdRelease}/${etcdFolder}.${platform === "linux" ? "tar.gz" : "zip"}`,
      checksum: `${etcdRelease}/SHA256SUMS`,
      tools: { etcd: `${etcdFolder}/etcd` },
    },
    {
      url: `${publishers.github}/${kwokProject}/download/${kwok}/kwok-${system}`,
      // The project publishes no checksums: GitHub computes one when a file is uploaded.
      checksum: `${publishers.githubApi}/repos/${kwokProject}/tags/${kwok}`,
      tools: { kwok: null },
    },
    { url: helmFile, checksum: `${helmFile}.sha256sum`, tools: { helm: `${system}/helm` } },
    {
      // What the npm package `pulumi` installs; it compares no checksum.
      url: `${pulumiRelease}/pulumi-${pulumi}-${platform}-${nodeArchitecture}.tar.gz`,
      checksum: `${pulumiRelease}/pulumi-${pulumi.slice(1)}-checksums.txt`,
      tools: { pulumi: "pulumi/pulumi", "pulumi-language-nodejs": "pulumi/pulumi-language-nodejs" },
    },
    pluginRelease("kubernetes", kubernetesPlugin, platform, nodeArchitecture, publishers),
  ];
}

/** The official release of a Pulumi plugin. */
export function pluginRelease(
  name: "kubernetes" | "random",
  version: string,
  platform: string = process.platform,
  nodeArchitecture: string = process.arch,
  publishers = PUBLISHERS,
): Release {
  const binary = `pulumi-resource-${name}`;
  const releases = `pulumi/pulumi-${name}/releases`;
  const file = `${binary}-${version}-${platform}-${ARCHITECTURES[nodeArchitecture] ?? nodeArchitecture}.tar.gz`;
  return {
    url: `${publishers.github}/${releases}/download/${version}/${file}`,
    checksum: `${publishers.githubApi}/repos/${releases}/tags/${version}`,
    tools: { [`${name}-plugin`]: binary },
  };
}
