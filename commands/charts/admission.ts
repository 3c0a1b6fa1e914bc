import { setTimeout as sleep } from "node:timers/promises";
import type { Manifest } from "../../rehearsal/program/charts";
import type { Evaluation } from "../../rehearsal/program/evaluate";
import {
  ApiError,
  ApiServer,
  describe,
  type KubeObject,
  referenceOf,
  UnknownKind,
} from "../../rehearsal/simulation/plugins/api";
import { at, isList, plain, textAt, type Value } from "../../rehearsal/program/values";
import { workloadsOf } from "./declaration";

const MANAGER = { fieldManager: "charts-check", strict: true };
// KubeRay's CRDs are 1 MB each: on a busy machine the API server took more than a minute for them.
const ESTABLISHED_SECONDS = 300;

/** A simulated API server that is asked what it would accept. */
export class Admission {
  private constructor(private readonly server: ApiServer) {}

  static async connect(kubeconfig: string): Promise<Admission> {
    return new Admission(await ApiServer.connect(undefined, kubeconfig));
  }

  /** Makes what objects of others stand on: the program's namespaces, priorities, classes, CRDs and accounts. */
  async prepare({ registrations }: Evaluation): Promise<string[]> {
    const objects = registrations
      .filter(({ type, read }) => type.startsWith("kubernetes:") && !read)
      .map(({ inputs }) => plain(inputs as Value) as unknown as Manifest);
    const of = (...kinds: string[]): Manifest[] => objects.filter(({ kind }) => kinds.includes(kind));
    const first = await this.make(of("Namespace", "PriorityClass", "StorageClass", "CustomResourceDefinition"));
    return [...first, ...(await this.make(of("ServiceAccount")))];
  }

  /** What the API server says against the objects of a release, and against the pods of its workloads. */
  async faults(objects: readonly Manifest[], namespace: string): Promise<string[]> {
    // In what lies in no namespace, the API server drops it.
    const inside = objects.map((object) => ({ ...object, metadata: { namespace, ...object.metadata } }));
    // Custom resources and pods need these; what is left is only asked for.
    const needed = inside.filter(({ kind }) => ["CustomResourceDefinition", "ServiceAccount"].includes(kind));
    const refused = await this.make(needed);
    const others = [...inside.filter((object) => !needed.includes(object)), ...podsOf(inside)];
    const asked = others.map((object) => () => this.server.create(asKube(object), { ...MANAGER, dryRun: true }));
    return [...refused, ...(await refusals(others, asked))];
  }

  private async make(objects: readonly Manifest[]): Promise<string[]> {
    const calls = objects.map((object) => () => this.server.apply(asKube(object), { ...MANAGER, force: true }));
    const refused = await refusals(objects, calls);
    const crds = objects.filter(({ kind }) => kind === "CustomResourceDefinition");
    if (refused.length === 0) await Promise.all(crds.map((crd) => this.established(asKube(crd))));
    if (crds.length > 0) this.server.forgetKinds();
    return refused;
  }

  private async established(crd: KubeObject): Promise<void> {
    const end = Date.now() + ESTABLISHED_SECONDS * 1000;
    for (;;) {
      const conditions = at(await this.server.find(referenceOf(crd)), "status", "conditions");
      const isSet = (one: Value): boolean => textAt(one, "type") === "Established" && textAt(one, "status") === "True";
      if (isList(conditions) && conditions.some(isSet)) return;
      if (Date.now() > end) {
        throw new Error(`${describe(referenceOf(crd))} is not established after ${ESTABLISHED_SECONDS} s`);
      }
      await sleep(100);
    }
  }
}

function asKube(object: Manifest): KubeObject {
  return object as unknown as KubeObject;
}

/** What the API server answers to each call, other than yes. */
async function refusals(objects: readonly Manifest[], calls: readonly (() => Promise<unknown>)[]): Promise<string[]> {
  const answers = await Promise.all(
    calls.map(async (call, index) => {
      try {
        await call();
        return [];
      } catch (error) {
        if (!(error instanceof ApiError) && !(error instanceof UnknownKind)) throw error;
        const { kind = "", metadata } = objects[index] ?? {};
        return [`${kind} ${metadata?.name ?? ""}: the API server says: ${error.message}`];
      }
    }),
  );
  return answers.flat();
}

/** A pod of each workload: with it the real admission answers for Pod Security, priorities and limits. */
function podsOf(objects: readonly Manifest[]): Manifest[] {
  return workloadsOf(objects).flatMap(({ kind, name, template }) => {
    if (template === undefined || kind === "Pod") return [];
    const owner = objects.find((object) => object.kind === kind && object.metadata.name === name);
    const claims = (template.claims ?? []).map((claim) => ({
      name: claim,
      persistentVolumeClaim: { claimName: claim },
    }));
    const { volumes = [], ...spec } = template.spec;
    const metadata = { ...template.metadata, name: `pod-of-${name}`, namespace: owner?.metadata["namespace"] };
    return [{ apiVersion: "v1", kind: "Pod", metadata, spec: { ...spec, volumes: [...volumes, ...claims] } }];
  });
}
