import * as assert from "node:assert/strict";
import { CustomObjectsApi, KubeConfig, PatchStrategy, setHeaderOptions, type V1Pod } from "@kubernetes/client-node";
import { systemsOf, type Wire, type WireEnd, wiresOf } from "../../rehearsal/program/wiring";
import { evaluateStack } from "../../rehearsal/program/charts";
import type { Evaluation } from "../../rehearsal/program/evaluate";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { countChanges } from "../../rehearsal/simulation/report";

// How many things the engine does at a time; all of them each night, and where they race most in every run.
const PARALLEL = process.env["CARBON_ORDERS"] === "all" ? [1, 4, 64] : [64];
const MOST_DELAY_MS = 8000;

for (const parallel of PARALLEL) {
  describe(`an up of dev at ${parallel} at a time, with pods that take a random time to start`, () => {
    let rehearsal: Rehearsal;

    before(async () => {
      rehearsal = await openRehearsal({ stack: "dev", progress: () => undefined });
      await delayPods(rehearsal);
    });
    after(() => rehearsal.cluster.stop());

    it("starts nothing before what it talks to is ready", async () => {
      const result = await rehearsal.engine.run("up", { saveOnce: true, args: ["--parallel", String(parallel)] });
      assert.deepEqual(result.errors, []);
      const { items } = await rehearsal.api.core.listPodForAllNamespaces();
      const wires = orderedWires(await evaluateStack("dev")).filter(
        ({ from, to }) => selected(items, from).length > 0 && selected(items, to).length > 0,
      );
      assert.ok(wires.length > 10, `${wires.length} wires with pods at both ends`);
      const faults = wires.flatMap(({ from, to }) => {
        const early = firstReady(selected(items, to)) - firstCame(selected(items, from));
        return early > 0 ? [`${from.name} came ${early / 1000} s before ${to.name} was ready`] : [];
      });
      assert.deepEqual(faults, []);
    });

    it("has nothing left to do", async () => {
      const result = await rehearsal.engine.run("up", { saveOnce: true, args: ["--parallel", String(parallel)] });
      assert.equal(countChanges(result), 0);
    });
  });
}

/** Has every pod take up to some seconds until it runs. */
async function delayPods({ cluster }: Rehearsal): Promise<void> {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(cluster.kubeconfig);
  await kubeconfig.makeApiClient(CustomObjectsApi).patchClusterCustomObject(
    {
      group: "kwok.x-k8s.io",
      version: "v1alpha1",
      plural: "stages",
      name: "pod-run",
      body: { spec: { delay: { durationMilliseconds: 0, jitterDurationMilliseconds: MOST_DELAY_MS } } },
    },
    setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
  );
}

/** Every wire between systems whose client waits for its server: observers come when they like. */
function orderedWires(evaluation: Evaluation): readonly Wire[] {
  const systemOf = systemsOf(evaluation);
  return wiresOf(evaluation).filter(({ from, to, observes }) => !observes && systemOf(from.name) !== systemOf(to.name));
}

function selected(pods: readonly V1Pod[], { namespace, labels = {} }: WireEnd): V1Pod[] {
  return pods.filter(
    ({ metadata }) =>
      metadata?.namespace === namespace &&
      Object.entries(labels).every(([key, value]) => metadata?.labels?.[key] === value),
  );
}

/** When the first of some pods came, in milliseconds; none: infinity. */
function firstCame(pods: readonly V1Pod[]): number {
  return Math.min(...pods.map(({ metadata }) => Number(metadata?.creationTimestamp)));
}

/** When the first of some pods could answer, in milliseconds; none: infinity. */
function firstReady(pods: readonly V1Pod[]): number {
  const times = pods.map(({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime);
  return Math.min(...times.map(Number));
}
