import { type Capacity, capacity, peakOf, type QuotaCheck, type SystemDemand } from "../rehearsal/program/capacity";
import { evaluateStack } from "../rehearsal/program/charts";
import { STACKS } from "../rehearsal/program/evaluate";
import type { NodeLoad } from "../rehearsal/program/placement";
import { isBytes, written } from "../rehearsal/program/units";
import { type Amounts, GPU } from "../rehearsal/program/demand";
import { command, JSON_OPTION, run, show } from "./cli";
import { bad, faint, verdict } from "../rehearsal/simulation/colours";
import { bar, table } from "../rehearsal/simulation/tables";

/** Formats the findings for people; what takes nothing only with `all`. */
export function describe(stack: string, found: Capacity, all: boolean): string {
  const { systems, quotas, nodes, lostNodes, notCounted, faults } = found;
  const shown = systems.filter((system) => all || takes(system));
  const hidden = systems.length - shown.length;
  return [
    `Requests/limits of ${stack} with every autoscaler at its maximum, in cores and GiB:`,
    table(
      ["system", "pods", "CPU", "memory", "scratch", "GPUs", "volumes", "+ rollout", "+ Jobs"],
      [...new Set(shown.map(({ namespace }) => namespace))].flatMap((namespace) => [
        [namespace === "" ? "cluster-wide" : namespace],
        ...shown.filter((system) => system.namespace === namespace).map(systemRow),
      ]),
    ),
    ...(hidden > 0 ? [faint(`… and ${hidden} that take nothing of this (--all)`)] : []),
    ...[...new Set(quotas.map(({ quota }) => quota))].flatMap((quota) => [
      "",
      `Use of ${quota}, with every rollout and every Job at the same time:`,
      table(
        ["resource", "at first", "at most", "rollouts", "Jobs", "allowed", "free", "used"],
        quotas.filter((check) => check.quota === quota && (all || check.allowed > 0)).map(quotaRow),
      ),
    ]),
    "",
    "Requests on the nodes, all of that included:",
    table(["node", "pods", "CPU", "memory", "scratch", "GPUs", "CPU limits"], nodes.map(nodeRow)),
    "",
    "Effect of losing a node then, if volumes are on the nodes of their pods:",
    table(
      ["lost node", "pods that move", "pods that fit nowhere", "pods that wait for volumes"],
      lostNodes.map(({ name, moving, homeless, waiting }) => [name, `${moving}`, list(homeless), list(waiting)]),
    ),
    faint("A scheduler may place pods otherwise: `npm run rehearse` shows where one puts the first of them."),
    "",
    ...notCounted.map(
      (resource) => `Not counted: ${resource}; no operator in rehearsal/operators says what is run for it`,
    ),
    ...faults.map((fault) => bad(`✗ ${fault}`)),
    faults.length === 0
      ? verdict(true, `${stack} fits. Next: npm run rehearse -- --stack ${stack}`)
      : verdict(false, `${stack} does not fit: ${faults.length} fault(s). Next: correct Pulumi.${stack}.yaml`),
  ].join("\n");
}

function takes({ most, surge, jobs }: SystemDemand): boolean {
  const objects = ["services", "services.nodeports", "services.loadbalancers"];
  return [most, surge, jobs].some((amounts) =>
    Object.entries(amounts).some(([key, amount]) => amount > 0 && !objects.includes(key)),
  );
}

function systemRow({ system, startPods, most, surge, jobs }: SystemDemand): string[] {
  const pods = most["pods"] ?? 0;
  return [
    `  ${system}`,
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
  const unit = isBytes(resource) ? " GiB" : "";
  const cells = [start, most, surge, jobs, allowed, allowed - peak].map((amount) =>
    String(Math.round((unit === "" ? amount : amount / 1024 ** 3) * 100) / 100),
  );
  return [`${resource}${unit}`, ...cells, bar(allowed === 0 ? (peak > 0 ? 1 : 0) : peak / allowed)];
}

function nodeRow({ name, allocatable, used }: NodeLoad): string[] {
  return [
    name,
    `${used["pods"] ?? 0}\nof ${allocatable["pods"] ?? 0}`,
    load(used, allocatable, "requests.cpu"),
    load(used, allocatable, "requests.memory"),
    load(used, allocatable, "requests.ephemeral-storage"),
    `${used[`requests.${GPU}`] ?? 0}\nof ${allocatable[`requests.${GPU}`] ?? 0}`,
    bar((used["limits.cpu"] ?? 0) / (allocatable["requests.cpu"] ?? 1)),
  ];
}

function load(used: Amounts, allocatable: Amounts, resource: string): string {
  const [taken, all] = [used[resource] ?? 0, allocatable[resource] ?? 0];
  return `${bar(taken / Math.max(all, 1e-9))}\nof ${written(resource, all)}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "–" : names.join("\n");
}

/** The command line. */
export const program = command("capacity", "Checks a stack's demand against its quotas and nodes, without a cluster.", [
  "npm run capacity -- --stack prod",
  "npm run --silent capacity -- --stack dev --json",
])
  .requiredOption("--stack <name>", `the stack: ${STACKS.join(" or ")}`)
  .option(...JSON_OPTION)
  .option("--all", "list what takes nothing, too", false)
  .addHelpText(
    "after",
    "\nThe JSON is in cores, bytes and counts.\nExit codes: 0 it fits, 1 it does not fit, 2 wrong usage or config.",
  )
  .action(async ({ stack, json, all }: { stack: string; json?: string | true; all: boolean }) => {
    const evaluation = await evaluateStack(stack);
    const found = capacity(evaluation, evaluation.config);
    show(json, { stack, ...found }, describe(stack, found, all));
    if (found.faults.length > 0) process.exitCode = 1;
  });

if (require.main === module) void run(program);
