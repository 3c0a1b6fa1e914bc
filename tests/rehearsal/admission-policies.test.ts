import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CoreV1Api,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
  type V1Pod,
  type V1Service,
} from "@kubernetes/client-node";
import { Admission } from "../../commands/charts/admission";
import type { Manifest } from "../../rehearsal/operators/operator";
import { evaluateConfig } from "../../rehearsal/program/charts";
import { type Evaluation, stackConfig } from "../../rehearsal/program/evaluate";
import { plain } from "../../rehearsal/program/values";
import { type Cluster, startCluster } from "../../rehearsal/simulation/cluster";
import { ensureToolchain } from "../../rehearsal/simulation/toolchain";
import { TENANTS } from "../support/tenants";

const NAMESPACE = "data-platform";
const TENANT = "pricing";
const MERGE = setHeaderOptions("Content-Type", PatchStrategy.StrategicMergePatch);

type Spoil = (pod: any, main: any) => void;

/** A pod that the platform admits. */
function sound(): any {
  return {
    metadata: { name: "pod" },
    spec: {
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      containers: [
        {
          name: "main",
          image: "localhost:5000/example/server:1.2.3",
          env: [
            { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "login", key: "password" } } },
            { name: "ADMIN_PASSWORD", value: "$(PASSWORD)" },
            { name: "SPRING_KAFKA_PROPERTIES_SSL_TRUSTSTORE_PASSWORD", value: "changeit" },
            { name: "TOKEN_FILE", value: "/run/secrets/token" },
            { name: "DATABASE_URL", value: "postgresql://user:$(PASSWORD)@postgres-rw/mlflow" },
          ],
          resources: { requests: { cpu: "1", memory: "1Gi" }, limits: { cpu: "1", memory: "1Gi" } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
        },
      ],
    },
  };
}

/** A pod of somebody who knew no policies. */
function old(): V1Pod {
  const containers = [{ name: "main", image: "server" }];
  return { metadata: { name: "old", finalizers: ["batch.kubernetes.io/job-tracking"] }, spec: { containers } };
}

/** What makes it unsound, and what the API server then says. */
const FAULTS: Readonly<Record<string, Spoil>> = {
  "main runs quay.io/example/server: name an exact version of the image, or a digest": (_, main) => {
    main.image = "quay.io/example/server";
  },
  "main runs quay.io/example/server:latest: name an exact version": (_, main) => {
    main.image = "quay.io/example/server:latest";
  },
  "init runs localhost:5000/example/server: name an exact version": ({ spec }, main) => {
    spec.initContainers = [{ ...main, name: "init", image: "localhost:5000/example/server" }];
  },
  "main runs example.com/server:1: take the image from docker.io, ": (_, main) => {
    main.image = "example.com/server:1";
  },
  "main runs localhost:5000/examples/server:1: take the image from ": (_, main) => {
    main.image = "localhost:5000/examples/server:1";
  },
  "main has no size: set requests and limits of cpu and memory": (_, main) => {
    delete main.resources.limits.memory;
  },
  "main sets DB_PASSWORD and apiKey: a credential is no literal: put it in a Secret": (_, main) => {
    main.env = ["DB_PASSWORD", "apiKey"].map((name) => ({ name, value: "hunter2" }));
  },
  "main sets DATABASE_URL: a credential is no literal": (_, main) => {
    main.env = [{ name: "DATABASE_URL", value: "postgresql://user:hunter2@postgres-rw/mlflow" }];
  },
  "hostNetwork, hostPath log, main is privileged: only pods in ": ({ spec }, main) => {
    spec.hostNetwork = true;
    spec.volumes = [{ name: "log", hostPath: { path: "/var/log" } }];
    main.securityContext = { privileged: true };
  },
};

