import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { Ray, type RayArgs } from "../../../components/ml/ray";
import { bytes } from "../../../rehearsal/program/quantity";
import { mockEngine, only, type Registered, settled } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { wires } from "../../support/manifests";
import { bucket, endpoint, metrics, onCluster, SIZE } from "../../support/stubs";
import { temporaryDirectory } from "../../support/temporary";

async function ray(workers: Partial<RayArgs["workers"]> = {}, own: Partial<RayArgs> = {}): Promise<Registered[]> {
  const seen = await mockEngine();
  new Ray(
    "ray",
    {
      namespace: "ml",
      mode: { kind: "standalone", head: { ...SIZE, volume: { storageClass: "disk", sizeGiB: 10 } } },
      workers: { ...SIZE, min: 2, max: 5, ...workers },
      token: pulumi.secret("t0ken"),
      env: {},
      services: { MLFLOW_TRACKING_URI: endpoint("mlflow", "http", 5000) },
      features: bucket(),
      access: { pods: [], groups: [] },
      metrics: metrics(),
      ...own,
    },
    onCluster(),
  );
  await settled();
  return seen;
}

const head = (seen: readonly Registered[]): any =>
  only(seen, "kubernetes:apps/v1:StatefulSet").inputs.spec.template.spec;
const worker = (seen: readonly Registered[]): any =>
  only(seen, "kubernetes:apps/v1:Deployment").inputs.spec.template.spec;
const flagsOf = (container: any): Record<string, string> =>
  Object.fromEntries(container.command.slice(4).map((flag: string) => flag.replace(/^--/, "").split("=")));

const MIB = 1024 ** 2;
const sizeOf = (pod: any, volume: string): number =>
  bytes(pod.volumes.find(({ name }: any) => name === volume).emptyDir.sizeLimit);

