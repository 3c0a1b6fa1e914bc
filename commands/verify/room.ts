import type { V1Node, V1Pod, V1ResourceQuota } from "@kubernetes/client-node";
import { GPU } from "../../rehearsal/program/demand";
import { bytes, cores } from "../../rehearsal/program/quantity";
import { podRequests } from "../../rehearsal/simulation/report";
import { isBytes, written } from "../../rehearsal/program/units";
import type { Answer, Fault, Question } from "./check";
import { type ClusterView, nameOf } from "./cluster";
import type { Expected } from "./expected";

/** How full a quota or a node may be: rollouts and replaced pods need the rest. */
export const FULL = 0.9;

/** Whether quotas and nodes have room left, and nodes match the inventory. */
export function room(expected: Expected, cluster: ClusterView): Question[] {
  const { config, objects } = expected;
  const quotas = objects.filter(({ kind }) => kind === "ResourceQuota");
  return [
    ...quotas.map(({ namespace = "", name }): Question => ({
      topic: "room",
      name: `quota ${namespace}/${name} is below ${percent(FULL)}`,
      ask: async () => {
        const live = (await cluster.quotas()).find((one) => nameOf(one) === `${namespace}/${name}`);
        const next = `npx pulumi up -s ${expected.stack}`;
        if (live === undefined) return { found: "none", faults: [{ what: "there is no such quota", next }] };
        return quotaAnswer(live, expected.stack);
      },
    })),
    ...Object.entries(config.cluster.nodes).flatMap(([name, { gpus }]): Question[] => [
      {
        topic: "room",
        name: `node ${name} is below ${percent(FULL)}`,
        ask: () => ofNode(name, cluster, (node, pods) => headRoom(node, pods, expected.stack)),
      },
      { topic: "nodes", name: `node ${name} is ready`, ask: () => ofNode(name, cluster, (node) => health(node)) },
      ...(gpus === undefined
        ? []
        : [
            {
              topic: "nodes",
              name: `GPUs of ${name} are allocatable`,
              ask: () => ofNode(name, cluster, (node) => gpuAnswer(node, gpus)),
            },
          ]),
    ]),
    {
      topic: "nodes",
      name: "the inventory names every node",
      ask: async () => unlisted(await cluster.nodes(), config.cluster.nodes),
    },
  ];
}

/** A fault for each node that is not in the inventory: its capacity was never counted. */
export function unlisted(nodes: readonly V1Node[], inventory: Readonly<Record<string, unknown>>): Answer {
  const unknown = nodes.map(nameOf).filter((name) => !(name in inventory));
  return {
    found: `${nodes.length - unknown.length} of ${nodes.length}`,
    faults: unknown.map((name) => ({ what: `node ${name} is not in it`, next: "add it to cluster.nodes" })),
  };
}

function quotaAnswer({ status }: V1ResourceQuota, stack: string): Answer {
  const uses = Object.entries(status?.hard ?? {}).map(([resource, hard]) => {
    const read = isBytes(resource) ? bytes : cores;
    return { resource, used: read(status?.used?.[resource] ?? "0"), hard: read(hard) };
  });
  const full = uses.filter(({ used, hard }) => hard > 0 && used / hard > FULL);
  const fullest = uses.filter(({ hard }) => hard > 0).sort((a, b) => b.used / b.hard - a.used / a.hard)[0];
  return {
    found:
      fullest === undefined ? "no status yet" : `at most ${percent(fullest.used / fullest.hard)} (${fullest.resource})`,
    faults: full.map(({ resource, used, hard }) => ({
      what: `${resource}: ${written(resource, used)} of ${written(resource, hard)} used (${percent(used / hard)})`,
      next: `raise it under quota, or ask for less: npm run capacity -- --stack ${stack}`,
    })),
  };
}

async function ofNode(
  name: string,
  cluster: ClusterView,
  judge: (node: V1Node, pods: readonly V1Pod[]) => Answer,
): Promise<Answer> {
  const [nodes, pods] = await Promise.all([cluster.nodes(), cluster.pods()]);
  const node = nodes.find(({ metadata }) => metadata?.name === name);
  if (node === undefined) return { found: "none", faults: [missingNode(name)] };
  return judge(
    node,
    pods.filter(({ spec }) => spec?.nodeName === name),
  );
}

/** The fault of an inventory node that is not in the cluster. */
export function missingNode(name: string): Fault {
  return { what: `the cluster has no node ${name}`, next: "let it join, or remove it from cluster.nodes" };
}

function headRoom({ status }: V1Node, pods: readonly V1Pod[], stack: string): Answer {
  const running = pods.filter((pod) => pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed");
  const asked = running.map(podRequests);
  const { cpu = "0", memory = "0", "ephemeral-storage": disk = "0", pods: places = "0" } = status?.allocatable ?? {};
  const uses = [
    { resource: "requests.cpu", used: sum(asked.map((one) => one.cpu)), all: cores(cpu) },
    { resource: "requests.memory", used: sum(asked.map((one) => one.memory)), all: bytes(memory) },
    { resource: "requests.ephemeral-storage", used: sum(asked.map((one) => one.disk)), all: bytes(disk) },
    { resource: "pods", used: running.length, all: cores(places) },
  ];
  return {
    found: uses
      .map(({ resource, used, all }) => `${resource.replace("requests.", "")} ${percent(used / all)}`)
      .join(", "),
    faults: uses
      .filter(({ used, all }) => used / all > FULL)
      .map(({ resource, used, all }) => ({
        what: `${resource}: ${written(resource, used)} of ${written(resource, all)} taken (${percent(used / all)})`,
        next: `add a node, or ask for less: npm run capacity -- --stack ${stack}`,
      })),
  };
}

/** Whether a node is ready, schedulable and under no pressure. */
export function health({ metadata, spec, status }: V1Node): Answer {
  const conditions = status?.conditions ?? [];
  const ready = conditions.find(({ type }) => type === "Ready");
  const name = metadata?.name ?? "";
  const next = `kubectl describe node ${name}`;
  const faults: Fault[] = conditions
    .filter(({ type, status: value }) => type !== "Ready" && value === "True")
    .map(({ type, message }) => ({ what: `${type}: ${message}`, next }));
  if (ready?.status !== "True") faults.push({ what: `not ready: ${ready?.message ?? "its kubelet is silent"}`, next });
  if (spec?.unschedulable === true)
    faults.push({ what: "cordoned: it takes no pods", next: `kubectl uncordon ${name}` });
  return { found: `${ready?.status === "True" ? "ready" : "not ready"}, ${status?.nodeInfo?.kubeletVersion}`, faults };
}

/** Whether a node offers the inventory's GPUs. */
export function gpuAnswer({ status }: V1Node, gpus: { readonly product: string; readonly count: number }): Answer {
  const found = cores(status?.allocatable?.[GPU] ?? "0");
  const next = "check that the NVIDIA driver and device plugin run on it";
  return {
    found: `${found} of ${gpus.count}`,
    faults: found < gpus.count ? [{ what: `${found} of ${gpus.count} ${gpus.product} are allocatable`, next }] : [],
  };
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
