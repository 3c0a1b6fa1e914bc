import * as fs from "node:fs";
import * as path from "node:path";
import {
  ApiException,
  CoreV1Api,
  type KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
  type V1Node,
} from "@kubernetes/client-node";
import * as yaml from "yaml";
import { Component, until } from "./cluster/component";
import { operators } from "../operators";
import { certManager } from "../operators/cert-manager";
import { crdFixtures } from "../operators/crds";
import { KUBECONFIG, startControlPlane } from "./cluster/control-plane";
import { Guardian, type NamedProcess, readRecord } from "./cluster/guardian";
import {
  node,
  type SimulatedNode,
  type SimulatedStorageClass,
  STAGE_CRD,
  stages,
  storageClass,
} from "./cluster/inventory";
import type { Toolchain } from "./toolchain";

/** Annotation of the kube-system namespace that tells a simulated cluster from a real one. */
export const REHEARSAL_ANNOTATION = "carbon.254carbon.com/rehearsal";

/** What to simulate. */
export interface ClusterSpec {
  /** Name of the cluster in the kubeconfig. */
  readonly name: string;
  /** Name of the context: the stack's own, so that the program cannot tell the difference. */
  readonly context: string;
  readonly nodes: readonly SimulatedNode[];
  readonly storageClasses: readonly SimulatedStorageClass[];
  /** Objects of what somebody else has installed. @default none */
  readonly existing?: readonly KubernetesObject[];
  /** Names of the operators that run for real: nothing then acts in their place. @default none */
  readonly realOperators?: readonly string[];
  /** The program of cert-manager, to start as soon as its CRDs are there. @default none */
  readonly certManager?: string | undefined;
}

/** A running control plane. It ends with the process that started it, however that ends, unless it is kept. */
export interface Cluster {
  /** Path of a kubeconfig that holds this cluster alone. */
  readonly kubeconfig: string;
  readonly directory: string;
  readonly processes: readonly NamedProcess[];
  /** Starts a program that ends with the cluster; its output goes to `<name>.log` in the directory. */
  run: Guardian["run"];
  /** Takes the power from the node, and starts it again; where the node is a real one. */
  readonly reboot?: () => Promise<void>;
  /** Stops every process and removes the directory. */
  stop(): Promise<void>;
  /** Lets the cluster outlive this process, until somebody stops it by its directory. */
  keep(): Promise<void>;
}

/**
 * Starts a control plane in `directory`, which is made if it is not there and removed, with everything in it, when the
 * cluster stops. Everything listens on 127.0.0.1 or not at all.
 *
 * @throws Error with the end of its log when a component dies again and again, or does not become ready.
 */
export async function startCluster(
  toolchain: Toolchain,
  spec: ClusterSpec,
  directory: string,
  progress: (line: string) => void,
  interrupted?: AbortSignal,
): Promise<Cluster> {
  if (readRecord(directory)) throw new Error(`${directory}: holds a cluster already; stop that one, or name another`);
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const guardian = new Guardian(toolchain.bin, fs.realpathSync(directory), interrupted);
  try {
    progress(`cluster ${spec.name}: starting the control plane`);
    const kubeconfig = await startControlPlane(guardian, spec);
    progress(`cluster ${spec.name}: making ${spec.nodes.length} nodes`);
    await furnish(guardian, kubeconfig, spec);
    return clusterOf(guardian);
  } catch (error) {
    await guardian.stop();
    throw error;
  }
}

/** What a guardian guards, as a cluster. */
export function clusterOf(guardian: Guardian): Cluster {
  return {
    kubeconfig: path.join(guardian.directory, KUBECONFIG),
    directory: guardian.directory,
    processes: guardian.processes,
    run: (...program) => guardian.run(...program),
    stop: () => guardian.stop(),
    keep: () => guardian.keep(),
  };
}

// It takes 1 s where nothing goes wrong, and some on a busy machine. Rarely, KWOK misses a part of what it lists first.
const KWOK_SECONDS = 15;
const STAGE = { apiVersion: "kwok.x-k8s.io/v1alpha1", kind: "Stage" };

