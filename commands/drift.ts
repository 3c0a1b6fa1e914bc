import * as fs from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { command, JSON_OPTION, run, show } from "./cli";
import { type Inputs, keysOf, titleOf, valueAt } from "../rehearsal/program/fields";
import { code, markdownTable } from "../rehearsal/simulation/markdown";
import { FIELD_MANAGER } from "./verify/cluster";

/** A field of an object on which cluster and program differ. */
export interface Difference {
  /** `kind namespace/name` */
  readonly object: string;
  /** The field, such as `spec.hard.pods`; absent where the object itself is missing. */
  readonly field?: string;
  /** Values as JSON; absent where there is none, `"[secret]"` for a credential. */
  readonly live?: string;
  readonly declared?: string;
  /** Who manages the field on the cluster now, such as `kubectl-edit`, and since when. */
  readonly by?: string;
}

/** What a preview after a refresh says. */
export interface Drift {
  /** Changed on the cluster since the last `up`. */
  readonly drifted: readonly Difference[];
  /** Changed in the program or its config since then. */
  readonly notDeployed: readonly Difference[];
}

interface State {
  readonly type: string;
  readonly inputs?: Inputs;
  readonly outputs?: Inputs;
}

/** What `pulumi preview --json --diff --refresh` writes. */
export interface Preview {
  readonly steps?: readonly {
    readonly op: string;
    readonly urn: string;
    readonly oldState?: State;
    readonly newState?: State;
    readonly detailedDiff?: Inputs | null;
    readonly diffReasons?: readonly string[] | null;
  }[];
  readonly diagnostics?: readonly { readonly severity: string; readonly message: string }[];
}

/**
 * The fields on which cluster and program differ. Of a refreshed object, the step `refresh` has what the last `up` wrote, and the
 * step that would change it what is live and what is declared.
 *
 * @throws RunError for a preview that failed.
 */
export function driftOf({ steps = [], diagnostics = [] }: Preview): Drift {
  // That of --expect-no-changes is no diagnostic.
  const errors = diagnostics.filter(({ severity }) => severity === "error").map(({ message }) => message.trim());
  if (errors.length > 0) throw new pulumi.RunError(`the preview failed, so drift is unknown:\n${errors.join("\n")}`);
  const deployed = new Map(
    steps.flatMap(({ op, urn, oldState }) => (op === "refresh" ? [[urn, oldState?.inputs]] : [])),
  );
  const drifted: Difference[] = [];
  const notDeployed: Difference[] = [];
  for (const { op, urn, oldState, newState, detailedDiff, diffReasons } of steps) {
    const { type, inputs = {} } = newState ?? oldState ?? { type: "" };
    if (!type.startsWith("kubernetes:")) continue;
    const object = titleOf(inputs);
    if (op === "create") (deployed.has(urn) ? drifted : notDeployed).push({ object, declared: "the object" });
    if (op === "delete") notDeployed.push({ object, live: "the object" });
    if (op !== "update" && op !== "replace") continue;
    for (const field of Object.keys(detailedDiff ?? {}).concat(detailedDiff ? [] : (diffReasons ?? []))) {
      const [before, live, declared] = [deployed.get(urn), oldState?.inputs, newState?.inputs].map((one) =>
        valueAt(one, field),
      );
      const by = managerOf(oldState?.outputs, field);
      const difference = { object, field, ...(live && { live }), ...(declared && { declared }), ...(by && { by }) };
      // Whether a credential was changed there or here, nobody may see.
      (live !== before || live === SECRET ? drifted : notDeployed).push(difference);
    }
  }
  return { drifted, notDeployed };
}

// What Pulumi writes in place of a credential.
const SECRET = JSON.stringify("[secret]");

interface ManagedFields {
  readonly manager?: string;
  readonly time?: string;
  readonly subresource?: string;
  readonly fieldsV1?: Inputs;
}

