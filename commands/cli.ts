import * as fs from "node:fs";
import { stripVTControlCharacters, styleText } from "node:util";
import * as pulumi from "@pulumi/pulumi";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { folded } from "../rehearsal/simulation/tables";

/** A command that is run as `npm run <name> -- <flags>`, with examples in its help. */
export function command(name: string, description: string, examples: readonly string[]): Command {
  return new Command(`npm run ${name} --`)
    .description(description)
    .helpOption("-h, --help", "show this help")
    .addHelpText("after", `\nExamples:\n${examples.map((example) => `  ${example}`).join("\n")}`);
}

/**
 * Parses the command line and runs the command. The exit code is the one the action sets (1: it found faults), or 2 for
 * an error of the user, which is shown without a stack trace.
 */
export async function run(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  try {
    await program.exitOverride().parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2; // commander has already printed it
    } else if (isUserFault(error)) {
      process.exitCode = 2;
      console.error(folded(`error: ${error.message}`, process.stderr));
    } else {
      throw error;
    }
  }
}

/** Whether the user can correct an error: its message says how, and a stack trace would only hide it. */
export function isUserFault(error: unknown): error is Error {
  return pulumi.RunError.isInstance(error);
}

const INTERRUPTED = 130;

/**
 * Does work that a signal interrupts, and returns its exit code: 130 when it was interrupted, 1 with the stack trace of an error
 * that no user can correct.
 */
export async function interruptibly(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const interruption = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      // On a second signal, do not wait for the engine to save a state that nobody needs.
      if (interruption.signal.aborted) process.exit(INTERRUPTED);
      progress(`${signal}: taking everything down`);
      interruption.abort(new Error("interrupted"));
    });
  }
  try {
    return await work(interruption.signal);
  } catch (error) {
    if (interruption.signal.aborted) return INTERRUPTED;
    if (isUserFault(error)) throw error;
    console.error(error);
    return 1;
  }
}

/** Prints a text: with its colours where Node finds that the terminal wants them (`NO_COLOR`, `FORCE_COLOR`). */
export function print(text: string): void {
  const hasColours = styleText("red", "", { stream: process.stdout }) !== "";
  console.log(folded(hasColours ? text : stripVTControlCharacters(text), process.stdout));
}

/** The option `--json [file]`, the same in every command that has it; {@link show} does what it says. */
export const JSON_OPTION = ["--json [file]", "write the result as JSON to a file, or in place of the text"] as const;

/** Shows a result: `text` for people, or what `--json` asks for. */
export function show(json: string | true | undefined, result: unknown, text: string): void {
  const written = `${JSON.stringify(result, exact, 2)}\n`;
  if (json === true) {
    process.stdout.write(written);
    return;
  }
  if (json !== undefined) fs.writeFileSync(json, written);
  print(text);
}

/** Rounds away binary floating-point errors: 0.15, not 0.15000000000000002. */
function exact(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(12)) : value;
}

/** A line about what is being done, with the time. */
export function progress(line: string): void {
  const time = `${new Date().toISOString().slice(11, 19)}  `;
  console.error(folded(time + line, process.stderr, " ".repeat(time.length)));
}

/** Collects a repeatable option PATH=VALUE. */
export function collect(value: string, all: Readonly<Record<string, string>>): Record<string, string> {
  const at = value.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("expected PATH=VALUE, such as ray.workers.max=3");
  return { ...all, [value.slice(0, at)]: value.slice(at + 1) };
}
