import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { mayIsolate } from "../../rehearsal/node/isolated";

/** Debian packages, and a file that each brings. */
const PACKAGES: Readonly<Record<string, () => boolean>> = {
  curl: () => inPath("curl"),
  iproute2: () => inPath("ip"),
  maven: () => inPath("mvn"),
  mmdebstrap: () => inPath("mmdebstrap"),
  "openjdk-17-jre-headless": () => inPath("java"),
  "util-linux": () => ["unshare", "nsenter", "setpriv"].every(inPath),
};

/** Throws one RunError that names everything that keeps this machine from running the live tests. */
export function checkMachine(): void {
  const found: string[] = [];
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    found.push("user: the tests give each pod its own namespaces, which takes root on Linux; run them in a container");
  }
  const missing = Object.entries(PACKAGES).flatMap(([name, isThere]) => (isThere() ? [] : [name]));
  if (missing.length > 0) {
    found.push(
      `packages: ${missing.join(", ")} not found; run \`apt-get install --no-install-recommends ${missing.join(" ")}\``,
    );
  }
  if (found.length === 0 && !mayIsolate()) {
    found.push("namespaces: the kernel refuses `unshare --mount --net --pid`; a container needs --privileged for it");
  }
  if (found.length > 0) throw new pulumi.RunError(`the live tests cannot run here:\n${found.join("\n")}`);
}

function inPath(name: string): boolean {
  const directories = [...(process.env["PATH"] ?? "").split(path.delimiter), "/usr/sbin", "/sbin"];
  return directories.some((directory) => fs.existsSync(path.join(directory, name)));
}
