import { type Capacity, capacity, peakOf, type QuotaCheck, type SystemDemand } from "../rehearsal/program/capacity";
import { evaluateStack } from "../rehearsal/program/charts";
import { STACKS } from "../rehearsal/program/evaluate";
import type { NodeLoad } from "../rehearsal/program/placement";
import { isBytes, written } from "../rehearsal/program/units";
import { type Amounts, GPU } from "../rehearsal/program/demand";
import { command, run } from "./cli";
import { bar, table } from "../rehearsal/simulation/tables";

/** Formats the findings for people. */
export function describe(stack: string, { systems, quotas, nodes, lostNodes, notCounted, faults }: Capacity): string {
  return [
    `Requests/limits of ${stack} with every autoscaler at its maximum:`,
    table(
      [
        "namespace",
        "system",
        "pods",
        "CPU",
        "memory GiB",
        "scratch GiB",
        "GPUs",
        "volumes GiB",
        "+ rollout CPU",
        "+ Jobs CPU",
      ],
      systems.map(systemRow),
    ),
    ...[...new Set(quotas.map(({ quota }) => quota))].flatMap((quota) => [
      `Use of ${quota}, with every rollout and every Job at the same time:`,
      table(
        ["resource", "at first", "at most", "rollouts", "Jobs", "allowed", "free", "used"],
        quotas.filter((check) => check.quota === quota).map(quotaRow),
      ),
    ]),
    "Use of the nodes, all of that included:",
    table(
      ["node", "pods", "CPU requested", "memory requested", "scratch requested", "GPUs", "CPU limits"],
      nodes.map(nodeRow),
    ),
    "Effect of losing a node, if volumes are on the nodes of their pods:",
    table(
      ["lost node", "pods that move", "pods that fit nowhere", "pods that wait for volumes"],
      lostNodes.map(({ name, moving, homeless, waiting }) => [name, `${moving}`, list(homeless), list(waiting)]),
    ),
    ...notCounted.map(
      (resource) => `Not counted: ${resource}; no operator in rehearsal/operators says what is run for it`,
    ),
    faults.length === 0
      ? `${stack} fits.`
      : `${stack} does not fit; correct Pulumi.${stack}.yaml:\n${faults.map((fault) => `  ✗ ${fault}`).join("\n")}`,
  ].join("\n");
}

function systemRow({ namespace, system, startPods, most, surge, jobs }: SystemDemand): string[] {
  const pods = most["pods"] ?? 0;
  return [
    namespace,
    system,
    startPods === pods ? `${pods}` : `${startPods}–${pods}`,
    pair(most, "cpu"),
    pair(most, "memory"),
    number(most, "requests.ephemeral-storage"),
    number(most, `requests.${GPU}`),
    number(most, "requests.storage"),
    pair(surge, "cpu"),
    pair(jobs, "cpu"),
  ];
}

function pair(amounts: Amounts, resource: "cpu" | "memory"): string {
  if ((amounts[`limits.${resource}`] ?? 0) === 0) return "–";
  return `${number(amounts, `requests.${resource}`)}/${number(amounts, `limits.${resource}`)}`;
}

function number(amounts: Amounts, resource: string): string {
  const amount = amounts[resource] ?? 0;
  const inUnits = isBytes(resource) ? amount / 1024 ** 3 : amount;
  return amount === 0 ? "–" : `${Math.round(inUnits * 100) / 100}`;
}

function quotaRow(check: QuotaCheck): string[] {
  const { resource, start, most, surge, jobs, allowed } = check;
  const peak = peakOf(check);
  const cells = [start, most, surge, jobs, allowed, allowed - peak].map((amount) => written(resource, amount));
  return [resource, ...cells, bar(allowed === 0 ? (peak > 0 ? 1 : 0) : peak / allowed)];
}

function nodeRow({ name, allocatable, used }: NodeLoad): string[] {
  return [
    name,
    `${used["pods"] ?? 0} of ${allocatable["pods"] ?? 0}`,
    load(used, allocatable, "requests.cpu"),
    load(used, allocatable, "requests.memory"),
    load(used, allocatable, "requests.ephemeral-storage"),
    `${used[`requests.${GPU}`] ?? 0} of ${allocatable[`requests.${GPU}`] ?? 0}`,
    bar((used["limits.cpu"] ?? 0) / (allocatable["requests.cpu"] ?? 1)),
  ];
}

function load(used: Amounts, allocatable: Amounts, resource: string): string {
  const [taken, all] = [used[resource] ?? 0, allocatable[resource] ?? 0];
  return `${bar(taken / Math.max(all, 1e-9))} of ${written(resource, all)}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "–" : names.join("\n");
}

/** Rounds away binary floating-point errors: 0.15, not 0.15000000000000002. */
function exact(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(12)) : value;
}

/** The command line. */
export const program = command("capacity", "Checks a stack's demand against its quotas and nodes, without a cluster.", [
  "npm run capacity -- --stack prod",
  "npm run --silent capacity -- --stack dev --json",
])
  .requiredOption("--stack <name>", `the stack: ${STACKS.join(" or ")}`)
  .option("--json", "print the numbers as JSON: cores, bytes and counts")
  .addHelpText("after", "\nExit codes: 0 it fits, 1 it does not fit, 2 wrong usage or config.")
  .action(async ({ stack, json }: { stack: string; json?: true }) => {
    const evaluation = await evaluateStack(stack);
    const found = capacity(evaluation, evaluation.config);
    console.log(json ? JSON.stringify({ stack, ...found }, exact, 2) : describe(stack, found));
    if (found.faults.length > 0) process.exitCode = 1;
  });

if (require.main === module) void run(program);
