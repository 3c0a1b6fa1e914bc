import type { V1ConfigMap, V1DaemonSet, V1Node, V1StorageClass } from "@kubernetes/client-node";
import { GPU } from "../../rehearsal/program/demand";
import { bytes, cores } from "../../rehearsal/program/quantity";
import { written } from "../../rehearsal/program/units";
import { type ChartPin, charts } from "../../components/base/versions";
import { existingClasses } from "../../stacks/config/lasting";
import type { PlatformConfig } from "../../stacks/config/schema";
import { type Answer, type Fault, type Question, Unanswered } from "./check";
import { type ClusterView, nameOf } from "./cluster";
import { conflicts } from "./conflicts";
import type { Expected } from "./expected";
import { rights } from "./rights";
import { gpuAnswer, health, missingNode, unlisted } from "./room";

/** Whether a cluster is ready for the first `up` of a stack. */
export function before(expected: Expected, cluster: ClusterView): Question[] {
  const { config, stack } = expected;
  const { nodes, kubernetesVersion, dnsCaches } = config.cluster;
  return [
    {
      topic: "version",
      name: `Kubernetes is ${kubernetesVersion}`,
      ask: async () => versionAnswer(minor((await cluster.version()).gitVersion), kubernetesVersion, stack),
    },
    {
      topic: "version",
      name: "the charts take this Kubernetes",
      ask: async () => chartsAnswer(minor((await cluster.version()).gitVersion)),
    },
    ...Object.keys(existingClasses(config)).map((name): Question => ({
      topic: "storage",
      name: `StorageClass ${name}`,
      ask: async () => storageClassAnswer(await cluster.storageClasses(), name),
    })),
    {
      topic: "network",
      name: "the CNI enforces NetworkPolicies",
      ask: async () => cniAnswer((await cluster.daemonSets()).map(({ metadata }) => metadata?.name ?? "")),
    },
    {
      topic: "network",
      name: "policies know nodes by their addresses",
      ask: async () => ciliumAnswer(await cluster.read(CILIUM)),
    },
    {
      topic: "network",
      name: "pods may ask the DNS caches of nodes",
      ask: async () => dnsAnswer(await cluster.daemonSets(), dnsCaches),
    },
    ...Object.entries(nodes).map(([name, declared]): Question => ({
      topic: "nodes",
      name: `node ${name} is as the inventory has it`,
      ask: async () => nodeAnswer(await cluster.nodes(), name, declared, kubernetesVersion),
    })),
    {
      topic: "nodes",
      name: "the inventory names every node",
      ask: async () => unlisted(await cluster.nodes(), nodes),
    },
    ...conflicts(expected, cluster),
    ...rights(expected, cluster),
  ];
}

/** The minor version: `1.34` for `v1.34.2+k3s1`. */
function minor(version: string): string {
  return /^v?(\d+\.\d+)/.exec(version)?.[1] ?? version;
}

/** Whether the server has the stack's version. */
export function versionAnswer(found: string, declared: string, stack: string): Answer {
  const next = `set cluster.kubernetesVersion in Pulumi.${stack}.yaml to what runs, and rehearse`;
  return {
    found,
    faults: found === declared ? [] : [{ what: `it runs ${found}, the config says ${declared}`, next }],
  };
}

/** Whether the server is new enough for every chart. */
export function chartsAnswer(found: string): Answer {
  const oldest = Object.values<ChartPin>(charts).map(({ chart, kubernetes = "1.0" }) => ({ chart, kubernetes }));
  const tooNew = oldest.filter(({ kubernetes }) => number(kubernetes) > number(found));
  const [newest] = [...oldest].sort((a, b) => number(b.kubernetes) - number(a.kubernetes));
  return {
    found: `${found}; ${newest?.chart} takes ${newest?.kubernetes} and later`,
    faults: tooNew.map(({ chart, kubernetes }) => ({
      what: `chart ${chart} takes ${kubernetes} and later, not ${found}`,
      next: "upgrade the cluster",
    })),
  };
}

/** Makes versions comparable: 1.9 is older than 1.34. */
function number(version: string): number {
  const [major = "0", minorPart = "0"] = version.split(".");
  return Number(major) * 1000 + Number(minorPart);
}

