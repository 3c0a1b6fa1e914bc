import { execFileSync, spawnSync } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CoreV1Api, type KubeConfig, KubernetesObjectApi } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import * as yaml from "yaml";
import { Component, until } from "../simulation/cluster/component";
import { KUBECONFIG, startControlPlane } from "../simulation/cluster/control-plane";
import { Guardian } from "../simulation/cluster/guardian";
import { type Cluster, clusterOf } from "../simulation/cluster";
import { cacheDirectory, type Toolchain } from "../simulation/toolchain";
import { baseObjects, DNS_ADDRESS, POLICIES_USER } from "./objects";
import { importImages } from "./images";

/** A node of a stack's inventory. */
export interface NodeSpec {
  readonly name: string;
  readonly context: string;
  readonly address: string;
  readonly apiServerPort: number;
  readonly podCidr: string;
  readonly dnsDomain: string;
  /** Directory of the volumes. */
  readonly volumes: string;
  /** Directory of a layout of its images, which is removed. */
  readonly images: string;
}

const CGROUPS = "/sys/fs/cgroup";
const CGROUP = "carbon-node-";
/** The image of what keeps a pod's namespaces. */
export const SANDBOX_IMAGE = "registry.k8s.io/pause:3.10";
const SOCKET = "/run/containerd/containerd.sock";
// What a node runs itself. Other programs of its machine are those of the control plane, which is elsewhere.
const PROGRAMS = ["containerd", "kubelet", "kube-proxy", "kube-network-policies"];
// By which a node tells one run of its kernel from the next.
const BOOT_ID = "boot_id";
// What the kubelet sets for the whole machine, and finds set here.
const KERNEL = { "vm/overcommit_memory": 1, "kernel/panic": 10, "kernel/panic_on_oops": 1 };

/**
 * Starts a control plane and a node of one's own: kubelet, containerd, kube-proxy, CoreDNS and what enforces
 * NetworkPolicies. It must be called in mount, network and process namespaces of its own, as root: what it mounts and
 * routes is then gone with them.
 */