/** Fills an empty cluster with what a real one has before the program runs, and with what acts in place of the rest. */
async function furnish(guardian: Guardian, kubeconfig: KubeConfig, spec: ClusterSpec): Promise<void> {
  const objects = KubernetesObjectApi.makeApiClient(kubeconfig);
  const served = (work: () => Promise<unknown>): Promise<void> => until(guardian, "kube-apiserver", work);
  const create = (wanted: readonly KubernetesObject[]): Promise<void> =>
    served(() => Promise.all(wanted.map((object) => objects.create(object).catch(ifThere))));
  await create([STAGE_CRD]);
  const real = [...(spec.realOperators ?? []), ...(spec.certManager === undefined ? [] : [certManager.name])];
  await create(stages(operators.filter(({ name }) => !real.includes(name))));
  await create([...spec.storageClasses.map(storageClass), ...(spec.existing ?? [])]);
  const kwok = await startKwok(guardian);
  await kwok.until(() => knowsItsStages(objects), KWOK_SECONDS);
  await create(spec.nodes.map(node));
  const system = { apiVersion: "v1", kind: "Namespace", name: "kube-system" };
  await served(() => annotate(objects, system, REHEARSAL_ANNOTATION, "true"));
  const core = kubeconfig.makeApiClient(CoreV1Api);
  await kwok.until(async () => (await core.listNode()).items.every(isReady), KWOK_SECONDS);
  if (spec.certManager !== undefined) await startCertManager(guardian, spec.certManager);
}

/** The program brings the CRDs, as late as on a real cluster, where the controller's pod comes after them. */
async function startCertManager(guardian: Guardian, program: string): Promise<void> {
  const crds = fs.readdirSync(crdFixtures(certManager.name)).map((file) => `crd/${path.basename(file, ".yaml")}`);
  const wait = (what: string): string =>
    `kubectl --kubeconfig=${KUBECONFIG} wait --for=${what} --timeout=24h ${crds.join(" ")}`;
  const login = [`--kubeconfig=${KUBECONFIG}`, `--cluster-resource-namespace=${certManager.name}`];
  const script = `until ${wait("create")} && ${wait("condition=Established")}; do sleep 1; done; exec "$@"`;
  await guardian.run(certManager.name, ["-c", script, "sh", program, "controller", ...login], { file: "sh" });
}

function ifThere(error: unknown): void {
  // A request whose answer was lost is made twice.
  if (!(error instanceof ApiException && error.code === 409)) throw error;
}

async function startKwok(guardian: Guardian): Promise<Component> {
  // One pod after the other: of two at once, the first on their node, both may get the same IP address. The others are the
  // defaults, which KWOK forgets when it is given a file.
  const options = {
    podPlayStageParallelism: 1,
    nodePlayStageParallelism: 4,
    nodeLeaseParallelism: 4,
    podsOnNodeSyncParallelism: 4,
  };
  const config = { apiVersion: "config.kwok.x-k8s.io/v1alpha1", kind: "KwokConfiguration", options };
  fs.writeFileSync(path.join(guardian.directory, "kwok.yaml"), yaml.stringify(config));
  return Component.start(guardian, "kwok", () =>
    Promise.resolve([
      "--config=kwok.yaml",
      `--kubeconfig=${KUBECONFIG}`,
      "--manage-all-nodes=false",
      "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
      "--enable-crds=Stage",
      "--node-lease-duration-seconds=40",
    ]),
  );
}

/**
 * KWOK may take the first few Stages of its first list for all of them, until a Stage changes, and it looks at an object
 * only when that changes. So a Stage changes here until the Stage `retry` has shown that KWOK knows them, and only then
 * objects may come.
 */
async function knowsItsStages(objects: KubernetesObjectApi): Promise<boolean> {
  await annotate(objects, { ...STAGE, name: "node-ready" }, "carbon.254carbon.com/touched", String(Date.now()));
  const retry = await objects.read({ ...STAGE, metadata: { name: "retry" } });
  return JSON.stringify(retry).includes('carbon.254carbon.com/retried":"');
}

async function annotate(
  objects: KubernetesObjectApi,
  { name, ...kind }: { readonly apiVersion: string; readonly kind: string; readonly name: string },
  key: string,
  value: string,
): Promise<void> {
  const change = { ...kind, metadata: { name, annotations: { [key]: value } } };
  await objects.patch(change, undefined, undefined, undefined, undefined, PatchStrategy.MergePatch);
}

/** Ready, and no longer tainted as it was before: the controller manager has seen it too. */
function isReady({ spec, status }: V1Node): boolean {
  const ready = status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
  return ready && !spec?.taints?.some(({ key }) => key === "node.kubernetes.io/not-ready");
}
