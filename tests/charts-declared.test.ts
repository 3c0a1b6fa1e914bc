import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import type { V1PodSpec } from "@kubernetes/client-node";
import type { ChartDeclaration, DeclaredWorkload } from "../components/base/chart-release";
import type { Manifest } from "../rehearsal/operators/operator";
import { declarationFaults, workloadsOf } from "../commands/charts/declaration";
import { RENDERED, type RenderedChart } from "../commands/charts/rendered";
import { generatedFaults, soundnessFaultsOf } from "../commands/charts/soundness";
import { all } from "./support/mocks";
import { STACKS } from "../rehearsal/program/evaluate";
import { configOf, program, SHAPES } from "./support/program";

const size = { cpu: { request: 0.1, limit: 0.5 }, memoryMiB: { request: 64, limit: 128 } };
const sized = { requests: { cpu: 0.1, memory: "64Mi" }, limits: { cpu: "500m", memory: "128Mi" } };
const claim = (name: string, storage: string) => ({
  metadata: { name },
  spec: { storageClassName: "local", resources: { requests: { storage } } },
});
const server: DeclaredWorkload = {
  kind: "StatefulSet",
  name: "store",
  labels: { app: "store" },
  serviceAccount: "store",
  replicas: 1,
  size,
};
const store: DeclaredWorkload = { ...server, volume: { name: "data", storageClass: "local", sizeGiB: 5 } };

/** What a chart's declaration is told of its rendered objects. */
function faults(declares: Partial<ChartDeclaration>, ...objects: object[]): string[] {
  const release = { release: "r", system: "s", chart: "c", version: "1", namespace: "n", values: {} };
  const whole = { workloads: [], services: [], crds: [], ...declares };
  return declarationFaults({ ...release, declares: whole }, objects as Manifest[]);
}

function workload(
  kind: string,
  name: string,
  more: { spec?: object; pod?: object; annotations?: object } = {},
): object {
  const pod = { serviceAccountName: name, containers: [{ name: "main", image: "a:1", resources: sized }], ...more.pod };
  return {
    ...{ apiVersion: "apps/v1", kind, metadata: { name, annotations: more.annotations ?? {} } },
    spec: { template: { metadata: { labels: { app: name } }, spec: pod }, ...more.spec },
  };
}

// Stack files change these, and only a rendering with their values tells: `npm run charts:check`.
const CONFIGURED = /^declares\.workloads\[[^\]]+\]\.(size\.|replicas:|volume:)/;

for (const stack of STACKS) {
  it(`the images of charts come from registries that ${stack} admits`, () => {
    const { registries = [] } = configOf(stack).images;
    const images = fs.readdirSync(RENDERED).flatMap((file) => {
      const { objects } = JSON.parse(fs.readFileSync(path.join(RENDERED, file), "utf8")) as RenderedChart;
      return workloadsOf(objects).flatMap(({ template }) => {
        const { containers = [], initContainers = [] } = (template?.spec ?? {}) as Partial<V1PodSpec>;
        return [...initContainers, ...containers];
      });
    });
    const full = (image: string) => {
      const hasHost = /^(localhost|[^/]*[.:][^/]*)\//.test(image);
      return hasHost ? image : `docker.io/${image.includes("/") ? "" : "library/"}${image}`;
    };
    const isAdmitted = (image?: string) =>
      image !== undefined && registries.some((registry) => full(image).startsWith(`${registry}/`));
    assert.deepEqual(
      images.filter(({ image }) => !isAdmitted(image)),
      [],
      "add their registries to images.registries",
    );
  });
}

for (const shape of SHAPES) {
  it(`what ${shape} declares of its charts is what the real ones made`, async () => {
    const { seen } = await program(shape);
    const faults = all(seen, "carbon:base:ChartRelease").flatMap(({ name, inputs: { chart, version, declares } }) => {
      const next = "run `npm run charts:check -- --charts .charts --write`";
      const file = path.join(RENDERED, `${name}.json`);
      if (!fs.existsSync(file)) return [`${name}: ${path.relative(process.cwd(), file)} is not there; ${next}`];
      const real = JSON.parse(fs.readFileSync(file, "utf8")) as RenderedChart;
      if (real.version !== version)
        return [`${name}: of ${version} nothing is known, only of ${real.version}; ${next}`];
      const release = { release: name, system: name, chart, version, namespace: "", values: {}, declares };
      return declarationFaults(release, real.objects)
        .filter((fault) => !CONFIGURED.test(fault))
        .map((fault) => `${name} (${chart} ${version}): ${fault}`);
    });
    assert.deepEqual(faults, [], "policies, Services and quota rest on what is declared: declare what the chart makes");
  });
}

