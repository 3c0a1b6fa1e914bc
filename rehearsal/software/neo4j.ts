import * as fs from "node:fs";
import * as path from "node:path";
import { images } from "../../components/base/versions";
import { cached } from "./cached";
import { fetchJars } from "./maven";

/** Where the image has Neo4j. */
export const NEO4J_HOME = "/var/lib/neo4j";

const VERSION = /:([\d.]+)-community$/.exec(images.neo4j)?.[1] ?? "";
// The server, and the commands beside it; each brings what it needs.
const ARTIFACTS = ["org.neo4j.app:neo4j-server", "org.neo4j:neo4j"].map((artifact) => `${artifact}:${VERSION}`);
const COMMANDS = { neo4j: "Neo4jCommand", "neo4j-admin": "Neo4jAdminCommand" };

/** Finds Neo4j in the version of the image in the cache, or fetches its jars from Maven Central; returns its directory. */
export function ensureNeo4j(progress: (line: string) => void): Promise<string> {
  return cached(`neo4j/${VERSION}`, `Neo4j ${VERSION}`, progress, (directory) => {
    const bin = path.join(directory, "bin");
    fs.mkdirSync(bin);
    fetchJars(directory, ARTIFACTS);
    for (const [name, command] of Object.entries(COMMANDS)) {
      fs.writeFileSync(path.join(bin, name), launcher(command), { mode: 0o755 });
    }
  });
}

/** A command of the distribution, whose own scripts no registry has. */
function launcher(command: string): string {
  const java = `java -cp "${NEO4J_HOME}/lib/*" -Dbasedir=${NEO4J_HOME}`;
  return `#!/bin/sh\nexec ${java} org.neo4j.server.startup.${command} "$@"\n`;
}