/** Who else manages a field, or the list that it lies in. */
function managerOf(outputs: Inputs | undefined, field: string): string | undefined {
  const { managedFields = [] } = (outputs?.["metadata"] ?? {}) as { managedFields?: readonly ManagedFields[] };
  const keys = keysOf(field);
  const lists = keys.findIndex((key) => /^\d+$/.test(key));
  const names = keys.slice(0, lists === -1 ? undefined : lists).map((key) => `f:${key}`);
  const [found] = managedFields.filter(
    ({ manager, subresource, fieldsV1 }) =>
      !manager?.startsWith(FIELD_MANAGER) &&
      // Of what scales, the replica count is a part of its own.
      (subresource === undefined || subresource === "scale") &&
      names.reduce<unknown>((fields, name) => (fields as Inputs | undefined)?.[name], fieldsV1) !== undefined,
  );
  return found && `${found.manager}, ${found.time}`;
}

// An issue takes 65,536 characters.
const MOST_ROWS = 150;

/** The Markdown of an issue's part about one stack; the first line names it for whoever updates the issue. */
export function toMarkdown(stack: string, { drifted, notDeployed }: Drift): string {
  const verdict =
    drifted.length === 0
      ? `The cluster is as the last \`up\` of \`${stack}\` left it.`
      : `**${drifted.length} difference(s)** came about on the cluster of \`${stack}\` since its last \`up\`. Adopt or revert each: docs/drift.md.`;
  return [
    `<!-- drift of ${stack} -->`,
    `### \`${stack}\``,
    "",
    verdict,
    ...tableOf(drifted),
    ...(notDeployed.length === 0
      ? []
      : ["", `No drift, but declared and not deployed yet (\`npx pulumi up -s ${stack}\`):`, ...tableOf(notDeployed)]),
    "",
  ].join("\n");
}

function tableOf(differences: readonly Difference[]): string[] {
  if (differences.length === 0) return [];
  const more = differences.length - MOST_ROWS;
  return [
    "",
    ...markdownTable(
      ["object", "field", "live", "declared", "changed by"],
      differences
        .slice(0, MOST_ROWS)
        .map(({ object, field, live = "absent", declared = "absent", by = "–" }) =>
          [object, field ?? "–", live, declared, by].map(cell),
        ),
    ),
    ...(more > 0 ? ["", `… and ${more} more`] : []),
  ];
}

function cell(text: string): string {
  return ["–", "absent", "the object"].includes(text) ? text : code(text);
}

/** The command line. */
export const program = command("drift", "Tells from a preview what was changed on the cluster by hand, as Markdown.", [
  "npm run --silent drift -- --stack prod --preview preview.json",
])
  .requiredOption("--stack <name>", "the stack that was previewed")
  .requiredOption("--preview <file>", "what that preview wrote: see below")
  .option(...JSON_OPTION)
  .addHelpText(
    "after",
    `
The preview is made by:
  npx pulumi preview -s prod --refresh --run-program --json --diff > preview.json
The workflow .github/workflows/drift.yaml runs it each day and keeps one issue up to date;
docs/drift.md says what to do. A preview that stops at a field conflict works with
PULUMI_K8S_ENABLE_PATCH_FORCE=true; it writes nothing.

Exit codes: 0 no drift, 1 drift, 2 wrong usage, or the preview failed.`,
  )
  .action(({ stack, preview, json }: { stack: string; preview: string; json?: string | true }) => {
    const drift = driftOf(read(preview));
    show(json, { stack, ...drift }, toMarkdown(stack, drift));
    if (drift.drifted.length > 0) process.exitCode = 1;
  });

function read(file: string): Preview {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as Preview;
  } catch (error) {
    const { message } = error as Error;
    throw new pulumi.RunError(`--preview ${file}: ${message}; it must hold what \`pulumi preview --json\` printed`);
  }
}

if (require.main === module) void run(program);
