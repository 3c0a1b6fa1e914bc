import { execFileSync, spawn } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fullName } from "../../components/base/pod-settings";

/** A file or a directory of this machine that an image has at `target`; or a link there. */
export interface Part {
  readonly kind: "copy" | "link";
  readonly source: string;
  readonly target: string;
}

/** An image, made of packages that registries serve. */
export interface LocalImage {
  readonly name: string;
  /** Besides those of the base. */
  readonly parts: readonly Part[];
  /** Directories of programs, in front of those of the system. */
  readonly path?: readonly string[];
  readonly entrypoint?: readonly string[];
}

/** Debian's packages in the layer that all images share, and the users that upstream's images have by these numbers. */
const PACKAGES = ["ca-certificates", "python3.11"];
const USERS = { 26: "postgres", 1000: "ray" };
const SYSTEM_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const SUITE = "bookworm";

interface Blob {
  readonly digest: string;
  readonly size: number;
}

/**
 * Images as layouts of the Open Container Initiative (image-spec 1.1): one layer of Debian's packages that all share, and one of
 * each image's own.
 */
export class ImageStore {
  constructor(
    /** Directory of the layers. */
    private readonly directory: string,
    private readonly progress: (line: string) => void,
  ) {
    fs.mkdirSync(directory, { recursive: true });
  }

  /** Makes what is missing of the images' layers. */
  async make(images: readonly LocalImage[]): Promise<void> {
    await this.base();
    for (const image of images) await this.layers(image);
  }