describe("a chart's declaration", () => {
  it("has the volumes that the chart claims", () => {
    const claims = (storage: string) => ({ spec: { volumeClaimTemplates: [claim("data", storage)] } });
    assert.deepEqual(faults({ workloads: [store] }, workload("StatefulSet", "store", claims("5Gi"))), []);
    assert.deepEqual(faults({ workloads: [store] }, workload("StatefulSet", "store", claims("10Gi"))), [
      "declares.workloads[store].volume: data of 5 GiB in local is declared, the chart has data of 10 GiB in local",
    ]);
    assert.deepEqual(faults({ workloads: [store] }, workload("StatefulSet", "store")), [
      "declares.workloads[store].volume: data of 5 GiB in local is declared, the chart has none",
    ]);
    const own = { kind: "PersistentVolumeClaim", metadata: { name: "stray" } };
    assert.deepEqual(faults({}, own), [
      "PersistentVolumeClaim stray: nothing declares it; switch it off in the values",
    ]);
  });

  it("has the StatefulSets that an operator makes, of the size that its command line adds to", () => {
    const prometheus = {
      ...{ apiVersion: "monitoring.coreos.com/v1", kind: "Prometheus" },
      metadata: { name: "p" },
      spec: {
        serviceAccountName: "prometheus",
        resources: sized,
        storage: { volumeClaimTemplate: { spec: claim("", "5Gi").spec } },
      },
    };
    const flags = ["cpu-request=100m", "cpu-limit=500m", "memory-request=64Mi", "memory-limit=128Mi"];
    const args = flags.map((flag) => `--config-reloader-${flag}`);
    const container = { name: "main", image: "a:1", resources: sized, args };
    const operator = workload("Deployment", "operator", { pod: { containers: [container] } });
    const declared: DeclaredWorkload[] = [
      {
        kind: "Deployment",
        name: "operator",
        labels: { app: "operator" },
        serviceAccount: "operator",
        replicas: 1,
        size,
      },
      {
        ...{ kind: "StatefulSet", name: "prometheus-p", serviceAccount: "prometheus", replicas: 1 },
        labels: { "app.kubernetes.io/name": "prometheus" },
        size: { cpu: { request: 0.2, limit: 1 }, memoryMiB: { request: 128, limit: 256 } },
        volume: { name: "prometheus-p-db", storageClass: "local", sizeGiB: 5 },
      },
    ];
    assert.deepEqual(faults({ workloads: declared }, prometheus, operator), []);
    assert.deepEqual(faults({ workloads: declared.slice(0, 1) }, prometheus, operator), [
      "declares.workloads: lacks StatefulSet prometheus-p, which the chart runs; declare it, or switch it off",
    ]);
  });

  it("has the Jobs of hooks, when they run, and for whom", () => {
    const job = (hook: string) => workload("Job", "setup", { annotations: { "helm.sh/hook": hook } });
    const hooks = [{ name: "setup", when: "before", serviceAccount: "setup", size }] as const;
    assert.deepEqual(faults({ hooks }, job("pre-install,pre-upgrade")), []);
    assert.deepEqual(faults({ hooks }, job("post-install,post-upgrade")), [
      "declares.hooks[setup].when: before is declared, not after",
    ]);
    assert.deepEqual(faults({ hooks }, job("post-install")), [
      "declares.hooks[setup].when: before is declared, not after install",
    ]);
    assert.deepEqual(faults({}, job("post-install")), [
      "declares.hooks: lacks Job setup, which the chart runs; declare it, or switch it off",
    ]);
  });

  it("has the CronJobs from which an operator starts Jobs", () => {
    const template = {
      metadata: { labels: {} },
      spec: { serviceAccountName: "setup", containers: [{ name: "main", resources: sized }] },
    };
    const cronJob = { kind: "CronJob", metadata: { name: "setup" }, spec: { jobTemplate: { spec: { template } } } };
    const hooks = [{ name: "setup", when: "on demand", serviceAccount: "setup", size }] as const;
    assert.deepEqual(faults({ hooks }, cronJob), []);
    assert.deepEqual(faults({}, cronJob), [
      "declares.workloads: lacks CronJob setup, which the chart runs; declare it, or switch it off",
    ]);
  });

  it("says who makes the service accounts", () => {
    const account = { kind: "ServiceAccount", metadata: { name: "store" } };
    assert.deepEqual(faults({ serviceAccounts: "program" }, account), [
      "declares.serviceAccounts: the chart makes store itself; switch that off",
    ]);
  });

  it("tells workloads apart by their labels", () => {
    const same = { metadata: { labels: { app: "store", part: "b" } }, spec: { containers: [] } };
    const other = { kind: "Job", metadata: { name: "other" }, spec: { template: same } };
    const found = faults({ workloads: [server] }, workload("StatefulSet", "store"), other);
    assert.ok(found.includes("declares.workloads[store].labels: also select the pods of Job other"), found.join("\n"));
  });

  it("leaves the number of pods to an autoscaler", () => {
    const scaler = { kind: "HorizontalPodAutoscaler", metadata: { name: "s" } };
    const scaled = { ...scaler, spec: { scaleTargetRef: { kind: "StatefulSet", name: "store" } } };
    const three = workload("StatefulSet", "store", { spec: { replicas: 3 } });
    assert.deepEqual(faults({ workloads: [server] }, three, scaled), []);
    assert.deepEqual(faults({ workloads: [server] }, three), [
      "declares.workloads[store].replicas: 1 is declared, the chart has 3",
    ]);
  });

  it("has the labels and named ports that are relied on beside what selects the pods", () => {
    const container = {
      name: "main",
      image: "a:1",
      resources: sized,
      ports: [{ name: "metrics", containerPort: 9000 }],
    };
    const found = workload("StatefulSet", "store", { pod: { containers: [container] } });
    assert.deepEqual(faults({ workloads: [{ ...server, ports: { metrics: 9000 } }] }, found), []);
    const wrong = { ...server, podLabels: { role: "worker" }, ports: { metrics: 9090, admin: 1 } };
    assert.deepEqual(faults({ workloads: [wrong] }, found), [
      'declares.workloads[store].podLabels["role"]: worker is declared, the chart has undefined',
      "declares.workloads[store].ports.metrics: 9090 is declared, the chart has 9000",
      "declares.workloads[store].ports.admin: 1 is declared, the chart has admin",
    ]);
  });

  it("has Services inside the cluster, on ports that pods have", () => {
    const spec = { type: "NodePort", selector: { app: "store" }, ports: [{ port: 81 }] };
    const services = [{ name: "store", port: 80, podPort: 8080, workload: "store" }];
    const service = { kind: "Service", metadata: { name: "store" }, spec };
    assert.deepEqual(faults({ workloads: [server], services }, workload("StatefulSet", "store"), service), [
      "declares.services[store]: is of type NodePort; set ClusterIP in the values",
      "declares.services[store].port: 80 is declared, the chart has 81",
    ]);
  });

  it("has the CRDs that the chart installs and keeps", () => {
    const crd = (annotations: object) => ({ kind: "CustomResourceDefinition", metadata: { name: "a.b", annotations } });
    const keep = { "helm.sh/resource-policy": "keep" };
    assert.deepEqual(faults({ crds: ["a.b"] }, crd(keep)), []);
    assert.deepEqual(faults({ crds: ["c.d"] }, crd({})), [
      "declares.crds: lacks a.b, which the chart installs",
      "declares.crds: c.d is not installed",
      "CRD a.b: is deleted with its release; set the values to keep it",
    ]);
  });
});

