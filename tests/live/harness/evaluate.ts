import { json } from "node:stream/consumers";
import { evaluateStack } from "../../../rehearsal/program/charts";

/** Evaluates a stack of the repository that this file lies in, with the credentials on standard input; writes JSON. */
async function main(): Promise<void> {
  const credentials = (await json(process.stdin)) as Record<string, string>;
  const [, , stack = ""] = process.argv;
  console.log(JSON.stringify(await evaluateStack(stack, { credentials })));
}

void main();
