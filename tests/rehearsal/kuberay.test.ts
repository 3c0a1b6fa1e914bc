import * as assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AuthorizationV1Api,
  CustomObjectsApi,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
} from "@kubernetes/client-node";
import { stringify } from "yaml";
import type { StackValues } from "../../rehearsal/simulation/engine";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { countChanges } from "../../rehearsal/simulation/report";
import { only } from "./command";

const NAMESPACE = "data-platform";
const OPERATOR = "system:serviceaccount:ray-system:kuberay-operator";

const SMALL = { cpu: { request: 0.1, limit: 1 }, memoryMiB: { request: 512, limit: 2048 } };
const KUBERAY = {
  mode: "kuberay" as const,
  head: SMALL,
  workers: { ...SMALL, min: 1, max: 4 },
  serving: { head: SMALL, workers: { ...SMALL, min: 1, max: 2 } },
  autoscaler: SMALL,
  operator: SMALL,
  access: { groups: ["scientists"] },
};

/** One rehearsal of dev with Ray by KubeRay, kept up through these tests: they build on each other. */
describe("Ray by KubeRay", () => {
  let rehearsal: Rehearsal;
  let authorization: AuthorizationV1Api;
  let custom: CustomObjectsApi;
  let standalone: StackValues["ray"];

  before(async () => {
    const others = only("postgres", "objectStore", "redis", "mlflow", "feast", "ray", "serve");
    const overrides = { ...others, ray: stringify(KUBERAY) };
    rehearsal = await openRehearsal({ stack: "dev", overrides, progress: () => undefined });
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
    authorization = kubeconfig.makeApiClient(AuthorizationV1Api);
    custom = kubeconfig.makeApiClient(CustomObjectsApi);
  });
  after(() => rehearsal.cluster.stop());

  async function up(): Promise<number> {
    const result = await rehearsal.engine.run("up", { saveOnce: true });
    assert.deepEqual(result.errors, []);
    return countChanges(result);
  }

  async function pods(labelSelector: string): Promise<string[]> {
    const { items } = await rehearsal.api.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector });
    const ready = items.filter(({ status }) =>
      status?.conditions?.some((c) => c.type === "Ready" && c.status === "True"),
    );
    return ready.map(({ metadata }) => metadata?.name ?? "").sort();
  }

  async function podsBecome(labelSelector: string, count: number): Promise<void> {
    const deadline = Date.now() + 60_000;
    while ((await pods(labelSelector)).length !== count) {
      assert.ok(Date.now() < deadline, `${labelSelector}: ${(await pods(labelSelector)).join(", ")}, not ${count}`);
      await sleep(500);
    }
  }

  it("comes up with a cluster for jobs and one that serves, and a second up changes nothing", async () => {
    await up();
    assert.deepEqual(await pods("app=ray-cluster,component=head"), ["ray-cluster-head-0"]);
    await podsBecome("app=ray-cluster,component=worker", 1);
    await podsBecome("app=ray-serve-cluster,ray.io/serve=true", 2);
    assert.equal(await up(), 0);
  });

  it("lets the operator do all that it needs, and nothing beside", async () => {
    for (const [verbs, group, resource, subresource] of NEEDED) {
      for (const verb of verbs.split(" ")) {
        const asked = { verb, group, resource, ...(subresource && { subresource }), namespace: NAMESPACE };
        assert.ok(await allows(OPERATOR, asked), `${verb} ${group} ${resource}/${subresource ?? ""}`);
      }
    }
    const lease = {
      group: "coordination.k8s.io",
      resource: "leases",
      name: "ray-operator-leader",
      namespace: "ray-system",
    };
    for (const verb of ["get", "update", "create"]) assert.ok(await allows(OPERATOR, { ...lease, verb }), verb);

    for (const asked of FORBIDDEN) assert.ok(!(await allows(OPERATOR, asked)), JSON.stringify(asked));
  });

  it("lets people of a named group read the token and reach the head, and others nothing", async () => {
    const token = { verb: "get", group: "", resource: "secrets", name: "ray-auth", namespace: NAMESPACE };
    const head = { verb: "create", group: "", resource: "pods", subresource: "portforward", namespace: NAMESPACE };
    const asked = [token, { ...head, name: "ray-cluster-head" }];
    for (const one of asked) {
      assert.ok(await allows("ada", one, ["scientists"]), one.resource);
      assert.ok(!(await allows("ada", one, ["visitors"])), one.resource);
    }
    for (const one of [
      { ...token, name: "ray-object-store" },
      { ...head, name: "mlflow-0" },
      { ...token, verb: "list" },
    ]) {
      assert.ok(!(await allows("ada", one, ["scientists"])), JSON.stringify(one));
    }
  });

  it("follows the autoscaler, leaves its number alone, and takes it back only with a change of the cluster", async () => {
    await scale(3);
    await podsBecome("app=ray-cluster,component=worker", 3);

    // Of something else: the RayCluster stays as it is.
    rehearsal.engine.setValues((values) => withMlflow(values, { webWorkers: 3 }));
    assert.ok((await up()) > 0, "the autoscaler starts no worker");
    assert.equal(await replicas(), 3);

    rehearsal.engine.setValues((values) => withWorkers(values, { ...KUBERAY.workers, max: 3 }));
    assert.equal(await up(), 1);
    // The default of the CRD, which KubeRay reads as the minimum.
    assert.equal(await replicas(), 0);
  });

  it("becomes standalone and operated again by one up each, under the same names", async () => {
    const serve = await service("ray-serve");
    rehearsal.engine.setValues((values) => {
      const { head, workers } = KUBERAY;
      standalone = { mode: "standalone", head: { ...head, volume: { sizeGiB: 10 } }, workers };
      return { ...values, ray: standalone };
    });
    await up();
    assert.deepEqual(await pods("app=ray,component=head"), ["ray-head-0"]);
    assert.deepEqual(await pods("ray.io/is-ray-node=yes"), []);
    assert.deepEqual((await service("ray-head")).selector, { app: "ray", component: "head" });
    const { spec: claim } = await rehearsal.api.core.readNamespacedPersistentVolumeClaim({
      name: "ray-storage-ray-head-0",
      namespace: NAMESPACE,
    });

    rehearsal.engine.setValues((values) => ({ ...values, ray: KUBERAY }));
    await up();
    await podsBecome("app=ray-cluster", 2);
    assert.deepEqual(await pods("app=ray"), []);
    assert.deepEqual((await service("ray-head")).selector, { app: "ray-cluster", component: "head" });
    // It never went: clients keep the address that they looked up.
    assert.equal((await service("ray-serve")).clusterIP, serve.clusterIP);
    const kept = await rehearsal.api.core.readNamespacedPersistentVolumeClaim({
      name: "ray-storage-ray-head-0",
      namespace: NAMESPACE,
    });
    assert.equal(kept.spec?.volumeName, claim?.volumeName);
    assert.equal(await up(), 0);
  });

  interface Asked {
    readonly verb: string;
    readonly group: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly name?: string;
    readonly namespace?: string;
  }

  async function allows(user: string, resourceAttributes: Asked, groups: string[] = []): Promise<boolean> {
    const { status } = await authorization.createSubjectAccessReview({
      body: { spec: { user, groups, resourceAttributes } },
    });
    return status?.allowed === true;
  }

  async function service(name: string): Promise<{ selector?: Record<string, string>; clusterIP?: string }> {
    const { spec } = await rehearsal.api.core.readNamespacedService({ name, namespace: NAMESPACE });
    return {
      ...(spec?.selector && { selector: spec.selector }),
      ...(spec?.clusterIP && { clusterIP: spec.clusterIP }),
    };
  }

  const cluster = { group: "ray.io", version: "v1", namespace: NAMESPACE, plural: "rayclusters", name: "ray-cluster" };

  async function replicas(): Promise<number> {
    const { spec } = (await custom.getNamespacedCustomObject(cluster)) as {
      spec: { workerGroupSpecs: { replicas: number }[] };
    };
    return spec.workerGroupSpecs[0]?.replicas ?? NaN;
  }

  /** What Ray's autoscaler sends (autoscaler/v2/instance_manager/cloud_providers/kuberay). */
  async function scale(count: number): Promise<void> {
    const body = [{ op: "replace", path: "/spec/workerGroupSpecs/0/replicas", value: count }];
    await custom.patchNamespacedCustomObject(
      { ...cluster, body, fieldManager: "autoscaler" },
      setHeaderOptions("Content-Type", PatchStrategy.JsonPatch),
    );
  }
});

