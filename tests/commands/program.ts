import { evaluateStack, type StackEvaluation } from "../../rehearsal/program/charts";

const evaluations = new Map<string, Promise<StackEvaluation>>();

/** A stack as its file has it, evaluated once for all tests of commands. */
export function evaluated(stack: string): Promise<StackEvaluation> {
  const known = evaluations.get(stack) ?? evaluateStack(stack);
  evaluations.set(stack, known);
  return known;
}
