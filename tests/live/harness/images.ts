import * as path from "node:path";
import { images } from "../../../components/base/versions";
import { ensureS3 } from "../prepare/tools";
import { ensureJava, ensureTrino } from "../prepare/trino";
import { ensureVenv, type locks } from "../prepare/venvs";
import { TRINO } from "./charts";
import type { Piece } from "./sandbox";

/** The same software as an image's, on this machine. */
export interface Software {
  /** Directories of programs, in front of those of the system. */
  readonly path: readonly string[];
  /** What runs where a container names only arguments. */
  readonly entrypoint?: readonly string[];
  /** The user that the image knows by the pod's number. */
  readonly user?: string;
  readonly pieces: readonly Piece[];
}

const TABLE: Readonly<Record<string, () => Promise<Software>>> = {
  [images.minio]: async () => ({ ...(await s3()), entrypoint: ["minio"] }),
  [images.minioClient]: s3,
  [images.mlflow]: () => python("mlflow"),
  [images.feast]: () => python("feast"),
  [images.ray]: async () => ({ ...(await python("ray")), user: "ray" }),
  [images.valkey]: valkey,
  [TRINO]: trino,
};

/** What stands in for an image of the program. */
export async function softwareOf(image: string): Promise<Software> {
  const found = TABLE[image];
  if (found === undefined) throw new Error(`no software for the image ${image}; say in ${__filename} where it is`);
  return found();
}

async function s3(): Promise<Software> {
  const bin = await ensureS3(ignore);
  return { path: [bin], pieces: [{ kind: "ro", source: bin, target: bin }] };
}

async function python(name: keyof typeof locks): Promise<Software> {
  const { directory, base } = await ensureVenv(name, ignore);
  const pieces = [directory, base].map((source) => ({ kind: "ro", source, target: source }) as const);
  return { path: [path.join(directory, "bin")], pieces };
}

/** Debian 12 has the Redis that Valkey was made from, whose programs have other names. */
async function valkey(): Promise<Software> {
  const bin = "/opt/valkey";
  const links = ["server", "cli"].map(
    (program) => ({ kind: "link", source: `/usr/bin/redis-${program}`, target: `${bin}/valkey-${program}` }) as const,
  );
  return Promise.resolve({ path: [bin], pieces: links });
}

/** Trino as its image has it: below /usr, with a Java of its own. */
async function trino(): Promise<Software> {
  const software = await ensureTrino(ignore);
  const java = await ensureJava(ignore);
  return {
    path: [path.join(java, "bin")],
    // As the image's own script does, which also gives the node the name of its pod.
    entrypoint: ["sh", "-c", 'exec /usr/lib/trino/bin/launcher run --etc-dir /etc/trino "-Dnode.id=$(hostname)"'],
    user: "trino",
    pieces: [
      { kind: "overlay", source: software, target: "/usr" },
      { kind: "ro", source: java, target: java },
    ],
  };
}

// Everything was fetched before the network was left.
function ignore(): void {
  return;
}