function withMlflow(values: StackValues, own: { readonly webWorkers: number }): StackValues {
  assert.ok(values.mlflow, "dev has no MLflow: take another system for this test");
  return { ...values, mlflow: { ...values.mlflow, ...own } };
}

function withWorkers(values: StackValues, workers: (typeof KUBERAY)["workers"]): StackValues {
  return { ...values, ray: { ...KUBERAY, workers } };
}

// What KubeRay 1.7 was seen to do, and what its informers watch: verbs, group, resource, subresource.
const NEEDED: readonly (readonly [string, string, string, string?])[] = [
  ["list watch create update delete", "ray.io", "rayclusters"],
  ["list watch update", "ray.io", "rayservices"],
  ["list watch", "ray.io", "rayjobs"],
  ["update", "ray.io", "rayclusters", "status"],
  ["update", "ray.io", "rayservices", "status"],
  ["list watch create update delete deletecollection", "", "pods"],
  ["list watch create update delete", "", "services"],
  ["list watch", "", "secrets"],
  ["list watch", "", "persistentvolumeclaims"],
  ["list watch", "", "serviceaccounts"],
  ["list watch", "batch", "jobs"],
  ["list watch", "discovery.k8s.io", "endpointslices"],
  ["list watch create", "rbac.authorization.k8s.io", "roles"],
  ["list watch create", "rbac.authorization.k8s.io", "rolebindings"],
  ["create patch", "events.k8s.io", "events"],
  // What the autoscaler's Role holds: nobody can grant what he does not have.
  ["get list watch patch", "", "pods"],
  ["patch", "", "pods", "resize"],
  ["get patch", "ray.io", "rayclusters"],
];

const FORBIDDEN = [
  { verb: "list", group: "", resource: "secrets" },
  { verb: "get", group: "", resource: "secrets", namespace: "ray-system" },
  { verb: "get", group: "", resource: "secrets", namespace: "monitoring" },
  { verb: "create", group: "", resource: "secrets", namespace: NAMESPACE },
  { verb: "create", group: "", resource: "pods", namespace: "monitoring" },
  { verb: "create", group: "", resource: "pods", subresource: "exec", namespace: NAMESPACE },
  { verb: "create", group: "batch", resource: "jobs", namespace: NAMESPACE },
  { verb: "update", group: "rbac.authorization.k8s.io", resource: "roles", namespace: NAMESPACE },
  { verb: "escalate", group: "rbac.authorization.k8s.io", resource: "roles", namespace: NAMESPACE },
  { verb: "bind", group: "rbac.authorization.k8s.io", resource: "roles", namespace: NAMESPACE },
  { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
  { verb: "update", group: "coordination.k8s.io", resource: "leases", name: "another", namespace: "ray-system" },
];
