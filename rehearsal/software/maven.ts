import { execFileSync } from "node:child_process";

const PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/** Runs a goal of Maven's dependency plugin, from the repositories that Maven's settings name. */
export function maven(goal: "copy" | "copy-dependencies", ...args: readonly string[]): void {
  execFileSync("mvn", ["--quiet", "--batch-mode", `${PLUGIN}:${goal}`, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
}
