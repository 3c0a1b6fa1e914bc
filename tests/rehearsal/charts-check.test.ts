import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stringify } from "yaml";
import { checkReleases } from "../../commands/charts-check";
import type { ChartDeclaration } from "../../components/base/chart-release";
import { type Cluster, startCluster } from "../../rehearsal/simulation/cluster";
import { ensureToolchain, type Toolchain } from "../../rehearsal/simulation/toolchain";
import { Admission } from "../../commands/charts/admission";
import { registrationOf } from "../support/registrations";

const CHART = "example";
const VERSION = "1.0.0";
const NAMESPACE = "apps";

const LABELS = { "app.kubernetes.io/name": "server" };
const DECLARES: ChartDeclaration = {
  workloads: [
    {
      kind: "Deployment",
      name: "server",
      labels: LABELS,
      serviceAccount: "server",
      replicas: 2,
      size: { cpu: { request: 0.1, limit: 0.5 }, memoryMiB: { request: 64, limit: 128 } },
    },
  ],
  services: [{ name: "server", port: 80, podPort: 8080, workload: "server" }],
  crds: [],
};
const VALUES = { replicas: 2, image: "example.com/server:1.2.3", secretName: "login" };

/** What a sound chart renders, with the values above. */
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "server" },
  spec: {
    replicas: "{{ .Values.replicas }}",
    selector: { matchLabels: LABELS },
    template: {
      metadata: { labels: LABELS },
      spec: {
        serviceAccountName: "server",
        securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "main",
            image: "{{ .Values.image }}",
            ports: [{ name: "http", containerPort: 8080 }],
            env: [{ name: "USER", valueFrom: { secretKeyRef: { name: "{{ .Values.secretName }}", key: "user" } } }],
            resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "500m", memory: "128Mi" } },
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ["ALL"] },
            },
          },
        ],
      },
    },
  },
};
const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "server" },
  spec: { selector: LABELS, ports: [{ port: 80, targetPort: "http" }] },
};
const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "server" } };

interface Case {
  /** Changes the chart; the objects are copies. */
  readonly chart?: (objects: { deployment: any; service: any; extra: any[] }) => void;
  readonly values?: Readonly<Record<string, unknown>>;
  readonly declares?: Partial<ChartDeclaration>;
  readonly faults: readonly (string | RegExp)[];
}

const CASES: Record<string, Case> = {
  "says nothing against a chart that is as declared": { faults: [] },
  "names a value that the chart does not have, and the one that was meant": {
    values: { replica: 2 },
    faults: ["values: replica is no key of the chart; the nearest is replicas"],
  },
  "names a Service that the chart does not make, and those that it makes": {
    declares: { services: [...DECLARES.services, { name: "api", port: 80, podPort: 8080, workload: "server" }] },
    faults: ["declares.services: api is not made by the chart, which makes server"],
  },
  "names ports that lead elsewhere": {
    declares: { services: [{ name: "server", port: 80, podPort: 9090, workload: "server" }] },
    faults: ["declares.services[server].podPort: 9090 is declared, the chart leads to 8080"],
  },
  "names a label that the pods do not have and a service account that they do not run as": {
    chart: ({ deployment: { spec }, extra }) => {
      spec.template.spec.serviceAccountName = "other";
      spec.selector.matchLabels = spec.template.metadata.labels = { app: "server" };
      extra.push({ ...account, metadata: { name: "other" } });
    },
    faults: [
      "declares.workloads[server].serviceAccount: server is declared, the chart has other",
      'declares.workloads[server].labels["app.kubernetes.io/name"]: server is declared, the chart has undefined',
      'declares.services[server].workload: server is declared, but its pods lack the labels {"app.kubernetes.io/name":"server"}',
    ],
  },
  "names replicas and sizes that differ": {
    values: { replicas: 3 },
    chart: ({ deployment: { spec } }) => (spec.template.spec.containers[0].resources.limits.memory = "256Mi"),
    faults: [
      "declares.workloads[server].replicas: 2 is declared, the chart has 3",
      "declares.workloads[server].size.memoryMiB.limit: 128 is declared, the chart has 256",
    ],
  },
  "names workloads that nobody declared, Jobs of hooks too, and the container without a size": {
    chart: ({ deployment: { spec }, extra }) => {
      const { containers, ...pod } = spec.template.spec;
      const unsized = containers.map((container: object) => ({ ...container, resources: {} }));
      extra.push({
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name: "migrate", annotations: { "helm.sh/hook": "pre-install" } },
        spec: { template: { spec: { ...pod, containers: unsized, restartPolicy: "Never" } } },
      });
    },
    faults: [
      "declares.hooks: lacks Job migrate, which the chart runs; declare it, or switch it off",
      "Job migrate: main has no sound size of cpu",
      "Job migrate: main has no sound size of memory",
    ],
  },
  "names a password that the chart makes up": {
    chart: ({ extra }) =>
      extra.push({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: "generated" },
        data: { password: "{{ randAlphaNum 20 | b64enc }}" },
      }),
    faults: [
      "Secret generated: the chart writes password; make the Secret here and give the chart its name",
      "Secret generated: data.password is generated at each rendering; set its source in the values",
    ],
  },
  "names an image of Bitnami and one without an exact tag": {
    chart: ({ deployment: { spec } }) => {
      const { containers } = spec.template.spec;
      spec.template.spec.initContainers = [{ ...containers[0], name: "wait", image: "docker.io/bitnami/kubectl:1.30" }];
      containers[0].image = "example.com/server:latest";
    },
    faults: [
      "Deployment server: wait runs an image of Bitnami, docker.io/bitnami/kubectl:1.30",
      "Deployment server: main has no exact image tag",
    ],
  },
  "names a Secret, and a key of one, that nothing makes": {
    values: { secretName: "logn" },
    faults: ["Deployment apps/server: reads Secret logn, which nothing makes; in apps there are login"],
  },
  "names what the API server refuses: an unknown field, a missing kind, a pod that is not restricted": {
    chart: ({ deployment: { spec }, extra }) => {
      spec.replica = 2;
      spec.template.spec.hostNetwork = true;
      extra.push({ apiVersion: "example.com/v1", kind: "Absent", metadata: { name: "one" } });
    },
    faults: [
      "Deployment server: shares a namespace of the host",
      /^Absent one: .* no matches for kind "Absent" in version "example\.com\/v1"/,
      /^Deployment server: .* unknown field "spec\.replica"/,
      /^Pod pod-of-server: .* is forbidden: violates PodSecurity "restricted:latest": host namespaces/,
    ],
  },
  "names a chart that helm cannot render": {
    values: { replicas: { wrong: true } },
    chart: ({ deployment: { spec } }) => (spec.replicas = '{{ required "name a team" .Values.team }}'),
    faults: [/^values: helm says: execution error at .*: name a team$/],
  },
};

