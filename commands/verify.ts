import { setTimeout as sleep } from "node:timers/promises";
import type { KubeConfig } from "@kubernetes/client-node";
import { InvalidArgumentError } from "commander";
import * as pulumi from "@pulumi/pulumi";
import { evaluateConfig } from "../rehearsal/program/charts";
import { mark, type State, verdict } from "../rehearsal/simulation/colours";
import { command, JSON_OPTION, progress, run, show } from "./cli";
import { summedUp, table } from "../rehearsal/simulation/tables";
import { kubeconfigOf } from "./kubeconfig";
import { access } from "./verify/access";
import { answers, type HttpAnswer } from "./verify/answers";
import { before } from "./verify/before";
import { askAll, type Check, type Question, unanswered, Unanswered } from "./verify/check";
import { lookAt } from "./verify/cluster";
import { deployedConfig, ofStackFile } from "./verify/deployed";
import { type Expected, expectedOf } from "./verify/expected";
import { images } from "./verify/images";
import { askInside } from "./verify/job";
import { pods } from "./verify/pods";
import { ray } from "./verify/ray";
import { FULL, room } from "./verify/room";
import { services, storage } from "./verify/storage";
import { workloads } from "./verify/workloads";

/** The result of a verification, as `--json` writes it; keys are added, never changed. */
export interface Verification {
  readonly stack: string;
  readonly before: boolean;
  /** Whether every check passed. */
  readonly ok: boolean;
  readonly passed: number;
  readonly total: number;
  readonly checks: readonly Check[];
  /** The config that the cluster was compared with, and the keys of the stack file that were not deployed. */
  readonly comparedWith?: { readonly config: string; readonly notDeployed: readonly string[] };
}

/** Options of {@link verify}. */
export interface VerifyOptions {
  readonly before: boolean;
  /** How long a pod may take to start, in seconds. */
  readonly patience: number;
  readonly progress: (line: string) => void;
}

/** Compares a cluster with a stack's program. It writes only one Job, which it deletes. */
export async function verify(
  expected: Expected,
  kubeconfig: KubeConfig,
  { before: isBefore, patience, progress: say }: VerifyOptions,
): Promise<Verification> {
  const cluster = lookAt(kubeconfig);
  await Promise.race([cluster.version(), late()]).catch((error: unknown) => {
    const { message, next } = unanswered(error);
    const { name, server } = kubeconfig.getCurrentCluster() ?? {};
    throw new pulumi.RunError(`cluster ${name} at ${server} cannot be reached: ${message}; ${next}`);
  });
  const inside = once(() => askInside(cluster, say));
  const questions: Question[] = isBefore
    ? before(expected, cluster)
    : [
        ...workloads(expected, cluster),
        ...pods(expected, cluster, patience),
        ...images(expected, cluster),
        ...ray(expected, cluster),
        ...answers(expected, cluster, inside),
        ...storage(expected, cluster),
        ...services(expected, cluster),
        ...room(expected, cluster),
        ...access(expected, cluster),
      ];
  say(`${questions.length} checks of ${expected.stack}`);
  const checks = await askAll(questions);
  const passed = checks.filter(({ state }) => state === "ok").length;
  const total = checks.length;
  return { stack: expected.stack, before: isBefore, ok: passed === total, passed, total, checks };
}

// Behind a firewall that drops packets, the first call would hang for minutes.
const REACH_SECONDS = 15;

async function late(): Promise<never> {
  await sleep(REACH_SECONDS * 1000, undefined, { ref: false });
  throw new Unanswered(`no answer within ${REACH_SECONDS} s`, "check for a firewall or VPN in between");
}

function once(ask: () => Promise<HttpAnswer[]>): () => Promise<HttpAnswer[]> {
  let asked: Promise<HttpAnswer[]> | undefined;
  return () => (asked ??= ask());
}

/** Formats the findings for people: the count by topic or, with `all`, each check; faults with their next step; the verdict. */
export function describe({ stack, before, checks, comparedWith }: Verification, all: boolean): string {
  const topics = [...new Set(checks.map(({ topic }) => topic))];
  const of = (topic: string) => checks.filter((check) => check.topic === topic);
  const counts = topics.map((topic) => [
    topic,
    ...STATES.map((state) => `${of(topic).filter((one) => one.state === state).length}`),
  ]);
  const each = topics.flatMap((topic) => [
    [topic],
    ...of(topic).map(({ name, state, found }) => [`  ${name}`, mark(state), found]),
  ]);
  return [
    all ? table(["check", "", "found"], each) : table(["topic", "passed", "failed", "unknown"], counts),
    "",
    ...faultLines(checks, all),
    ...notDeployedLines(stack, comparedWith?.notDeployed ?? [], all),
    conclusion(stack, before, checks),
  ].join("\n");
}