describe("Ray", () => {
  it("has room on its disk to spill its object store twice, whatever the workers' memory", async () => {
    for (const limit of [4096, 65536]) {
      const pod = worker(await ray({ memoryMiB: { request: 1024, limit } }));
      const flags = flagsOf(pod.containers[0]);
      const store = Number(flags["object-store-memory"]);
      assert.match(flags["object-spilling-directory"] ?? "", /^\/tmp\//, "objects are spilled elsewhere");
      assert.ok(sizeOf(pod, "tmp") >= 2 * store + 1024 * MIB, `${limit} MiB: the pod is evicted once it spills`);
      assert.ok(sizeOf(pod, "shm") > store, `${limit} MiB: the object store does not fit`);
    }
  });

  it("keeps of earlier sessions only the last one's logs, and nothing that they spilled", async () => {
    const tmp = temporaryDirectory();
    for (const [index, name] of ["session_2026-01", "session_2026-02", "session_2026-03"].entries()) {
      const session = path.join(tmp, "ray", name);
      fs.mkdirSync(session, { recursive: true });
      fs.utimesSync(session, index, index);
    }
    fs.mkdirSync(path.join(tmp, "spill"));
    const [shell, option, script = "", ...args] = head(await ray()).containers[0].command as string[];
    const started = bash([shell ?? "", option ?? "", script.replaceAll("/tmp/", `${tmp}/`), ...args], {
      ray: "exit 0",
    });
    assert.deepEqual(fs.readdirSync(tmp), ["ray"]);
    assert.deepEqual(fs.readdirSync(path.join(tmp, "ray")), ["session_2026-03"]);
    assert.match(started.calls.join(), /^ray start --head /);
  });

  it("rotates a session's logs so that two sessions fit the head's volume", async () => {
    const [container] = head(await ray()).containers;
    const value = (name: string) => Number(container.env.find((one: any) => one.name === name).value);
    const perFile = value("RAY_ROTATION_MAX_BYTES") * (1 + value("RAY_ROTATION_BACKUP_COUNT"));
    assert.ok(2 * 16 * perFile <= 10 * 1024 * MIB, "Ray's own 3 GiB per file fill the volume");
  });

  it("keeps the logs of all processes that ever ran within half of their space, the newest longest", async () => {
    const seen = await ray();
    for (const [pod, spaceMiB] of [
      [head(seen), 10 * 1024],
      [worker(seen), 2 * 1024],
    ] as const) {
      const [shell = "", option = "", script = ""] = pod.containers[0].lifecycle.postStart.exec.command as string[];
      assert.ok(script.includes(`-gt ${spaceMiB / 2} ]`), script);
      const tmp = temporaryDirectory();
      const logs = path.join(tmp, "ray", "session_2026-01", "logs");
      fs.mkdirSync(path.join(logs, "old"), { recursive: true });
      const files = ["job-driver-1.log", "old/worker-1.out", "worker-2.out", "raylet.out"];
      for (const [age, file] of files.entries()) {
        fs.writeFileSync(path.join(logs, file), Buffer.alloc(1024 ** 2, "a"));
        fs.utimesSync(path.join(logs, file), age, age);
      }
      // Once, where one can wait for it, with room for two files and the directories.
      const pass = script
        .replaceAll("/tmp/", `${tmp}/`)
        .replace(/-gt \d+/, "-gt 3")
        .replace(/ &$/, "");
      spawnSync(shell, [option, pass.replace("while sleep 60", "for once in 1")], { timeout: 10_000 });
      const left = files.filter((file) => fs.statSync(path.join(logs, file)).size > 0);
      assert.deepEqual(left, ["worker-2.out", "raylet.out"]);
    }
  });

  it("pins every port of its nodes, and opens just these among them", async () => {
    const seen = await ray();
    const pinned = new Set<string>();
    for (const pod of [head(seen), worker(seen)]) {
      const flags = flagsOf(pod.containers[0]);
      for (const flag of [
        "object-manager-port",
        "node-manager-port",
        "dashboard-agent-grpc-port",
        "runtime-env-agent-port",
        "dashboard-agent-listen-port",
      ]) {
        assert.match(flags[flag] ?? "", /^\d+$/, flag);
        pinned.add(flags[flag] ?? "");
      }
      pinned.add(`${flags["min-worker-port"] ?? ""}-${flags["max-worker-port"] ?? ""}`);
      assert.ok(
        Number(flags["min-worker-port"]) < Number(flags["max-worker-port"]),
        "there is no port for a worker process",
      );
    }
    const { port, "dashboard-port": dashboard, "ray-client-server-port": client } = flagsOf(head(seen).containers[0]);
    for (const one of [port, dashboard, client]) pinned.add(one ?? "");
    const [, opened] = /^ray -> ray (.*)$/m.exec(wires(seen).join("\n")) ?? [];
    assert.deepEqual(new Set(opened?.split(",")), pinned);
  });

  it("has no two listeners on one port", async () => {
    const seen = await ray();
    for (const pod of [head(seen), worker(seen)]) {
      const flags = flagsOf(pod.containers[0]);
      const single = Object.entries(flags).flatMap(([flag, value]) =>
        flag.endsWith("-port") && !/^(min|max)-worker-port$/.test(flag) ? [Number(value)] : [],
      );
      assert.equal(new Set(single).size, single.length);
      for (const port of single) {
        assert.ok(port < Number(flags["min-worker-port"]) || port > Number(flags["max-worker-port"]), `${port}`);
      }
    }
  });

  it("lets tasks run on workers alone, with memory for objects that fits into theirs", async () => {
    const seen = await ray();
    assert.equal(flagsOf(head(seen).containers[0])["num-cpus"], "0");
    assert.equal(flagsOf(worker(seen).containers[0])["num-cpus"], "1");
    for (const pod of [head(seen), worker(seen)]) {
      const store = Number(flagsOf(pod.containers[0])["object-store-memory"]);
      const shm = pod.volumes.find((volume: any) => volume.name === "shm").emptyDir;
      assert.equal(shm.medium, "Memory");
      assert.ok(store < parseInt(shm.sizeLimit as string) * 2 ** 20, "the object store is larger than /dev/shm");
      assert.ok(
        parseInt(shm.sizeLimit as string) < SIZE.memoryMiB.limit / 2,
        "/dev/shm takes half of the memory or more: it counts against the limit",
      );
    }
  });

  it("starts workers once the head answers, and gives up after a while", async () => {
    const seen = await ray();
    const [wait] = worker(seen).initContainers;
    assertOrder(seen, only(seen, "kubernetes:apps/v1:Deployment"), only(seen, "kubernetes:apps/v1:StatefulSet"));

    const ready = bash(wait.command, { ray: "exit 0" });
    assert.deepEqual([ready.status, ready.calls.length], [0, 1]);
    assert.equal(ready.calls[0], "ray health-check --address ray-head.ml.svc:6379");
    const never = bash(wait.command, { ray: "exit 1", sleep: "exit 0" });
    assert.equal(never.status, 1);
    assert.equal(never.calls.filter((call) => call.startsWith("ray ")).length, 60);
    assert.match(never.stderr, /no Ray head at ray-head\.ml\.svc:6379/);
  });

  it("drains a worker before it goes: it waits for the raylet, and no longer than the pod may live", async () => {
    const pod = worker(await ray());
    const { command } = pod.containers[0].lifecycle.preStop.exec;
    const drain = bash(command, {
      ray: "exit 0",
      sleep: "exit 0",
      // The raylet answers twice and is gone then.
      python: `case "$*" in *list_nodes*) test "$GCS" = ray-head.ml.svc:6379 && echo node-1; exit ;; esac
n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count; test "$n" -lt 2`,
    });
    assert.equal(drain.status, 0);
    const call = drain.calls.find((one) => one.startsWith("ray ")) ?? "";
    assert.match(call, /^ray drain-node --address ray-head\.ml\.svc:6379 --node-id node-1 --reason /);
    assert.equal(drain.calls.filter((one) => one.includes("local_raylet_healthz")).length, 3);
    const deadline = Number(/--deadline-remaining-seconds (\d+)/.exec(call)?.[1]);
    assert.ok(
      deadline > 0 && deadline < pod.terminationGracePeriodSeconds,
      "the pod would be killed while it still drains",
    );
  });

  it("lets a worker go at once when there is no head to drain it, or nothing to drain", async () => {
    const { command } = worker(await ray()).containers[0].lifecycle.preStop.exec;
    const headless = bash(command, { ray: "exit 1", sleep: "exit 0", python: "exit 1" });
    assert.deepEqual([headless.status, headless.calls.some((one) => one.startsWith("ray "))], [0, false]);
    const refused = bash(command, { ray: "exit 1", sleep: "exit 0", python: "echo node-1" });
    assert.ok(!refused.calls.some((one) => one.startsWith("sleep ")), "a node that may not drain must end at once");
  });

  it("scales between the configured bounds, of which one worker is the least", async () => {
    for (const bounds of [
      { min: 2, max: 5 },
      { min: 1, max: 1 },
    ]) {
      const { spec } = only(await ray(bounds), "kubernetes:autoscaling/v2:HorizontalPodAutoscaler").inputs;
      assert.deepEqual({ min: spec.minReplicas, max: spec.maxReplicas }, bounds);
    }
  });

  it("keeps the addresses that people use today", async () => {
    const seen = await ray();
    const ports = (name: string) =>
      only(seen, "kubernetes:core/v1:Service", name).inputs.spec.ports.map(({ port }: any) => port);
    for (const port of [6379, 8265, 10001])
      assert.ok(ports("ray-head").includes(port), `the Service ray-head has no port ${port}`);
    assert.ok(ports("ray-serve").includes(8000), "the Service ray-serve has no port 8000");
  });

  it("knows the tracking server and the bucket, with its keys in a Secret", async () => {
    const seen = await ray();
    for (const { containers } of [head(seen), worker(seen)]) {
      const env = Object.fromEntries(containers[0].env.map(({ name, value }: any) => [name, value]));
      assert.equal(env["MLFLOW_TRACKING_URI"], "http://mlflow.elsewhere:5000");
      assert.equal(env["AWS_ENDPOINT_URL_S3"], "https://s3.elsewhere:9000");
      assert.ok(
        containers[0].envFrom.some(({ secretRef }: any) => secretRef.name === "ray-object-store"),
        "the node does not get the login of the object store",
      );
    }
  });

  it("reaches the index of packages from every node, and keeps no packages that nothing uses", async () => {
    const server = { kind: "external", name: "index", cidrs: ["203.0.113.0/24"], port: 443, why: "https" } as const;
    const seen = await ray({}, { packageIndex: { url: "https://pypi.example.com/simple", server } });
    assert.ok(wires(seen).includes("ray -> index 443"), wires(seen).join("\n"));
    for (const { containers } of [head(seen), worker(seen)]) {
      const env = Object.fromEntries(containers[0].env.map(({ name, value }: any) => [name, value]));
      assert.equal(env["PIP_INDEX_URL"], "https://pypi.example.com/simple");
      assert.equal(env["RAY_RUNTIME_ENV_PIP_CACHE_SIZE_GB"], "0");
    }
  });

  it("trusts the CA of its object store, and where it asks an index of packages those of others as well", async () => {
    const server = { kind: "external", name: "index", cidrs: ["203.0.113.0/24"], port: 443, why: "https" } as const;
    const packageIndex = { url: "https://pypi.example.com/simple", server };
    for (const [own, file] of [
      [{}, "/etc/object-store-ca/ca.crt"],
      [{ packageIndex }, "/trust/ca.crt"],
    ] as const) {
      const seen = await ray({}, own);
      for (const { containers, initContainers } of [head(seen), worker(seen)]) {
        const env = Object.fromEntries(containers[0].env.map(({ name, value }: any) => [name, value]));
        for (const name of ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
          assert.equal(env[name], file, name);
        const [first] = initContainers;
        const writes = first?.name === "trust" && first.command.at(-1).endsWith(`> ${file}`);
        assert.equal(writes, "packageIndex" in own, "who makes the file of all CAs, before anybody reads it");
        assert.ok(
          containers[0].volumeMounts.some(({ mountPath }: any) => file.startsWith(`${mountPath}/`)),
          `the node does not see ${file}`,
        );
      }
    }
  });

  it("runs nobody's code without the token: each node, its wait and its clients show the same one", async () => {
    const seen = await ray();
    const [wait] = worker(seen).initContainers;
    for (const container of [head(seen).containers[0], worker(seen).containers[0], wait]) {
      assert.ok(
        container.env.some(({ name, value }: any) => name === "RAY_AUTH_MODE" && value === "token"),
        "without a token everybody who reaches the dashboard may run code",
      );
      assert.ok(
        container.envFrom.some(({ secretRef }: any) => secretRef.name === "ray-auth"),
        "the container does not get the token",
      );
    }
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "ray-auth").inputs;
    assert.deepEqual(stringData, { RAY_AUTH_TOKEN: "t0ken" });
  });
});

/** Runs a container's command with stand-ins for programs, which note how they are called. */
function bash(command: readonly string[], programs: Record<string, string>) {
  const directory = temporaryDirectory();
  for (const [name, body] of Object.entries(programs)) {
    const script = `#!/bin/sh\ncd "${directory}"\necho "${name} $*" >> calls\n${body}\n`;
    fs.writeFileSync(path.join(directory, name), script, { mode: 0o755 });
  }
  const [shell = "", ...args] = command;
  const { status, stderr } = spawnSync(shell, args, {
    env: { PATH: `${directory}:${process.env["PATH"] ?? ""}` },
    encoding: "utf8",
    timeout: 10_000,
  });
  const calls = fs.readFileSync(path.join(directory, "calls"), "utf8").trim().split("\n");
  return { status, stderr, calls };
}
