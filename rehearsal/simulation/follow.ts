import * as fs from "node:fs";
import { parse } from "yaml";
import { overridden, readStackFile } from "../program/evaluate";
import { stackFileText } from "./engine";

/**
 * The `pulumi` of a kept rehearsal runs this before each command that reads the config: the plain values of the rehearsal's own stack
 * file become those that `Pulumi.<stack>.yaml` has now. Its credentials stay.
 */
function follow(stack: string, stackFile: string, overrides: Readonly<Record<string, string>>): void {
  const own = parse(fs.readFileSync(stackFile, "utf8")) as { readonly config: Record<string, unknown> };
  const config = { ...own.config, "carbon:platform": overridden(readStackFile(stack)["carbon:platform"], overrides) };
  fs.writeFileSync(stackFile, stackFileText({ ...own, config }), { mode: 0o600 });
}

const [stack = "", stackFile = "", overrides = "{}"] = process.argv.slice(2);
try {
  follow(stack, stackFile, JSON.parse(overrides) as Record<string, string>);
} catch (error) {
  console.error(`error: Pulumi.${stack}.yaml: ${(error as Error).message}`);
  process.exitCode = 1;
}
