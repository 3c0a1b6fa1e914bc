import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import {
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
  type V1Pod,
  type V1ResourceQuota,
} from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import { driftOf, type Preview } from "../../commands/drift";
import { verify, type Verification } from "../../commands/verify";
import type { Check } from "../../commands/verify/check";
import { type Expected, expectedOf } from "../../commands/verify/expected";
import { evaluateConfig } from "../../rehearsal/program/charts";
import { ROOT } from "../../rehearsal/program/evaluate";
import { openRehearsal, type Rehearsal, watchedUp } from "../../rehearsal/simulation/rehearse";
import { end, only, start } from "./command";

const NAMESPACE = "data-platform";
const ML_STACK = only(
  ...["postgres", "objectStore", "redis", "mlflow", "feast", "ray", "serve", "monitoring", "verify"],
);
// What needs containers that run: asked by the Job, whose pod has no log here.
const HTTP = [
  "MLflow is healthy",
  "MLflow reads its registry",
  "Feast is healthy",
  "a prediction",
  "nodes alive, as Ray sees them",
  "targets are up",
  "alert rules are loaded",
];

/** One cluster: empty at first, then with the ML stack of dev on it, then broken in several ways at once. */
describe("npm run verify", () => {
  let rehearsal: Rehearsal;
  let expected: Expected;
  let admin: KubeConfig;
  let objects: KubernetesObjectApi;

  before(async () => {
    rehearsal = await openRehearsal({ stack: "dev", overrides: ML_STACK, progress: () => undefined });
    admin = new KubeConfig();
    admin.loadFromFile(rehearsal.cluster.kubeconfig);
    objects = KubernetesObjectApi.makeApiClient(admin);
    const { config } = rehearsal;
    expected = expectedOf("dev", { config, ...(await evaluateConfig("dev", config)) });
  });
  after(() => rehearsal.cluster.stop());

  function verified(
    options: { before?: boolean; patience?: number; expected?: Expected; kubeconfig?: KubeConfig } = {},
  ): Promise<Verification> {
    const { before = false, patience = 600, kubeconfig = admin } = options;
    return verify(options.expected ?? expected, kubeconfig, { before, patience, progress: () => undefined });
  }

  /** The kubeconfig of a user who may do what was granted to that name, and no more. */
  function user(name: string): KubeConfig {
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
    kubeconfig.users = kubeconfig.users.map((one) => ({ ...one, impersonateUser: name }));
    return kubeconfig;
  }

  function withConfig(change: (cluster: Expected["config"]["cluster"]) => Expected["config"]["cluster"]): Expected {
    return { ...expected, config: { ...expected.config, cluster: change(expected.config.cluster) } };
  }

  /** The version that is simulated, where the stack's cluster runs an older one. */
  const simulated = () => withConfig((cluster) => ({ ...cluster, kubernetesVersion: "1.36" }));

  describe("--before, of an empty cluster", () => {
    it("says that it cannot tell whether an unknown network plugin enforces policies", async () => {
      const { checks, ok } = await verified({ before: true, expected: simulated() });
      assert.deepEqual(notPassed(checks), ["the CNI enforces NetworkPolicies"]);
      assert.equal(stateOf(checks, "the CNI enforces NetworkPolicies"), "unknown");
      assert.equal(ok, false);
    });

    it("passes once that is known", async () => {
      await objects.create(daemonSet("calico-node"));
      const { ok, checks } = await verified({ before: true, expected: simulated() });
      assert.deepEqual(notPassed(checks), []);
      assert.equal(ok, true);
    });

    it("ends with 1 and names the version when the cluster runs another", async () => {
      const args = ["--stack", "dev", "--before"];
      const { code, output } = await end(start("commands/verify.ts", args, rehearsal.engine.env));
      assert.equal(code, 1, output);
      assert.match(output, /it runs 1\.36, the config says 1\.34/);
      assert.match(output, /\n✗ \d+ of \d+ checks of dev passed, .*Next: .*\n$/);
    });

    it("names a StorageClass that loses data, a missing node, other hardware, and a name that is taken", async () => {
      await objects.create({
        apiVersion: "storage.k8s.io/v1",
        kind: "StorageClass",
        metadata: { name: "fleeting" },
        provisioner: "rancher.io/local-path",
        reclaimPolicy: "Delete",
      } as KubernetesObject);
      await objects.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "cert-manager" } });
      const { nodes } = expected.config.cluster;
      const wrong = withConfig((cluster) => ({
        ...cluster,
        kubernetesVersion: "1.36",
        nodes: {
          "dev-1": {
            ...at(nodes, "dev-1"),
            cpu: 1000,
            gpus: { product: "Tesla-K80", count: 2 },
            labels: { disk: "ssd" },
          },
          "dev-2": at(nodes, "dev-1"),
        },
      }));
      const storage = { ...expected.config.storage, className: "fleeting" };
      const { checks } = await verified({ before: true, expected: { ...wrong, config: { ...wrong.config, storage } } });
      const text = JSON.stringify(
        checks.filter(({ state }) => state === "failed"),
        null,
        1,
      );
      for (const fault of [
        /reclaimPolicy Delete/,
        /volumeBindingMode Immediate/,
        /the cluster has no node dev-2/,
        /it has \d+ CPUs, the inventory says 1000/,
        /0 of 2 Tesla-K80 are allocatable/,
        /label disk is absent/,
        /Namespace cert-manager exists/,
      ]) {
        assert.match(text, fault);
      }
      await objects.delete({ apiVersion: "v1", kind: "Namespace", metadata: { name: "cert-manager" } });
      await gone({ apiVersion: "v1", kind: "Namespace", metadata: { name: "cert-manager" } });
    });

    it("names each right that the user lacks", async () => {
      const { checks } = await verified({ before: true, expected: simulated(), kubeconfig: user("limited") });
      const rights = checks.filter(({ topic }) => topic === "rights");
      assert.ok(
        rights.length > 15 && rights.every(({ state }) => state === "failed"),
        "somebody without rights must fail every check of rights",
      );
      assert.match(
        faultsOf(checks, "deployments.apps").join(),
        /may not get, list, watch, create, patch, delete deployments\.apps in data-platform/,
      );
      // What the user may not even look at is unknown, not fine.
      assert.equal(stateOf(checks, "CRDs are free or ours"), "unknown");
    });
  });

  describe("of a stack that is up", () => {
    before(async () => {
      const { errors } = await watchedUp(rehearsal, () => undefined);
      assert.deepEqual(errors, []);
    });

    it("passes but for what only containers can answer, which it does not know", async () => {
      const { checks, passed, total } = await eventually(verified, ({ passed: p, total: t }) => t - p === HTTP.length);
      assert.deepEqual(notPassed(checks), HTTP);
      for (const name of HTTP) {
        assert.equal(stateOf(checks, name), "unknown");
        assert.match(faultsOf(checks, name).join(), /rehearsal: its containers do not run/);
      }
      assert.equal(total - passed, HTTP.length);
    });

    it("leaves no Job behind", async () => {
      const jobs = async () =>
        (await objects.list("batch/v1", "Job", NAMESPACE)).items.map((job) => job.metadata?.name);
      const left = await eventually(jobs, (names) => names.every((name) => !name?.startsWith("verify-")));
      assert.ok(left.length > 0, "no check is left");
    });

    it("sees as much with the rights of docs/verify-rights.yaml, and says what it may not see without", async () => {
      for (const document of parseAllDocuments(fs.readFileSync(path.join(ROOT, "docs/verify-rights.yaml"), "utf8"))) {
        await objects.create(document.toJS() as KubernetesObject);
      }
      await objects.create(binding("ClusterRole"));
      await objects.create(binding("Role"));
      assert.deepEqual(notPassed((await verified({ kubeconfig: user("verifier") })).checks), HTTP);

      const { checks } = await verified({ kubeconfig: user("limited") });
      assert.ok(
        checks.every(({ state }) => state === "unknown"),
        "what could not be asked is unknown, not passed",
      );
      assert.match(faultsOf(checks, "Deployment data-platform/mlflow").join(), /cannot list resource "deployments"/);
    });

    describe("and is changed by hand", () => {
      const merge = <T>(object: object): Promise<T> =>
        objects.patch(object, undefined, undefined, "kubectl-edit", undefined, PatchStrategy.MergePatch) as Promise<T>;
      const quota = {
        apiVersion: "v1",
        kind: "ResourceQuota",
        metadata: { name: "data-platform-quota", namespace: NAMESPACE },
      };
      const mlflow = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "mlflow", namespace: NAMESPACE } };
      const enforce = "pod-security.kubernetes.io/enforce";
      const namespace = (level: string) => ({
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: "ray-system", labels: { [enforce]: level } },
      });
      const forced = { PULUMI_K8S_ENABLE_PATCH_FORCE: "true" };
      const drift = async () => {
        const args = [
          "preview",
          "--stack",
          "dev",
          "--refresh",
          "--run-program",
          "--json",
          "--diff",
          "--non-interactive",
        ];
        const env = { ...process.env, ...rehearsal.engine.env, ...forced };
        const options = { cwd: ROOT, env, maxBuffer: 2 ** 28 };
        const { stdout } = await promisify(execFile)("npx", ["pulumi", ...args], options);
        return driftOf(JSON.parse(stdout) as Preview);
      };

      it("is told as drift: a quota, a replica count and a label, with what is live and what is declared", async () => {
        await merge({ ...quota, spec: { hard: { pods: "75" } } });
        await merge({ ...mlflow, spec: { replicas: 2 } });
        await merge(namespace("privileged"));
        const { drifted, notDeployed } = await drift();
        assert.deepEqual(notDeployed, []);
        assert.deepEqual(
          drifted
            .map(({ object, field, live, declared, by }) => [object, field, live, declared, by?.split(",")[0]])
            .sort(),
          [
            ["Deployment data-platform/mlflow", "spec.replicas", "2", "1", "kubectl-edit"],
            ["Namespace ray-system", `metadata.labels["${enforce}"]`, '"privileged"', '"restricted"', "kubectl-edit"],
            ["ResourceQuota data-platform/data-platform-quota", "spec.hard.pods", '"75"', '"80"', "kubectl-edit"],
          ],
        );
      });

      it("is as declared again after one field is adopted and the others are reverted, as docs/drift.md has it", async () => {
        const { engine } = rehearsal;
        engine.setValues((values) => ({ ...values, quota: { ...values.quota, pods: 75 } }));
        const args = ["--refresh", "--run-program"];
        assert.deepEqual((await engine.run("up", { args, env: forced, saveOnce: true })).errors, []);
        assert.deepEqual((await engine.run("up", { saveOnce: true })).errors, []);
        assert.deepEqual(await drift(), { drifted: [], notDeployed: [] });
        const live = await objects.read<V1ResourceQuota>(quota);
        assert.equal(live.spec?.hard?.["pods"], "75");
      });
    });

    describe("and then breaks", () => {
      let found: Verification;

      before(async () => {
        await setStatus("mlflow", waitingFor("CrashLoopBackOff", "back-off 5m0s restarting failed container", 7));
        await setStatus(
          "minio",
          waitingFor("ImagePullBackOff", 'Back-off pulling image "quay.io/minio/minio:RELEASE"'),
        );
        await setStatus("cnpg-instance", notReady());
        await objects.create(homelessPod());
        await objects.create(volumeOf("nobody"));
        await objects.create(orphanService());
        await patchQuota({ pods: "6" });
        const withGpus = withConfig((cluster) => ({
          ...cluster,
          nodes: { "dev-1": { ...at(cluster.nodes, "dev-1"), gpus: { product: "Tesla-K80", count: 2 } } },
        }));
        const all = () => verified({ patience: 0, expected: withGpus });
        found = await eventually(all, ({ checks }) =>
          EXPECTED_FAULTS.every(([name]) => stateOf(checks, name) === "failed"),
        );
      });

      const EXPECTED_FAULTS: readonly (readonly [check: string, fault: RegExp, next: RegExp])[] = [
        ["Deployment data-platform/mlflow", /0 of 1 pods ready/, /kubectl describe deployment/],
        [
          "crash",
          /mlflow-.*container mlflow: CrashLoopBackOff; back-off 5m0s.*ended with 137 \(OOMKilled\); 7 restarts/,
          /--previous/,
        ],
        [
          "were killed for their memory within a day",
          /mlflow-.*container mlflow: OOMKilled at its limit of \d+(Mi|Gi); 7 restarts/,
          /raise memoryMiB/,
        ],
        ["StatefulSet data-platform/minio", /0 of 1 pods ready/, /kubectl describe statefulset/],
        ["have no image", /minio-0, container minio: ImagePullBackOff; Back-off pulling image/, /tag exist/],
        ["Cluster data-platform/postgres", /0 of 1 pods ready/, /kubectl describe cluster/],
        [
          "start or are not ready for over 0 s",
          /postgres-1, container postgres: runs, but its readiness/,
          /describe pod/,
        ],
        ["have no place on a node", /homeless: Unschedulable: 0\/1 nodes are available/, /capacity/],
        ["volumes are claimed", /abandoned is Released; it belonged to data-platform\/nobody/, /kubectl delete pv/],
        ["lead to ready pods", /data-platform\/orphan leads to no ready pod: it selects app=nobody/, /get pods/],
        ["belong to the program", /data-platform\/orphan: neither the program/, /kubectl delete service/],
        ["quota data-platform/data-platform-quota is below 90 %", /pods: \d+ of 6 used/, /raise it/],
        ["GPUs of dev-1 are allocatable", /0 of 2 Tesla-K80/, /device plugin/],
      ];
      for (const [name, fault, next] of EXPECTED_FAULTS) {
        it(`names it: ${name}`, () => {
          const check = found.checks.find((one) => one.name === name);
          assert.equal(check?.state, "failed", JSON.stringify(check));
          const [first] = check.faults.filter(({ what }) => fault.test(what));
          assert.match(first?.next ?? JSON.stringify(check.faults), next);
        });
      }

      it("says that the quota refuses the Job, and does not wait for it", () => {
        assert.equal(found.ok, false);
        for (const name of HTTP) {
          assert.equal(stateOf(found.checks, name), "unknown");
          assert.match(faultsOf(found.checks, name).join(), /gets no pod: .*exceeded quota: data-platform-quota/);
        }
      });
    });
  });

  async function setStatus(app: string, change: (pod: V1Pod) => object): Promise<void> {
    const labels = app === "cnpg-instance" ? "cnpg.io/cluster=postgres" : `app=${app}`;
    const { items } = await rehearsal.api.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector: labels });
    const [pod] = items;
    assert.ok(pod, app);
    const body = { ...pod, status: { ...pod.status, ...change(pod) } };
    await rehearsal.api.core.replaceNamespacedPodStatus({ name: pod.metadata?.name ?? "", namespace: NAMESPACE, body });
  }

  async function patchQuota(hard: Record<string, string>): Promise<void> {
    const patch = {
      apiVersion: "v1",
      kind: "ResourceQuota",
      metadata: { name: "data-platform-quota", namespace: NAMESPACE },
    };
    await objects.patch({ ...patch, spec: { hard } } as KubernetesObject);
  }

  async function gone(object: KubernetesObject): Promise<void> {
    const read = () =>
      objects.read(object as never).then(
        () => true,
        () => false,
      );
    await eventually(read, (exists) => !exists);
  }
});

