import { spawnSync } from "node:child_process";
import { isTestFile, mochaArguments } from "./support/mocha-arguments";

/** `npm test`, `npm run test:rehearsal`, `npm run test:operators`, `npm run test:mesh` and `npm run test:local`: all tests of a kind, or test files of whatever kind. */
function main(kind: string, args: readonly string[]): number {
  const [, own = kind] =
    /\btests\/(rehearsal|operators|mesh|live|node|local)\//.exec(args.find(isTestFile) ?? "") ?? [];
  const isolated = own === "live" || own === "node";
  const words = isolated ? ["-r", "ts-node/register", `tests/${own}/main.ts`, ...args] : mocha(own, args);
  const { status } = spawnSync(process.execPath, words, { stdio: "inherit" });
  return status ?? 1;
}

function mocha(kind: string, args: readonly string[]): string[] {
  const config = kind === "unit" ? ".mocharc.yaml" : `.mocharc.${kind}.yaml`;
  return [require.resolve("mocha/bin/mocha.js"), ...mochaArguments(config, args)];
}

const [kind = "unit", ...args] = process.argv.slice(2);
process.exitCode = main(kind, args);
