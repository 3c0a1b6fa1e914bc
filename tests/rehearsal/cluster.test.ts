import * as assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type Cluster, type ClusterSpec, startCluster } from "../../rehearsal/simulation/cluster";
import { type NamedProcess, stopClusterAt, sweep } from "../../rehearsal/simulation/cluster/guardian";
import { crdFixtures } from "../../rehearsal/operators/crds";
import { identify, isAlive } from "../../rehearsal/simulation/processes";
import { ensureToolchain, type Toolchain } from "../../rehearsal/simulation/toolchain";
import { endWithTests } from "./command";

const ROOT = path.resolve(__dirname, "../..");
const SPEC: ClusterSpec = {
  name: "rehearsal",
  context: "carbon-test",
  nodes: [
    {
      name: "plain",
      cpu: 8,
      memoryGiB: 32,
      ephemeralStorageGiB: 100,
      pods: 50,
      labels: { disk: "fast" },
      taints: [],
      reserved: { cpu: 0.5, memoryMiB: 1024 },
    },
    {
      name: "gpus",
      cpu: 4,
      memoryGiB: 16,
      ephemeralStorageGiB: 100,
      pods: 20,
      gpus: { resource: "nvidia.com/gpu", count: 2 },
      labels: {},
      taints: [{ key: "nvidia.com/gpu", effect: "NoSchedule" }],
      reserved: { cpu: 0.5, memoryMiB: 1024 },
    },
  ],
  storageClasses: [
    { name: "scratch", provisioner: "rancher.io/local-path", reclaimPolicy: "Delete", default: true },
    { name: "durable", provisioner: "rancher.io/local-path", reclaimPolicy: "Retain", default: false },
  ],
};
const silent = (): void => undefined;