function notPassed(checks: readonly Check[]): string[] {
  return checks.filter(({ state }) => state !== "ok").map(({ name }) => name);
}

function stateOf(checks: readonly Check[], name: string): string | undefined {
  return checks.find((check) => check.name === name)?.state;
}

function faultsOf(checks: readonly Check[], name: string): string[] {
  return (checks.find((check) => check.name === name)?.faults ?? []).map(({ what }) => what);
}

function at<T>(values: Readonly<Record<string, T>>, key: string): T {
  const value = values[key];
  assert.ok(value !== undefined, key);
  return value;
}

/** Asks until the controllers have seen what changed; the last answer in any case. */
async function eventually<T>(ask: () => Promise<T>, isSo: (answer: T) => boolean): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const answer = await ask();
    if (isSo(answer) || Date.now() > deadline) return answer;
    await sleep(1000);
  }
}

const NOT_READY = ["Ready", "ContainersReady"].map((type) => ({
  type,
  status: "False" as const,
  lastTransitionTime: new Date(),
}));

function waitingFor(reason: string, message: string, restartCount = 0) {
  return ({ status }: V1Pod) => ({
    conditions: NOT_READY,
    containerStatuses: status?.containerStatuses?.map((container) => ({
      ...container,
      ready: false,
      started: false,
      restartCount,
      state: { waiting: { reason, message } },
      ...(restartCount > 0 && {
        lastState: { terminated: { exitCode: 137, reason: "OOMKilled", finishedAt: new Date() } },
      }),
    })),
  });
}

