import * as fs from "node:fs";
import { parse } from "yaml";

/** What is for a whole run alone. */
const WHOLE = ["spec", "ignore", "parallel", "jobs"];

/** Whether an argument names a test file. */
export function isTestFile(arg: string): boolean {
  return arg.endsWith(".test.ts");
}

/** Arguments of mocha for the tests of a configuration or, of these, the files in `args`: to its list, mocha would only add them. */
export function mochaArguments(config: string, args: readonly string[]): string[] {
  if (!args.some(isTestFile)) return ["--config", config, ...args];
  const settings = parse(fs.readFileSync(config, "utf8")) as Record<string, unknown>;
  const flags = Object.entries(settings).flatMap(([key, value]) =>
    WHOLE.includes(key) ? [] : [value].flat().map((one) => (one === true ? `--${key}` : `--${key}=${String(one)}`)),
  );
  return ["--no-config", ...flags, ...args];
}