/** Whether a StorageClass retains volumes, provisions them, and places them with their pods. */
export function storageClassAnswer(classes: readonly V1StorageClass[], name: string): Answer {
  const live = classes.find(({ metadata }) => metadata?.name === name);
  if (live === undefined) {
    const known = classes.map(nameOf).join(", ") || "none";
    const next = "create it, or set storage.className to another";
    return { found: "none", faults: [{ what: `there is no StorageClass ${name}; there are ${known}`, next }] };
  }
  const { provisioner, reclaimPolicy = "Delete", volumeBindingMode = "Immediate" } = live;
  const next = "a class cannot be changed: create another, and set storage.className to it";
  const faults: Fault[] = [];
  if (provisioner === "kubernetes.io/no-provisioner") faults.push({ what: "nothing provisions its volumes", next });
  if (reclaimPolicy !== "Retain") {
    faults.push({
      what: `reclaimPolicy ${reclaimPolicy}: deleting a claim deletes its data; Retain is required`,
      next,
    });
  }
  if (volumeBindingMode !== "WaitForFirstConsumer") {
    const what = `volumeBindingMode ${volumeBindingMode}: volumes may be placed where their pods cannot run; WaitForFirstConsumer is required`;
    faults.push({ what, next });
  }
  return { found: `${provisioner}, ${reclaimPolicy}, ${volumeBindingMode}`, faults };
}

// DaemonSets of network plugins, and whether the plugin enforces NetworkPolicies.
const CNIS: readonly { readonly name: string; readonly daemonSet: RegExp; readonly enforces: boolean }[] = [
  { name: "Calico", daemonSet: /^(calico-node|canal)$/, enforces: true },
  { name: "Cilium", daemonSet: /^cilium$/, enforces: true },
  { name: "kube-router", daemonSet: /^kube-router$/, enforces: true },
  { name: "Antrea", daemonSet: /^antrea-agent$/, enforces: true },
  { name: "kube-network-policies", daemonSet: /^kube-network-policies$/, enforces: true },
  { name: "flannel", daemonSet: /^kube-flannel(-ds.*)?$/, enforces: false },
];

/** Which network plugin runs, judging by the DaemonSets, and whether it enforces policies. */
export function cniAnswer(daemonSets: readonly string[]): Answer {
  const found = CNIS.filter(({ daemonSet }) => daemonSets.some((name) => daemonSet.test(name)));
  const enforcing = found.find(({ enforces }) => enforces);
  if (enforcing !== undefined) return { found: enforcing.name };
  const [other] = found;
  if (other !== undefined) {
    const what = `${other.name} ignores NetworkPolicies: every pod can reach every other`;
    return {
      found: other.name,
      faults: [{ what, next: "add an enforcer, such as Calico for policies alone (canal)" }],
    };
  }
  throw new Unanswered(
    `no known network plugin runs here (${CNIS.map(({ name }) => name).join(", ")})`,
    "find out whether yours enforces NetworkPolicies; k3s does, with its built-in kube-router",
  );
}

const CILIUM = { apiVersion: "v1", kind: "ConfigMap", namespace: "kube-system", name: "cilium-config" };

/**
 * Whether policies may name nodes, the API server among them, by their addresses: to Cilium a node has none unless it is told so
 * (cilium/cilium#20550).
 */
export function ciliumAnswer(settings: V1ConfigMap | undefined): Answer {
  if (settings === undefined) return { found: "no Cilium" };
  const mode = settings.data?.["policy-cidr-match-mode"] ?? "";
  if (mode.split(/[\s,]+/).includes("nodes")) return { found: `Cilium, ${mode}` };
  const what = "Cilium lets no pod ask the API server or a kubelet, and the API server no webhook";
  return {
    found: "Cilium",
    faults: [
      { what, next: "set policyCIDRMatchMode to nodes in the values of Cilium's chart, and restart its agents" },
    ],
  };
}