function notReady() {
  return ({ status }: V1Pod) => ({
    conditions: NOT_READY,
    containerStatuses: status?.containerStatuses?.map((container) => ({ ...container, ready: false })),
  });
}

function daemonSet(name: string): KubernetesObject {
  const labels = { app: name };
  const template = { metadata: { labels }, spec: { containers: [{ name, image: `${name}:1` }] } };
  const spec = { selector: { matchLabels: labels }, template };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name, namespace: "kube-system" },
    spec,
  } as KubernetesObject;
}

function homelessPod(): KubernetesObject {
  const resources = { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "100m", memory: "64Mi" } };
  const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
  const spec = {
    nodeSelector: { nowhere: "true" },
    securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
    containers: [{ name: "main", image: "main:1", resources, securityContext }],
  };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "homeless", namespace: NAMESPACE },
    spec,
  } as KubernetesObject;
}

/** A volume whose claim is gone: the controller releases it. */
function volumeOf(claim: string): KubernetesObject {
  const spec = {
    capacity: { storage: "1Gi" },
    accessModes: ["ReadWriteOnce"],
    storageClassName: "local-storage-standard",
    persistentVolumeReclaimPolicy: "Retain",
    hostPath: { path: "/abandoned" },
    claimRef: { namespace: NAMESPACE, name: claim, uid: "11111111-2222-3333-4444-555555555555" },
  };
  return { apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "abandoned" }, spec } as KubernetesObject;
}

function orphanService(): KubernetesObject {
  const spec = { selector: { app: "nobody" }, ports: [{ port: 80 }] };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "orphan", namespace: NAMESPACE },
    spec,
  } as KubernetesObject;
}

function binding(kind: "ClusterRole" | "Role"): KubernetesObject {
  const apiGroup = "rbac.authorization.k8s.io";
  return {
    apiVersion: `${apiGroup}/v1`,
    kind: `${kind}Binding`,
    metadata: { name: "carbon-verify", ...(kind === "Role" && { namespace: NAMESPACE }) },
    roleRef: { apiGroup, kind, name: "carbon-verify" },
    subjects: [{ apiGroup, kind: "User", name: "verifier" }],
  } as KubernetesObject;
}
