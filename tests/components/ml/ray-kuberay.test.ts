import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { Ray, type RayArgs } from "../../../components/ml/ray";
import { charts, clientVersions } from "../../../components/base/versions";
import { makeChartDirectory } from "../../support/chart-directory";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { bucket, cache, endpoint, kubeApi, metrics, onCluster, SIZE } from "../../support/stubs";

const GPU_WORKERS = { ...SIZE, image: "example.com/ray-gpu:2-cu117", gpusPerWorker: 2, min: 1, max: 4 };
const STANDALONE: RayArgs["mode"] = {
  kind: "standalone",
  head: { ...SIZE, volume: { storageClass: "disk", sizeGiB: 10 } },
};
const chartDirectory = makeChartDirectory();
const KUBERAY = {
  kind: "kuberay",
  head: SIZE,
  autoscaler: SIZE,
  serving: {
    head: SIZE,
    workers: { ...SIZE, min: 1, max: 3 },
    config: pulumi.output("applications: [{ name: prices }]"),
  },
  operator: { namespace: "operators", chartDirectory, kubeApi, size: SIZE, metrics: metrics() },
} as const;

async function ray(own: Partial<RayArgs> = {}): Promise<{ seen: Registered[]; ray: Ray }> {
  const seen = await mockEngine();
  const made = new Ray(
    "ray",
    {
      namespace: "ml",
      mode: KUBERAY,
      workers: { ...SIZE, cpu: { request: 1, limit: 2 }, min: 2, max: 5 },
      token: pulumi.secret("t0ken"),
      env: {},
      services: { MLFLOW_TRACKING_URI: endpoint("mlflow", "http", 5000) },
      features: bucket(),
      access: { pods: [], groups: [] },
      metrics: KUBERAY.operator.metrics,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, ray: made };
}

const cluster = (seen: readonly Registered[]): any => only(seen, "kubernetes:ray.io/v1:RayCluster").inputs;
const service = (seen: readonly Registered[]): any => only(seen, "kubernetes:ray.io/v1:RayService").inputs;
const specs = (seen: readonly Registered[]): any[] => [cluster(seen).spec, service(seen).spec.rayClusterConfig];
const groups = (spec: any): any[] => [spec.headGroupSpec, ...spec.workerGroupSpecs];

describe("Ray by KubeRay", () => {
  it("installs an operator that watches one namespace, with rights that the program owns", async () => {
    const { seen } = await ray();
    const release = only(seen, "kubernetes:helm.sh/v3:Release", "kuberay-operator").inputs;
    assert.equal(release.namespace, "operators");
    assert.deepEqual(release.values.watchNamespace, ["ml"]);
    assert.deepEqual([release.values.singleNamespaceInstall, release.values.rbacEnable], [true, false]);
    assert.deepEqual(all(seen, "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"), []);
    const crds = all(seen, "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition");
    assert.deepEqual(crds.map(({ inputs }) => inputs.metadata.name).sort(), [...charts.kuberay.crds].sort());
  });

  it("lets the operator grant its autoscalers nothing that it does not hold: the API server would refuse", async () => {
    const { seen } = await ray();
    const { rules } = only(seen, "kubernetes:rbac.authorization.k8s.io/v1:Role", "kuberay-operator").inputs;
    const holds = (group: string, resource: string, verb: string) =>
      rules.some((r: any) => r.apiGroups.includes(group) && r.resources.includes(resource) && r.verbs.includes(verb));
    // The Role that KubeRay 1.7 makes for each cluster with an autoscaler (controllers/ray/common/rbac.go).
    for (const [group, resource, verbs] of [
      ["", "pods", ["get", "list", "watch", "patch"]],
      ["", "pods/resize", ["patch"]],
      ["ray.io", "rayclusters", ["get", "patch"]],
    ] as const) {
      for (const verb of verbs) assert.ok(holds(group, resource, verb), `${verb} ${resource}`);
    }
    for (const verb of ["create", "update", "patch", "delete"]) assert.ok(!holds("", "secrets", verb), verb);
  });

  it("leaves the number of workers to the autoscaler, between the bounds, and takes its list back on a change", async () => {
    const { seen } = await ray();
    const { metadata, spec } = cluster(seen);
    assert.equal(metadata.annotations["pulumi.com/patchForce"], "true");
    assert.ok(
      specs(seen).every((one) => one.enableInTreeAutoscaling === true),
      "without the autoscaler the workers stay at their minimum",
    );
    const [workers] = spec.workerGroupSpecs;
    assert.deepEqual([workers.minReplicas, workers.maxReplicas, "replicas" in workers], [2, 5, false]);
  });

  it("keeps tasks off the head: no logical CPU there, two on a worker", async () => {
    const { spec } = cluster((await ray()).seen);
    assert.equal(spec.headGroupSpec.rayStartParams["num-cpus"], "0");
    assert.equal(spec.workerGroupSpecs[0].rayStartParams["num-cpus"], "2");
    for (const { rayStartParams } of groups(spec)) {
      for (const value of Object.values(rayStartParams)) assert.equal(typeof value, "string");
    }
  });

  it("demands the token, from the Secret that clients read, under KubeRay's name for it too", async () => {
    const { seen } = await ray();
    for (const spec of specs(seen)) assert.deepEqual(spec.authOptions, { mode: "token", secretName: "ray-auth" });
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "ray-auth").inputs;
    assert.deepEqual(stringData, { RAY_AUTH_TOKEN: "t0ken", auth_token: "t0ken" });
  });

  it("gives a token of the API server to the autoscaler alone", async () => {
    const { seen } = await ray();
    for (const spec of specs(seen)) {
      const { volumeMounts, securityContext } = spec.autoscalerOptions;
      const [mount] = volumeMounts.filter(({ mountPath }: any) => mountPath.includes("serviceaccount"));
      assert.deepEqual(securityContext.capabilities, { drop: ["ALL"] });
      assert.equal(securityContext.readOnlyRootFilesystem, true);
      for (const { template } of groups(spec)) {
        assert.equal(template.spec.automountServiceAccountToken, false);
        for (const container of template.spec.containers) {
          assert.ok(!container.volumeMounts.some(({ name }: any) => name === mount.name), container.name);
        }
      }
      const accounts = groups(spec).map(({ template }) => template.spec.serviceAccountName);
      assert.equal(new Set(accounts).size, 2, "the head's account, which gets the autoscaler's rights, is its own");
      const volumes = spec.headGroupSpec.template.spec.volumes.map(({ name }: any) => name);
      for (const { name } of volumeMounts) assert.ok(volumes.includes(name), name);
    }
  });

  it("keeps the addresses that people use, beside those of the operator", async () => {
    const { seen, ray: made } = await ray();
    const spec = (name: string): any => only(seen, "kubernetes:core/v1:Service", name).inputs.spec;
    for (const name of ["ray-head", "ray-cluster-head"]) {
      assert.deepEqual(spec(name).selector, { app: "ray-cluster", component: "head" });
      for (const port of [6379, 8265, 10001])
        assert.ok(
          spec(name).ports.some((one: any) => one.port === port),
          `the Service ${name} has no port ${port}`,
        );
    }
    assert.deepEqual(spec("ray-serve").selector, { app: "ray-serve-cluster", "ray.io/serve": "true" });
    assert.deepEqual(
      spec("ray-serve").ports.map(({ port }: any) => port),
      [8000],
    );
    assert.equal(await valueOf(made.serve?.host), "ray-serve.ml.svc");
    assert.equal(await valueOf(made.dashboard.host), "ray-head.ml.svc");
    assert.deepEqual(made.dashboard.server.matchLabels, { app: "ray-cluster", component: "head" });
  });

  it("serves from a cluster of its own, whose workers are ready when their proxy is", async () => {
    const { spec } = service((await ray()).seen);
    assert.equal(spec.serveConfigV2, "applications: [{ name: prices }]");
    assert.equal(spec.upgradeStrategy.type, "NewCluster");
    const [worker] = spec.rayClusterConfig.workerGroupSpecs[0].template.spec.containers;
    assert.deepEqual(worker.readinessProbe.httpGet, { path: "/-/healthz", port: "serve" });
    assert.ok(
      worker.ports.some(({ name, containerPort }: any) => name === "serve" && containerPort === 8000),
      "the probe of a worker that serves asks a port that it does not have",
    );
  });

  it("drains a worker with the address that KubeRay tells it, and waits no longer than the pod may live", async () => {
    for (const spec of specs((await ray()).seen)) {
      const { terminationGracePeriodSeconds, containers } = spec.workerGroupSpecs[0].template.spec;
      const [, , script] = containers[0].lifecycle.preStop.exec.command;
      assert.match(script, /^export GCS=\$RAY_ADDRESS; /);
      const [, deadline] = /--deadline-remaining-seconds (\d+)/.exec(script as string) ?? [];
      assert.ok(Number(deadline) < terminationGracePeriodSeconds, "the pod would be killed while it still drains");
    }
  });

  it("has every pod of both clusters scraped, under their own names", async () => {
    const { seen } = await ray();
    const others = all(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor").map(({ name }) => name);
    assert.deepEqual(others, ["kuberay-operator-metrics"]);
    for (const app of ["ray-cluster", "ray-serve-cluster"]) {
      const { spec } = only(seen, "kubernetes:monitoring.coreos.com/v1:ServiceMonitor", `${app}-metrics`).inputs;
      const services = all(seen, "kubernetes:core/v1:Service").filter(({ inputs: { metadata } }) =>
        Object.entries(spec.selector.matchLabels).every(([key, value]) => metadata.labels[key] === value),
      );
      assert.deepEqual(
        services.map(({ inputs }) => [inputs.spec.selector, inputs.metadata.labels[spec.jobLabel]]),
        [[{ app }, app]],
      );
    }
    for (const { template } of specs(seen).flatMap(groups)) {
      const ports = template.spec.containers[0].ports.map(({ name }: any) => name);
      assert.ok(ports.includes("metrics"), "the pods have no port for metrics");
    }
  });
});

for (const mode of ["standalone", "kuberay"] as const) {
  describe(`GPU workers of Ray, ${mode}`, () => {
    const own = mode === "standalone" ? { mode: STANDALONE } : {};
    const templates = (seen: readonly Registered[]): any[] =>
      mode === "kuberay"
        ? cluster(seen).spec.workerGroupSpecs.map(({ template }: any) => template)
        : all(seen, "kubernetes:apps/v1:Deployment").map(({ inputs }) => inputs.spec.template);

    it("are off unless they are described", async () => {
      assert.equal(templates((await ray(own)).seen).length, 1);
    });

    it("run their own image on nodes with GPUs, and tell Ray and Kubernetes of the same number", async () => {
      const { seen } = await ray({ ...own, gpuWorkers: GPU_WORKERS });
      const [plain, gpu, ...more] = templates(seen);
      assert.deepEqual(more, []);
      const [main] = gpu.spec.containers;
      assert.equal(main.image, "example.com/ray-gpu:2-cu117");
      assert.equal(main.resources.limits["nvidia.com/gpu"], "2");
      assert.deepEqual(gpu.spec.nodeSelector, { "nvidia.com/gpu.present": "true" });
      assert.deepEqual(gpu.spec.tolerations, [{ key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" }]);
      const flags =
        mode === "kuberay" ? cluster(seen).spec.workerGroupSpecs[1].rayStartParams["num-gpus"] : main.command;
      assert.ok(mode === "kuberay" ? flags === "2" : flags.includes("--num-gpus=2"), "Ray is not told of its GPUs");
      assert.equal(plain.spec.nodeSelector, undefined);
      assert.notDeepEqual(plain.metadata.labels, gpu.metadata.labels);
    });
  });
}

const LARGE = {
  ...SIZE,
  image: "example.com/ray-large:1",
  min: 1,
  max: 3,
  nodeSelector: { "example.com/pool": "large" },
  tolerations: [{ key: "example.com/dedicated", value: "large", effect: "NoSchedule" }],
};
const VISION = { ...SIZE, image: "example.com/ray-gpu:2-cu117", gpusPerWorker: 1, min: 1, max: 2 };

describe("groups of workers of Ray", () => {
  for (const mode of ["standalone", "kuberay"] as const) {
    const own = { ...(mode === "standalone" && { mode: STANDALONE }), workerGroups: { large: LARGE, vision: VISION } };

    it(`run where they are told to, in an image of their own, and leave the others as they are, ${mode}`, async () => {
      const [before, { seen }] = [await ray(mode === "standalone" ? { mode: STANDALONE } : {}), await ray(own)];
      const [workers, large, vision] = workersIn(seen);
      assert.deepEqual(workers, workersIn(before.seen)[0]);
      assert.deepEqual(large?.pod.nodeSelector, LARGE.nodeSelector);
      const toleration = { key: "example.com/dedicated", operator: "Equal", value: "large", effect: "NoSchedule" };
      assert.deepEqual(large.pod.tolerations, [toleration]);
      assert.equal(large.pod.containers[0].image, LARGE.image);
      assert.equal(large.pod.priorityClassName, "low-priority-batch");
      assert.deepEqual(large.labels, { app: large.labels.app, component: "large-worker" });
      assert.equal(vision?.pod.containers[0].resources.limits["nvidia.com/gpu"], "1");
      assert.deepEqual(vision.pod.nodeSelector, { "nvidia.com/gpu.present": "true" });
    });

    it(`are selected by the label worker-group, ${mode}`, async () => {
      const [workers, large, vision] = workersIn((await ray(own)).seen);
      const told = [workers, large, vision].map((one) => one?.rayLabels);
      assert.deepEqual(told, [undefined, "worker-group=large", "worker-group=vision"]);
    });

    it(`are alerted on one by one, as far as they have a minimum, ${mode}`, async () => {
      const { ray: made } = await ray(own);
      const jobs = made.workersMin.filter(({ cluster: name }) => name !== "ray-serve-cluster");
      assert.deepEqual(
        jobs.map(({ component, min }) => [component, min]),
        [
          ["worker", 2],
          ["large-worker", 1],
          ["vision-worker", 1],
        ],
      );
    });
  }

  it("start from zero by KubeRay, which serves with groups of its own", async () => {
    const workerGroups = { large: { ...LARGE, min: 0 } };
    const { seen, ray: made } = await ray({ workerGroups });
    const [, large] = cluster(seen).spec.workerGroupSpecs;
    assert.deepEqual([large.groupName, large.minReplicas, large.maxReplicas], ["large", 0, 3]);
    // Ray's autoscaler knows the labels of a node that does not run yet from here alone.
    assert.deepEqual(large.labels, { "worker-group": "large" });
    assert.equal(service(seen).spec.rayClusterConfig.workerGroupSpecs.length, 1);
    assert.deepEqual(
      made.workersMin.map(({ component }) => component),
      ["worker", "worker"],
      "an alert would wait for a worker of a group that may be empty",
    );
  });

  it("serve requests as the first group does", async () => {
    const { seen } = await ray({
      mode: { ...KUBERAY, serving: { ...KUBERAY.serving, workerGroups: { vision: { ...VISION, min: 0 } } } },
    });
    const [workers, vision] = service(seen).spec.rayClusterConfig.workerGroupSpecs;
    const probe = (group: any) => group.template.spec.containers[0].readinessProbe;
    assert.deepEqual(probe(vision), probe(workers));
    assert.equal(vision.rayStartParams["num-gpus"], "1");
  });
});

/** The groups of workers for jobs, whoever runs them. */
function workersIn(seen: readonly Registered[]): { labels: any; pod: any; rayLabels: string | undefined }[] {
  const operated = all(seen, "kubernetes:ray.io/v1:RayCluster").flatMap(({ inputs }) => inputs.spec.workerGroupSpecs);
  const labelled = (labels: object = {}) => Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`)[0];
  return [
    ...operated.map(({ template, labels }) => ({ ...template, rayLabels: labelled(labels) })),
    ...all(seen, "kubernetes:apps/v1:Deployment").map(({ inputs: { spec } }) => ({
      ...spec.template,
      rayLabels: spec.template.spec.containers[0].command
        .find((flag: string) => flag.startsWith("--labels="))
        ?.replace("--labels=", ""),
    })),
  ].map(({ metadata, spec, rayLabels }) => ({ labels: metadata.labels, pod: spec, rayLabels }));
}

describe("Ray whose state is in Redis", () => {
  const mounted = ({ containers: [main], volumes }: any): unknown => {
    const { mountPath } = main.volumeMounts.find(({ name }: any) => name === "redis-ca");
    const { secretName } = volumes.find(({ name }: any) => name === "redis-ca").secret;
    return [`${String(mountPath)}/ca.crt`, secretName];
  };
  const envOf = (pod: any) =>
    Object.fromEntries(pod.containers[0].env.map(({ name, value }: any) => [name, value])) as Record<string, string>;

  it("is handed to the head alone, standalone, over TLS, and in the version's own name", async () => {
    const { seen } = await ray({ mode: STANDALONE, state: cache("s3cret") });
    const { spec: head } = only(seen, "kubernetes:apps/v1:StatefulSet").inputs.spec.template;
    const env = envOf(head);
    assert.equal(env["RAY_REDIS_ADDRESS"], "rediss://redis.elsewhere:6379");
    assert.equal(env["RAY_external_storage_namespace"], `ray-${clientVersions.ray}`);
    assert.deepEqual(mounted(head), [env["RAY_REDIS_CA_CERT"], "redis-tls"]);
    assert.match(
      head.containers[0].command[2],
      /ray start --redis-username="\$REDIS_USERNAME" --redis-password="\$REDIS_PASSWORD" "\$@"$/,
    );
    const given = head.containers[0].envFrom.map(({ secretRef }: any) => secretRef.name);
    assert.deepEqual(given, ["ray-object-store", "ray-auth", "ray-redis"]);
    const [worker] = workersIn(seen);
    assert.doesNotMatch(JSON.stringify(worker), /REDIS|redis/);
    assert.equal(
      envOf(worker?.pod)["RAY_gcs_rpc_server_reconnect_timeout_s"],
      "600",
      "workers end before a head is back",
    );
    assert.deepEqual(
      wires(seen).filter((wire) => wire.includes("-> redis ")),
      ["ray-head -> redis 6379"],
    );
  });

  it("is handed to the heads by KubeRay, each cluster that serves with a state of its own", async () => {
    const { seen } = await ray({ state: cache("s3cret") });
    const from = (key: string) => ({ valueFrom: { secretKeyRef: { name: "ray-redis", key } } });
    const options = {
      redisAddress: "rediss://redis.elsewhere:6379",
      redisUsername: from("REDIS_USERNAME"),
      redisPassword: from("REDIS_PASSWORD"),
    };
    const [jobs, serving] = specs(seen).map((spec) => spec.gcsFaultToleranceOptions);
    assert.deepEqual(jobs, { ...options, externalStorageNamespace: `ray-cluster-${clientVersions.ray}` });
    assert.deepEqual(serving, options, "two clusters in one name, while one replaces the other");
    for (const { headGroupSpec } of specs(seen)) {
      const { metadata, spec } = headGroupSpec.template;
      assert.deepEqual(mounted(spec), [envOf(spec)["RAY_REDIS_CA_CERT"], "redis-tls"]);
      assert.ok("checksum.254carbon.com/ray-redis" in metadata.annotations, "a changed password reaches no head");
      // KubeRay adds these itself, and refuses a cluster that has them.
      assert.doesNotMatch(JSON.stringify(spec.containers), /RAY_REDIS_ADDRESS|REDIS_PASSWORD|ray-redis/);
    }
    assert.deepEqual(
      wires(seen).filter((wire) => wire.includes("-> redis ")),
      ["ray-cluster-head -> redis 6379", "ray-serve-cluster-head -> redis 6379"],
    );
  });

  it("is deleted with its cluster by a Job, which the operator may make only then", async () => {
    for (const [own, verbs] of [
      [{}, ["get", "list", "watch"]],
      [{ state: cache("s3cret") }, ["get", "list", "watch", "create"]],
    ] as const) {
      const { rules } = only(
        (await ray(own)).seen,
        "kubernetes:rbac.authorization.k8s.io/v1:Role",
        "kuberay-operator",
      ).inputs;
      const given = rules.filter(({ resources }: any) => resources.includes("jobs")).flatMap((rule: any) => rule.verbs);
      assert.deepEqual(given, verbs);
    }
  });

  it("is switched on and off with a new cluster: KubeRay could never delete one that had a state and lost it", async () => {
    const triggers = [];
    for (const own of [{}, { state: cache("s3cret") }]) {
      triggers.push(only((await ray(own)).seen, "kubernetes:ray.io/v1:RayCluster").replacementTrigger);
    }
    assert.deepEqual(triggers, [false, true]);
  });
});

describe("access to Ray", () => {
  for (const [mode, own, pod] of [
    ["standalone", { mode: STANDALONE }, "ray-head-0"],
    ["kuberay", {}, "ray-cluster-head"],
  ] as const) {
    it(`is nobody's unless somebody is named, ${mode}`, async () => {
      const { seen } = await ray(own);
      const roles = all(seen, "kubernetes:rbac.authorization.k8s.io/v1:Role").map(({ name }) => name);
      assert.deepEqual(
        roles.filter((name) => name.startsWith("ray-")),
        [],
      );
      const clients = wires(seen).filter((wire) => /[ ,](8265|10001)\b/.test(wire));
      assert.deepEqual(
        clients.filter((wire) => !/^(ray|kuberay-operator)[\w-]* -> /.test(wire)),
        [],
      );
    });

    it(`lets named pods reach dashboard and client port, and named groups the token and one pod, ${mode}`, async () => {
      const portal = { name: "portal", namespace: "web", matchLabels: { app: "portal" }, serviceAccount: "portal" };
      const { seen } = await ray({ ...own, access: { pods: [portal], groups: ["scientists", "engineers"] } });
      const entrances = wires(seen).filter((wire) => wire.startsWith("portal -> "));
      assert.deepEqual(entrances, [`portal -> ${mode === "kuberay" ? "ray-cluster-head" : "ray-head"} 8265,10001`]);
      const { rules } = only(seen, "kubernetes:rbac.authorization.k8s.io/v1:Role", "ray-user").inputs;
      assert.deepEqual(
        rules.map(({ resources, resourceNames }: any) => [resources[0], resourceNames[0]]),
        [
          ["secrets", "ray-auth"],
          ["pods", pod],
          ["pods/portforward", pod],
        ],
      );
      const { subjects } = only(seen, "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "ray-user").inputs;
      assert.deepEqual(
        subjects.map(({ kind, name }: any) => `${String(kind)} ${String(name)}`),
        ["Group scientists", "Group engineers"],
      );
    });
  }

  it("needs more than a wire to Ray Serve: that opens its port alone", async () => {
    for (const own of [{ mode: STANDALONE }, {}]) {
      const { ray: made } = await ray(own);
      assert.deepEqual([made.serve?.port, made.serve?.podPort], [8000, 8000]);
    }
  });
});
