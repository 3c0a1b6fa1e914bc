import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import { describe as explain } from "../../commands/capacity";
import { capacity, checkCapacity } from "../../rehearsal/program/capacity";
import { evaluateConfig } from "../../rehearsal/program/charts";
import { type Evaluation, type Registration, STACKS } from "../../rehearsal/program/evaluate";
import type { PlatformConfig } from "../../stacks/config/schema";
import { configOf, shaped } from "../support/program";
import { evaluated } from "./program";
import { registrationOf } from "../support/registrations";
import { TENANTS } from "../support/tenants";

describe("capacity", () => {
  for (const stack of STACKS) {
    it(`finds that ${stack} fits its quota and nodes`, async () => {
      const evaluation = await evaluated(stack);
      assert.deepEqual(checkCapacity(evaluation, evaluation.config), []);
    });

    it(`knows of every custom resource of ${stack} what its operator runs`, async () => {
      const evaluation = await evaluated(stack);
      assert.deepEqual(capacity(evaluation, evaluation.config).notCounted, []);
    });
  }

  it("counts instances of PostgreSQL, nodes of Kafka, autoscaled workers and the operators' pods, each in its namespace", async () => {
    const evaluation = await evaluated("prod");
    const { systems } = capacity(evaluation, evaluation.config);
    const most = (system: string, namespace: string, resource: string) =>
      systems.find((one) => one.system === system && one.namespace === namespace)?.most[resource];
    const { kafka, postgres, ray } = configOf("prod");
    assert.equal(most("postgres", "data-platform", "pods"), postgres.instances);
    // Beside each instance runs barman, with at most one core.
    assert.equal(most("postgres", "data-platform", "limits.cpu"), postgres.instances * (postgres.cpu.limit + 1));
    assert.equal(most("postgres", "data-platform", "persistentvolumeclaims"), postgres.instances);
    assert.equal(most("postgres", "cnpg-system", "pods"), 2);
    assert.equal(most("ray", "data-platform", "pods"), 1 + ray.workers.max);
    // Its nodes, each with a claim, and the entity operator, whose two containers have one size.
    assert.ok(kafka, "the demand has no group for Kafka");
    assert.equal(most("kafka", "data-platform", "pods"), kafka.brokers + 1);
    const limits = kafka.brokers * kafka.memoryMiB.limit + 2 * kafka.entityOperator.memoryMiB.limit;
    assert.equal(most("kafka", "data-platform", "limits.memory"), limits * 1024 ** 2);
    assert.equal(most("kafka", "data-platform", "requests.storage"), kafka.brokers * kafka.volume.sizeGiB * 1024 ** 3);
    assert.equal(most("kafka", "data-platform", "services"), 2);
    assert.equal(most("kafka", "strimzi-system", "pods"), 1);
  });

  it("finds that prod fits with Ray by KubeRay too, a serving cluster replaced and GPUs in use", async () => {
    const config = shaped("prod with Ray by KubeRay and S3 from elsewhere");
    assert.ok(
      config.ray.mode === "kuberay" && config.ray.gpuWorkers !== undefined,
      "the shape has no GPU workers any more: take another one for this test",
    );
    const { workers, gpuWorkers, workerGroups, serving } = config.ray;
    const most = (groups: Readonly<Record<string, { readonly max: number }>>): number =>
      Object.values(groups).reduce((sum, { max }) => sum + max, 0);
    const served = 1 + serving.workers.max + most(serving.workerGroups);
    const { systems, faults, notCounted, nodes } = capacity(await evaluateConfig("prod", config), config);
    assert.deepEqual([faults, notCounted], [[], []]);
    const ray = systems.find(({ system, namespace }) => system === "ray" && namespace === "data-platform");
    assert.equal(ray?.most["pods"], 1 + workers.max + gpuWorkers.max + most(workerGroups) + served);
    assert.equal(ray.surge["pods"], served);
    const gpus = nodes.find(({ name }) => name === "k8s-worker")?.used["requests.nvidia.com/gpu"];
    const { max, gpusPerWorker = 0 } = serving.workerGroups["vision"] ?? { max: 0 };
    assert.equal(gpus, gpuWorkers.max * gpuWorkers.gpusPerWorker + 2 * max * gpusPerWorker);
  });

  it("shows what was checked, and the verdict", async () => {
    const evaluation = await evaluated("prod");
    const text = stripVTControlCharacters(explain("prod", capacity(evaluation, evaluation.config), false));
    assert.match(text, /data-platform-quota/);
    assert.match(text, /lost node/);
    assert.match(text, /\n✓ prod fits\. Next: .*$/);
    const widest = Math.max(...text.split("\n").map(({ length }) => length));
    assert.ok(widest <= Math.max(100, process.stdout.columns || 0), `a line has ${widest} columns`);
  });

  it("demands room for every rollout at once: a quota must not stop one half-way", () => {
    const program = [
      quota({ "limits.cpu": "5", pods: "10" }),
      deployment("a", { replicas: 2 }),
      deployment("b", { replicas: 2 }),
    ];
    assert.deepEqual(checkCapacity(evaluationOf(program), twoNodes()), [
      "quota.cpu.limit: 6 cores needed of limits.cpu (4 cores with every autoscaler at its maximum + 2 cores while " +
        "everything is rolled out), but the-quota allows 5 cores; raise it by 1 core or ask for less: a 3 cores, b 3 cores",
    ]);
  });

  it("counts pods that take minutes to go beside those that follow them", () => {
    const pod = { terminationGracePeriodSeconds: 330 };
    const program = [quota({ pods: "100" }), deployment("a", { replicas: 3, surge: 1, pod })];
    assert.equal(capacity(evaluationOf(program), twoNodes()).quotas[0]?.surge, 3);
  });

  it("takes an autoscaler at its maximum, and the default surge of a quarter", () => {
    const program = [quota({ pods: "100" }), deployment("a", { surge: undefined }), autoscaler("a", 1, 5)];
    const [pods] = capacity(evaluationOf(program), twoNodes()).quotas;
    assert.deepEqual([pods?.start, pods?.most, pods?.surge], [1, 5, 2]);
  });

  it("counts the Ray cluster and notebooks of a tenant against its quota, and names the key to raise", async () => {
    const { pricing } = TENANTS;
    assert.ok(pricing, "the test needs a tenant");
    const faultsWith = async (pods: number): Promise<string[]> => {
      const tenants = { pricing: { ...pricing, quota: { ...pricing.quota, pods } } };
      const config = { ...configOf("prod"), tenants };
      return checkCapacity(await evaluateConfig("prod", config), config).filter((fault) => fault.includes("pricing"));
    };
    assert.deepEqual(await faultsWith(6), []);
    assert.match(
      (await faultsWith(5)).join("\n"),
      /^tenants\.pricing\.quota\.pods: 6 needed of pods \(4 with .* but pricing-quota allows 5/,
    );
  });

  it("says which pods the nodes have no disk for", () => {
    const limits = { cpu: "1", memory: "1Gi", "ephemeral-storage": "5Gi" };
    const program = [deployment("a", { replicas: 2, surge: 1, pod: { containers: [container(limits)] } })];
    assert.deepEqual(
      checkCapacity(evaluationOf(program), twoNodes()).map((fault) => fault.replace(/; lower.*/, "")),
      [
        "cluster.nodes: 1 pod(s) of Deployment ns/a have no room: each needs 1 core, 1 GiB, 5 GiB of disk, but free are " +
          "7 cores, 7 GiB, 3 GiB of disk on one and 7 cores, 7 GiB, 3 GiB of disk on two",
      ],
    );
  });

  it("counts Jobs apart, and the larger of init containers and containers", () => {
    const small = container({ cpu: "1", memory: "1Gi" });
    const large = container({ cpu: "3", memory: "1Gi" });
    const spec = { initContainers: [large], containers: [small, small] };
    const program = [quota({ "limits.cpu": "10" }), registered("batch/v1:Job", "j", { spec: { template: { spec } } })];
    const [cpu] = capacity(evaluationOf(program), twoNodes()).quotas;
    assert.deepEqual([cpu?.most, cpu?.jobs], [0, 3]);
  });

  it("counts claims, storage, services, load balancers and node ports", () => {
    const ports = [{ port: 80 }, { port: 443 }];
    const claim = { spec: { resources: { requests: { storage: "10Gi" } } } };
    const hard = { persistentvolumeclaims: "2", "requests.storage": "30Gi", services: "1", "services.nodeports": "1" };
    const program = [
      quota(hard),
      registered("apps/v1:StatefulSet", "s", {
        spec: { replicas: 3, volumeClaimTemplates: [claim], template: { spec: { containers: [] } } },
      }),
      registered("core/v1:PersistentVolumeClaim", "c", claim),
      registered("core/v1:Service", "front", { spec: { type: "LoadBalancer", ports } }),
    ];
    const faults = checkCapacity(evaluationOf(program), twoNodes());
    assert.deepEqual(
      faults.map((fault) => fault.replace(/, but.*/, "")),
      [
        "quota.claims: 4 needed of persistentvolumeclaims",
        "quota.storageGiB: 40 GiB needed of requests.storage",
        "quota.nodePorts: 2 needed of services.nodeports",
      ],
    );
  });

  it("names every pod that no node has room for, with what it needs and what is free", () => {
    const program = [deployment("big", { replicas: 3, cpu: "6", surge: 0 })];
    assert.deepEqual(checkCapacity(evaluationOf(program), twoNodes()), [
      "cluster.nodes: 1 pod(s) of Deployment ns/big have no room: each needs 6 cores, 1 GiB, but free are " +
        "2 cores, 7 GiB on one and 2 cores, 7 GiB on two; lower its requests or its number of pods, or add a node",
    ]);
  });

  it("honours node selectors and taints", () => {
    const config = twoNodes({ taints: [{ key: "gpu", effect: "NoSchedule" }], labels: { kind: "gpu" } });
    const selector = { nodeSelector: { kind: "gpu" } };
    const tolerant = { ...selector, tolerations: [{ key: "gpu", operator: "Exists" }] };
    const faults = (pod: object) => checkCapacity(evaluationOf([deployment("a", { surge: 0, pod })]), config);
    assert.deepEqual(faults(tolerant), []);
    assert.match(faults(selector).join("\n"), /its node selector and tolerations admit none of one, two/);
  });

  it("runs one pod of a DaemonSet on each node that lets it in", () => {
    const spec = { containers: [container({ cpu: "1", memory: "1Gi" })] };
    const program = [quota({ pods: "5" }), registered("apps/v1:DaemonSet", "d", { spec: { template: { spec } } })];
    assert.equal(capacity(evaluationOf(program), twoNodes()).quotas[0]?.most, 2);
    const tainted = twoNodes({ taints: [{ key: "gpu", effect: "NoSchedule" }] });
    assert.equal(capacity(evaluationOf(program), tainted).quotas[0]?.most, 1);
  });

  it("counts GPUs against those of the nodes", () => {
    const pod = { containers: [container({ cpu: "1", memory: "1Gi", "nvidia.com/gpu": "2" })] };
    const program = [deployment("train", { surge: 0, pod })];
    assert.deepEqual(checkCapacity(evaluationOf(program), twoNodes({ gpus: { product: "K80", count: 2 } })), []);
    assert.match(checkCapacity(evaluationOf(program), twoNodes()).join("\n"), /Deployment ns\/train have no room/);
  });

  it("refuses a container that is larger than its namespace lets one be", () => {
    const range = registered("core/v1:LimitRange", "r", {
      spec: { limits: [{ type: "Container", max: { cpu: "1" } }] },
    });
    const faults = checkCapacity(evaluationOf([range, deployment("a", { cpu: "2", surge: 0 })]), twoNodes());
    assert.deepEqual(faults, [
      "quota.container.cpu.max: a container of Deployment a may use 2 cores, but 1 core is the most; raise it or lower the limit",
    ]);
  });

  it("says what a lost node leaves without a place, and what waits for its volumes", () => {
    const claim = { spec: { resources: { requests: { storage: "10Gi" } } } };
    const spec = { containers: [container({ cpu: "1", memory: "1Gi" })] };
    const program = [
      deployment("web", { replicas: 2, cpu: "5", surge: 0 }),
      registered("apps/v1:StatefulSet", "db", {
        spec: { replicas: 2, volumeClaimTemplates: [claim], template: { spec } },
      }),
    ];
    const [one] = capacity(evaluationOf(program), twoNodes()).lostNodes;
    assert.deepEqual(one, { name: "one", moving: 0, homeless: ["web"], waiting: ["db"] });
  });

  it("says which custom resources it cannot count", () => {
    const unknown = registered("example.com/v1:Engine", "e", { spec: { replicas: 3 } });
    assert.deepEqual(capacity(evaluationOf([unknown]), twoNodes()).notCounted, ["Engine e"]);
  });
});

function evaluationOf(registrations: readonly Registration[]): Evaluation {
  return { registrations, outputs: {} };
}

/** Two nodes of 8 cores and 8 GiB; `second` changes the second. */
function twoNodes(second: Partial<PlatformConfig["cluster"]["nodes"][string]> = {}): PlatformConfig {
  const config = configOf("prod");
  const node = {
    ...{ cpu: 8, memoryGiB: 8, ephemeralStorageGiB: 8, pods: 110 },
    ...{ labels: {}, taints: [], reserved: { cpu: 0, memoryGiB: 0 } },
  };
  return { ...config, cluster: { ...config.cluster, nodes: { one: node, two: { ...node, ...second } } } };
}

function registered(kind: string, name: string, inputs: object): Registration {
  const metadata = { name, namespace: "ns" };
  return registrationOf(`kubernetes:${kind}`, name, { metadata, ...inputs });
}

function quota(hard: Readonly<Record<string, string>>): Registration {
  return registered("core/v1:ResourceQuota", "the-quota", { spec: { hard } });
}

function container(limits: Readonly<Record<string, string>>): object {
  return { name: "main", resources: { requests: limits, limits } };
}

interface DeploymentOptions {
  readonly replicas?: number;
  readonly cpu?: string;
  readonly surge?: number | undefined;
  readonly pod?: object;
}

function deployment(name: string, options: DeploymentOptions = {}): Registration {
  const { replicas = 1, cpu = "1", surge, pod } = { surge: 1, ...options };
  const strategy = surge === undefined ? {} : { rollingUpdate: { maxSurge: surge } };
  const spec = { containers: [container({ cpu, memory: "1Gi" })], ...pod };
  return registered("apps/v1:Deployment", name, { spec: { replicas, strategy, template: { spec } } });
}

function autoscaler(name: string, minReplicas: number, maxReplicas: number): Registration {
  return registered("autoscaling/v2:HorizontalPodAutoscaler", name, {
    spec: { scaleTargetRef: { name }, minReplicas, maxReplicas },
  });
}