describe("admission policies on an API server", function () {
  this.timeout(120_000);
  let runs: string;
  let cluster: Cluster;
  let admission: Admission;
  let core: CoreV1Api;
  let prod: Evaluation;
  let deadline: number;

  before(async function () {
    this.timeout(0); // the first time, the tools are built
    const toolchain = await ensureToolchain(console.log);
    runs = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-policies-"));
    const spec = { name: "policies", context: "policies", nodes: [], storageClasses: [] };
    cluster = await startCluster(toolchain, spec, path.join(runs, "cluster"), () => undefined);
    admission = new Admission(path.join(toolchain.bin, "kubectl"), cluster.kubeconfig);
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(cluster.kubeconfig);
    core = kubeconfig.makeApiClient(CoreV1Api);
    const config = stackConfig("prod");
    const registries = [...(config.images.registries ?? []), "localhost:5000/example"];
    const { [TENANT]: tenant = assert.fail(`nobody is called ${TENANT}`) } = TENANTS;
    const tenants = { [TENANT]: { ...tenant, uses: [] } };
    prod = await evaluateConfig("prod", { ...config, images: { ...config.images, registries }, tenants });
    const { registrations } = prod;
    const namespaces = registrations.filter(({ type }) => type === "kubernetes:core/v1:Namespace");
    assert.deepEqual(await admission.prepare({ ...prod, registrations: namespaces }), []);
    await relax();
    await core.createNamespacedPod({ namespace: NAMESPACE, body: old() });
    assert.deepEqual(await admission.prepare(prod), []);
    await relax();
    // A policy holds some seconds after it was made.
    deadline = Date.now() + 30_000;
    for (const spoil of Object.values(FAULTS)) {
      while ((await refusal(spoil)) === undefined && Date.now() < deadline) await sleep(200);
    }
  });
  after(async () => {
    await cluster.stop();
    fs.rmSync(runs, { recursive: true });
  });

  /** Pod Security would speak first. */
  async function relax(): Promise<void> {
    const labels = { "pod-security.kubernetes.io/enforce": "privileged" };
    await core.patchNamespace({ name: NAMESPACE, body: { metadata: { labels } } }, MERGE);
  }

  /** Why a pod is not admitted; undefined where it is. */
  async function refusal(spoil: Spoil): Promise<string | undefined> {
    const pod = sound();
    spoil(pod, pod.spec.containers[0]);
    const created = core.createNamespacedPod({ namespace: NAMESPACE, body: pod as V1Pod, dryRun: "All" });
    return created.then(
      () => undefined,
      (error: unknown) => String(error),
    );
  }

  it("admit a sound pod", async () => {
    assert.equal(await refusal(() => undefined), undefined);
    assert.equal(await refusal((_, main) => (main.image = `redis@sha256:${"0".repeat(64)}`)), undefined);
  });

  for (const [message, spoil] of Object.entries(FAULTS)) {
    it(`say of another: ${message}`, async () => {
      const said = (await refusal(spoil)) ?? "nothing";
      assert.ok(said.includes(`denied request: ${message}`), said);
      assert.doesNotMatch(said, /hunter2/);
    });
  }

  it("let a pod of before lose a finalizer, and get no other image", async () => {
    const patch = (body: object) => core.patchNamespacedPod({ namespace: NAMESPACE, name: "old", body }, MERGE);
    await patch({ metadata: { finalizers: null } });
    await assert.rejects(patch({ spec: { containers: [{ name: "main", image: "server:2" }] } }), /denied request/);
  });

  it("check what `kubectl debug` puts into a pod as well, and not the pod again", async () => {
    const debug = (container: object) =>
      core.patchNamespacedPodEphemeralcontainers(
        {
          ...{ namespace: NAMESPACE, name: "old", dryRun: "All" },
          body: { spec: { ephemeralContainers: [{ name: "debugger", image: "busybox:1.37.0", ...container }] } },
        },
        MERGE,
      );
    await debug({});
    const faults = {
      "debugger runs busybox: name an exact version": { image: "busybox" },
      "debugger runs example.com/tools:1: take the image from ": { image: "example.com/tools:1" },
      "debugger is privileged: only pods in ": { securityContext: { privileged: true } },
      "debugger sets DB_PASSWORD: a credential is no literal": { env: [{ name: "DB_PASSWORD", value: "hunter2" }] },
    };
    for (const [message, container] of Object.entries(faults)) {
      const said = await debug(container).then(() => "nothing", String);
      assert.ok(said.includes(`denied request: ${message}`), said);
    }
  });

  it("admit a Service of a tenant, and none that takes an address", async () => {
    const create = (spec: object) => {
      const body: V1Service = { metadata: { name: "api" }, spec: { ports: [{ port: 80 }], ...spec } };
      return core.createNamespacedService({ namespace: TENANT, body, dryRun: "All" });
    };
    await create({});
    const said = async () => {
      const answer = await create({ externalIPs: ["203.0.113.1"] }).catch(String);
      return typeof answer === "string" ? answer : undefined;
    };
    while ((await said()) === undefined && Date.now() < deadline) await sleep(200);
    assert.match((await said()) ?? "nothing", /denied request: external IP 203\.0\.113\.1: a Service has the address/);
  });

  it("admit every pod of prod", async () => {
    const objects = prod.registrations
      .filter(({ type }) => /^kubernetes:(apps|batch)\/v1:/.test(type))
      .map(({ inputs }) => plain(inputs) as Manifest);
    assert.ok(objects.length > 20, `${objects.length} workloads`);
    assert.deepEqual(await admission.faults(objects, NAMESPACE), []);
  });
});