describe("the simulated cluster", function () {
  this.timeout(60_000);
  let toolchain: Toolchain;
  let runs: string;
  let cluster: Cluster;

  before(async function () {
    this.timeout(0); // the first time, the tools are built
    toolchain = await ensureToolchain((line) => {
      console.log(line);
    });
    runs = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-cluster-"));
    endWithTests(runs);
    cluster = await startCluster(toolchain, SPEC, path.join(runs, "shared"), silent);
  });
  after(async () => {
    await cluster.stop();
    fs.rmSync(runs, { recursive: true });
  });

  /** Runs kubectl, with objects to apply on its standard input. */
  async function kubectl(args: readonly string[], ...objects: object[]): Promise<string> {
    const pending = promisify(execFile)(path.join(toolchain.bin, "kubectl"), args, {
      env: { KUBECONFIG: cluster.kubeconfig, HOME: cluster.directory },
    });
    const list = { apiVersion: "v1", kind: "List", items: objects };
    if (objects.length > 0) pending.child.stdin?.end(JSON.stringify(list));
    return (await pending).stdout;
  }
  const apply = (...objects: object[]): Promise<string> => kubectl(["apply", "-f", "-"], ...objects);
  const get = async (...args: string[]): Promise<any> => JSON.parse(await kubectl(["get", "-o", "json", ...args]));
  // The garbage collector looks for kinds that it does not know yet every 30 s.
  const wait = (condition: string, ...args: string[]): Promise<string> =>
    kubectl(["wait", `--for=${condition}`, "--timeout=60s", ...args]);

  describe("itself", () => {
    it("has the stack's context and its mark, in a kubeconfig for its owner's eyes", async () => {
      assert.equal((await kubectl(["config", "current-context"])).trim(), "carbon-test");
      assert.equal(fs.statSync(cluster.kubeconfig).mode & 0o777, 0o600);
      const { metadata } = await get("namespace", "kube-system");
      assert.equal(metadata.annotations["carbon.254carbon.com/rehearsal"], "true");
    });

    it("listens on 127.0.0.1 alone, and only its API server does", function () {
      if (process.platform !== "linux") this.skip(); // sockets of other processes are read from /proc
      const listening = cluster.processes.flatMap(({ name, pid }) =>
        listenersOf(pid).map((address) => ({ name, address })),
      );
      assert.deepEqual(listening, [{ name: "kube-apiserver", address: "127.0.0.1" }]);
    });

    it("runs beside others, all started at once on a busy machine", async function () {
      this.timeout(600_000);
      const busy = os.cpus().map(() => spawn(process.execPath, ["-e", "for (;;);"], { timeout: 600_000 }));
      try {
        const start = (name: string): Promise<Cluster> => startCluster(toolchain, SPEC, path.join(runs, name), silent);
        const others = await Promise.all(["second", "third", "fourth", "fifth"].map(start));
        assert.equal(new Set([cluster, ...others].map(serverOf)).size, 5);
        await Promise.all(others.map((other) => other.stop()));
        assert.deepEqual(alive(others.flatMap(({ processes }) => processes)), []);
        assert.deepEqual(fs.readdirSync(runs), ["shared"]);
      } finally {
        for (const child of busy) child.kill("SIGKILL");
      }
    });

    it("takes no other API server for its own that got the port before it, and tries another port", async function () {
      this.timeout(600_000);
      // The first start finds the port taken by a server with another rehearsal's certificate.
      const impostor = `
        const fs = require("node:fs");
        const pki = (kind) => fs.readFileSync(${JSON.stringify(cluster.directory)} + "/pki/apiserver." + kind);
        const answer = (_, response) => response.end("ok");
        require("node:https").createServer({ cert: pki("crt"), key: pki("key") }, answer)
          .listen(Number(process.argv[1]), "127.0.0.1", () => fs.writeFileSync("taken", process.argv[1]));
        setTimeout(() => process.exit(), 60_000);`;
      const bin = path.join(runs, "bin");
      fs.cpSync(toolchain.bin, bin, { recursive: true, filter: (file) => path.basename(file) !== "kube-apiserver" });
      const script = `#!/bin/sh
if [ ! -e taken ]; then
  port=$(printf '%s\\n' "$@" | sed -n 's/--secure-port=//p')
  '${process.execPath}' -e '${impostor}' "$port" & echo $! >impostor
  while [ ! -e taken ]; do sleep 0.1; done
fi
exec '${path.join(toolchain.bin, "kube-apiserver")}' "$@"
`;
      fs.writeFileSync(path.join(bin, "kube-apiserver"), script, { mode: 0o755 });
      const other = await startCluster({ ...toolchain, bin }, SPEC, path.join(runs, "second"), silent);
      const read = (name: string): string => fs.readFileSync(path.join(other.directory, name), "utf8").trim();
      process.kill(Number(read("impostor")), "SIGKILL");
      assert.doesNotMatch(serverOf(other), new RegExp(`:${read("taken")}$`));
      assert.equal(alive(other.processes).length, 6);
      await other.stop();
      fs.rmSync(bin, { recursive: true });
    });

    it("says what it saw when it cannot come up", async () => {
      const bin = path.join(runs, "bin");
      fs.mkdirSync(bin);
      for (const [name, script] of Object.entries({
        etcd: "exec sleep 600",
        "kube-apiserver": "echo no licence; exit 1",
      })) {
        fs.writeFileSync(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      }
      const started = startCluster({ ...toolchain, bin }, SPEC, path.join(runs, "second"), silent);
      await assert.rejects(started, /kube-apiserver: died 5 times; seen last: .*\nno licence$/);
      fs.rmSync(bin, { recursive: true });
      assert.deepEqual(fs.readdirSync(runs), ["shared"]);
    });

    it("is given up at once when it is interrupted while it starts", async () => {
      const interruption = new AbortController();
      const started = startCluster(toolchain, SPEC, path.join(runs, "second"), silent, interruption.signal);
      setTimeout(() => {
        interruption.abort(new Error("interrupted"));
      }, 500);
      await assert.rejects(started, /interrupted/);
      assert.deepEqual(fs.readdirSync(runs), ["shared"]);
    });

    it("refuses a directory that holds a cluster", async () => {
      await assert.rejects(startCluster(toolchain, SPEC, cluster.directory, silent), /holds a cluster already/);
    });
  });

  describe("its end", () => {
    type Owned = Awaited<ReturnType<typeof ownedCluster>>;
    const owned: Record<string, Owned> = {};
    before(async function () {
      this.timeout(600_000);
      const keep = "await cluster.keep(); process.exit();";
      const interrupted =
        'require("./tests/rehearsal/command").endWithTests(require("node:path").dirname(cluster.directory)); await cluster.keep();';
      const started = [
        ownedCluster("killed"),
        ownedCluster("stopped"),
        ownedCluster("kept", keep),
        ownedCluster("orphaned"),
        ownedCluster("interrupted/kept", interrupted),
      ];
      for (const one of await Promise.all(started)) owned[path.relative(fs.realpathSync(runs), one.directory)] = one;
    });
    after(() => Promise.all(Object.values(owned).map(({ directory }) => stopClusterAt(directory))));
    const take = (name: string): Owned => owned[name] ?? assert.fail(`no cluster ${name}`);

    it("comes with a kill of its owner, and leaves no process and no file", async () => {
      const { owner, processes, directory } = take("killed");
      assert.equal(alive(processes).length, 6);
      process.kill(owner, "SIGKILL");
      await until(() => alive(processes).length === 0 && !fs.existsSync(directory));
    });

    it("comes with a stop from outside, while its owner lives", async () => {
      const { owner, processes, directory } = take("stopped");
      assert.equal(alive(processes).length, 6);
      await stopClusterAt(directory);
      assert.deepEqual(alive(processes), []);
      assert.equal(fs.existsSync(directory), false);
      process.kill(owner, "SIGKILL");
    });

    it("does not come with the end of its owner when it is kept", async () => {
      const { owner, processes, directory } = take("kept");
      await until(() => identify(owner) === undefined);
      await sleep(500);
      assert.equal(alive(processes).length, 6);
      assert.deepEqual(await sweep(runs), []);
      await stopClusterAt(directory);
      assert.deepEqual(alive(processes), []);
      assert.equal(fs.existsSync(directory), false);
    });

    it("comes with Ctrl-C in a test that has kept one", async () => {
      const { owner, processes, directory } = take("interrupted/kept");
      process.kill(owner, "SIGINT");
      await until(() => alive(processes).length === 0 && !fs.existsSync(directory));
      fs.rmdirSync(path.dirname(directory));
    });

    it("is made up for by a sweep when the guardian was killed with the owner", async () => {
      const { owner, processes, directory } = take("orphaned");
      const [guardian] = processes;
      assert.equal(guardian?.name, "guardian");
      process.kill(guardian.pid, "SIGKILL");
      process.kill(owner, "SIGKILL");
      await until(() => !isAlive(guardian));
      assert.equal(alive(processes).length, 5);
      const other = fs.mkdtempSync(path.join(runs, "not-a-cluster-"));
      assert.deepEqual(await sweep(runs), [path.join(runs, path.basename(directory))]);
      assert.deepEqual(alive(processes), []);
      assert.deepEqual(fs.readdirSync(runs), [path.basename(other), "shared"]);
    });

    it("spares a directory that is no cluster's", async () => {
      const directory = fs.mkdtempSync(path.join(runs, "precious-"));
      await assert.rejects(stopClusterAt(directory), /no cluster was started here/);
      assert.equal(fs.existsSync(directory), true);
    });
  });

  describe("nodes and pods", () => {
    it("have what the inventory says, less what the system keeps", async () => {
      const { status, metadata, spec } = await get("node", "gpus");
      const shared = { pods: "20", "ephemeral-storage": "100Gi", "nvidia.com/gpu": "2" };
      assert.deepEqual(status.capacity, { cpu: "4", memory: "16Gi", ...shared });
      assert.deepEqual(status.allocatable, { cpu: "3500m", memory: "15Gi", ...shared });
      assert.equal(metadata.labels["kubernetes.io/hostname"], "gpus");
      assert.deepEqual(spec.taints, [{ key: "nvidia.com/gpu", effect: "NoSchedule" }]);
      assert.equal((await get("node", "plain")).metadata.labels.disk, "fast");
    });

    it("make a Deployment available, where its pods fit", async () => {
      await apply(deployment("web", { replicas: 3, cpu: "1" }));
      await wait("condition=Available", "deployment/web");
      const { items } = await get("pods", "-l", "app=web");
      assert.deepEqual(
        items.map((pod: any) => pod.spec.nodeName),
        ["plain", "plain", "plain"],
      );
      assert.equal(new Set(items.map((pod: any) => pod.status.podIP)).size, 3);
      await kubectl(["delete", "deployment", "web"]);
      await wait("delete", "pods", "-l", "app=web");
    });

    it("give a GPU to who asks for one and tolerates the node, and no third one", async () => {
      const gpu = (name: string): object => ({
        ...pod(name, { resources: { limits: { "nvidia.com/gpu": 1 } } }, { tolerations: [{ operator: "Exists" }] }),
      });
      await apply(gpu("gpu-1"), gpu("gpu-2"));
      await wait("condition=Ready", "pod/gpu-1", "pod/gpu-2");
      await apply(gpu("gpu-3"));
      await wait("condition=PodScheduled=False", "pod/gpu-3");
      assert.equal((await get("pod", "gpu-1")).spec.nodeName, "gpus");
      assert.match((await get("pod", "gpu-3")).status.conditions[0].message, /Insufficient nvidia.com\/gpu/);
      await kubectl(["delete", "pod", "gpu-1", "gpu-2", "gpu-3"]);
    });

    it("end a Job well, after its init containers", async () => {
      const template = {
        spec: { ...podSpec({}), restartPolicy: "OnFailure", initContainers: [{ name: "wait", image: "a:1" }] },
      };
      await apply({ apiVersion: "batch/v1", kind: "Job", metadata: { name: "migrate" }, spec: { template } });
      await wait("condition=Complete", "job/migrate");
      const { items } = await get("pods", "-l", "job-name=migrate");
      assert.equal(items[0].status.initContainerStatuses[0].state.terminated.exitCode, 0);
      await kubectl(["delete", "job", "migrate"]);
    });

    it("let a pod go only when its finalizers are gone", async () => {
      const held = pod("held", {}, {});
      await apply({ ...held, metadata: { name: "held", finalizers: ["example.com/hold"] } });
      await wait("condition=Ready", "pod/held");
      await kubectl(["delete", "pod", "held", "--wait=false"]);
      await sleep(1000);
      assert.notEqual((await get("pod", "held")).metadata.deletionTimestamp, undefined);
      await kubectl(["patch", "pod", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}']);
      await wait("delete", "pod/held");
    });
  });

  describe("admission", () => {
    it("refuses a pod that Pod Security forbids", async () => {
      await apply(namespace("strict", { "pod-security.kubernetes.io/enforce": "restricted" }));
      const applied = apply({ ...pod("root", {}, {}), metadata: { name: "root", namespace: "strict" } });
      await assert.rejects(applied, /violates PodSecurity "restricted/);
    });

    it("refuses what a quota has no room for, and pods without limits", async () => {
      const hard = { "limits.cpu": "2" };
      await apply(namespace("small"), {
        apiVersion: "v1",
        kind: "ResourceQuota",
        metadata: { name: "quota", namespace: "small" },
        spec: { hard },
      });
      await until(async () => (await get("quota", "quota", "-n", "small")).status?.hard !== undefined);
      const inSmall = (name: string, container: object): object => ({
        ...pod(name, container, {}),
        metadata: { name, namespace: "small" },
      });
      const big = apply(inSmall("big", { resources: { limits: { cpu: "3" } } }));
      await assert.rejects(
        big,
        /exceeded quota: quota, requested: limits.cpu=3, used: limits.cpu=0, limited: limits.cpu=2/,
      );
      await assert.rejects(apply(inSmall("unlimited", {})), /must specify limits.cpu/);
    });

    it("refuses fields that do not exist", async () => {
      const misspelt = pod("misspelt", { imagePullPolice: "Always" }, {});
      const applied = kubectl(["apply", "--server-side", "--validate=false", "-f", "-"], misspelt);
      await assert.rejects(applied, /imagePullPolice: field not declared in schema/);
    });
  });

  describe("volumes", () => {
    it("lie on the node that the scheduler chose, and go or stay as their class says", async () => {
      await apply(statefulSet("temporary", "scratch"), statefulSet("lasting", "durable"));
      await wait("jsonpath={.status.readyReplicas}=1", "statefulset/temporary", "statefulset/lasting");
      const volumes: Record<string, string> = {};
      for (const name of ["temporary", "lasting"]) {
        const { spec } = await get("pvc", `data-${name}-0`);
        const { spec: volume } = await get("pv", spec.volumeName);
        const { nodeName } = (await get("pod", `${name}-0`)).spec;
        assert.deepEqual(volume.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values, [nodeName]);
        assert.equal(volume.capacity.storage, "1Gi");
        volumes[name] = spec.volumeName;
      }
      await kubectl(["delete", "statefulset,pvc", "--all"]);
      await wait("delete", `pv/${volumes["temporary"]}`);
      await wait("jsonpath={.status.phase}=Released", `pv/${volumes["lasting"]}`);
    });

    it("are made for a class that the program brings, too", async () => {
      await apply({
        ...{ apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name: "own" } },
        ...{ provisioner: "example.com/own", reclaimPolicy: "Delete", volumeBindingMode: "WaitForFirstConsumer" },
      });
      await apply(statefulSet("own", "own"));
      await wait("jsonpath={.status.readyReplicas}=1", "statefulset/own");
    });

    it("shared by nodes are not made by local-path", async () => {
      await apply(statefulSet("shared", "scratch", "ReadWriteMany"));
      await sleep(2000);
      assert.equal((await get("pvc", "data-shared-0")).status.phase, "Pending");
    });
  });

  describe("operators", () => {
    before(async () => {
      await apply(namespace("data", { "pod-security.kubernetes.io/enforce": "restricted" }));
      const crds = ["cnpg", "cert-manager", "kuberay", "strimzi", "eck"].map((name) => crdFixtures(name));
      await kubectl(["apply", "--server-side", "--recursive", ...crds.map((directory) => `--filename=${directory}`)]);
      await wait("condition=Established", "crd/clusters.postgresql.cnpg.io", "crd/certificates.cert-manager.io");
    });

    it("make a PostgreSQL Cluster ready with its pods, follow its scale and keep its claims", async () => {
      const resources = { requests: { cpu: "100m", memory: "256Mi" }, limits: { cpu: "1", memory: "256Mi" } };
      await apply({
        ...{ apiVersion: "postgresql.cnpg.io/v1", kind: "Cluster", metadata: { name: "pg", namespace: "data" } },
        spec: { instances: 2, storage: { size: "1Gi" }, resources },
      });
      await wait("condition=Ready", "cluster/pg", "-n", "data");
      const claims = await get("pvc", "-n", "data");
      assert.equal(claims.items.length, 2);
      const primary = await get("pods", "-n", "data", "-l", "cnpg.io/cluster=pg,cnpg.io/instanceRole=primary");
      assert.equal(primary.items[0].metadata.name, "pg-1");
      assert.deepEqual(primary.items[0].spec.containers[0].resources, resources);
      assert.equal((await get("service", "pg-rw", "-n", "data")).spec.ports[0].port, 5432);

      await kubectl(["patch", "cluster", "pg", "-n", "data", "--type=merge", "-p", '{"spec":{"instances":3}}']);
      await wait("jsonpath={.status.readyInstances}=3", "cluster/pg", "-n", "data");
      await wait("condition=Ready", "cluster/pg", "-n", "data");
      const uids = (await get("pvc", "-n", "data")).items.map((claim: any) => claim.metadata.uid);
      assert.equal(uids.length, 3);
      assert.ok(
        claims.items.every((claim: any) => uids.includes(claim.metadata.uid)),
        "a claim was made again: its data would be lost",
      );
    });

    it("leave a Cluster unready whose pods have no place", async () => {
      await apply({
        ...{ apiVersion: "postgresql.cnpg.io/v1", kind: "Cluster", metadata: { name: "huge", namespace: "data" } },
        spec: { instances: 1, storage: { size: "1Gi" }, resources: { requests: { cpu: "100" } } },
      });
      await wait("condition=Ready=False", "cluster/huge", "-n", "data");
      await kubectl(["delete", "cluster", "huge", "-n", "data"]);
      await wait("delete", "pod/huge-1", "-n", "data");
    });

    it("apply Databases and roles, and say for which generation", async () => {
      const metadata = { name: "app", namespace: "data" };
      const spec = { name: "app", cluster: { name: "pg" } };
      await apply(
        { apiVersion: "postgresql.cnpg.io/v1", kind: "DatabaseRole", metadata, spec: { ...spec, login: true } },
        { apiVersion: "postgresql.cnpg.io/v1", kind: "Database", metadata, spec: { ...spec, owner: "app" } },
      );
      await wait("jsonpath={.status.applied}=true", "database/app", "databaserole/app", "-n", "data");
      await kubectl(["patch", "database", "app", "-n", "data", "--type=merge", "-p", '{"spec":{"connectionLimit":9}}']);
      await wait("jsonpath={.status.observedGeneration}=2", "database/app", "-n", "data");
    });

    it("make an Elasticsearch ready with its nodes, for the generation that it was last given", async () => {
      await wait("condition=Established", "crd/elasticsearches.elasticsearch.k8s.elastic.co");
      const resources = { requests: { cpu: "100m", memory: "256Mi" }, limits: { cpu: "1", memory: "256Mi" } };
      const securityContext = { runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } };
      const claim = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
      // In place of the operator's own of that name.
      const volumes = [{ name: "elasticsearch-logs", emptyDir: { sizeLimit: "2Gi" } }];
      const nodes = (count: number): object => ({
        name: "default",
        count,
        podTemplate: { spec: { securityContext, containers: [{ name: "elasticsearch", resources }], volumes } },
        volumeClaimTemplates: [{ metadata: { name: "elasticsearch-data" }, spec: claim }],
      });
      const resource = { apiVersion: "elasticsearch.k8s.elastic.co/v1", kind: "Elasticsearch" };
      const metadata = { name: "es", namespace: "data" };
      const spec = { version: "8.19.0", auth: { disableElasticUser: true }, nodeSets: [nodes(1)] };
      await apply({ ...resource, metadata, spec });
      await wait("jsonpath={.status.phase}=Ready", "elasticsearch/es", "-n", "data");
      const labels = "elasticsearch.k8s.elastic.co/cluster-name=es";
      const [pod] = (await get("pods", "-n", "data", "-l", labels)).items;
      assert.equal(pod.metadata.name, "es-es-default-0");
      assert.deepEqual(
        pod.spec.volumes.filter(({ name }: any) => name === "elasticsearch-logs"),
        volumes,
      );
      for (const { name, resources: own } of [...pod.spec.initContainers, ...pod.spec.containers]) {
        assert.ok(own.limits.cpu && own.limits.memory, `a quota would refuse ${String(name)}`);
      }
      const services = (await get("services", "-n", "data", "-l", labels)).items;
      assert.deepEqual(
        services
          .map(({ metadata: { name }, spec: { ports } }: any) => `${String(name)}:${String(ports[0].port)}`)
          .sort(),
        ["es-es-default:9200", "es-es-http:9200", "es-es-internal-http:9200", "es-es-transport:9300"],
      );
      const secrets = (await get("secrets", "-n", "data", "-l", labels)).items;
      assert.deepEqual(
        secrets.map(({ metadata: { name } }: any) => name),
        ["es-es-http-certs-public"],
      );

      // Another user alone, which no pod sees; then another node.
      const auth = { disableElasticUser: true, fileRealm: [{ secretName: "es-client" }] };
      await apply({ ...resource, metadata, spec: { ...spec, auth } });
      await wait("jsonpath={.status.observedGeneration}=2", "elasticsearch/es", "-n", "data");
      await wait("jsonpath={.status.phase}=Ready", "elasticsearch/es", "-n", "data");
      await apply({ ...resource, metadata, spec: { ...spec, auth, nodeSets: [nodes(2)] } });
      await wait("jsonpath={.status.availableNodes}=2", "elasticsearch/es", "-n", "data");
      await wait("jsonpath={.status.observedGeneration}=3", "elasticsearch/es", "-n", "data");
      await kubectl(["delete", "elasticsearch", "es", "-n", "data"]);
      await wait("delete", "pod/es-es-default-0", "-n", "data");
    });

    it("make a Kafka ready with its nodes, even those that were there before it, and never without", async () => {
      const apiVersion = "kafka.strimzi.io/v1";
      const resources = { requests: { cpu: "100m", memory: "256Mi" }, limits: { cpu: "1", memory: "256Mi" } };
      const securityContext = {
        ...{ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] }, runAsNonRoot: true },
        seccompProfile: { type: "RuntimeDefault" },
      };
      const template = Object.fromEntries(
        ["kafka", "topicOperator", "userOperator"].map((name) => [`${name}Container`, { securityContext }]),
      );
      const pool = (cluster: string, cpu: string): object => ({
        ...{ apiVersion, kind: "KafkaNodePool" },
        metadata: { name: `of-${cluster}`, namespace: "data", labels: { "strimzi.io/cluster": cluster } },
        spec: {
          ...{ replicas: 2, roles: ["controller", "broker"], resources: { requests: { cpu } } },
          storage: { type: "jbod", volumes: [{ id: 0, type: "persistent-claim", size: "1Gi" }] },
          template: { kafkaContainer: template["kafkaContainer"] },
        },
      });
      const kafka = (name: string): object => ({
        ...{ apiVersion, kind: "Kafka", metadata: { name, namespace: "data" } },
        spec: {
          kafka: { listeners: [{ name: "clients", port: 9092, type: "internal", tls: true }] },
          entityOperator: {
            ...{ topicOperator: { resources }, userOperator: { resources } },
            template: {
              topicOperatorContainer: template["topicOperatorContainer"],
              userOperatorContainer: template["userOperatorContainer"],
            },
          },
        },
      });
      await apply(pool("early", "100m"), pool("homeless", "100"));
      await wait("condition=Ready", "pod/early-of-early-0", "pod/early-of-early-1", "-n", "data");
      await apply(kafka("early"), kafka("homeless"));
      await wait("condition=Ready", "kafka/early", "-n", "data");
      await wait("condition=NotReady", "kafka/homeless", "-n", "data");
      const [first] = (await get("pods", "-n", "data", "-l", "strimzi.io/cluster=early,strimzi.io/broker-role=true"))
        .items;
      assert.deepEqual([first.metadata.name, first.spec.serviceAccountName], ["early-of-early-0", "early-kafka"]);
      assert.equal((await get("pvc", "data-0-early-of-early-0", "-n", "data")).status.phase, "Bound");
      assert.equal((await get("service", "early-kafka-bootstrap", "-n", "data")).spec.ports[1].port, 9092);
      await wait("condition=Available", "deployment/early-entity-operator", "-n", "data");

      const metadata = { name: "one", namespace: "data", labels: { "strimzi.io/cluster": "early" } };
      await apply(
        { apiVersion, kind: "KafkaTopic", metadata, spec: { partitions: 1, replicas: 1 } },
        { apiVersion, kind: "KafkaUser", metadata, spec: { authentication: { type: "scram-sha-512" } } },
      );
      await wait("condition=Ready", "kafkatopic/one", "kafkauser/one", "-n", "data");
      assert.ok(
        (await get("secret", "early-user-one", "-n", "data")).data.password,
        "the Secret of the user has no password",
      );
    });

    it("make a RayCluster ready with a head and every group of workers, within its bounds", async () => {
      await apply(namespace("ray"));
      const quota = { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "own", namespace: "ray" } };
      await apply({ ...quota, spec: { hard: { services: "100" } } });
      const resource = { apiVersion: "ray.io/v1", kind: "RayCluster", metadata: { name: "jobs", namespace: "ray" } };
      await apply({ ...resource, spec: rayClusterSpec("plain", "special") });
      await wait("jsonpath={.status.state}=ready", "raycluster/jobs", "-n", "ray");
      await wait("condition=HeadPodReady", "raycluster/jobs", "-n", "ray");
      const workers = async (group: string): Promise<number> =>
        (await get("pods", "-n", "ray", "-l", `ray.io/group=${group},app=jobs`)).items.length;
      await until(async () => (await workers("plain")) === 1 && (await workers("special")) === 1);
      const [head] = (await get("pods", "-n", "ray", "-l", "ray.io/cluster=jobs,ray.io/node-type=head")).items;
      assert.deepEqual(
        head.spec.containers.map(({ name }: any) => name),
        ["main", "autoscaler"],
      );
      assert.equal((await get("service", "jobs-head-svc", "-n", "ray")).spec.ports[0].port, 8265);

      const scaled = '[{"op":"replace","path":"/spec/workerGroupSpecs/0/replicas","value":9}]';
      await kubectl(["patch", "raycluster", "jobs", "-n", "ray", "--type=json", "-p", scaled]);
      await until(async () => (await workers("plain")) === 3);
      await wait("jsonpath={.status.readyWorkerReplicas}=3", "raycluster/jobs", "-n", "ray");
      // It is applied again with every change, and counts once.
      await wait("jsonpath={.status.used.services}=1", "resourcequota/own", "-n", "ray");
      await kubectl(["delete", "raycluster", "jobs", "-n", "ray"]);
    });

    it("make a RayService ready with a cluster of its own, whose pods its Service finds", async () => {
      const resource = { apiVersion: "ray.io/v1", kind: "RayService", metadata: { name: "serving", namespace: "ray" } };
      await apply({ ...resource, spec: { serveConfigV2: "", rayClusterConfig: rayClusterSpec("plain") } });
      await wait("condition=Ready", "rayservice/serving", "-n", "ray");
      await wait("condition=UpgradeInProgress=False", "rayservice/serving", "-n", "ray");
      const pods = await get("pods", "-n", "ray", "-l", "ray.io/serve=true");
      assert.equal(pods.items.length, 2);
      const { selector } = (await get("service", "serving-serve-svc", "-n", "ray")).spec;
      for (const { metadata } of pods.items) {
        for (const [key, value] of Object.entries(selector)) assert.equal(metadata.labels[key], value);
      }
      await kubectl(["delete", "rayservice", "serving", "-n", "ray"]);
      await until(async () => (await get("pods", "-n", "ray", "-l", "ray.io/serve=true")).items.length === 0);
    });

    it("make Prometheus and Alertmanager of the size, the number and with the volumes that they ask for", async () => {
      const crds = ["prometheuses", "alertmanagers"].map((plural) => `${plural}.monitoring.coreos.com`);
      const files = crds.map((name) => path.join(crdFixtures("prometheus-operator"), `${name}.yaml`));
      await kubectl(["apply", "--server-side", ...files.map((file) => `--filename=${file}`)]);
      await wait("condition=Established", ...crds.map((name) => `crd/${name}`));
      const resources = { requests: { cpu: "100m", memory: "256Mi" } };
      const storage = {
        volumeClaimTemplate: { spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } },
      };
      for (const kind of ["Prometheus", "Alertmanager"]) {
        const name = kind.toLowerCase();
        const securityContext = { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } };
        await apply({
          ...{ apiVersion: "monitoring.coreos.com/v1", kind, metadata: { name: "own", namespace: "data" } },
          spec: { replicas: 2, image: `example.com/${name}:1`, resources, storage, securityContext },
        });
        await wait("create", `statefulset/${name}-own`, "-n", "data");
        await wait("jsonpath={.status.readyReplicas}=2", `statefulset/${name}-own`, "-n", "data");
        const [first] = (await get("pods", "-n", "data", "-l", `app.kubernetes.io/name=${name}`)).items;
        assert.deepEqual(first.spec.containers[0].resources, resources);
        const claims = (await get("pvc", "-n", "data", "-l", `app.kubernetes.io/name=${name}`)).items;
        assert.deepEqual(
          claims.map(({ metadata }: any) => metadata.name),
          [0, 1].map((index) => `${name}-own-db-${name}-own-${index}`),
        );
      }
    });

    it("issue a Certificate into the Secret that it names", async () => {
      const issuer = {
        apiVersion: "cert-manager.io/v1",
        kind: "ClusterIssuer",
        metadata: { name: "self" },
        spec: { selfSigned: {} },
      };
      const spec = {
        secretName: "web-tls",
        dnsNames: ["web.example.com"],
        issuerRef: { name: "self", kind: "ClusterIssuer" },
      };
      const metadata = { name: "web", namespace: "data" };
      await apply(issuer, { apiVersion: "cert-manager.io/v1", kind: "Certificate", metadata, spec });
      await wait("condition=Ready", "clusterissuer/self", "certificate/web", "-n", "data");
      const { data } = await get("secret", "web-tls", "-n", "data");
      assert.match(Buffer.from(data["tls.crt"], "base64").toString(), /^-----BEGIN CERTIFICATE-----/);
    });
  });

  /** A cluster that belongs to another process, which waits when `then` has run. */
  async function ownedCluster(name: string, then = "") {
    const directory = path.join(fs.realpathSync(runs), name);
    const code = `
      process.stdin.resume().once("end", () => process.exit()); // with the tests
      const { startCluster } = require("./rehearsal/simulation/cluster");
      const [toolchain, spec] = ${JSON.stringify([toolchain, SPEC])};
      startCluster(toolchain, spec, ${JSON.stringify(directory)}, () => undefined).then(async (cluster) => {
        console.log(JSON.stringify(cluster.processes));
        ${then}
        setInterval(() => undefined, 1000);
      });`;
    const owner = spawn(process.execPath, ["-r", "ts-node/register/transpile-only", "-e", code], {
      cwd: ROOT,
      stdio: ["pipe", "pipe", "inherit"],
    });
    assert.ok(owner.pid, "the lock does not say whose it is");
    let output = "";
    for await (const chunk of owner.stdout) {
      output += String(chunk);
      if (output.endsWith("\n")) break;
    }
    return { owner: owner.pid, directory, processes: JSON.parse(output) as NamedProcess[] };
  }
});

