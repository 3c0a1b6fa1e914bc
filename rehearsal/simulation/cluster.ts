import { type ChildProcess, spawn } from "node:child_process";
import * as crypto from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import type * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import * as path from "node:path";
import * as readline from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import * as yaml from "yaml";
import { operators } from "../operators";
import { identify, isAlive, type ProcessIdentity } from "./processes";
import { type Toolchain, versions } from "./toolchain";

/** Annotation of the kube-system namespace that tells a simulated cluster from a real one. */
export const REHEARSAL_ANNOTATION = "carbon.254carbon.com/rehearsal";

/** A node of the inventory, as the scheduler is to see it. */
export interface SimulatedNode {
  readonly name: string;
  /** Logical CPUs. */
  readonly cpu: number;
  readonly memoryGiB: number;
  readonly pods: number;
  readonly gpus?: { readonly resource: string; readonly count: number };
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  /** What the system keeps for itself: allocatable is capacity less this. */
  readonly reserved: { readonly cpu: number; readonly memoryMiB: number };
}

/** A StorageClass that is in the cluster before the program runs; classes that the program makes are served as well. */
export interface SimulatedStorageClass {
  readonly name: string;
  readonly provisioner: string;
  readonly reclaimPolicy: "Delete" | "Retain";
  readonly default: boolean;
}

/** What to simulate. */
export interface ClusterSpec {
  /** Name of the cluster in the kubeconfig. */
  readonly name: string;
  /** Name of the context: the stack's own, so that the program cannot tell the difference. */
  readonly context: string;
  readonly nodes: readonly SimulatedNode[];
  readonly storageClasses: readonly SimulatedStorageClass[];
}

/** A running control plane. It ends with the process that started it, however that ends, unless it is kept. */
export interface Cluster {
  /** Path of a kubeconfig that holds this cluster alone. */
  readonly kubeconfig: string;
  readonly directory: string;
  readonly processes: readonly NamedProcess[];
  /** Stops every process and removes the directory. */
  stop(): Promise<void>;
  /** Lets the cluster outlive this process, until {@link stopClusterAt}. */
  keep(): Promise<void>;
}

/** A process of a cluster. */
export interface NamedProcess extends ProcessIdentity {
  readonly name: string;
}

const KUBECONFIG = "kubeconfig";
const RECORD = "processes.json";
const READY_SECONDS = 120; // 5 s on two idle cores; a busy CI machine may take ten times that

/**
 * Starts a control plane in `directory`, which is made if it is not there and removed, with everything in it, when the
 * cluster stops. Everything listens on 127.0.0.1 or not at all.
 *
 * @throws Error with the end of its log when a component dies or does not become ready.
 */
export async function startCluster(
  toolchain: Toolchain,
  spec: ClusterSpec,
  directory: string,
  progress: (line: string) => void,
): Promise<Cluster> {
  if (readRecord(directory)) throw new Error(`${directory}: holds a cluster already; stop that one, or name another`);
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const guardian = new Guardian(toolchain.bin, fs.realpathSync(directory));
  try {
    progress(`cluster ${spec.name}: starting the control plane`);
    const api = await startControlPlane(guardian, spec);
    progress(`cluster ${spec.name}: making ${spec.nodes.length} nodes`);
    await furnish(guardian, api, spec);
    return {
      kubeconfig: path.join(guardian.directory, KUBECONFIG),
      directory: guardian.directory,
      processes: guardian.processes,
      stop: () => guardian.stop(),
      keep: () => guardian.keep(),
    };
  } catch (error) {
    await guardian.stop();
    throw error;
  }
}

/**
 * Stops the cluster in a directory and removes the directory; does nothing when it is not there.
 *
 * @throws Error when the directory is not a cluster's: it is left alone.
 */
export async function stopClusterAt(directory: string): Promise<void> {
  if (!fs.existsSync(directory)) return;
  const processes = readRecord(directory);
  if (processes === undefined) {
    throw new Error(`${directory}: no cluster was started here (it has no ${RECORD}); nothing was stopped or removed`);
  }
  const guardian = processes[0];
  if (guardian !== undefined && isAlive(guardian)) {
    process.kill(guardian.pid, "SIGTERM");
    await gone([guardian]);
  }
  // Without its guardian (killed, or stuck) each process is ended by itself.
  for (const member of processes.filter(isAlive)) process.kill(member.pid, "SIGKILL");
  await gone(processes);
  fs.rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
}

