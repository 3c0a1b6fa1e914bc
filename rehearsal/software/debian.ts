import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { cached } from "./cached";

// The Debian that has what the images have; the one of this machine is older.
const SUITE = "forky";
const LOADER = "ld-linux-x86-64.so.2";

interface Software {
  readonly packages: readonly string[];
  readonly programs: readonly string[];
  /** The major version, as of the image. */
  readonly major: number;
  /** A folder of what the programs read beside libraries, at the same place below the root. */
  readonly data?: string;
}

const SOFTWARE = {
  valkey: { packages: ["valkey-server", "valkey-tools"], programs: ["valkey-server", "valkey-cli"], major: 9 },
  prometheus: { packages: ["prometheus", "promtool"], programs: ["prometheus", "promtool"], major: 3 },
  alertmanager: {
    packages: ["prometheus-alertmanager"],
    programs: ["prometheus-alertmanager"],
    major: 0,
    data: "usr/share/prometheus/alertmanager",
  },
  "node-exporter": { packages: ["prometheus-node-exporter"], programs: ["prometheus-node-exporter"], major: 1 },
} as const satisfies Record<string, Software>;

/** Whether this machine can take software from there. */
export function hasDebian(): boolean {
  return process.getuid?.() === 0 && fs.existsSync("/usr/bin/mmdebstrap");
}

/** What its programs call the version. */
export function debianVersion(directory: string, program: string): string {
  const said = execFileSync(path.join(directory, "bin", program), ["--version"], { encoding: "utf8" });
  return /\d+\.\d+\.\d+/.exec(said)?.[0] ?? "";
}

/**
 * Finds programs in the cache, or takes them from a newer Debian's packages, with all their libraries down to the C library;
 * returns their directory, whose `bin` runs on any Linux and at any place.
 */
export function ensureDebian(name: keyof typeof SOFTWARE, progress: (line: string) => void): Promise<string> {
  const software = SOFTWARE[name];
  return cached(`debian/${name}-${software.major}`, `${name} from Debian ${SUITE}`, progress, (directory) => {
    assemble(directory, software);
  });
}

function assemble(directory: string, { packages, programs, major, data }: Software): void {
  const root = path.join(directory, "packages");
  // A mirror may be a copy of some day.
  const options = ["--quiet", "--variant=extract", '--aptopt=Acquire::Check-Valid-Until "false"'];
  execFileSync("mmdebstrap", [...options, `--include=${packages.join()}`, SUITE, root], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const libraries = path.join(root, "usr/lib/x86_64-linux-gnu");
  const loaded = (...args: string[]): string =>
    execFileSync(path.join(libraries, LOADER), ["--library-path", libraries, ...args], { encoding: "utf8" });
  for (const folder of ["bin", "lib", "programs"]) fs.mkdirSync(path.join(directory, folder), { recursive: true });
  const needed = new Set([LOADER]);
  for (const program of programs) {
    const file = path.join(root, "usr/bin", program);
    const said = loaded(file, "--version").split("\n")[0] ?? "";
    if (!new RegExp(`\\D${major}\\.\\d`).test(said))
      throw new Error(`Debian ${SUITE}: ${said}; the image has ${major}`);
    for (const [, library = ""] of loaded("--list", file).matchAll(/^\t(\S+) => \//gm))
      needed.add(path.basename(library));
    fs.copyFileSync(file, path.join(directory, "programs", program));
    fs.writeFileSync(path.join(directory, "bin", program), launcher(program), { mode: 0o755 });
  }
  if (data !== undefined) fs.cpSync(path.join(root, data), path.join(directory, data), { recursive: true });
  for (const name of needed) fs.copyFileSync(path.join(libraries, name), path.join(directory, "lib", name));
  fs.rmSync(root, { recursive: true });
}

function launcher(program: string): string {
  const lines = [
    "#!/bin/sh",
    'home=$(dirname "$(dirname "$0")")',
    `exec "$home/lib/${LOADER}" --library-path "$home/lib" "$home/programs/${program}" "$@"`,
  ];
  return `${lines.join("\n")}\n`;
}
