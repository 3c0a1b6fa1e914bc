import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
import { CrdLibrary } from "../../../rehearsal/operators/crds";
import type { Manifest } from "../../../rehearsal/operators/operator";
import { type Cluster, type ClusterSpec, startCluster } from "../../../rehearsal/simulation/cluster";
import type { Toolchain } from "../../../rehearsal/simulation/toolchain";

const CRDS = ["barman-cloud", "cert-manager", "cnpg", "eck", "envoy-gateway", "gateway-api", "prometheus-operator"];
const WAIT_SECONDS = 180;

const SPEC: ClusterSpec = {
  name: "operators",
  context: "operators",
  nodes: [
    {
      ...{ name: "large", cpu: 64, memoryGiB: 256, ephemeralStorageGiB: 500, pods: 200, labels: {}, taints: [] },
      reserved: { cpu: 1, memoryMiB: 1024 },
    },
  ],
  storageClasses: [
    { name: "local-storage-standard", provisioner: "rancher.io/local-path", reclaimPolicy: "Retain", default: true },
  ],
};

/** A control plane with simulated pods, and operators that are simulated or real. */
export class World {
  /** Whoever is asked here may do everything. */
  readonly core: CoreV1Api;
  private applied = new Set<string>();

  private constructor(
    readonly toolchain: Toolchain,
    readonly cluster: Cluster,
  ) {
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(cluster.kubeconfig);
    this.core = kubeconfig.makeApiClient(CoreV1Api);
  }

  static async start(toolchain: Toolchain, operators: "simulated" | "real"): Promise<World> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-operators-"));
    const spec = { ...SPEC, realOperators: operators === "real" ? CRDS : [] };
    const world = new World(toolchain, await startCluster(toolchain, spec, directory, () => undefined));
    const library = new CrdLibrary();
    await world.kubectl(
      ["apply", "--server-side", "--filename=-"],
      CRDS.flatMap((name) => library.operator(name)).join("\n---\n"),
    );
    await world.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    return world;
  }

  stop(): Promise<void> {
    return this.cluster.stop();
  }

  /** Applies objects; one with a field that its schema does not have is refused. */
  async apply(objects: readonly Manifest[]): Promise<void> {
    const namespaces = objects.filter(({ kind }) => kind === "Namespace");
    const others = objects.filter(({ kind }) => kind !== "Namespace");
    for (const some of [namespaces, others].filter(({ length }) => length > 0)) {
      const text = some.map((object) => JSON.stringify(object)).join("\n");
      await this.kubectl(["apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename=-"], text);
    }
    for (const object of objects) this.applied.add(identity(object));
  }

  /** Objects that somebody else made. */
  async made(kinds: string): Promise<Manifest[]> {
    const { items } = await this.get(kinds);
    return items.filter((object) => !this.applied.has(identity(object)));
  }

  async get(kinds: string): Promise<{ readonly items: readonly Manifest[] }> {
    const text = await this.kubectl(["get", kinds, "--all-namespaces", "--output=json"]);
    return JSON.parse(text) as { items: Manifest[] };
  }

  /** The login of a service account, with a token of the API server. */
  async login(namespace: string, name: string): Promise<string> {
    const body = { spec: { audiences: ["https://kubernetes.default.svc"], expirationSeconds: 3600 } };
    const { status } = await this.core.createNamespacedServiceAccountToken({ namespace, name, body });
    const own = fs.readFileSync(this.cluster.kubeconfig, "utf8");
    const file = path.join(this.cluster.directory, `${name}.kubeconfig`);
    fs.writeFileSync(file, own.replace(/token: .*/, `token: ${status?.token}`), { mode: 0o600 });
    return file;
  }

  log(name: string): string {
    return fs.readFileSync(path.join(this.cluster.directory, `${name}.log`), "utf8");
  }

  kubectl(args: readonly string[], input = ""): Promise<string> {
    const child = spawn(path.join(this.toolchain.bin, "kubectl"), [`--kubeconfig=${this.cluster.kubeconfig}`, ...args]);
    let [output, complaints] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
    child.stdin.end(input);
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        if (code === 0) resolve(output);
        else reject(new Error(`kubectl ${args[0]}: ${complaints}`));
      });
    });
  }
}

/** Waits until nothing is missing; says what is, when time is up. */
export async function until(missing: () => Promise<readonly string[]>): Promise<void> {
  const deadline = Date.now() + WAIT_SECONDS * 1000;
  for (;;) {
    const left = await missing();
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`after ${WAIT_SECONDS} s:\n${left.join("\n")}`);
    await sleep(500);
  }
}

/** What tells an object from all others. */
export function identity({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.namespace ?? ""}/${metadata.name}`;
}