/** Waits for the end of processes, for at most five seconds. */
async function gone(processes: readonly NamedProcess[]): Promise<void> {
  for (let waited = 0; waited < 5000 && processes.some(isAlive); waited += 50) await sleep(50);
}

/**
 * Removes what dead runs left under a directory: every cluster without a living guardian. Directories that hold no
 * cluster are left alone, and so are those of other runs and kept ones.
 *
 * @returns the directories that were removed.
 */
export async function sweep(runsDirectory: string): Promise<string[]> {
  const removed: string[] = [];
  const entries = fs.existsSync(runsDirectory) ? fs.readdirSync(runsDirectory, { withFileTypes: true }) : [];
  for (const entry of entries.filter((candidate) => candidate.isDirectory())) {
    const directory = path.join(runsDirectory, entry.name);
    const guardian = readRecord(directory)?.[0];
    if (guardian === undefined || isAlive(guardian)) continue;
    await stopClusterAt(directory);
    removed.push(directory);
  }
  return removed;
}

function readRecord(directory: string): NamedProcess[] | undefined {
  const file = path.join(directory, RECORD);
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as NamedProcess[]) : undefined;
}

/**
 * The parent of the control plane: a shell in a session of its own that starts what it reads from its standard input and
 * kills everything at the end of it. That end comes with the death of our process, by whatever signal, since the system
 * closes the pipe; no polling and no lock is needed, and no process can start without somebody to end it. (`kwokctl`
 * gives each component a session of its own and writes down its pid later, so a kill in between leaves processes behind;
 * its components also all listen on TCP ports, which it looks for long before they take them.)
 */
const GUARDIAN = `
dir=$1 pids=
stop() { trap - EXIT; kill -KILL $pids; wait; rm -rf "$dir"; exit; }
trap stop EXIT TERM
trap '' HUP INT
exec 2>/dev/null
while IFS= read -r line; do eval "$line"; done
`;

class Guardian {
  readonly processes: NamedProcess[] = [];
  private readonly shell: ChildProcess;
  private readonly pids: AsyncIterator<string>;

