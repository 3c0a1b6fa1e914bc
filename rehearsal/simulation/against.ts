import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { V1Pod } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import { contractChange } from "../program/contract-change";
import { readStackFile, ROOT, STACKS } from "../program/evaluate";
import { changesOf } from "./against/changes";
import { chartChanges, type Installed } from "./against/charts";
import { type Checkout, checkOut, contractOf, describe, stacksOf } from "./against/checkout";
import type { Description } from "./against/describe";
import type { ContractPreview, Preview, StackPreview } from "./against/preview";
import type { EngineResult } from "./engine";
import { told } from "./events";
import { openRehearsal, type Rehearsal, type RehearsalOptions, settle } from "./rehearse";

/** What to preview. */
export interface AgainstOptions extends Pick<RehearsalOptions, "overrides" | "charts" | "progress"> {
  /** The commit that runs. */
  readonly ref: string;
  /** @default all */
  readonly stacks?: readonly string[];
  /** Directory of the real charts that the commit pins, instead of its stacks' own. */
  readonly refCharts?: string;
}

/** Brings up what a commit has, previews the working tree over it and deploys it, stack by stack. */
export async function previewAgainst(options: AgainstOptions, interrupted: AbortSignal): Promise<Preview> {
  const { ref, stacks = STACKS, charts, refCharts, progress } = options;
  for (const stack of stacks) readStackFile(stack);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-against-"));
  try {
    const base = { ...(await checkOut(ref, path.join(directory, "base"), progress)), charts: absolute(refCharts) };
    const head: Checkout = { directory: ROOT, charts: absolute(charts) };
    const running = stacksOf(base);
    const previews: StackPreview[] = [];
    for (const stack of stacks) {
      if (!running.includes(stack)) {
        previews.push({ stack, isNew: true });
        continue;
      }
      progress(`${stack}: as ${ref} has it`);
      previews.push(await stackOver(stack, base, head, options, interrupted));
    }
    return { ref, contract: contractOver(base, head), stacks: previews };
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

function absolute(directory: string | undefined): string | undefined {
  return directory === undefined ? undefined : path.resolve(directory);
}

async function stackOver(
  stack: string,
  base: Checkout,
  head: Checkout,
  { ref, overrides = {}, charts, progress }: AgainstOptions,
  interrupted: AbortSignal,
): Promise<StackPreview> {
  let rehearsal: Rehearsal;
  try {
    rehearsal = await openRehearsal({ stack, overrides, ...(charts && { charts }), progress }, interrupted);
  } catch (error) {
    if (pulumi.RunError.isInstance(error)) return { stack, refused: error.message };
    throw error;
  }
  try {
    const running = await bringUp(rehearsal, base, overrides, progress, interrupted);
    if (!running.result.ok) {
      throw new pulumi.RunError(
        `--against ${ref}: ${stack} does not come up there: ${running.result.errors.join("; ")}`,
      );
    }
    return await previewOver(rehearsal, running, head, { overrides, progress, interrupted });
  } finally {
    await rehearsal.cluster.stop();
  }
}

/** Brings a stack up as a checkout has it. */
export async function bringUp(
  rehearsal: Rehearsal,
  checkout: Checkout,
  overrides: Readonly<Record<string, string>>,
  progress: (line: string) => void,
  interrupted?: AbortSignal,
): Promise<Installed & { readonly result: EngineResult }> {
  const charts = path.join(rehearsal.directory, "charts-before");
  const running = { charts, description: await describe(checkout, rehearsal.stack, overrides, charts) };
  return { ...running, result: await runOf(rehearsal, checkout, running, "up", progress, interrupted) };
}

function runOf(
  { engine, directory }: Rehearsal,
  checkout: Checkout,
  { description: { values, resources }, charts }: Installed,
  command: "preview" | "up",
  progress: (line: string) => void,
  interrupted?: AbortSignal,
): Promise<EngineResult> {
  // The plugin compares the paths of charts, too.
  const link = path.join(directory, "charts-now");
  fs.rmSync(link, { force: true });
  fs.symlinkSync(charts, link);
  engine.setValues(() => ({ ...values, charts: { directory: link } }));
  return engine.run(command, {
    saveOnce: true,
    args: ["--cwd", checkout.directory],
    progress: told(command, resources, progress),
    ...(interrupted && { signal: interrupted }),
  });
}

/** Options of {@link previewOver}. */
export interface OverOptions {
  readonly overrides: Readonly<Record<string, string>>;
  readonly progress: (line: string) => void;
  readonly interrupted?: AbortSignal;
}

let turn = 0;

/** Previews a checkout over what runs; what the preview lets pass is deployed, too. */
export async function previewOver(
  rehearsal: Rehearsal,
  running: Installed,
  head: Checkout,
  { overrides, progress, interrupted }: OverOptions,
): Promise<StackPreview> {
  const { stack } = rehearsal;
  const charts = path.join(rehearsal.directory, `charts-after-${turn++}`);
  let after: Description;
  try {
    after = await describe(head, stack, overrides, charts);
  } catch (error) {
    if (pulumi.RunError.isInstance(error)) return { stack, refused: error.message };
    throw error;
  }
  const installed = { description: after, charts };
  progress(`${stack}: preview`);
  const preview = await runOf(rehearsal, head, installed, "preview", progress, interrupted);
  const podsBefore = await podsOf(rehearsal);
  if (preview.ok) progress(`${stack}: up`);
  const up = preview.ok ? await runOf(rehearsal, head, installed, "up", progress, interrupted) : undefined;
  const unsettled = up?.ok ? await settle(rehearsal, interrupted) : [];
  const podsAfter = up === undefined ? podsBefore : await podsOf(rehearsal);
  return {
    stack,
    seconds: { preview: preview.seconds, ...(up && { up: up.seconds }) },
    resources: preview.steps.length,
    faults: preview.faults,
    failed: up === undefined ? (preview.faults.length === 0 ? preview.errors : []) : [...up.errors, ...unsettled],
    changes: changesOf(preview.steps),
    rolled: up === undefined ? undefined : rolledPods(podsBefore, podsAfter, after.systems),
    acknowledged: after.acknowledged,
    callers: callersOf(after),
    charts: await chartChanges(running, installed, rehearsal.helm),
    capacity: { before: running.description.capacity, after: after.capacity },
  };
}

function callersOf({ calls }: Description): Readonly<Record<string, readonly string[]>> {
  const callers: Record<string, string[]> = {};
  for (const { from, to } of calls) (callers[to] ??= []).push(from);
  return callers;
}

interface PodOf {
  readonly uid: string;
  /** `namespace/workload` */
  readonly workload: string;
}

async function podsOf({ api }: Rehearsal): Promise<PodOf[]> {
  const { items } = await api.core.listPodForAllNamespaces();
  return items.flatMap((pod) => {
    const [owner] = pod.metadata?.ownerReferences ?? [];
    if (owner === undefined || owner.kind === "Job") return [];
    return [{ uid: pod.metadata?.uid ?? "", workload: workloadOf(pod, owner) }];
  });
}

function workloadOf({ metadata }: V1Pod, { kind, name }: { readonly kind: string; readonly name: string }): string {
  const hash = metadata?.labels?.["pod-template-hash"];
  const workload = kind === "ReplicaSet" && hash !== undefined ? name.slice(0, -hash.length - 1) : name;
  return `${metadata?.namespace}/${workload}`;
}

/** Workloads that are there before and after, with pods that went. */
function rolledPods(
  before: readonly PodOf[],
  after: readonly PodOf[],
  systems: Description["systems"],
): { readonly workload: string; readonly system: string; readonly pods: number }[] {
  const kept = new Set(after.map(({ uid }) => uid));
  const still = new Set(after.map(({ workload }) => workload));
  const gone = before.filter(({ uid, workload }) => !kept.has(uid) && still.has(workload));
  return [...new Set(gone.map(({ workload }) => workload))].sort().map((workload) => {
    const name = workload.split("/").at(-1) ?? "";
    return {
      workload,
      system: systems[name] ?? name,
      pods: gone.filter((pod) => pod.workload === workload).length,
    };
  });
}

/** What the schema of the outputs becomes. */
export function contractOver(base: Checkout, head: Checkout): ContractPreview {
  const [before, after] = [contractOf(base), contractOf(head)];
  return { ...contractChange(before, after), before, after };
}
