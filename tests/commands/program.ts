import type { StackEvaluation } from "../../rehearsal/program/charts";
import { program } from "../support/program";

/** A stack as its file has it, as commands evaluate it. */
export function evaluated(stack: string): Promise<StackEvaluation> {
  return program(stack);
}