const STATES = ["ok", "failed", "unknown"] as const;

function conclusion(stack: string, isBefore: boolean, checks: readonly Check[]): string {
  const of = (state: State) => checks.filter((check) => check.state === state);
  const passed = `${of("ok").length} of ${checks.length} checks of ${stack} passed`;
  const [first] = [...of("failed"), ...of("unknown")];
  if (first === undefined) return verdict("ok", isBefore ? `${passed}. Next: npx pulumi up -s ${stack}` : passed);
  return verdict(first.state, `${passed}, ${of("failed").length} failed. Next: ${first.faults[0]?.next}`);
}

function notDeployedLines(stack: string, keys: readonly string[], all: boolean): string[] {
  if (keys.length === 0) return [];
  return [
    `${mark("unknown")} not deployed, and not asked about, from Pulumi.${stack}.yaml:`,
    ...summedUp(keys, all ? Infinity : SHOWN).map((key) => `    ${key}`),
    `    → npx pulumi up -s ${stack}`,
  ];
}

/** How many of what has one next step are shown. */
const SHOWN = 5;

/** The faults and unknowns, grouped by next step. */
function faultLines(checks: readonly Check[], all: boolean): string[] {
  const byStep = new Map<string, string[]>();
  for (const { topic, name, state, faults } of checks) {
    for (const { what, next } of faults) {
      byStep.set(next, [...(byStep.get(next) ?? []), `${mark(state)} ${topic}, ${name}: ${what}`]);
    }
  }
  return [...byStep].flatMap(([next, lines]) => [...summedUp(lines, all ? Infinity : SHOWN), `    → ${next}`]);
}

// The Ray image has several gigabytes, which take a node minutes to pull.
const PATIENCE_SECONDS = 600;

/** The command line. */
export const program = command(
  "verify",
  "Compares a cluster with a stack's program, and calls its services from inside.",
  [
    "npm run verify -- --stack prod",
    "npm run verify -- --stack prod --before",
    "npm run verify -- --stack dev --json verification.json",
  ],
)
  .requiredOption("--stack <name>", "the stack whose cluster to verify")
  .option("--before", "check whether the cluster is ready for the first `up`", false)
  .option(...JSON_OPTION)
  .option("--all", "list every check and fault, instead of counts and the first of many", false)
  .option("--patience <seconds>", "how long a pod may take to start", seconds, PATIENCE_SECONDS)
  .addHelpText(
    "after",
    `
It uses your shell's kubeconfig at the stack's context. It only reads, except for one Job in
data-platform that it creates from the suspended CronJob \`verify\` and deletes; the Job calls MLflow,
Feast, Ray, the application and Prometheus. docs/verify-rights.yaml lists the rights it needs.
Quotas and nodes count as full from ${FULL * 100} %.

✓ passed   ✗ failed   ? unknown, which does not count as passed

Exit codes: 0 every check passed, 1 some did not, 2 wrong usage or config, or the cluster cannot be
reached.`,
  )
  .action(async ({ stack, before: isBefore, json, patience, all }: Options) => {
    const kubeconfig = kubeconfigOf(stack);
    const basis = isBefore ? ofStackFile(stack, "which the first up deploys") : await deployedConfig(stack);
    const { config, from, notDeployed } = basis;
    progress(`comparing the cluster with ${from}`);
    const expected = expectedOf(stack, { config, ...(await evaluateConfig(stack, config)) });
    const found = {
      ...(await verify(expected, kubeconfig, { before: isBefore, patience, progress })),
      comparedWith: { config: from, notDeployed },
    };
    show(json, found, describe(found, all));
    if (!found.ok) process.exitCode = 1;
  });

if (require.main === module) void run(program);

interface Options {
  readonly stack: string;
  readonly before: boolean;
  readonly json?: string | true;
  readonly patience: number;
  readonly all: boolean;
}

function seconds(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number of seconds, such as 600");
}
