import { readStackFile, STACKS, stackConfig } from "../rehearsal/program/evaluate";
import { sharedCredentials, wantedCredentials } from "../stacks/config/secrets";
import { SECRET_KEYS } from "../stacks/config/systems";
import { command, run } from "./cli";
import { table } from "../rehearsal/simulation/tables";

/** Where a stack gets a credential from. */
export type SecretState = "set" | "generated" | "shared login" | "missing" | "plain text" | "unknown key";

/** A credential of a stack, without its value. */
export interface SecretReport {
  readonly key: string;
  readonly state: SecretState;
  /** The form of its value, and who uses it; absent for an unknown key. */
  readonly form?: string;
  readonly usedBy?: string;
  /** The command that corrects a fault. */
  readonly command?: string;
}

const PREFIX = "carbon:";

/** The state of each credential in a stack file; values are not read. `shared` lists those that the shared login replaces. */
export function secretsOf(
  stack: string,
  file: Readonly<Record<string, unknown>>,
  required: readonly string[],
  shared: readonly string[] = [],
): SecretReport[] {
  const known = Object.entries(SECRET_KEYS).map(([key, { form, usedBy }]) => {
    const unset = required.includes(key) ? "missing" : shared.includes(key) ? "shared login" : "generated";
    const state = stateOf(file[PREFIX + key], unset);
    const isWrong = state === "missing" || state === "plain text";
    return {
      key,
      state,
      form,
      usedBy,
      ...(isWrong && { command: `npx pulumi config set --secret ${PREFIX}${key} -s ${stack}` }),
    };
  });
  const unknown = Object.keys(file)
    .filter((key) => key.startsWith(PREFIX) && key !== `${PREFIX}platform`)
    .map((key) => key.slice(PREFIX.length))
    .filter((key) => !(key in SECRET_KEYS))
    .map((key) => ({ key, state: "unknown key" as const, command: `pulumi config rm ${PREFIX}${key} -s ${stack}` }));
  return [...known, ...unknown];
}

function stateOf(value: unknown, unset: SecretState): SecretState {
  if (value === undefined) return unset;
  return typeof value === "object" && value !== null && "secure" in value ? "set" : "plain text";
}

const REASONS: Partial<Record<SecretState, string>> = {
  missing: "secrets.required lists it, or a third party issues it; set it:",
  "plain text": "anybody who reads the stack file can read it; change it where it is used, then set it again:",
  "unknown key": `there is no such credential; allowed are ${Object.keys(SECRET_KEYS).join(", ")}; remove it:`,
};

function describe(secrets: readonly SecretReport[]): string {
  const rows = secrets.map(({ key, state, form = "–", usedBy = "–" }) => [key, state, form, usedBy]);
  const wrong = secrets.flatMap(({ key, state, command: next }) =>
    next === undefined ? [] : [`✗ ${key}: ${REASONS[state] ?? state}\n    ${next}`],
  );
  return [table(["credential", "state", "form", "used by"], rows), ...wrong].join("\n");
}

/** The command line. */
export const program = command(
  "secrets",
  "Lists the credentials of a stack: which are set, generated or missing. Never a value.",
  ["npm run secrets -- --stack prod", "npm run --silent secrets -- --stack prod --json"],
)
  .requiredOption("--stack <name>", `the stack: ${STACKS.join(" or ")}`)
  .option("--json", "print the list as JSON")
  .addHelpText(
    "after",
    "\nExit codes: 0 no faults, 1 a credential is missing, in plain text or unknown, 2 wrong usage or config.",
  )
  .action(({ stack, json }: { stack: string; json?: true }) => {
    const config = stackConfig(stack);
    const secrets = secretsOf(stack, readStackFile(stack), wantedCredentials(config), sharedCredentials(config));
    console.log(json ? JSON.stringify({ stack, secrets }, null, 2) : describe(secrets));
    if (secrets.some((secret) => secret.command !== undefined)) process.exitCode = 1;
  });

if (require.main === module) void run(program);
