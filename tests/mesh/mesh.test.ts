import assert from "node:assert/strict";
import { CustomObjectsApi, KubeConfig, PatchStrategy, setHeaderOptions } from "@kubernetes/client-node";
import type { CustomResource } from "../../rehearsal/operators/operator";
import { evaluateStack, releasesOf } from "../../rehearsal/program/charts";
import { stackConfig, STACKS } from "../../rehearsal/program/evaluate";
import { plain } from "../../rehearsal/program/values";
import { type Wire, wiresOf } from "../../rehearsal/program/wiring";
import { openRehearsal, type Rehearsal, settle, watchedUp } from "../../rehearsal/simulation/rehearse";
import { countChanges } from "../../rehearsal/simulation/report";
import { until } from "../operators/harness/world";
import { ensureIstiod } from "./harness/build";
import { compare, enroll, outsideMesh, partiesOf, type Party, selects } from "./harness/connections";
import { Istiod } from "./harness/istiod";
import type { Pushed } from "./harness/ztunnel";

const BUILD_SECONDS = 1800;
const MERGE = setHeaderOptions("Content-Type", PatchStrategy.MergePatch);

/** Accounts of pods that are the mesh, or only serve their node. */
const OUTSIDE = /^(istio-system|gpu-operator|node-exporter)\//;

const POLICIES = { group: "security.istio.io", version: "v1", plural: "authorizationpolicies" };
/** The policy of a server that several ask. */
const REDIS = { ...POLICIES, namespace: "data-platform", name: "redis" };
interface Rule {
  readonly from: readonly { readonly source: { readonly principals?: readonly string[] } }[];
  readonly to: readonly { readonly operation: object }[];
}

