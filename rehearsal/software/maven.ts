import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

const PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/** Runs a goal of Maven's dependency plugin, from the repositories that Maven's settings name. */
export function maven(goal: "copy" | "copy-dependencies", ...args: readonly string[]): void {
  execFileSync("mvn", ["--quiet", "--batch-mode", `${PLUGIN}:${goal}`, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
}

/** Fetches artifacts (`group:name:version`), and what they need to run, into `lib` of a directory. */
export function fetchJars(directory: string, artifacts: readonly string[]): void {
  const pom = path.join(directory, "pom.xml");
  const dependencies = artifacts.map((artifact) => {
    const [group = "", name = "", version = ""] = artifact.split(":");
    return `<dependency>${xml({ groupId: group, artifactId: name, version })}</dependency>`;
  });
  const own = xml({ modelVersion: "4.0.0", groupId: "live", artifactId: "live", version: "1", packaging: "pom" });
  fs.writeFileSync(pom, `<project>${own}<dependencies>${dependencies.join("")}</dependencies></project>\n`);
  maven(
    "copy-dependencies",
    "--file",
    pom,
    "-DincludeScope=runtime",
    `-DoutputDirectory=${path.join(directory, "lib")}`,
  );
}

function xml(elements: Readonly<Record<string, string>>): string {
  return Object.entries(elements)
    .map(([name, text]) => `<${name}>${text}</${name}>`)
    .join("");
}
