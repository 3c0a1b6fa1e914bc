import * as fs from "node:fs";
import * as path from "node:path";
import { images } from "../../components/base/versions";
import { ensureNeo4j, NEO4J_HOME } from "./neo4j";
import { ensureDebian } from "./debian";
import { dolphinschedulerHome } from "./dolphinscheduler";
import { ensurePostgres } from "./postgres";
import { ensureRedisExporter, ensureS3 } from "./tools";
import { ensureJava, ensureTrino } from "./trino";
import { ensureVenv, type locks } from "./venvs";

/** What a container sees of a file, a directory or memory: `ro`, `rw` and `link` have a source. */
export type Piece =
  | { readonly kind: "ro" | "rw" | "link"; readonly source: string; readonly target: string }
  | { readonly kind: "tmpfs"; readonly target: string; readonly options: string }
  /** A directory of software that an image has below /usr, laid over that of this machine. */
  | { readonly kind: "overlay"; readonly source: string; readonly target: "/usr" };

/** The image of Trino, as its chart names it. */
export const TRINO = "trinodb/trino";

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
  [images.postgres]: postgres,
  [images.minio]: async () => ({ ...(await s3()), entrypoint: ["minio"] }),
  [images.minioClient]: s3,
  [images.mlflow]: () => python("mlflow"),
  [images.feast]: () => python("feast"),
  [images.notebook]: async () => ({ ...(await python("notebook")), user: "notebook" }),
  [images.datahubIngestion]: () => python("datahub"),
  [images.ray]: async () => ({ ...(await python("ray")), user: "ray" }),
  [images.superset]: async () => ({ ...(await python("superset")), user: "superset" }),
  [images.valkey]: valkey,
  [images.redisExporter]: redisExporter,
  [images.neo4j]: neo4j,
  [images.dolphinschedulerApi]: () => dolphinscheduler("api-server"),
  [images.dolphinschedulerMaster]: () => dolphinscheduler("master-server"),
  [images.dolphinschedulerWorker]: () => dolphinscheduler("worker-server"),
  [images.dolphinschedulerAlert]: () => dolphinscheduler("alert-server"),
  [images.dolphinschedulerTools]: () => dolphinscheduler("tools"),
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

async function postgres(): Promise<Software> {
  const { directory, bin } = await ensurePostgres(ignore);
  return { path: [bin], user: "postgres", pieces: [{ kind: "ro", source: directory, target: directory }] };
}

async function python(name: keyof typeof locks): Promise<Software> {
  const { directory, base } = await ensureVenv(name, ignore);
  const pieces = [directory, base].map((source) => ({ kind: "ro", source, target: source }) as const);
  return { path: [path.join(directory, "bin")], pieces };
}

async function valkey(): Promise<Software> {
  const source = await ensureDebian("valkey", ignore);
  return { path: [path.join(source, "bin")], pieces: [{ kind: "ro", source, target: source }] };
}

async function redisExporter(): Promise<Software> {
  const source = path.join(await ensureRedisExporter(ignore), "redis_exporter");
  const target = "/redis_exporter";
  return { path: [], entrypoint: [target], pieces: [{ kind: "ro", source, target }] };
}

/** Neo4j's own jars on Debian's Java. */
async function neo4j(): Promise<Software> {
  const source = await ensureNeo4j(ignore);
  const java = fs.readdirSync("/etc").filter((name) => /^java-\d+-openjdk$/.test(name));
  return {
    path: [path.join(NEO4J_HOME, "bin")],
    pieces: [
      { kind: "ro", source, target: NEO4J_HOME },
      ...java.map((name) => ({ kind: "ro", source: `/etc/${name}`, target: `/etc/${name}` }) as const),
    ],
  };
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

/** The servers of a distribution, each where its image has it, and the Java of this machine with its settings. */
async function dolphinscheduler(part: string): Promise<Software> {
  const home = dolphinschedulerHome();
  if (home === undefined) throw new Error("CARBON_DOLPHINSCHEDULER names no distribution of DolphinScheduler");
  const target = part === "tools" ? "/opt/dolphinscheduler/tools" : "/opt/dolphinscheduler";
  const settings = fs.readdirSync("/etc").filter((name) => /^java-\d+-openjdk$/.test(name));
  const pieces: readonly (readonly [string, string])[] = [
    [path.join(home, part), target],
    // Where the links of a distribution lead that keeps its libraries once.
    [path.join(home, "libs"), path.join(target, "..", "libs")],
    ...settings.map((name) => [path.join("/etc", name), path.join("/etc", name)] as const),
  ];
  return Promise.resolve({
    path: [],
    pieces: pieces
      .filter(([source]) => fs.existsSync(source))
      .map(([source, to]) => ({ kind: "ro", source, target: to })),
  });
}

// Everything was fetched before the network was left.
function ignore(): void {
  return;
}
