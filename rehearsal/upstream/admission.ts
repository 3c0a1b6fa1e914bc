import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import type { Manifest } from "../charts";
import type { Evaluation } from "../evaluate";
import { plain, type Value } from "../providers/values";
import { workloadsOf } from "./declaration";

/** An API server that is asked what it would accept. */
export class Admission {
  constructor(
    private readonly kubectl: string,
    private readonly kubeconfig: string,
  ) {}

  /** Makes what objects of others stand on: the program's namespaces, priorities, classes, accounts and CRDs. */
  async prepare({ registrations }: Evaluation): Promise<string[]> {
    const objects = registrations
      .filter(({ type, read }) => type.startsWith("kubernetes:") && !read)
      .map(({ inputs }) => plain(inputs as Value) as unknown as Manifest);
    const refused: string[] = [];
    for (const kinds of [
      ["Namespace", "PriorityClass", "StorageClass", "CustomResourceDefinition"],
      ["ServiceAccount"],
    ]) {
      refused.push(...(await this.make(objects.filter(({ kind }) => kinds.includes(kind)))));
    }
    return refused;
  }

  /** Creates or updates objects; returns what the API server says against them. */
  async make(objects: readonly Manifest[]): Promise<string[]> {
    const refused = await this.run(["apply", "--server-side", "--force-conflicts", "--validate=strict"], objects);
    const crds = objects.filter(({ kind }) => kind === "CustomResourceDefinition").map(({ metadata }) => metadata.name);
    if (refused.length > 0 || crds.length === 0) return refused;
    return this.run(["wait", "--for=condition=Established", "--timeout=60s", ...crds.map((name) => `crd/${name}`)]);
  }

  /** What the API server says against the objects of a release and against the pods of its workloads. */
  async faults(objects: readonly Manifest[], namespace: string): Promise<string[]> {
    const inside = objects.map((object) => withNamespace(object, namespace));
    // Pods and custom resources need these; what is left is only asked for.
    const needed = inside.filter(({ kind }) => ["CustomResourceDefinition", "ServiceAccount"].includes(kind));
    const others = inside.filter((object) => !needed.includes(object));
    const refused = await this.make(needed);
    const ask = ["create", "--dry-run=server", "--validate=strict"];
    return [...refused, ...(await this.run(ask, [...others, ...podsOf(inside)]))];
  }

  private async run(args: readonly string[], objects: readonly Manifest[] = []): Promise<string[]> {
    const reads = args[0] !== "wait";
    if (reads && objects.length === 0) return [];
    const child = spawn(this.kubectl, [...args, ...(reads ? ["--filename", "-"] : [])], {
      env: { KUBECONFIG: this.kubeconfig, HOME: "/nonexistent" },
      stdio: ["pipe", "ignore", "pipe"],
    });
    const closed = new Promise<number | null>((resolve, reject) => child.once("close", resolve).once("error", reject));
    child.stdin.end(JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
    const [errors, code] = await Promise.all([text(child.stderr), closed]);
    return code === 0 ? [] : errorsOf(errors);
  }
}

function withNamespace(object: Manifest, namespace: string): Manifest {
  // The API server drops it from what lies in none.
  return { ...object, metadata: { namespace, ...object.metadata } };
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
    const spec = { ...template.spec, volumes: [...(template.spec.volumes ?? []), ...claims] };
    const metadata = { ...template.metadata, name: `pod-of-${name}`, namespace: owner?.metadata["namespace"] };
    return [{ apiVersion: "v1", kind: "Pod", metadata, spec }];
  });
}

/** Each error of kubectl on a line of its own, without its prefixes. */
function errorsOf(output: string): string[] {
  return output
    .split(/\n(?=Error from server|The |error:|Warning:)/)
    .filter((message) => !message.startsWith("Warning:"))
    .map((message) =>
      message
        .trim()
        .replace(/^Error from server \(\w+\): (error when creating "STDIN": )?/, "")
        .replaceAll(/\s*\n\s*/g, " "),
    )
    .filter((message) => message !== "");
}
