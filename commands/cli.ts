import * as pulumi from "@pulumi/pulumi";
import { Command, CommanderError, InvalidArgumentError } from "commander";

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
      console.error(`error: ${error.message}`);
    } else {
      throw error;
    }
  }
}

/** Whether the user can correct an error: its message says how, and a stack trace would only hide it. */
export function isUserFault(error: unknown): error is Error {
  return pulumi.RunError.isInstance(error);
}

/** Collects a repeatable option PATH=VALUE. */
export function collect(value: string, all: Readonly<Record<string, string>>): Record<string, string> {
  const at = value.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("expected PATH=VALUE, such as ray.workers.max=3");
  return { ...all, [value.slice(0, at)]: value.slice(at + 1) };
}