describe("charts:check", function () {
  this.timeout(120_000);
  let toolchain: Toolchain;
  let directory: string;
  let cluster: Cluster;

  before(async function () {
    this.timeout(0); // the first time, the tools are built
    toolchain = await ensureToolchain((line) => {
      console.log(line);
    });
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-check-"));
    const spec = { name: "charts", context: "charts", nodes: [], storageClasses: [] };
    cluster = await startCluster(toolchain, spec, path.join(directory, "cluster"), () => undefined);
  });
  after(async () => {
    await cluster.stop();
    fs.rmSync(directory, { recursive: true });
  });

  async function check(values: object, declares: ChartDeclaration, version = VERSION) {
    const namespace = { name: NAMESPACE, labels: { "pod-security.kubernetes.io/enforce": "restricted" } };
    const registrations = [
      registrationOf("kubernetes:core/v1:Namespace", "example", {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: namespace,
      }),
      registrationOf("kubernetes:core/v1:Secret", "example", {
        ...{ apiVersion: "v1", kind: "Secret", metadata: { name: "login", namespace: NAMESPACE } },
        stringData: { user: "", password: "" },
      }),
      registrationOf("carbon:base:ChartRelease", "example", { chart: CHART, version, declares }),
      registrationOf("kubernetes:helm.sh/v3:Release", "example", { namespace: NAMESPACE, values }),
    ];
    return checkReleases({
      stack: "test",
      evaluation: { registrations, outputs: {} },
      charts: path.join(directory, "charts"),
      kubernetesVersion: "1.33.2",
      images: { mirrors: {}, pullSecret: false },
      helm: path.join(toolchain.bin, "helm"),
      admission: new Admission(path.join(toolchain.bin, "kubectl"), cluster.kubeconfig),
      progress: () => undefined,
    });
  }

  for (const [promise, { chart, values, declares, faults }] of Object.entries(CASES)) {
    it(promise, async () => {
      const copy = structuredClone({ deployment, service, extra: [account] as any[] });
      chart?.(copy);
      writeChart(path.join(directory, "charts", CHART), [copy.deployment, copy.service, ...copy.extra]);
      const [checked] = await check({ ...VALUES, ...values }, { ...DECLARES, ...declares });
      const found = [...(checked?.faults ?? ["nothing was checked"])];
      for (const expected of faults) {
        const at = found.findIndex((fault) =>
          typeof expected === "string" ? fault === expected : expected.test(fault),
        );
        assert.ok(at >= 0, `${String(expected)} is not among\n${found.join("\n")}`);
        found.splice(at, 1);
      }
      assert.deepEqual(found, []);
    });
  }

  it("names the chart that is not there in the pinned version", async () => {
    writeChart(path.join(directory, "charts", CHART), [account]);
    const [checked] = await check(VALUES, DECLARES, "2.0.0");
    assert.match(
      String(checked?.faults),
      /example: has version 1\.0\.0, but 2\.0\.0 is pinned; run `npm run charts:pull`/,
    );
  });
});

function writeChart(folder: string, objects: readonly object[]): void {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, "templates"), { recursive: true });
  fs.writeFileSync(path.join(folder, "Chart.yaml"), stringify({ apiVersion: "v2", name: CHART, version: VERSION }));
  fs.writeFileSync(path.join(folder, "values.yaml"), stringify(VALUES));
  for (const [index, object] of objects.entries()) {
    // A template is a number or a list only without the quotes that YAML puts around its braces.
    const text = stringify(object, { lineWidth: 0 }).replaceAll(/["']({{.*}})["']/g, "$1");
    fs.writeFileSync(path.join(folder, "templates", `${index}.yaml`), text);
  }
}