  constructor(
    bin: string,
    readonly directory: string,
  ) {
    this.shell = spawn("sh", ["-c", GUARDIAN, "carbon-rehearsal", directory], {
      cwd: directory,
      detached: true,
      // Nothing of the user's: no configuration in the home, no proxy between the components.
      env: { PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}`, HOME: directory },
      stdio: ["pipe", "pipe", "ignore"],
    });
    this.shell.unref();
    // A guardian that was killed shows as the death of its components, which is reported where it is noticed.
    this.shell.stdin?.on("error", () => undefined);
    const { pid, stdout } = this.shell;
    if (pid === undefined || !stdout) throw new Error("sh: cannot be started; it must be in PATH");
    this.pids = readline.createInterface(stdout)[Symbol.asyncIterator]();
    this.record("guardian", pid);
  }

  /** Starts a tool with its output in `<name>.log`. */
  async run(name: string, args: readonly string[]): Promise<NamedProcess> {
    const command = [name, ...args].map(quote).join(" ");
    this.tell(`${command} </dev/null >${quote(`${name}.log`)} 2>&1 & pids="$pids $!"; echo $!`);
    const started = await this.pids.next();
    if (started.done) throw new Error(`${name}: the rehearsal's guardian process was killed; run it again`);
    return this.record(name, Number(started.value));
  }

  async stop(): Promise<void> {
    const ended = this.shell.exitCode !== null || this.shell.signalCode !== null;
    if (!ended) {
      const exit = new Promise((resolve) => this.shell.once("exit", resolve));
      this.shell.ref();
      this.tell("exit");
      await exit;
    }
    if (fs.existsSync(this.directory)) await stopClusterAt(this.directory);
  }

  async keep(): Promise<void> {
    this.tell("trap - EXIT; echo kept; wait");
    const { done } = await this.pids.next();
    if (done) throw new Error(`${this.directory}: the cluster has already stopped and cannot be kept; run it again`);
    this.shell.stdin?.destroy();
    this.shell.stdout?.destroy();
  }

  /** The end of a component's log, for error messages. */
  log(name: string): string {
    const file = path.join(this.directory, `${name}.log`);
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trimEnd().split("\n").slice(-15).join("\n") : "";
  }

  /** @throws Error when a component has died. */
  check(): void {
    for (const member of this.processes) {
      if (!isAlive(member)) throw new Error(`${member.name}: died\n${this.log(member.name)}`);
    }
  }

  private tell(line: string): void {
    this.shell.stdin?.write(`${line}\n`);
  }

  private record(name: string, pid: number): NamedProcess {
    // A component that died before it could be identified is as dead as one that died after.
    const member = { name, ...(identify(pid) ?? { pid, started: "never" }) };
    this.processes.push(member);
    const file = path.join(this.directory, RECORD);
    fs.writeFileSync(`${file}.part`, JSON.stringify(this.processes));
    fs.renameSync(`${file}.part`, file); // another run's sweep reads it whole
    return member;
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function startControlPlane(guardian: Guardian, spec: ClusterSpec): Promise<Api> {
  const file = (name: string): string => path.join(guardian.directory, name);
  const token = crypto.randomBytes(32).toString("hex");
  const { privateKey } = crypto.generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  fs.writeFileSync(file("tokens.csv"), `${token},rehearsal,rehearsal,system:masters\n`, { mode: 0o600 });
  fs.writeFileSync(file("service-account.key"), privateKey, { mode: 0o600 });

  // Unix sockets in a directory that is ours alone: etcd knows no login here. The paths are relative, since a socket's is
  // limited to about 100 characters.
  await guardian.run("etcd", [
    "--name=rehearsal",
    "--data-dir=etcd",
    "--listen-client-urls=unix://etcd.sock",
    "--advertise-client-urls=unix://etcd.sock",
    "--listen-peer-urls=unix://etcd-peer.sock",
    "--initial-advertise-peer-urls=unix://etcd-peer.sock",
    "--initial-cluster=rehearsal=unix://etcd-peer.sock",
    "--unsafe-no-fsync", // nothing here outlives a crash of the machine
    "--log-level=warn",
  ]);
  const port = await startApiServer(guardian, token);

  fs.writeFileSync(
    file(KUBECONFIG),
    yaml.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": spec.context,
      clusters: [
        {
          name: spec.name,
          cluster: {
            server: `https://127.0.0.1:${port}`,
            "certificate-authority-data": fs.readFileSync(file("pki/apiserver.crt"), "base64"),
          },
        },
      ],
      users: [{ name: spec.name, user: { token } }],
      contexts: [{ name: spec.context, context: { cluster: spec.name, user: spec.name } }],
    }),
    { mode: 0o600 },
  );

  // Port 0: they serve nothing, neither metrics nor health, so nothing has to be kept from others.
  const client = [`--kubeconfig=${KUBECONFIG}`, "--secure-port=0", "--leader-elect=false"];
  await guardian.run("kube-controller-manager", [
    ...client,
    "--service-account-private-key-file=service-account.key",
    "--root-ca-file=pki/apiserver.crt",
    "--kube-api-qps=200", // the default of 20 would hold up some 800 objects
    "--kube-api-burst=400",
    // KWOK creates what a Stage applies before it patches it, and a quota counts what was refused as a double until the next sync.
    "--resource-quota-sync-period=2s",
  ]);
  await guardian.run("kube-scheduler", client);
  return apiOf(guardian.directory, port, token);
}

/** @returns the port on 127.0.0.1 that it serves. */
async function startApiServer(guardian: Guardian, token: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const server = await guardian.run("kube-apiserver", [
      "--etcd-servers=unix://etcd.sock",
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--secure-port=${port}`,
      "--cert-dir=pki",
      "--token-auth-file=tokens.csv",
      "--authorization-mode=RBAC",
      "--service-account-issuer=https://kubernetes.default.svc",
      "--service-account-key-file=service-account.key",
      "--service-account-signing-key-file=service-account.key",
      "--service-cluster-ip-range=10.96.0.0/16",
      "--endpoint-reconciler-type=none", // the Service "kubernetes" would point pods at this machine
      "--allow-privileged=true", // as the kubelet's hosts do; Pod Security decides
      // No webhook has anybody behind it; all other admission is as the API server's defaults have it.
      "--disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
    ]);
    try {
      const api = apiOf(guardian.directory, port, token);
      await until(guardian, "kube-apiserver", async () => (await api("GET", "/readyz"))?.status === 200);
      return port;
    } catch (error) {
      // Another process may have taken the port between our look and the server's start.
      if (isAlive(server) || attempt === 5 || !guardian.log("kube-apiserver").includes("address already in use"))
        throw error;
      guardian.processes.splice(guardian.processes.indexOf(server), 1);
    }
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Sends one request to the API server; undefined when it cannot be reached, as at its start. */
type Api = (method: string, path: string, body?: object) => Promise<ApiAnswer | undefined>;

interface ApiAnswer {
  readonly status: number;
  readonly body: string;
}

function apiOf(directory: string, port: number, token: string): Api {
  const certificate = path.join(directory, "pki/apiserver.crt");
  return async (method, urlPath, body) => {
    if (!fs.existsSync(certificate)) return undefined; // it makes its own when it starts
    const request = https.request({
      ...{ host: "127.0.0.1", port, path: urlPath, method, agent: false, ca: fs.readFileSync(certificate) },
      headers: {
        Authorization: `Bearer ${token}`,
        "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
      },
    });
    request.end(body && JSON.stringify(body));
    try {
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      return { status: response.statusCode ?? 0, body: await text(response) };
    } catch (error) {
      if (["ECONNREFUSED", "ECONNRESET"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
      throw error;
    }
  };
}

async function until(
  guardian: Guardian,
  name: string,
  condition: () => Promise<boolean>,
  seconds = READY_SECONDS,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    guardian.check();
    if (await condition()) return;
    await sleep(50);
  }
  throw new Error(`${name}: not ready after ${seconds} s\n${guardian.log(name)}`);
}

const STAGES = "/apis/kwok.x-k8s.io/v1alpha1/stages";

/** The CRD of KWOK's Stages, as far as the API server needs to know it. */
const STAGE_CRD = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "stages.kwok.x-k8s.io" },
  spec: {
    group: "kwok.x-k8s.io",
    scope: "Cluster",
    names: { kind: "Stage", listKind: "StageList", plural: "stages", singular: "stage" },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

/** Fills an empty cluster with what a real one has before the program runs, and with what acts in place of the rest. */
async function furnish(guardian: Guardian, api: Api, spec: ClusterSpec): Promise<void> {
  const found = async (urlPath: string): Promise<boolean> => (await api("GET", urlPath))?.status === 200;
  const post = async (urlPath: string, objects: readonly object[]): Promise<void> => {
    await Promise.all(objects.map((object) => write(api, "POST", urlPath, object)));
  };
  await post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", [STAGE_CRD]);
  await until(guardian, "kube-apiserver", () => found(STAGES));
  await post(STAGES, stages());
  await post("/apis/storage.k8s.io/v1/storageclasses", spec.storageClasses.map(storageClass));
  const kwok = new Kwok(guardian);
  await kwok.start();
  await kwok.until(() => knowsItsStages(api));
  await post("/api/v1/nodes", spec.nodes.map(node));
  await write(api, "PATCH", "/api/v1/namespaces/kube-system", annotated(REHEARSAL_ANNOTATION, "true"));

  await until(guardian, "kube-controller-manager", () => found("/api/v1/namespaces/default/serviceaccounts/default"));
  await kwok.until(async () => {
    const answer = await api("GET", "/api/v1/nodes");
    return answer?.status === 200 && (JSON.parse(answer.body) as NodeList).items.every(isReady);
  });
}

/** KWOK, which is started anew when it does not do what is waited for: rarely, it misses a part of what it lists first. */
class Kwok {
  private process: NamedProcess | undefined;

  constructor(private readonly guardian: Guardian) {
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
  }

  async start(): Promise<void> {
    this.process = await this.guardian.run("kwok", [
      "--config=kwok.yaml",
      `--kubeconfig=${KUBECONFIG}`,
      "--manage-all-nodes=false",
      "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
      "--enable-crds=Stage",
      "--node-lease-duration-seconds=40",
    ]);
  }

  async until(condition: () => Promise<boolean>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await until(this.guardian, "kwok", condition, KWOK_SECONDS);
        return;
      } catch (error) {
        if (attempt === 4 || this.process === undefined || !isAlive(this.process)) throw error;
        process.kill(this.process.pid, "SIGKILL");
        this.guardian.processes.splice(this.guardian.processes.indexOf(this.process), 1);
        await this.start();
      }
    }
  }
}

// It takes 1 s where nothing goes wrong, and some on a busy machine.
const KWOK_SECONDS = 15;

/**
 * KWOK may take the first few Stages of its first list for all of them, until a Stage changes, and it looks at an object
 * only when that changes. So a Stage changes here until the Stage `retry` has shown that KWOK knows them, and only then
 * objects may come.
 */
async function knowsItsStages(api: Api): Promise<boolean> {
  await write(api, "PATCH", `${STAGES}/node-ready`, annotated("carbon.254carbon.com/touched", String(Date.now())));
  return (await api("GET", `${STAGES}/retry`))?.body.includes('carbon.254carbon.com/retried":"') === true;
}

function annotated(key: string, value: string): object {
  return { metadata: { annotations: { [key]: value } } };
}

interface NodeList {
  readonly items: readonly {
    readonly spec: { readonly taints?: readonly { readonly key: string }[] };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

/** Ready, and no longer tainted as it was before: the controller manager has seen it too. */
function isReady({ spec, status }: NodeList["items"][number]): boolean {
  const ready = status.conditions?.find(({ type }) => type === "Ready")?.status === "True";
  return ready && !spec.taints?.some(({ key }) => key === "node.kubernetes.io/not-ready");
}

async function write(api: Api, method: "POST" | "PATCH", urlPath: string, body: object): Promise<void> {
  const answer = await api(method, urlPath, body);
  if (answer === undefined || answer.status >= 300) {
    throw new Error(`${method} ${urlPath}: ${answer ? `${answer.status} ${answer.body}` : "the API server is gone"}`);
  }
}

function stages(): object[] {
  const folders = operators.map(({ name }) => path.join(__dirname, "..", "operators", name));
  return [path.join(__dirname, "stages"), ...folders]
    .flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((file) => file.endsWith(".yaml"))
    .flatMap((file) => yaml.parseAllDocuments(fs.readFileSync(file, "utf8")))
    .map((document) => document.toJS() as object);
}

function storageClass({ name, provisioner, reclaimPolicy, default: isDefault }: SimulatedStorageClass): object {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: { name, annotations: { "storageclass.kubernetes.io/is-default-class": String(isDefault) } },
    provisioner,
    reclaimPolicy,
    volumeBindingMode: "WaitForFirstConsumer",
  };
}

function node(declared: SimulatedNode, index: number): object {
  const { name, cpu, memoryGiB, pods, gpus, labels, taints, reserved } = declared;
  const both = { pods: String(pods), ...(gpus && { [gpus.resource]: String(gpus.count) }) };
  const architecture = "amd64";
  const version = versions.kubernetes;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      annotations: { "kwok.x-k8s.io/node": "fake" },
      labels: {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        ...labels,
      },
    },
    spec: { podCIDR: `10.${64 + index}.0.0/16`, podCIDRs: [`10.${64 + index}.0.0/16`], taints: [...taints] },
    status: {
      capacity: { cpu: String(cpu), memory: `${memoryGiB}Gi`, ...both },
      allocatable: {
        cpu: `${Math.round((cpu - reserved.cpu) * 1000)}m`,
        memory: `${Math.round(memoryGiB * 1024 - reserved.memoryMiB)}Mi`,
        ...both,
      },
      addresses: [
        { type: "InternalIP", address: `10.63.0.${index + 1}` },
        { type: "Hostname", address: name },
      ],
      nodeInfo: {
        architecture,
        operatingSystem: "linux",
        kubeletVersion: version,
        kubeProxyVersion: version,
        containerRuntimeVersion: "simulated",
        kernelVersion: "simulated",
        osImage: "simulated",
        machineID: "",
        systemUUID: "",
        bootID: "",
      },
    },
  };
}