describe("a rendered chart", () => {
  const secret = (namespace: string, data: object = {}) =>
    ({ apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace }, data }) as unknown as Manifest;

  it("may bring a Secret that its operator fills", () => {
    assert.deepEqual(soundnessFaultsOf([secret("a")]), []);
  });

  it("gives no account the Secrets of every namespace, but for those that have no other way", () => {
    const rights = (account: string, kind = "ClusterRoleBinding") => [
      {
        kind: "ClusterRole",
        metadata: { name: "r" },
        rules: [{ apiGroups: [""], resources: ["pods", "secrets"], verbs: ["get"] }],
      },
      { kind, metadata: { name: "b" }, roleRef: { kind: "ClusterRole", name: "r" }, subjects: [{ name: account }] },
    ];
    const found = (...objects: object[]) => soundnessFaultsOf(objects as Manifest[]);
    assert.deepEqual(found(...rights("cert-manager"), ...rights("cnpg", "RoleBinding")), []);
    assert.deepEqual(found(...rights("cnpg")), [
      "ClusterRoleBinding b: cnpg may touch Secrets in every namespace; let it watch its own",
    ]);
  });

  it("is the same each time, object by object", () => {
    const once = [secret("a", { x: "1" }), secret("b", { x: "2" })];
    assert.deepEqual(generatedFaults(once, structuredClone(once)), []);
    assert.deepEqual(generatedFaults(once, [secret("a", { x: "1" }), secret("b", { x: "3" })]), [
      "Secret s: data.x is generated at each rendering; set its source in the values",
    ]);
    assert.deepEqual(generatedFaults(once, []).length, 2);
  });
});