function serverOf({ kubeconfig }: Cluster): string {
  return /server: (.*)/.exec(fs.readFileSync(kubeconfig, "utf8"))?.[1] ?? "";
}

function alive(processes: readonly NamedProcess[]): string[] {
  return processes.filter(isAlive).map(({ name }) => name);
}

/** The addresses that a process listens on. */
function listenersOf(pid: number): string[] {
  const inodes = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return ""; // closed since it was listed
    }
  });
  return ["tcp", "tcp6"].flatMap((protocol) =>
    fs
      .readFileSync(`/proc/${pid}/net/${protocol}`, "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === "0A" && inodes.includes(`socket:[${inode}]`))
      .map(([, address = ""]) => (address.startsWith("0100007F:") ? "127.0.0.1" : address)),
  );
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await condition()); waited += 50) {
    assert.ok(waited < 20_000, `still waiting for ${condition.toString()}`);
    await sleep(50);
  }
}

function namespace(name: string, labels: Record<string, string> = {}): object {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

function rayClusterSpec(...groups: string[]): object {
  const template = (ports: object[]) => ({ metadata: { labels: { app: "jobs" } }, spec: podSpec({ ports }) });
  return {
    enableInTreeAutoscaling: true,
    headGroupSpec: { rayStartParams: {}, template: template([{ name: "dashboard", containerPort: 8265 }]) },
    workerGroupSpecs: groups.map((groupName) => ({
      ...{ groupName, minReplicas: 1, maxReplicas: 3, rayStartParams: {} },
      template: template([{ name: "metrics", containerPort: 8080 }]),
    })),
  };
}

function podSpec(container: object): object {
  return { containers: [{ name: "main", image: "a:1", ...container }], terminationGracePeriodSeconds: 0 };
}

function pod(name: string, container: object, spec: object): object {
  return { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { ...podSpec(container), ...spec } };
}

function deployment(name: string, { replicas, cpu }: { replicas: number; cpu: string }): object {
  const labels = { app: name };
  const template = { metadata: { labels }, spec: podSpec({ resources: { requests: { cpu } } }) };
  return {
    ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name } },
    spec: { replicas, selector: { matchLabels: labels }, template },
  };
}

function statefulSet(name: string, storageClassName: string, accessMode = "ReadWriteOnce"): object {
  const labels = { app: name };
  return {
    ...{ apiVersion: "apps/v1", kind: "StatefulSet", metadata: { name } },
    spec: {
      serviceName: name,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec({}) },
      volumeClaimTemplates: [
        {
          metadata: { name: "data" },
          spec: { storageClassName, accessModes: [accessMode], resources: { requests: { storage: "1Gi" } } },
        },
      ],
    },
  };
}
