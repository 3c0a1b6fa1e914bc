import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";

/**
 * Copies the example of a consumer, and installs what it needs: the npm package, built and packed as for a release, the rest from
 * here. Returns the names of the package's files.
 */
export function installExample(directory: string): string[] {
  fs.cpSync(path.join(ROOT, "examples", "pricing"), directory, { recursive: true });
  // Whoever has `ignore-scripts` would pack nothing that is built.
  const pack = ["pack", "--json", "--silent", "--ignore-scripts=false", "--pack-destination", directory];
  const printed = execFileSync("npm", pack, {
    cwd: path.join(ROOT, "packages", "platform-outputs"),
    encoding: "utf8",
  });
  const [{ files, filename }] = JSON.parse(printed) as [{ files: { path: string }[]; filename: string }];
  const installed = path.join(directory, "node_modules", "@254carbon", "platform-outputs");
  fs.mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", path.join(directory, filename), "--strip-components=1", "-C", installed]);
  for (const name of ["@pulumi", "@types", "ts-node", "typescript", "zod"]) {
    fs.symlinkSync(path.join(ROOT, "node_modules", name), path.join(directory, "node_modules", name));
  }
  return files.map((file) => file.path);
}
