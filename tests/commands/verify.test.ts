import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import { ApiException, KubeConfig, type V1Pod } from "@kubernetes/client-node";
import { describe as explain, type Verification, verify } from "../../commands/verify";
import { answers, type HttpAnswer } from "../../commands/verify/answers";
import {
  chartsAnswer,
  ciliumAnswer,
  cniAnswer,
  dnsAnswer,
  storageClassAnswer,
  versionAnswer,
} from "../../commands/verify/before";
import { askAll, type Check, type Question, unanswered, Unanswered } from "../../commands/verify/check";
import { access } from "../../commands/verify/access";
import type { ClusterView } from "../../commands/verify/cluster";
import { crdFaults, takenFaults, webhookFaults } from "../../commands/verify/conflicts";
import { basisOf, type Update } from "../../commands/verify/deployed";
import { type Expected, expectedOf } from "../../commands/verify/expected";
import { images } from "../../commands/verify/images";
import { askInside, parseAnswers } from "../../commands/verify/job";
import { pods } from "../../commands/verify/pods";
import { ray } from "../../commands/verify/ray";
import { pluralOf, resourcesOf } from "../../commands/verify/rights";
import { room } from "../../commands/verify/room";
import { services, storage } from "../../commands/verify/storage";
import { workloads } from "../../commands/verify/workloads";
import { elasticsearchVersion } from "../../components/base/versions";
import { readStackFile } from "../../rehearsal/program/evaluate";
import { evaluated } from "./program";

const NAMESPACE = "data-platform";

/** A cluster that holds these lists and nothing else. */
function cluster(lists: Readonly<Record<string, readonly unknown[]>>): ClusterView {
  const known = Object.entries(lists).map(([name, items]) => [name, () => Promise.resolve(items)]);
  const none = () => Promise.resolve([]);
  return new Proxy(Object.fromEntries(known), {
    get: (target, name) => (Reflect.get(target, name) as unknown) ?? none,
  });
}

const named = (name: string, own: object = {}) => ({ metadata: { namespace: NAMESPACE, name, ...own } });

function pod(name: string, status: object, own: object = {}, spec: object = {}): V1Pod {
  return { ...named(name, own), spec: { containers: [], nodeName: "dev-1", ...spec }, status };
}

const READY = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };

async function whats(questions: readonly Question[], name: string): Promise<string> {
  const checks = await askAll(questions.filter((question) => question.name === name));
  assert.equal(checks.length, 1, `${name} is one of ${questions.map((question) => question.name).join(", ")}`);
  return checks.flatMap(({ state, faults }) => [state, ...faults.map(({ what }) => what)]).join("\n");
}

function bytesOf({ groups }: Expected, name: string): number {
  return groups.find((group) => group.name === name)?.volumes[0] ?? assert.fail(`${name} has no volume`);
}