  /** Lays the images out in a directory that is the caller's to remove, and makes what is missing of their layers. */
  async layout(images: readonly LocalImage[]): Promise<string> {
    const base = await this.base();
    const layout = fs.mkdtempSync(path.join(this.directory, "layout-"));
    const blobs = path.join(layout, "blobs", "sha256");
    fs.mkdirSync(blobs, { recursive: true });
    const put = (content: object): Blob & { mediaType?: string } => {
      const text = JSON.stringify(content);
      const hash = crypto.createHash("sha256").update(text).digest("hex");
      fs.writeFileSync(path.join(blobs, hash), text);
      return { digest: `sha256:${hash}`, size: Buffer.byteLength(text) };
    };
    const manifests: object[] = [];
    for (const image of images) {
      const layers = [base, ...(await this.layers(image))];
      for (const { digest } of layers) {
        const hash = digest.slice("sha256:".length);
        const file = path.join(blobs, hash);
        if (!fs.existsSync(file)) fs.linkSync(path.join(this.directory, hash), file);
      }
      const config = put({
        architecture: process.arch === "x64" ? "amd64" : process.arch,
        os: "linux",
        config: {
          Env: [`PATH=${[...(image.path ?? []), ...SYSTEM_PATH].join(":")}`],
          ...(image.entrypoint && { Entrypoint: image.entrypoint }),
        },
        rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
      });
      const manifest = put({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
        layers: layers.map((layer) => ({ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer })),
      });
      manifests.push({
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        ...manifest,
        annotations: { "io.containerd.image.name": fullName(image.name) },
      });
    }
    fs.writeFileSync(path.join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    fs.writeFileSync(path.join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
    return layout;
  }

  private base(): Promise<Blob> {
    const users = Object.entries(USERS).map(([id, name]) => `${name}:x:${id}:${id}::/tmp:/bin/sh`);
    // Environments of Python lie below the home of whoever installed them, and pods run as other users.
    const hook = [
      "chmod 755 $1/root",
      ...Object.values(USERS).map((name) => `sed -i /^${name}:/d $1/etc/passwd`),
      ...users.map((line) => `echo ${line} >>$1/etc/passwd`),
    ].join(" && ");
    const excluded = ["doc", "locale", "man"].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
    const command = [
      ...["mmdebstrap", "--quiet", "--variant=minbase", `--include=${PACKAGES.join()}`, ...excluded],
      `--customize-hook=${hook}`,
      SUITE,
    ];
    return this.blob(JSON.stringify(command), "Debian's packages", (output) => {
      this.progress("image layer: Debian's packages");
      execFileSync(command[0] ?? "", [...command.slice(1), output], { stdio: ["ignore", "ignore", "inherit"] });
    });
  }

  /** A layer for each directory, which other images may have as well, and one for everything else. */
  private async layers({ name, parts }: LocalImage): Promise<Blob[]> {
    const isDirectory = ({ kind, source }: Part): boolean => kind === "copy" && fs.statSync(source).isDirectory();
    const rest = parts.filter((part) => !isDirectory(part));
    const groups = [...parts.filter(isDirectory).map((part) => [part]), ...(rest.length > 0 ? [rest] : [])];
    const made: Blob[] = [];
    for (const group of groups) made.push(await this.layer(name, group));
    return made;
  }

  private layer(name: string, parts: readonly Part[]): Promise<Blob> {
    const key = parts.map((part) => [part, part.kind === "copy" ? stamp(part.source) : ""]);
    return this.blob(JSON.stringify(key), name, (output) => {
      this.progress(`image layer: ${name}`);
      const links = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-links-"));
      const copied = parts.filter(({ kind }) => kind === "copy");
      for (const { source, target } of parts.filter(({ kind }) => kind === "link")) {
        fs.mkdirSync(path.join(links, path.dirname(target)), { recursive: true });
        fs.symlinkSync(source, path.join(links, target));
      }
      const renamed = copied.map(({ source, target }) => `--transform=s,^${source.slice(1)},${target.slice(1)},S`);
      const owner = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--exclude=lib/python3.*/test"];
      execFileSync("tar", [
        ...["-cf", output, ...owner, ...renamed, "-C", "/", ...copied.map(({ source }) => source.slice(1))],
        ...["-C", links, "."],
      ]);
      fs.rmSync(links, { recursive: true });
    });
  }

  /** A file that is named by its content, and found again by what it was made of. */
  private async blob(key: string, what: string, make: (output: string) => void): Promise<Blob> {
    const mark = path.join(this.directory, `${crypto.createHash("sha256").update(key).digest("hex")}.made`);
    if (!fs.existsSync(mark)) {
      const part = path.join(this.directory, `${process.pid}.tar`);
      make(part);
      const hash = await digestOf(part);
      fs.renameSync(part, path.join(this.directory, hash));
      fs.writeFileSync(mark, JSON.stringify({ hash, what }));
    }
    const { hash } = JSON.parse(fs.readFileSync(mark, "utf8")) as { hash: string };
    return { digest: `sha256:${hash}`, size: fs.statSync(path.join(this.directory, hash)).size };
  }
}

/** When a file was made, and how large it is; directories of the cache are named by their content. */
function stamp(source: string): string {
  const { mtimeMs, size } = fs.statSync(source);
  return `${mtimeMs} ${size}`;
}

function digestOf(file: string): Promise<string> {
  const hash = crypto.createHash("sha256");
  return new Promise((resolve, reject) => {
    fs.createReadStream(file, { highWaterMark: 1 << 20 })
      .on("data", (chunk) => hash.update(chunk))
      .once("error", reject)
      .once("end", () => {
        resolve(hash.digest("hex"));
      });
  });
}

/** Hands a layout to containerd. */
export async function importImages(layout: string, socket: string): Promise<void> {
  const tar = spawn("tar", ["-cf", "-", "-C", layout, "."], { stdio: ["ignore", "pipe", "inherit"] });
  const ctr = spawn("ctr", ["--address", socket, "--namespace", "k8s.io", "images", "import", "--all-platforms", "-"], {
    stdio: [tar.stdout, "ignore", "pipe"],
  });
  let complaints = "";
  ctr.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    ctr.once("error", reject);
    ctr.once("close", resolve);
  });
  if (code !== 0) throw new Error(`ctr images import: ${complaints}`);
}
