import { readStackFile, STACKS, stackConfig } from "../rehearsal/program/evaluate";
import { sharedCredentials, wantedCredentials } from "../stacks/config/secrets";
import { SECRET_KEYS } from "../stacks/config/systems";
import { command, JSON_OPTION, run, show } from "./cli";
import { bad, faint, verdict } from "../rehearsal/simulation/colours";
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
  "unknown key": "there is no such credential (--all lists those that there are); remove it:",
};

/** Formats the list for people; what the program generates only with `all`. */
export function describe(stack: string, secrets: readonly SecretReport[], all: boolean): string {
  const shown = secrets.filter(({ state }) => all || state !== "generated");
  const generated = secrets.filter(({ state }) => state === "generated").length;
  const wrong = secrets.filter((secret) => secret.command !== undefined);
  const states = [...new Set(wrong.map(({ state }) => state))];
  const counts = [...new Set(secrets.map(({ state }) => state))].map(
    (state) => `${secrets.filter((secret) => secret.state === state).length} ${state}`,
  );
  return [
    ...(shown.length === 0
      ? []
      : [
          table(
            ["credential", "state", "form", "used by"],
            shown.map(({ key, state, form = "–", usedBy = "–" }) => [key, state, form, usedBy]),
          ),
        ]),
    ...(all || generated === 0 ? [] : [faint(`… and ${generated} that the program generates (--all)`)]),
    "",
    ...states.flatMap((state) => [
      bad(`✗ ${state}: ${REASONS[state] ?? ""}`),
      ...wrong.filter((secret) => secret.state === state).map(({ command: next }) => `    ${next}`),
    ]),
    wrong.length === 0
      ? verdict(true, `${stack} has its credentials: ${counts.join(", ")}. Next: npm run rehearse -- --stack ${stack}`)
      : verdict(false, `credentials of ${stack}: ${counts.join(", ")}. Next: run the command(s) above`),
  ].join("\n");
}

/** The command line. */
export const program = command(
  "secrets",
  "Lists the credentials of a stack: which are set, generated or missing. Never a value.",
  ["npm run secrets -- --stack prod", "npm run --silent secrets -- --stack prod --json"],
)
  .requiredOption("--stack <name>", `the stack: ${STACKS.join(" or ")}`)
  .option(...JSON_OPTION)
  .option("--all", "list what the program generates, too", false)
  .addHelpText(
    "after",
    "\nExit codes: 0 no faults, 1 a credential is missing, in plain text or unknown, 2 wrong usage or\nconfig.",
  )
  .action(({ stack, json, all }: { stack: string; json?: string | true; all: boolean }) => {
    const config = stackConfig(stack);
    const secrets = secretsOf(stack, readStackFile(stack), wantedCredentials(config), sharedCredentials(config));
    show(json, { stack, secrets }, describe(stack, secrets, all));
    if (secrets.some((secret) => secret.command !== undefined)) process.exitCode = 1;
  });

if (require.main === module) void run(program);