describe("verify", () => {
  let expected: Expected;
  before(async () => {
    expected = expectedOf("dev", await evaluated("dev"));
  });

  describe("an answer that cannot be had", () => {
    const ask = (error: Error) => askAll([{ topic: "t", name: "n", ask: () => Promise.reject(error) }]);

    it("is unknown, with the reason and what to do", async () => {
      const body = JSON.stringify({ message: 'pods is forbidden: User "x" cannot list resource "pods"' });
      const [check] = await ask(new ApiException(403, "Forbidden", body, {}));
      assert.equal(check?.state, "unknown");
      assert.match(check.faults[0]?.what ?? "", /cannot list resource "pods"/);
      assert.match(check.faults[0]?.next ?? "", /docs\/verify-rights\.yaml/);
    });

    it("finds the network's fault behind what fetch throws", () => {
      const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:6443"), { code: "ECONNREFUSED" });
      assert.match(
        unanswered(new Error("request failed", { cause: refused })).message,
        /ECONNREFUSED 127\.0\.0\.1:6443/,
      );
    });

    it("is a fault of this program when it is none of the cluster's", async () => {
      await assert.rejects(ask(new TypeError("x is not a function")), TypeError);
    });

    it("is a user's fault when there is no cluster at all", async () => {
      const kubeconfig = new KubeConfig();
      kubeconfig.loadFromClusterAndUser(
        { name: "gone", server: "http://127.0.0.1:1", skipTLSVerify: true },
        { name: "nobody" },
      );
      await assert.rejects(
        verify(expected, kubeconfig, { before: false, patience: 600, progress: () => undefined }),
        /cluster gone at http:\/\/127\.0\.0\.1:1 cannot be reached: .*ECONNREFUSED.*KUBECONFIG/,
      );
    });
  });

  describe("workloads", () => {
    const of = (name: string, lists: Readonly<Record<string, readonly unknown[]>>) =>
      whats(workloads(expected, cluster(lists)), name);

    it("that are not there are named", async () => {
      assert.equal(await of("Deployment data-platform/mlflow", {}), "failed\nthere is no such Deployment");
    });

    it("that were scaled down by hand are named, and those that an autoscaler scaled up are not", async () => {
      const scaled = (name: string, replicas: number) => ({
        deployments: [
          { ...named(name), spec: { replicas }, status: { readyReplicas: replicas, updatedReplicas: replicas } },
        ],
      });
      assert.equal(
        await of("Deployment data-platform/mlflow", scaled("mlflow", 0)),
        "failed\nscaled to 0, the program wants 1",
      );
      assert.equal(await of("Deployment data-platform/ray-worker", scaled("ray-worker", 2)), "ok");
    });

    it("that hang in a rollout are named with its reason", async () => {
      const message = 'ReplicaSet "mlflow-2" has timed out progressing.';
      const conditions = [{ type: "Progressing", status: "False", message }];
      const status = { readyReplicas: 1, updatedReplicas: 0, conditions };
      const text = await of("Deployment data-platform/mlflow", {
        deployments: [{ ...named("mlflow"), spec: { replicas: 1 }, status }],
      });
      assert.equal(text, `failed\n0 of 1 pods are new: ${message}`);
    });

    it("that are Jobs must have succeeded", async () => {
      const name = "Job data-platform/mlflow-migrate";
      const job = (status: object) => ({ jobs: [{ ...named("mlflow-migrate"), status }] });
      assert.equal(await of(name, job({ succeeded: 1 })), "ok");
      assert.equal(await of(name, job({ active: 1 })), "failed\nit has not ended");
      const conditions = [{ type: "Failed", status: "True", reason: "DeadlineExceeded", message: "too long" }];
      assert.equal(await of(name, job({ conditions })), "failed\nDeadlineExceeded: too long");
    });

    it("that are CronJobs are judged by the last Job that ended", async () => {
      const cronJobs = [named("verify", { uid: "u" })];
      const job = (name: string, day: number, status: object) => ({
        ...named(name, { ownerReferences: [{ uid: "u" }], creationTimestamp: new Date(2026, 0, day) }),
        status,
      });
      const failed = { conditions: [{ type: "Failed", status: "True", reason: "BackoffLimitExceeded", message: "m" }] };
      const [early, late, running] = [job("a", 1, { succeeded: 1 }), job("b", 2, failed), job("c", 3, { active: 1 })];
      const name = "CronJob data-platform/verify";
      assert.equal(await of(name, { cronJobs, jobs: [early, late, running] }), "failed\nb: BackoffLimitExceeded: m");
      assert.equal(await of(name, { cronJobs, jobs: [early, running] }), "ok");
    });
  });

  describe("pods", () => {
    const of = (name: string, ...all: V1Pod[]) => whats(pods(expected, cluster({ pods: all }), 600), name);
    const long = new Date(Date.now() - 3_600_000);

    it("that lack a Secret are named with container and message", async () => {
      const waiting = { reason: "CreateContainerConfigError", message: 'secret "mlflow-database" not found' };
      const one = pod("mlflow-1", { phase: "Pending", containerStatuses: [{ name: "mlflow", state: { waiting } }] });
      assert.equal(
        await of("lack what their containers name", one),
        'failed\ndata-platform/mlflow-1, container mlflow: CreateContainerConfigError; secret "mlflow-database" not found',
      );
    });

    it("that wait in an init container or for a volume are named, where it takes too long", async () => {
      const name = "start or are not ready for over 600 s";
      const init = { phase: "Pending", initContainerStatuses: [{ name: "wait-for-head", state: { running: {} } }] };
      const made = { reason: "ContainerCreating" };
      const creating = { phase: "Pending", containerStatuses: [{ name: "minio", state: { waiting: made } }] };
      const text = await of(
        name,
        pod("ray-worker-1", init, { creationTimestamp: long }),
        pod("minio-0", creating, { creationTimestamp: long }),
        pod("mlflow-1", creating, { creationTimestamp: new Date() }),
      );
      assert.match(text, /ray-worker-1, init container wait-for-head: still runs for \d{4} s/);
      assert.match(text, /minio-0, container minio: ContainerCreating for \d{4} s/);
      assert.doesNotMatch(text, /mlflow/);
    });

    it("that failed or do not go are named, those of Jobs are the Job's", async () => {
      const failed = { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory." };
      const text = await of(
        "failed or do not go",
        pod("mlflow-1", failed),
        pod("mlflow-migrate-1", failed, { ownerReferences: [{ kind: "Job" }] }),
        pod("ray-head-0", READY, { deletionTimestamp: long }),
        pod("minio-0", READY, { deletionTimestamp: new Date() }),
      );
      assert.match(text, /mlflow-1: Evicted: The node was low/);
      assert.match(text, /ray-head-0: should have been gone for \d{4} s/);
      assert.doesNotMatch(text, /migrate|minio/);
    });

    it("of others are theirs", async () => {
      const waiting = { reason: "CrashLoopBackOff" };
      const status = { phase: "Running", containerStatuses: [{ name: "main", restartCount: 3, state: { waiting } }] };
      assert.equal(await of("crash", { ...pod("x", status), metadata: { namespace: "others", name: "x" } }), "ok");
    });
  });

  describe("versions", () => {
    it("of images are the program's in every pod, whoever made it", async () => {
      const [wanted = ""] = expected.objects
        .filter(({ kind }) => kind === "Cluster")
        .map(({ inputs }) => (inputs["spec"] as { imageName: string }).imageName);
      const running = (image: string) => pod("postgres-1", READY, {}, { containers: [{ name: "postgres", image }] });
      const of = (...all: V1Pod[]) => whats(images(expected, cluster({ pods: all })), "images of pods");
      assert.equal(await of(running(wanted), running("ghcr.io/somebody/else:1")), "ok");
      const old = wanted.replace(/:.*/, ":17.1");
      const what = `data-platform/postgres-1, container postgres runs ${old}, the program names ${wanted}`;
      assert.equal(await of(running(old)), `failed\n${what}`);
    });

    it("of Elasticsearch are what its operator reached", async () => {
      const of = (version: string) => {
        const lists = cluster({});
        const read = () => Promise.resolve({ status: { version } });
        return whats(images(expected, { ...lists, read } as never), "Elasticsearch data-platform/elasticsearch");
      };
      assert.equal(await of("8.1.0"), `failed\nruns 8.1.0, the program names ${elasticsearchVersion}`);
      assert.equal(await of(elasticsearchVersion), "ok");
    });
  });

  describe("Ray's nodes", () => {
    const of = (...all: V1Pod[]) =>
      whats(ray(expected, cluster({ pods: all })), "nodes of ray as the config wants them");
    const node = (name: string, app: string, component: string) => pod(name, READY, { labels: { app, component } });
    const head = node("ray-head-0", "ray", "head");
    const worker = (name: string) => node(name, "ray", "worker");

    it("are between the config's minimum and maximum", async () => {
      assert.equal(await of(head, worker("a")), "ok");
      assert.equal(await of(head), "failed\n0 workers are ready, the config wants at least 1");
      assert.equal(
        await of(head, worker("a"), worker("b"), worker("c")),
        "failed\n3 workers are ready, the config allows 2",
      );
      assert.equal(await of(worker("a")), "failed\n0 heads are ready, expected 1");
    });

    it("are counted for each of KubeRay's clusters by itself, and belong to its custom resource", async () => {
      const group = (kind: string, name: string, start: number, most: number) =>
        ({
          ...{ kind, name, namespace: NAMESPACE, pods: { start, most } },
          object: name.replace(/-(head|workers)$/, ""),
        }) as Expected["groups"][number];
      const object = (kind: string, name: string) => ({
        apiVersion: "ray.io/v1",
        kind,
        name,
        namespace: NAMESPACE,
        inputs: {},
      });
      const operated: Expected = {
        ...expected,
        objects: [object("RayCluster", "ray-cluster"), object("RayService", "ray-serve")],
        groups: [
          group("RayCluster", "ray-cluster-head", 1, 1),
          group("RayCluster", "ray-cluster-workers", 1, 5),
          group("RayService", "ray-serve-head", 1, 1),
          group("RayService", "ray-serve-workers", 2, 3),
        ],
      };
      const owner = (kind: string, name: string) => ({ ownerReferences: [{ kind, name, apiVersion: "ray.io/v1" }] });
      const own = (app: string, type: string, owned: object) =>
        pod(`${app}-${type}`, READY, { labels: { app, "ray.io/node-type": type }, ...owned });
      const pods = [
        own("ray-cluster", "head", owner("RayCluster", "ray-cluster")),
        own("ray-cluster", "worker", owner("RayCluster", "ray-cluster")),
        own("ray-serve", "head", owner("RayCluster", "ray-serve-abcde")),
      ];
      const read = ({ name }: { name: string }) =>
        Promise.resolve(name === "ray-serve-abcde" ? { metadata: owner("RayService", "ray-serve") } : undefined);
      const view = { pods: () => Promise.resolve(pods), read } as unknown as ClusterView;
      assert.equal(await whats(ray(operated, view), "nodes of ray-cluster as the config wants them"), "ok");
      assert.equal(
        await whats(ray(operated, view), "nodes of ray-serve as the config wants them"),
        "failed\n0 workers are ready, the config wants at least 2",
      );
      assert.equal(await whats(workloads(operated, view), "RayCluster data-platform/ray-cluster"), "ok");
      assert.equal(
        await whats(workloads(operated, view), "RayService data-platform/ray-serve"),
        "failed\n1 of 3 pods ready",
      );
    });
  });

  describe("what the services answer", () => {
    const asking = (own: Expected, all: readonly HttpAnswer[], lists = {}) =>
      answers(own, cluster(lists), () => Promise.resolve(all));
    const answer = (question: string, own: Partial<HttpAnswer>): HttpAnswer => ({
      question,
      ok: true,
      found: "",
      data: null,
      ...own,
    });
    /** With a template that asks all services but MLflow and Ray, two monitors and a rule file. */
    const complete = (): Expected => {
      const env = ["SERVE_URL", "PROMETHEUS_URL", "FEAST_URL"].map((name) => ({ name }));
      const spec = { jobTemplate: { spec: { template: { spec: { containers: [{ env }] } } } } };
      const object = (kind: string, name: string, inputs: object) => ({
        apiVersion: "v1",
        kind,
        name,
        namespace: NAMESPACE,
        inputs: inputs as Record<string, unknown>,
      });
      const groups = [{ rules: [{ alert: "RayHeadDown" }, { record: "ray:nodes" }] }];
      const objects = [
        object("CronJob", "verify", { spec }),
        object("PodMonitor", "ray", {}),
        object("ServiceMonitor", "feast", {}),
        object("PrometheusRule", "ml", { spec: { groups } }),
      ];
      return { ...expected, objects };
    };

    it("is asked only where the program says so", () => {
      const names = (own: Expected) => asking(own, []).map(({ name }) => name);
      const some = ["Feast is healthy", "a prediction", "targets are up", "alert rules are loaded"];
      assert.deepEqual(names(complete()), some);
      const others = names(expected).filter((name) => !some.includes(name));
      assert.deepEqual(others, ["MLflow is healthy", "MLflow reads its registry", "nodes alive, as Ray sees them"]);
    });

    it("fails in the service's own words", async () => {
      const found = "http://x: Refused: 503 Service Unavailable: model not registered";
      const text = await whats(asking(complete(), [answer("prediction", { ok: false, found })]), "a prediction");
      assert.equal(text, `failed\n${found}`);
    });

    it("is unknown where the Job says nothing of it, or there is no Job", async () => {
      assert.match(
        await whats(asking(complete(), []), "Feast is healthy"),
        /^unknown\nthe Job did not answer feast-health/,
      );
      const none = answers(complete(), cluster({}), () => Promise.reject(new Unanswered("no template", "up")));
      assert.equal(await whats(none, "Feast is healthy"), "unknown\nno template");
    });

    it("names targets that are down, and monitors without any", async () => {
      const data = [
        { pool: "podMonitor/data-platform/ray/0", url: "http://10.0.0.1:8080", up: false, error: "refused" },
      ];
      const text = await whats(asking(complete(), [answer("prometheus-targets", { data })]), "targets are up");
      assert.match(text, /podMonitor\/data-platform\/ray\/0: http:\/\/10\.0\.0\.1:8080: refused/);
      assert.match(text, /ServiceMonitor data-platform\/feast has no target/);
      assert.doesNotMatch(text, /PodMonitor data-platform\/ray has/);
    });

    it("names rules of the program that are not loaded, and those that do not evaluate", async () => {
      const data = [{ name: "RayHeadDown", error: "parse error" }];
      const text = await whats(asking(complete(), [answer("prometheus-rules", { data })]), "alert rules are loaded");
      assert.equal(text, "failed\nray:nodes of PrometheusRule ml is not loaded\nRayHeadDown: parse error");
    });

    it("compares the nodes that Ray sees alive with its ready pods", async () => {
      const head = pod("ray-head-0", READY, { labels: { app: "ray", component: "head" } });
      const ask = (heads: number, workers: number) =>
        whats(
          asking(expected, [answer("ray-nodes", { data: { heads, workers } })], { pods: [head] }),
          "nodes alive, as Ray sees them",
        );
      assert.equal(await ask(1, 0), "ok");
      assert.equal(await ask(1, 2), "failed\n2 workers are alive, but 0 of their pods are ready");
    });

    it("is read from the last line of JSON; a log without any is shown by its end", () => {
      const line = JSON.stringify({ answers: [{ question: "q" }] }).replace(":[", ": [");
      assert.deepEqual(parseAnswers(`warning: x\n${line}\n`), [{ question: "q" }]);
      assert.throws(
        () => parseAnswers("Traceback\nImportError: no json\n"),
        /ends with: Traceback ImportError: no json/,
      );
    });
  });

  describe("the Job that asks", () => {
    const template = {
      metadata: { name: "verify", uid: "u" },
      spec: { jobTemplate: { spec: { activeDeadlineSeconds: 1 } } },
    };
    /** A cluster with the template, in which the Job ends so; it notes what is written. */
    function inside(status: object, log: string, { containers = {}, events = [] as object[] } = {}) {
      const written: string[] = [];
      const view = {
        ...cluster({}),
        read: () => Promise.resolve(template),
        namespaces: () => Promise.resolve([]),
        batch: {
          createNamespacedJob: ({ body }: any) => {
            written.push(`create, owned by ${body.metadata.ownerReferences[0].uid}`);
            return Promise.resolve({});
          },
          deleteNamespacedJob: ({ propagationPolicy }: any) => {
            written.push(`delete, ${propagationPolicy}`);
            return Promise.resolve({});
          },
          readNamespacedJob: () => Promise.resolve({ status }),
        },
        core: {
          listNamespacedPod: () => Promise.resolve({ items: [pod("verify-1", { phase: "Pending", ...containers })] }),
          listNamespacedEvent: () => Promise.resolve({ items: events }),
          readNamespacedPodLog: () => Promise.resolve(log),
        },
      } as unknown as ClusterView;
      return { view, written };
    }
    const silent = () => undefined;

    it("is made of the template, read and deleted", async () => {
      const { view, written } = inside({ succeeded: 1 }, '{"answers": [{"question": "mlflow-health", "ok": true}]}');
      const [answer] = await askInside(view, silent);
      assert.equal(answer?.question, "mlflow-health");
      assert.deepEqual(written, ["create, owned by u", "delete, Background"]);
    });

    it("is deleted when it fails, too, which is said with its reason", async () => {
      const failed = { conditions: [{ type: "Failed", status: "True", reason: "DeadlineExceeded", message: "late" }] };
      const { view, written } = inside(failed, "");
      await assert.rejects(askInside(view, silent), /failed: DeadlineExceeded: late/);
      assert.deepEqual(written, ["create, owned by u", "delete, Background"]);
    });

    it("is not waited for when it gets no pod", async () => {
      const { view } = inside({}, "", { events: [{ message: "exceeded quota" }] });
      await assert.rejects(askInside(view, silent), /gets no pod: exceeded quota/);
    });

    it("says what it waits for, once", async () => {
      const waiting = { reason: "ImagePullBackOff", message: "Back-off pulling image" };
      const lines: string[] = [];
      const status: { succeeded?: number } = {};
      const { view } = inside(status, '{"answers": []}', {
        containers: { containerStatuses: [{ state: { waiting } }] },
      });
      const asking = askInside(view, (line) => lines.push(line));
      await sleep(1500);
      status.succeeded = 1;
      await asking;
      assert.deepEqual(lines, ["asking from inside the cluster: ImagePullBackOff: Back-off pulling image"]);
    });
  });

  describe("storage", () => {
    const of = (name: string, lists: Readonly<Record<string, readonly unknown[]>>) =>
      whats(storage(expected, cluster(lists)), name);
    const claim = (name: string, phase: string) => ({
      ...named(name),
      spec: { storageClassName: "slow" },
      status: { phase },
    });
    const user = (claimName: string) =>
      pod("p", READY, {}, { volumes: [{ name: "v", persistentVolumeClaim: { claimName } }] });

    it("names claims of another size than declared, whoever made them", async () => {
      const has = (name: string, storage: string) => ({ ...claim(name, "Bound"), status: { capacity: { storage } } });
      const size = (name: string) => bytesOf(expected, name) / 2 ** 30;
      const [minio, server] = [size("minio"), size("postgres")];
      const right = [has("data-minio-0", `${minio}Gi`), has("postgres-1", `${server}Gi`), has("left-over", "3Gi")];
      assert.equal(await of("claims have their size", { claims: right }), "ok");
      assert.equal(
        await of("claims have their size", { claims: [has("data-minio-0", "1Gi"), has("postgres-2", "1Gi")] }),
        [
          "failed",
          `data-platform/data-minio-0 has 1 GiB, and the program declares ${minio}`,
          `data-platform/postgres-2 has 1 GiB, and the program declares ${server}`,
        ].join("\n"),
      );
    });

    it("takes a claim that was kept for no name that is taken", () => {
      assert.deepEqual(
        expected.objects.filter(({ kind }) => kind === "PersistentVolumeClaim"),
        [],
      );
    });

    it("names claims that are not bound, and those that nobody uses", async () => {
      const claims = [claim("data-minio-0", "Bound"), claim("left-over", "Pending")];
      assert.equal(await of("claims are bound", { claims }), "failed\ndata-platform/left-over is Pending (class slow)");
      assert.equal(
        await of("claims are used", { claims, pods: [user("data-minio-0")] }),
        "failed\ndata-platform/left-over: no pod uses it, and it is not in the program",
      );
    });

    it("leaves the volumes of others alone", async () => {
      const released = (namespace: string) => ({
        metadata: { name: `of-${namespace}` },
        spec: { claimRef: { namespace, name: "data" } },
        status: { phase: "Released" },
      });
      const text = await of("volumes are claimed", { volumes: [released("others"), released(NAMESPACE)] });
      assert.equal(text, "failed\nof-data-platform is Released; it belonged to data-platform/data");
    });
  });

  it("takes a Service for served when one of its endpoints is ready", async () => {
    const service = (name: string) => ({ ...named(name), spec: { selector: { app: name } } });
    const slice = (name: string, endpoints: object[] | null) => ({
      ...named(`${name}-x`, { labels: { "kubernetes.io/service-name": name } }),
      endpoints,
    });
    const lists = {
      services: [service("mlflow"), service("minio"), service("ray-head")],
      endpointSlices: [
        slice("mlflow", [{ conditions: { ready: false } }, { conditions: { ready: true } }]),
        slice("minio", [{ conditions: { ready: false } }]),
        slice("ray-head", null),
      ],
    };
    const text = await whats(services(expected, cluster(lists)), "lead to ready pods");
    assert.deepEqual(text.match(/data-platform\/\S+(?= leads)/g), ["data-platform/minio", "data-platform/ray-head"]);
  });

  it("counts what running pods request of a node, and names what is nearly full", async () => {
    const requesting = (name: string, cpu: string, phase: string): V1Pod =>
      pod(name, { phase }, {}, { containers: [{ resources: { requests: { cpu } } }] });
    const lists = {
      nodes: [{ metadata: { name: "dev-1" }, status: { allocatable: { cpu: "10", memory: "10Gi", pods: "110" } } }],
      pods: [requesting("a", "5", "Running"), requesting("b", "4500m", "Pending"), requesting("c", "9", "Succeeded")],
    };
    const text = await whats(room(expected, cluster(lists)), "node dev-1 is below 90 %");
    assert.equal(text, "failed\nrequests.cpu: 9.5 cores of 10 cores taken (95 %)");
  });

  describe("--before", () => {
    it("compares minor versions", () => {
      assert.deepEqual(versionAnswer("1.34", "1.34", "dev").faults, []);
      assert.match(versionAnswer("1.33", "1.34", "dev").faults?.[0]?.what ?? "", /runs 1\.33, the config says 1\.34/);
    });

    it("names charts that take no Kubernetes as old as this: 1.9 is older than 1.22", () => {
      assert.deepEqual(chartsAnswer("1.34").faults, []);
      const charts = (version: string) => chartsAnswer(version).faults?.map(({ what }) => what.split(" ")[1]);
      assert.deepEqual(charts("1.28"), ["cloudnative-pg", "plugin-barman-cloud"]);
      assert.deepEqual(charts("1.9"), [
        "cert-manager",
        "cloudnative-pg",
        "plugin-barman-cloud",
        "eck-operator",
        "gpu-operator",
        "kube-prometheus-stack",
      ]);
    });

    it("wants a StorageClass that makes volumes, keeps them and waits for their pods", () => {
      const metadata = { name: "local" };
      const sound = {
        metadata,
        provisioner: "rancher.io/local-path",
        reclaimPolicy: "Retain",
        volumeBindingMode: "WaitForFirstConsumer",
      };
      assert.deepEqual(storageClassAnswer([sound], "local").faults, []);
      assert.match(
        storageClassAnswer([sound], "other").faults?.[0]?.what ?? "",
        /no StorageClass other; there are local/,
      );
      const none = { metadata, provisioner: "kubernetes.io/no-provisioner" };
      assert.equal(storageClassAnswer([none], "local").faults?.length, 3);
    });

    it("knows which network plugins enforce policies, and says when it does not know", () => {
      assert.deepEqual(cniAnswer(["kube-proxy", "calico-node"]).faults ?? [], []);
      assert.deepEqual(cniAnswer(["kube-flannel-ds", "calico-node"]).faults ?? [], []);
      assert.match(cniAnswer(["kube-flannel-ds"]).faults?.[0]?.what ?? "", /flannel ignores NetworkPolicies/);
      assert.throws(() => cniAnswer(["kube-proxy"]), Unanswered);
    });

    it("says that to Cilium nodes have no addresses, unless it is told so", () => {
      const mode = (data: Record<string, string>) => ciliumAnswer({ data }).faults?.[0]?.what ?? "";
      assert.deepEqual(ciliumAnswer(undefined), { found: "no Cilium" });
      assert.match(mode({ "enable-policy": "default" }), /Cilium lets no pod ask the API server or a kubelet/);
      assert.match(mode({ "policy-cidr-match-mode": "" }), /Cilium lets no pod/);
      assert.equal(mode({ "policy-cidr-match-mode": "nodes" }), "");
    });

    it("names the addresses of DNS caches on nodes that pods may not ask", () => {
      const cache = (args: string[]): any => ({
        metadata: { namespace: "kube-system", name: "node-local-dns" },
        spec: { template: { spec: { containers: [{ args }] } } },
      });
      const args = [
        "-localip",
        "169.254.20.10,10.96.0.10",
        "-conf",
        "/etc/Corefile",
        "-upstreamsvc",
        "kube-dns-upstream",
      ];
      const [fault] = dnsAnswer([cache(args)], ["169.254.20.10/32"]).faults ?? [];
      assert.equal(fault?.next, "set cluster.dnsCaches to [169.254.20.10/32, 10.96.0.10/32]");
      assert.deepEqual(dnsAnswer([cache(args)], ["169.254.20.10/32", "10.96.0.10/32"]).faults, []);
      assert.deepEqual(dnsAnswer([], []), { found: "none" });
      assert.throws(() => dnsAnswer([cache(["-conf", "/etc/Corefile"])], []), Unanswered);
    });

    it("names CRDs of somebody else, and stored versions that ours does not serve", () => {
      const crd = (own: object, storedVersions: string[]): any => ({
        metadata: { name: "x.y", ...own },
        status: { storedVersions },
      });
      const pulumis = { managedFields: [{ manager: "pulumi-kubernetes-1a2b" }] };
      const whatsOf = (...args: Parameters<typeof crdFaults>) => crdFaults(...args).map(({ what }) => what);
      assert.deepEqual(whatsOf(crd(pulumis, ["v1"]), { name: "x.y", served: ["v1"] }), []);
      assert.deepEqual(
        whatsOf(crd({ managedFields: [{ manager: "kubectl" }] }, ["v1beta1"]), { name: "x.y", served: ["v1"] }),
        ["x.y exists, made by kubectl", "x.y stores v1beta1, which ours does not serve"],
      );
      const helms = (release: string) => crd({ annotations: { "meta.helm.sh/release-name": release } }, ["v1"]);
      assert.deepEqual(whatsOf(helms("cnpg"), { name: "x.y", release: "cnpg" }), []);
      assert.deepEqual(whatsOf(helms("old"), { name: "x.y", release: "cnpg" }), [
        "x.y exists, made by Helm release old",
      ]);
    });

    it("names webhooks that stop our kinds and whose Service is gone", () => {
      const rules = [{ apiGroups: ["apps"], resources: ["deployments"], operations: ["CREATE"] }];
      const configuration = (own: object): any => ({
        metadata: { name: "policies" },
        webhooks: [{ name: "check.x.io", rules, clientConfig: { service: { namespace: "x", name: "hook" } }, ...own }],
      });
      const found = (own: object, there: string[] = []) => webhookFaults(configuration(own), expected, new Set(there));
      assert.match(found({})[0]?.what ?? "", /policies, check\.x\.io: stops every Deployment, since Service x\/hook/);
      assert.deepEqual(found({}, ["x/hook"]), []);
      assert.deepEqual(found({ failurePolicy: "Ignore" }), []);
      assert.deepEqual(found({ rules: [{ ...rules[0], resources: ["ingresses"] }] }), []);
      assert.deepEqual(found({ rules: [{ ...rules[0], operations: ["DELETE"] }] }), []);
    });

    it("asks for rights on every kind that the program writes, under the API's name for it", () => {
      const resources = new Set(resourcesOf(expected).map(({ group, resource }) => `${resource}.${group}`));
      for (const name of ["deployments.apps", "networkpolicies.networking.k8s.io", "clusters.postgresql.cnpg.io"]) {
        assert.ok(resources.has(name), name);
      }
      assert.deepEqual(["PriorityClass", "Elasticsearch", "NetworkPolicy", "Gateway", "Secret"].map(pluralOf), [
        "priorityclasses",
        "elasticsearches",
        "networkpolicies",
        "gateways",
        "secrets",
      ]);
    });
  });

  it("names who may get at the data of the platform, by whatever rights", async () => {
    const rule = (resources: string[], verbs: string[], own: object = {}) => ({
      rules: [{ apiGroups: [""], resources, verbs, ...own }],
    });
    const bound = (roleRef: object, ...subjects: object[]) => ({ ...named("binding"), roleRef, subjects });
    const role = (name: string) => ({ kind: "Role", name });
    const lists = {
      roles: [
        { ...named("reads"), ...rule(["secrets"], ["get"]) },
        { ...named("reads-one"), ...rule(["secrets"], ["get"], { resourceNames: ["ray-auth"] }) },
        { ...named("runs"), ...rule(["cronjobs"], ["patch"], { apiGroups: ["batch"] }) },
        { ...named("looks"), ...rule(["pods", "services"], ["get", "list"]) },
      ],
      clusterRoles: [
        { metadata: { name: "edit" }, ...rule(["pods"], ["*"]) },
        { metadata: { name: "admin" }, ...rule(["*"], ["*"], { apiGroups: ["*"] }) },
      ],
      roleBindings: [
        bound(role("reads"), { kind: "User", name: "eve" }, { kind: "ServiceAccount", name: "x", namespace: "own" }),
        bound(role("reads-one"), { kind: "Group", name: "ml" }),
        bound(role("runs"), { kind: "User", name: "night" }),
        bound(role("looks"), { kind: "Group", name: "board" }),
        bound({ kind: "ClusterRole", name: "edit" }, { kind: "ServiceAccount", name: "ci", namespace: "others" }),
        { ...bound(role("reads"), { kind: "User", name: "elsewhere" }), metadata: { namespace: "pricing", name: "b" } },
      ],
      clusterRoleBindings: [
        bound(
          { kind: "ClusterRole", name: "admin" },
          { kind: "Group", name: "system:masters" },
          { kind: "Group", name: "sre" },
        ),
      ],
    };
    const expected = { objects: [{ kind: "Namespace", name: "own" }] } as unknown as Expected;
    const [question] = access(expected, cluster(lists));
    assert.equal((await question?.ask())?.found, "Group sre, ServiceAccount others/ci, User eve, User night");
  });

  describe("its findings", () => {
    const check = (own: Partial<Check>): Check => ({
      topic: "t",
      name: "n",
      state: "ok",
      found: "f",
      faults: [],
      ...own,
    });
    const explained = (checks: readonly Check[], all: boolean, own: Partial<Verification> = {}) => {
      const counts = { passed: 0, total: 0, ok: false, before: false };
      return stripVTControlCharacters(explain({ stack: "dev", ...counts, checks, ...own }, all));
    };
    const faults = [{ what: "broken", next: "mend it" }];

    it("are counted by topic, each fault with its next step, the verdict last", () => {
      const failed = check({ name: "m", state: "failed", faults });
      const text = explained([check({}), failed, check({ name: "o", state: "unknown", faults })], false);
      assert.match(text, /\nt +1 +1 +1\n/);
      assert.match(
        text,
        /✗ t, m: broken\n\? t, o: broken\n {4}→ mend it\n✗ 1 of 3 checks of dev passed, 1 failed\. Next: mend it$/,
      );
    });

    it("are summed up where there are many, with the whole by --all", () => {
      const many = Array.from({ length: 50 }, (_, index) => check({ name: `n${index}`, state: "failed", faults }));
      assert.match(explained(many, false), /t, n4: broken\n… and 45 more \(--all\)\n {4}→ mend it/);
      const whole = explained(many, true);
      assert.match(whole, /t, n49: broken/);
      assert.match(whole, /\n {2}n49 +✗ +f\n/);
    });

    it("name what the stack file has and nobody deployed", () => {
      const comparedWith = { config: "the last up", notDeployed: ["quota.pods"] };
      assert.match(
        explained([check({})], false, { comparedWith }),
        /not deployed, .* Pulumi\.dev\.yaml:\n {4}quota\.pods\n {4}→ npx pulumi up -s dev\n✓ 1 of 1 checks/,
      );
    });
  });

  it("compares with what the last up deployed, and tells what the stack file has since", () => {
    const values = readStackFile("dev")["carbon:platform"] as { quota: object };
    const update = (kind: string, own: object): Update => ({
      ...{ kind, endTime: "then" },
      config: { "carbon:platform": { objectValue: { ...values, ...own } } },
    });
    const deployed = update("update", { quota: { ...values.quota, pods: 7 }, charts: { directory: "elsewhere" } });
    const { config, from, notDeployed } = basisOf("dev", [update("refresh", {}), deployed], values);
    assert.deepEqual([config.quota.pods, from, notDeployed], [7, "the last up of dev (then)", ["quota.pods"]]);
    const none = basisOf("dev", [update("destroy", {}), deployed], values);
    assert.match(none.from, /^Pulumi\.dev\.yaml, since nothing is deployed/);
    const old = basisOf("dev", [update("update", { kong: {} })], values);
    assert.match(old.from, /^Pulumi\.dev\.yaml, since the last up .* of another version of the program/);
  });

  it("sums up what Pulumi made, and names each object of somebody else", () => {
    const taken = (kind: string, name: string, manager: string) => ({
      object: { apiVersion: "v1", kind, name, inputs: {} },
      live: { metadata: { managedFields: [{ manager }] } },
    });
    const ours = ["a", "b", "c"].map((name) => taken("Secret", name, "pulumi-kubernetes-1a2b"));
    const found = takenFaults([...ours, taken("Namespace", "mine", "kubectl")], "dev");
    assert.deepEqual(
      found.map(({ what }) => what),
      ["3 objects exist, made by Pulumi: 3 Secret", "Namespace mine exists, made by kubectl"],
    );
    assert.match(found[0]?.next ?? "", /leave out --before; .*npm run recover -- --stack dev/);
  });
});