/** Whether the stack file names each address at which a DNS cache of the nodes answers. */
export function dnsAnswer(daemonSets: readonly V1DaemonSet[], declared: readonly string[]): Answer {
  const cache = daemonSets.find(({ metadata }) => /^node-?local-?dns$/.test(metadata?.name ?? ""));
  if (cache === undefined) return { found: "none" };
  const { args = [] } = cache.spec?.template.spec?.containers[0] ?? {};
  const addresses = args.flatMap((one, index) => (args[index - 1] === "-localip" ? one.split(",") : []));
  if (addresses.length === 0) {
    const what = `no -localip among the arguments of ${nameOf(cache)}`;
    throw new Unanswered(what, "set cluster.dnsCaches to the addresses at which it answers");
  }
  const wanted = addresses.map((one) => `${one}/32`);
  const missing = wanted.filter((one) => !declared.includes(one));
  const what = `${nameOf(cache)} answers at ${addresses.join(" and ")}, which policies let no pod ask: ${missing.join(", ")}`;
  const faults = missing.length === 0 ? [] : [{ what, next: `set cluster.dnsCaches to [${wanted.join(", ")}]` }];
  return { found: addresses.join(", "), faults };
}

type DeclaredNode = PlatformConfig["cluster"]["nodes"][string];

// The kernel keeps a little of the installed memory for itself.
const MEMORY_TOLERANCE = 0.97;

/** Each difference between a node and the inventory. */
function nodeAnswer(nodes: readonly V1Node[], name: string, declared: DeclaredNode, kubernetesVersion: string): Answer {
  const node = nodes.find(({ metadata }) => metadata?.name === name);
  if (node === undefined) return { found: "none", faults: [missingNode(name)] };
  const { capacity = {}, nodeInfo } = node.status ?? {};
  const [cpu, memory] = [cores(capacity["cpu"] ?? "0"), bytes(capacity["memory"] ?? "0")];
  const next = `correct cluster.nodes.${name}, or the node`;
  const faults: Fault[] = [...(health(node).faults ?? [])];
  const demand = (holds: boolean, what: string): void => {
    if (!holds) faults.push({ what, next });
  };
  const version = minor(nodeInfo?.kubeletVersion ?? "");
  demand(version === kubernetesVersion, `its kubelet is ${version}, the config says ${kubernetesVersion}`);
  demand(cpu >= declared.cpu, `it has ${cpu} CPUs, the inventory says ${declared.cpu}`);
  demand(
    memory >= declared.memoryGiB * 1024 ** 3 * MEMORY_TOLERANCE,
    `it has ${written("memory", memory)} of memory, the inventory says ${declared.memoryGiB} GiB`,
  );
  const disk = bytes(node.status?.allocatable?.["ephemeral-storage"] ?? "0");
  demand(
    disk >= declared.ephemeralStorageGiB * 1024 ** 3,
    `its pods may use ${written("ephemeral-storage", disk)} of its disk, the inventory says ${declared.ephemeralStorageGiB} GiB`,
  );
  demand(cores(capacity["pods"] ?? "0") >= declared.pods, `it takes ${capacity["pods"]} pods, not ${declared.pods}`);
  const labels = node.metadata?.labels ?? {};
  for (const [key, value] of Object.entries(declared.labels)) {
    demand(labels[key] === value, `label ${key} is ${labels[key] ?? "absent"}, the inventory says "${value}"`);
  }
  const live = (node.spec?.taints ?? []).map(taintText);
  const wanted = declared.taints.map(taintText);
  for (const taint of wanted) demand(live.includes(taint), `taint ${taint} is absent`);
  for (const taint of live) demand(wanted.includes(taint), `taint ${taint} is not in the inventory`);
  const gpus = declared.gpus && gpuAnswer(node, declared.gpus);
  faults.push(...(gpus?.faults ?? []));
  return {
    found: `${cpu} CPUs, ${written("memory", memory)}${gpus ? `, ${capacity[GPU] ?? 0} GPUs` : ""}, ${nodeInfo?.kubeletVersion}`,
    faults,
  };
}

function taintText(taint: {
  readonly key: string;
  readonly value?: string | undefined;
  readonly effect: string;
}): string {
  return `${taint.key}${taint.value ? `=${taint.value}` : ""}:${taint.effect}`;
}
