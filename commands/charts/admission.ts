import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import type { Manifest } from "../../rehearsal/operators/operator";
import type { Evaluation } from "../../rehearsal/program/evaluate";
import { plain } from "../../rehearsal/program/values";
import { workloadsOf } from "./declaration";

// KubeRay's CRDs are 1 MB each: on a busy machine the API server needed more than a minute for them.
const ESTABLISHED = "--timeout=300s";

/** A temporary API server that checks objects by kubectl's dry run, since typed clients drop unknown fields. */
export class Admission {
  constructor(
    private readonly kubectl: string,
    private readonly kubeconfig: string,
  ) {}

  /** Creates what other objects need: the program's namespaces, priorities, classes, CRDs and accounts. */
  async prepare({ registrations }: Evaluation): Promise<string[]> {
    const objects = registrations
      .filter(({ type, read }) => type.startsWith("kubernetes:") && !read)
      .map(({ inputs }) => plain(inputs) as Manifest);
    const of = (...kinds: string[]): Manifest[] => objects.filter(({ kind }) => kinds.includes(kind));
    const first = await this.make([
      ...of("Namespace", "PriorityClass", "StorageClass", "CustomResourceDefinition"),
      ...of("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    ]);
    return [...first, ...(await this.make(of("ServiceAccount")))];
  }

  /** The API server's errors for the objects of a release and for the pods of its workloads. */
  async faults(objects: readonly Manifest[], namespace: string): Promise<string[]> {
    // The API server ignores the namespace of cluster-scoped objects.
    const inside = objects.map((object) => ({ ...object, metadata: { namespace, ...object.metadata } }));
    // Custom resources and pods need these to exist; the rest is only a dry run.
    const needed = inside.filter(({ kind }) => ["CustomResourceDefinition", "ServiceAccount"].includes(kind));
    const refused = await this.make(needed);
    const others = [...inside.filter((object) => !needed.includes(object)), ...podsOf(inside)];
    return [...refused, ...(await this.refusals(others, "create", "--dry-run=server"))];
  }

  private async make(objects: readonly Manifest[]): Promise<string[]> {
    const refused = await this.refusals(objects, "apply", "--server-side", "--force-conflicts");
    if (refused.length === 0 && objects.some(({ kind }) => kind === "CustomResourceDefinition")) {
      await this.run("wait", "--for=condition=Established", "crd", "--all", ESTABLISHED);
    }
    return refused;
  }

  /** The API server's errors. */
  private async refusals(objects: readonly Manifest[], verb: string, ...flags: string[]): Promise<string[]> {
    if (objects.length === 0) return [];
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-admission-"));
    try {
      for (const [index, object] of objects.entries()) {
        fs.writeFileSync(path.join(directory, `${index}.json`), JSON.stringify(object));
      }
      const said = await this.run(verb, "--validate=strict", "--filename", directory, ...flags);
      // Each message names its object's file; lines without one belong to the message before.
      const messages = said
        .replaceAll("\nensure CRDs are installed first", "")
        .replaceAll("\n*", " *")
        .split("\n")
        .filter(Boolean);
      return messages.map((message) => {
        const file = /"[^"]*\/(\d+)\.json"/.exec(message)?.[1];
        const about = file === undefined ? undefined : objects[Number(file)];
        const what = about === undefined ? "" : `${about.kind} ${about.metadata.name}: `;
        return `${what}the API server says: ${message.replaceAll(`${directory}/`, "")}`;
      });
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  }

  /** Runs kubectl and returns its errors. */
  private async run(...args: string[]): Promise<string> {
    const options = { maxBuffer: 2 ** 26, env: { ...process.env, KUBECONFIG: this.kubeconfig } };
    return promisify(execFile)(this.kubectl, args, options).then(
      () => "",
      (error: unknown) => (error as { stderr: string }).stderr,
    );
  }
}

/** A pod of each workload, so that admission checks Pod Security, priorities and limits. */
function podsOf(objects: readonly Manifest[]): Manifest[] {
  return workloadsOf(objects).flatMap(({ kind, name, template }) => {
    if (template === undefined || kind === "Pod") return [];
    const owner = objects.find((object) => object.kind === kind && object.metadata.name === name);
    const claims = (template.claims ?? []).map((claim) => ({
      name: claim,
      persistentVolumeClaim: { claimName: claim },
    }));
    const { volumes = [], ...spec } = template.spec;
    const metadata = { ...template.metadata, name: `pod-of-${name}`, namespace: owner?.metadata.namespace };
    return [{ apiVersion: "v1", kind: "Pod", metadata, spec: { ...spec, volumes: [...volumes, ...claims] } }];
  });
}