for (const stack of STACKS.filter((name) => stackConfig(name).mesh !== undefined)) {
  describe(`the mesh of ${stack}, by the real istiod`, () => {
    let rehearsal: Rehearsal;
    let istiod: Istiod;
    let wires: readonly Wire[];
    let policies: CustomResource[];
    let custom: CustomObjectsApi;

    before(async function () {
      this.timeout(BUILD_SECONDS * 1000);
      const built = await ensureIstiod((line) => {
        console.log(`    ${line}`);
      });
      const program = await evaluateStack(stack);
      wires = wiresOf(program);
      policies = program.registrations
        .filter(({ type }) => type.startsWith("kubernetes:security.istio.io/"))
        .map(({ inputs }) => plain(inputs) as CustomResource);
      rehearsal = await openRehearsal({ stack, progress: () => undefined });
      const { errors } = await watchedUp(rehearsal, () => undefined);
      assert.deepEqual([...errors, ...(await settle(rehearsal))], []);
      const release = releasesOf(program).find((one) => one.release === "istiod");
      assert.ok(release, "the stack has a mesh, and no release is called istiod");
      istiod = await Istiod.start(rehearsal, built, release);
      const kubeconfig = new KubeConfig();
      kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
      custom = kubeconfig.makeApiClient(CustomObjectsApi);
    });
    after(() => rehearsal.cluster.stop());

    /** What istiod pushes, and for whom. */
    async function seen(): Promise<{ readonly pushed: Pushed; readonly parties: readonly Party[] }> {
      // The agents on the nodes never rest, either: CronJobs bring new pods.
      await enroll(rehearsal);
      return { pushed: await istiod.pushed(), parties: await partiesOf(rehearsal, wires) };
    }

    /** Accounts whose pods are not in the mesh, but should be. */
    async function left(): Promise<string[]> {
      const { pushed, parties } = await seen();
      return outsideMesh(pushed, parties).filter((account) => !OUTSIDE.test(account));
    }

    async function differences(): Promise<string[]> {
      const { pushed, parties } = await seen();
      const { refused, undeclared } = compare(pushed, parties, wires);
      return [...refused.map((line) => `refused: ${line}`), ...undeclared.map((line) => `undeclared: ${line}`)];
    }

    /** Policies of which istiod does not say, without a reserve, that ztunnel does them. */
    async function unaccepted(): Promise<string[]> {
      const { items } = (await custom.listClusterCustomObject(POLICIES)) as { items: CustomResource[] };
      return items.flatMap(({ metadata, status }) => {
        const { conditions = [] } = (status ?? {}) as { conditions?: { reason: string; message: string }[] };
        const said = conditions.map(({ reason, message }) => `${reason}: ${message}`).join();
        return said === "Accepted: attached to ztunnel" ? [] : [`${metadata.namespace}/${metadata.name}: ${said}`];
      });
    }

    it("draws no complaint: of the webhook, in a status, or of a missing right", async () => {
      assert.ok(policies.length > 20, `only ${policies.length} policies`);
      for (const policy of policies) assert.deepEqual(await istiod.complaints(policy), [], policy.metadata.name);
      const broken = {
        ...policies.find(({ kind }) => kind === "AuthorizationPolicy"),
        spec: { rules: [{ from: [{ source: {} }] }] },
      };
      assert.notDeepEqual(await istiod.complaints(broken as CustomResource), [], "it takes whatever it is shown");
      await until(unaccepted);
      assert.deepEqual(istiod.log().match(/^.*(is forbidden|cannot \w+ resource).*$/gm) ?? [], []);
    });

    it("has all pods but those that are the mesh, or only serve their node", async () => {
      const { pushed, parties } = await seen();
      const outside = outsideMesh(pushed, parties);
      assert.ok(outside.includes("istio-system/ztunnel"), "ztunnel would have to stand before itself");
      await until(left);
    });

    it("opens declared ports to declared peers, and nothing to anybody else", async () => {
      const { pushed, parties } = await seen();
      const inside = wires.filter(({ from, to }) => from.labels !== undefined && to.labels !== undefined);
      const ends = inside.flatMap(({ from, to }) => [from, to]);
      const nobody = ends.filter((end) => !parties.some((one) => selects(end, one))).map(({ name }) => name);
      assert.deepEqual([...new Set(nobody)], [], "no pod is one of these");
      const { open } = compare(pushed, parties, wires);
      const servers = new Set(open.map((line) => line.replace(/.* -> (.*) \d+$/, "$1")));
      assert.ok(servers.size >= 23, `only ${servers.size} servers are in the mesh`);
      await until(differences);
    });

    it("shows no drift for what istiod writes", async () => {
      for (const command of ["refresh", "up"] as const) {
        const result = await rehearsal.engine.run(command, { saveOnce: true });
        assert.deepEqual([result.errors, countChanges(result)], [[], 0], result.output);
      }
    });

    const nobody = ({ source }: Rule["from"][number]) => ({
      source: { principals: (source.principals ?? []).map((one) => one.replace(/[^/]+$/, "nobody")) },
    });
    const FAULTS: readonly Fault[] = [
      [
        "a policy that names another peer",
        ({ from }) => ({ from: from.map(nobody) }),
        /^refused: .* -> data-platform\/redis-/,
        /^undeclared: \S*\/nobody, .* -> data-platform\/redis-/,
      ],
      [
        "a policy that names another port",
        () => ({ to: [{ operation: { ports: ["1"] } }] }),
        /^refused: .* -> data-platform\/redis-/,
        /^undeclared: .* -> data-platform\/redis-\S* 1$/,
      ],
      [
        "a policy that reads HTTP",
        () => ({ to: [{ operation: { methods: ["GET"] } }] }),
        /^refused: .* -> data-platform\/redis-/,
        /^data-platform\/redis: UnsupportedValue: /,
      ],
    ];
    for (const [fault, change, ...told] of FAULTS) {
      it(`is found to differ from the wiring table by ${fault}`, async () => {
        const { spec } = (await custom.getNamespacedCustomObject(REDIS)) as CustomResource<{ rules: Rule[] }>;
        const set = (rules: readonly Rule[]) =>
          custom.patchNamespacedCustomObject({ ...REDIS, body: { spec: { rules } } }, MERGE);
        await set(spec.rules.map((rule, index) => (index === 0 ? { ...rule, ...change(rule) } : rule)));
        await until(async () => without([...(await differences()), ...(await unaccepted())], told));
        await set(spec.rules);
        await until(async () => [...(await differences()), ...(await unaccepted())]);
      });
    }

    it("is found to differ from the wiring table by a namespace that is not in it", async () => {
      const join = (mode: string | null) => {
        const body = { metadata: { labels: { "istio.io/dataplane-mode": mode } } };
        return rehearsal.api.core.patchNamespace({ name: "monitoring", body }, MERGE);
      };
      await join(null);
      const told = [/^monitoring\/.*prometheus$/, /^refused: monitoring\/.* -> data-platform\//];
      await until(async () => without([...(await left()), ...(await differences())], told));
      await join("ambient");
      await until(async () => [...(await left()), ...(await differences())]);
    });
  });
}

/** A change of a policy's first rule, and lines that tell of it. */
type Fault = readonly [what: string, change: (rule: Rule) => Partial<Rule>, ...told: RegExp[]];

/** Which of these no line is. */
function without(lines: readonly string[], told: readonly RegExp[]): string[] {
  const missing = told.filter((one) => !lines.some((line) => one.test(line))).map((one) => `${one}: is not told`);
  return missing.length > 0 ? [...missing, ...lines] : [];
}