export async function startNode(
  toolchain: Toolchain,
  bin: string,
  spec: NodeSpec,
  directory: string,
  progress: (line: string) => void,
): Promise<Cluster> {
  if (isTaken()) {
    throw new pulumi.RunError(
      "a node runs on this machine already, and two do not share their images; end it first (`npm run local -- --down`)",
    );
  }
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const guardian = new Guardian([bin, toolchain.bin].join(path.delimiter), fs.realpathSync(directory));
  const stop = (): Promise<void> => {
    unmount(guardian.directory);
    return guardian.stop();
  };
  try {
    const client = furnishMachine(guardian.directory, spec);
    progress(`node ${spec.name}: starting the control plane`);
    const kubelet = login(`system:node:${spec.name}`, "system:nodes");
    const proxy = login("system:kube-proxy", "");
    const policies = login(POLICIES_USER, "");
    const kubeconfig = await startControlPlane(guardian, {
      name: spec.context,
      context: spec.context,
      node: {
        address: spec.address,
        port: spec.apiServerPort,
        podCidr: spec.podCidr,
        logins: [kubelet, proxy, policies].map(({ line }) => line),
        client,
      },
    });
    progress(`node ${spec.name}: starting containerd, kubelet and kube-proxy`);
    const core = kubeconfig.makeApiClient(CoreV1Api);
    const boot = async (): Promise<void> => {
      const bootId = crypto.randomUUID();
      fs.writeFileSync(path.join(guardian.directory, BOOT_ID), `${bootId}\n`);
      await startRuntime(guardian);
      // From here on this is the machine's only node. The kubelet looks for the container of each group, for three seconds.
      removeOthers(guardian.directory);
      removeGroups();
      const options = [
        `--config=${kubeletConfig(guardian.directory, spec, { ...makeCgroups(), client })}`,
        `--kubeconfig=${loginFile(guardian.directory, "kubelet", kubelet.token)}`,
        `--root-dir=${path.join(guardian.directory, "kubelet")}`,
        `--hostname-override=${spec.name}`,
        `--node-ip=${spec.address}`,
      ];
      // Started again when it dies, as everywhere: on a busy machine it gives up what is not there in time.
      const agent = await Component.start(guardian, "kubelet", () => Promise.resolve(options));
      await guardian.run("kube-proxy", [`--config=${proxyConfig(guardian.directory, spec, proxy.token)}`]);
      await startPolicies(guardian, spec, policies.token);
      await agent.until(async () => {
        const { status } = await core.readNode({ name: spec.name });
        const ready = status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True");
        return status?.nodeInfo?.bootID === bootId && ready === true;
      });
    };
    await boot();
    await supplyImages(spec);
    await furnish(kubeconfig, spec);
    const reboot = async (): Promise<void> => {
      await losePower(guardian);
      await boot();
    };
    return { ...clusterOf(guardian), stop, reboot };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Site {
  readonly cgroupRoot: string;
  readonly cgroupVersion: 1 | 2;
  readonly client: { readonly certificate: string; readonly key: string };
}

/** Frees a directory of what is mounted in it, which may still be in use. */
function unmount(directory: string): void {
  for (const mount of mountsBelow(directory).reverse()) {
    try {
      run("umount", "--lazy", mount);
    } catch (error) {
      // The kubelet unmounts as well, what ended pods had.
      if (mountsBelow(directory).includes(mount)) throw error;
    }
  }
}

function mountsBelow(directory: string): string[] {
  const mounts = fs.readFileSync("/proc/self/mounts", "utf8").split("\n");
  return mounts.map((line) => line.split(" ")[1] ?? "").filter((mount) => mount.startsWith(`${directory}/`));
}

/** Mounts and a network. */
function furnishMachine(directory: string, { address, podCidr, volumes }: NodeSpec): Site["client"] {
  run("mount", "--make-rshared", "/");
  mountRun();
  for (const target of ["/var/log/pods", "/var/log/containers"]) {
    fs.mkdirSync(target, { recursive: true });
    run("mount", "-t", "tmpfs", "tmpfs", target);
  }
  const disk = path.join(directory, "volumes");
  for (const folder of [disk, volumes]) fs.mkdirSync(folder, { recursive: true });
  run("mount", "--bind", disk, volumes);
  for (const [name, value] of Object.entries({ ...KERNEL, [`kernel/random/${BOOT_ID}`]: "" })) {
    const file = path.join(directory, path.basename(name));
    fs.writeFileSync(file, `${value}\n`);
    run("mount", "--bind", file, `/proc/sys/${name}`);
  }
  run("ip", "link", "set", "lo", "up");
  run("ip", "link", "add", "node0", "type", "bridge");
  run("ip", "address", "add", `${address}/24`, "dev", "node0");
  // A bridge is down as long as nothing is plugged into it.
  run("ip", "link", "add", "plug0", "type", "veth", "peer", "name", "plug1");
  run("ip", "link", "set", "plug0", "master", "node0", "up");
  run("ip", "link", "set", "plug1", "up");
  run("ip", "link", "set", "node0", "up");
  run("ip", "route", "add", "default", "dev", "node0");
  fs.writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  const network = path.join(directory, "cni");
  fs.mkdirSync(network);
  // Each pod on a link of its own: whatever one sends to another passes the node's rules.
  const ipam = {
    type: "host-local",
    dataDir: "/run/cni",
    ranges: [[{ subnet: podCidr }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const plugins = [
    { type: "ptp", ipam },
    { type: "portmap", capabilities: { portMappings: true } },
  ];
  fs.writeFileSync(
    path.join(network, "10-pods.conflist"),
    JSON.stringify({ cniVersion: "0.4.0", name: "pods", plugins }),
  );
  const client = {
    key: path.join(directory, "kubelet-client.key"),
    certificate: path.join(directory, "kubelet-client.crt"),
  };
  const files = ["-keyout", client.key, "-out", client.certificate];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"];
  run("openssl", ...request, "-subj", "/O=system:masters/CN=kube-apiserver", ...files);
  return client;
}

/** Files that are gone with the power. */
function mountRun(): void {
  run("mount", "-t", "tmpfs", "tmpfs", "/run");
  for (const folder of ["/run/netns", "/run/containerd", "/run/lock"]) fs.mkdirSync(folder);
}

/** Ends a node as a loss of power does: nobody is told, nobody tidies up, and disks keep what is on them. */
async function losePower(guardian: Guardian): Promise<void> {
  for (const member of guardian.processes.filter(({ name }) => PROGRAMS.includes(name))) guardian.forget(member);
  run("sh", "-c", KILL, "sh", ...groups());
  unmount(guardian.directory);
  run("umount", "--lazy", "/run"); // with what is mounted there
  mountRun();
  run("nft", "flush", "ruleset");
  // The kernel takes its time to remove what led to pods, whose addresses the next ones get.
  while (/ veth/.test(execFileSync("ip", ["-oneline", "link"], { encoding: "utf8" }))) await sleep(20);
}

// What runs in containers, and containerd with what watches over them, which it starts in sessions of their own.
const KILL = `
found() {
  find "$@" -name cgroup.procs -exec cat {} +
  grep -l '^[0-9]* (containerd[^)]*) [^ZX]' /proc/[0-9]*/stat | cut -d/ -f3
}
exec 2>/dev/null
while pids=$(found "$@"); [ -n "$pids" ]; do kill -KILL $pids; sleep 0.02; done
`;

/** A group of its own below each controller, in which the kubelet makes those of the pods. */
function makeCgroups(): Pick<Site, "cgroupRoot" | "cgroupVersion"> {
  const name = `${CGROUP}${crypto.randomBytes(4).toString("hex")}`;
  const cgroupRoot = `/${name}`;
  if (fs.existsSync(path.join(CGROUPS, "cgroup.controllers"))) {
    const controllers = fs.readFileSync(path.join(CGROUPS, "cgroup.controllers"), "utf8").trim().split(" ");
    fs.writeFileSync(path.join(CGROUPS, "cgroup.subtree_control"), controllers.map((one) => `+${one}`).join(" "));
    fs.mkdirSync(path.join(CGROUPS, name));
    return { cgroupRoot, cgroupVersion: 2 };
  }
  for (const controller of hierarchies()) {
    const own = path.join(controller, name);
    fs.mkdirSync(own);
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      const above = path.join(controller, file);
      if (fs.existsSync(above)) fs.writeFileSync(path.join(own, file), fs.readFileSync(above));
    }
  }
  return { cgroupRoot, cgroupVersion: 1 };
}

/** Where groups of processes can be made. */
function hierarchies(): string[] {
  if (fs.existsSync(path.join(CGROUPS, "cgroup.procs"))) return [CGROUPS];
  const all = fs.readdirSync(CGROUPS).map((name) => path.join(CGROUPS, name));
  return all.filter((directory) => fs.existsSync(path.join(directory, "cgroup.procs")));
}

/**
 * Removes what nodes that are gone left: their directories, and their groups, which the kernel keeps when it ends the processes
 * with their namespaces. Where a node runs, it removes nothing, and returns false.
 */
export function removeRemains(): boolean {
  if (isTaken()) return false;
  removeGroups();
  fs.rmSync(runsDirectory(), { recursive: true, force: true, maxRetries: 10 });
  return true;
}

/** Those of nodes, of this one and of those that are gone. */
function groups(): string[] {
  return hierarchies().flatMap((controller) => {
    const names = fs.readdirSync(controller).filter((one) => one.startsWith(CGROUP));
    return names.map((name) => path.join(controller, name));
  });
}

function removeGroups(): void {
  const all = groups();
  if (all.length === 0) return;
  // A process that is not gone yet keeps its own.
  spawnSync("find", [...all, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], { stdio: "ignore" });
}

interface Login {
  readonly token: string;
  readonly line: string;
}

/** A line of the API server's file of tokens. */
function login(user: string, group: string): Login {
  const token = crypto.randomBytes(32).toString("hex");
  return { token, line: `${token},${user},${user},${group}` };
}

/** The kubeconfig of another user of the same server. */
function loginFile(directory: string, name: string, token: string): string {
  const own = fs.readFileSync(path.join(directory, KUBECONFIG), "utf8");
  const file = path.join(directory, `${name}.kubeconfig`);
  fs.writeFileSync(file, own.replace(/token: .*/, `token: ${token}`), { mode: 0o600 });
  return file;
}

async function startRuntime(guardian: Guardian): Promise<void> {
  const runtime = runtimeDirectory();
  const file = path.join(guardian.directory, "containerd.toml");
  fs.writeFileSync(file, containerdConfig(guardian.directory, runtime));
  // It keeps its images from one node to the next, and serves one at a time.
  await guardian.run("containerd", ["--no-fork", lock(), "containerd", "--config", file], { file: "flock" });
  await until(guardian, "containerd", () => {
    run("ctr", "--address", SOCKET, "version");
    return Promise.resolve();
  });
}

/** Gives a node its images, which may be those of the last one. */
async function supplyImages({ images }: NodeSpec): Promise<void> {
  const mark = path.join(runtimeDirectory(), "index.json");
  const index = fs.readFileSync(path.join(images, "index.json"), "utf8");
  if (!fs.existsSync(mark) || fs.readFileSync(mark, "utf8") !== index) {
    await importImages(images, SOCKET);
    fs.writeFileSync(mark, index);
  }
  fs.rmSync(images, { recursive: true });
}

/** Whether a node of this machine has the images, which it does not share. */
function isTaken(): boolean {
  return spawnSync("flock", ["--nonblock", lock(), "true"]).status !== 0;
}

/** In which containerd keeps its images. */
function runtimeDirectory(): string {
  const directory = path.join(cacheDirectory(), "node", "containerd");
  fs.mkdirSync(directory, { recursive: true });
  return directory;
}

/** Directory of the runs of nodes. */
export function runsDirectory(): string {
  return path.join(cacheDirectory(), "node", "runs");
}

/** Held by the containerd of the one node that runs. */
function lock(): string {
  return path.join(runtimeDirectory(), "lock");
}

/** Removes what nodes that are gone left beside a directory. */
function removeOthers(directory: string): void {
  const runs = path.dirname(directory);
  for (const name of fs.readdirSync(runs).filter((one) => one !== path.basename(directory))) {
    fs.rmSync(path.join(runs, name), { recursive: true, force: true });
  }
}

function containerdConfig(directory: string, runtime: string): string {
  const plugin = `plugins."io.containerd.grpc.v1.cri"`;
  const disabled = ["snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper", "snapshotter.v1.aufs"];
  return `
version = 2
root = "${runtime}"
state = "/run/containerd"
disabled_plugins = ${JSON.stringify([...disabled, "tracing.processor.v1.otlp", "internal.v1.tracing"].map((id) => `io.containerd.${id}`))}
[grpc]
  address = "${SOCKET}"
[${plugin}]
  sandbox_image = "${SANDBOX_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [${plugin}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${path.join(directory, "cni")}"
  [${plugin}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`;
}

function kubeletConfig(directory: string, spec: NodeSpec, { cgroupRoot, cgroupVersion, client }: Site): string {
  // No server of names outside: pods ask the cluster's alone.
  const resolver = path.join(directory, "resolv.conf");
  fs.writeFileSync(resolver, "");
  const config = {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: client.certificate },
    },
    authorization: { mode: "Webhook" },
    cgroupDriver: "cgroupfs",
    cgroupRoot,
    failCgroupV1: cgroupVersion !== 1,
    failSwapOn: false,
    clusterDNS: [DNS_ADDRESS],
    clusterDomain: spec.dnsDomain,
    containerRuntimeEndpoint: `unix://${SOCKET}`,
    resolvConf: resolver,
    evictionHard: { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    enforceNodeAllocatable: ["pods"],
    imageGCHighThresholdPercent: 100, // nobody could bring them back
    protectKernelDefaults: true,
    readOnlyPort: 0,
    address: spec.address,
  };
  return written(directory, "kubelet.yaml", config);
}

function proxyConfig(directory: string, { name, podCidr }: NodeSpec, token: string): string {
  return written(directory, "kube-proxy.yaml", {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig: loginFile(directory, "kube-proxy", token) },
    mode: "nftables",
    clusterCIDR: podCidr,
    // The machine's own settings stay.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
    hostnameOverride: name,
  });
}

/** What decides each first packet, and the rules that ask it. */
async function startPolicies(
  guardian: Guardian,
  { name, address, apiServerPort }: NodeSpec,
  token: string,
): Promise<void> {
  const account = "/run/secrets/kubernetes.io/serviceaccount"; // it knows no other login than that of a pod
  fs.mkdirSync(account, { recursive: true });
  fs.writeFileSync(path.join(account, "token"), token, { mode: 0o600 });
  fs.copyFileSync(path.join(guardian.directory, "pki/apiserver.crt"), path.join(account, "ca.crt"));
  const options = ["-netfilter-bug-1766-fix=false", "-disable-nri", "-metrics-bind-address=127.0.0.1:9080"];
  await guardian.run("kube-network-policies", [`-hostname-override=${name}`, ...options], {
    env: { KUBERNETES_SERVICE_HOST: address, KUBERNETES_SERVICE_PORT: `${apiServerPort}` },
  });
  // Of its own accord it uses nft's queue, which not every kernel has. What the node itself sends to its pods is not asked about.
  for (const chain of ["FORWARD", "INPUT"]) {
    const rule = (...words: string[]): void => {
      run("iptables", "-t", "mangle", "-A", chain, ...words);
    };
    if (chain === "INPUT") rule("!", "-i", "veth+", "-j", "ACCEPT");
    rule("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT");
    rule("-j", "NFQUEUE", "--queue-num", "100");
  }
}

/** Fills an empty cluster with what every one has: names for Services, and rights of the node's own. */
async function furnish(kubeconfig: KubeConfig, spec: NodeSpec): Promise<void> {
  const objects = KubernetesObjectApi.makeApiClient(kubeconfig);
  for (const object of baseObjects(spec)) await objects.create(object);
}

function written(directory: string, name: string, content: object): string {
  const file = path.join(directory, name);
  fs.writeFileSync(file, yaml.stringify(content));
  return file;
}

function run(file: string, ...args: string[]): void {
  execFileSync(file, args, { stdio: ["ignore", "ignore", "pipe"] });
}
