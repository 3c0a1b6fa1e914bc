import assert from "node:assert/strict";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../../rehearsal/program/evaluate";
import { Checkout } from "../support/checkout";
import { type Cluster, theCluster } from "./harness/cluster";
import { type Pod, PROBES } from "./harness/pod";
import { python } from "./harness/python";
import { eventually } from "./harness/eventually";
import { outsideCertificate } from "./harness/certificates";
import { PackageIndex } from "./harness/package-index";
import { application, rayCluster } from "./harness/systems";

const TRAIN = `
import mlflow, ray, socket
ray.init()
@ray.remote(num_cpus=1)
def train():
    with mlflow.start_run(run_name="from-ray") as run:
        mlflow.log_text("trained", "model.txt")
        mlflow.log_param("host", socket.gethostname())
    return run.info.run_id
print("RUN", ray.get(train.remote()))
`;

// A task on every worker, longer than it takes until one of them is told to go. What the workers serve besides stays.
const OUTLIVE = `
import ray, socket, time
ray.init()
@ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")
def work():
    time.sleep(25)
    return socket.gethostname()
print("FINISHED", *sorted(ray.get([work.remote(), work.remote()])))
`;

const RUN_OF = `
import mlflow
run = mlflow.get_run(input["id"])
print(json.dumps({"host": run.data.params["host"], "artifact": mlflow.artifacts.load_text(f"runs:/{input['id']}/model.txt")}))
`;

// On the group that the stack file has now, and as its first task anywhere.
const SELECT = `
import ray, socket
ray.init()
@ray.remote(num_cpus=1, memory=256 * 1024 ** 2, label_selector={"worker-group": "large"})
def where():
    return socket.gethostname()
print("RAN ON", ray.get(where.remote()))
`;

// An actor that outlives the job that made it, on a worker; how often it was asked.
const ASK = `
import ray
ray.init(namespace="kept")
@ray.remote(num_cpus=1, lifetime="detached", name="counter")
class Counter:
    asked = 0
    def ask(self):
        self.asked += 1
        return self.asked
print("ASKED", ray.get(Counter.options(get_if_exists=True).remote().ask.remote()))
`;

// The same package for a job and its task on a worker, which asks the object store as well.
const INSTALLED = `
import boto3, os, ray
from importlib.metadata import version
ray.init()
@ray.remote(num_cpus=1)
def installed():
    boto3.client("s3").list_objects_v2(Bucket=os.environ["FEAST_OFFLINE_BUCKET"])
    return version("carbon_probe")
print("INSTALLED", version("carbon_probe"), ray.get(installed.remote()))
`;

describe("Ray", () => {
  let cluster: Cluster;
  let head: Pod;
  let worker: Pod;
  before(async () => {
    cluster = await theCluster();
    ({ head, worker } = await rayCluster(cluster));
  });

  const token = (): string => cluster.program.data("Secret", "ray-auth")["RAY_AUTH_TOKEN"] ?? "";
  const api = (route: string, init: RequestInit = {}): Promise<Response> =>
    fetch(head.url("dashboard", route), { ...init, headers: { Authorization: `Bearer ${token()}` } });
  /** CPUs of the nodes that the control store holds for alive. */
  const nodes = async (): Promise<number[]> => {
    const { data } = await (await api("/nodes?view=summary")).json();
    const alive = data.summary.filter((node: any) => node.raylet.state === "ALIVE");
    return alive.map((node: any) => node.raylet.resourcesTotal.CPU ?? 0).sort();
  };

  it("joins a worker to the head, and both answer every probe", async () => {
    for (const pod of [head, worker]) {
      for (const kind of PROBES) assert.equal(await pod.fault(kind), undefined, `${pod.name}, ${kind}`);
    }
    const { workers } = cluster.program.config.ray;
    assert.deepEqual(await nodes(), [0, workers.cpu.limit], "CPUs of the head and of a worker");
  });

  it("answers nobody without the token", async () => {
    for (const route of ["/api/jobs/", "/api/version", "/nodes?view=summary"]) {
      assert.equal((await fetch(head.url("dashboard", route))).status, 401, route);
      assert.equal((await api(route)).status, 200, route);
    }
  });

  it("runs a job whose task on a worker logs to MLflow", async () => {
    const { url } = cluster.program.outputs.ray.dashboard;
    const logs = await head.exec(["ray", "job", "submit", "--address", url, "--", "python", "-c", TRAIN], {
      timeoutSeconds: 200,
    });
    const id = /RUN (\w+)/.exec(logs)?.[1];
    assert.deepEqual(await python(head, RUN_OF, { id }), { host: worker.name, artifact: "trained" });
  });

  it("runs a task on the group of workers that it selects", async () => {
    const checkout = new Checkout(path.join(cluster.scratch, "checkout"));
    try {
      checkout.configure("dev", ({ ray }) => (ray.workerGroups = { large: { ...ray.workers, min: 1, max: 1 } }));
      assert.deepEqual(await cluster.update("dev", checkout.directory), []);
      const large = await cluster.pod("ray-large-worker");
      const { url } = cluster.program.outputs.ray.dashboard;
      const logs = await head.exec(["ray", "job", "submit", "--address", url, "--", "python", "-c", SELECT], {
        timeoutSeconds: 120,
      });
      assert.match(logs, /RAN ON ray-large-worker-0/);
      await cluster.stop(large);
    } finally {
      assert.deepEqual(await cluster.update("dev", ROOT), []);
    }
  });

  describe("with its state in Redis, and an index of packages that has a certificate of its own", () => {
    const certificate = outsideCertificate(PackageIndex.host);
    let checkout: Checkout;
    let index: PackageIndex;
    const again = async (repository: string): Promise<void> => {
      const running = await cluster.pods();
      // A worker first: it is drained by its head.
      for (const name of ["ray-worker-0", "ray-head-0", "redis-0"]) {
        for (const pod of running.filter((one) => one.name === name)) await cluster.stop(pod);
      }
      assert.deepEqual(await cluster.update("dev", repository), []);
      ({ head, worker } = await rayCluster(cluster));
    };
    const submit = (script: string, ...options: string[]): Promise<string> => {
      const { url } = cluster.program.outputs.ray.dashboard;
      const command = ["ray", "job", "submit", "--address", url, ...options, "--", "python", "-c", script];
      return head.exec(command, { timeoutSeconds: 180 });
    };
    before(async () => {
      index = await PackageIndex.start(cluster, certificate, head, ["carbon_probe", "1.0"]);
      checkout = new Checkout(path.join(cluster.scratch, "checkout"));
      checkout.configure("dev", (config) => {
        config.ray.faultTolerance = true;
        config.ray.packageIndex = { url: PackageIndex.url, cidrs: [`${cluster.own}/32`] };
        config.egress = { certificates: certificate.cert.toString() };
      });
      await again(checkout.directory);
    });
    after(async () => {
      await again(ROOT);
      index.close();
      // This head has heard of no application.
      await application(cluster);
      await cluster.job("serve-deploy", { again: true });
    });

    it("installs packages on the nodes that run what needs them, which still trust the object store", async () => {
      const logs = await submit(INSTALLED, "--runtime-env-json", JSON.stringify({ pip: ["carbon_probe==1.0"] }));
      assert.match(logs, /INSTALLED 1\.0 1\.0/);
    });

    it("takes up what it knew when its head is lost, from Redis: an actor on a worker goes on", async () => {
      const ask = async (): Promise<string | undefined> => /ASKED (\d+)/.exec(await submit(ASK))?.[1];
      assert.equal(await ask(), "1");
      await cluster.stop(head, { atOnce: true });
      head = await cluster.pod("ray-head");
      assert.equal(await ask(), "2", "the actor was lost with the head");
      await eventually(60, async () => {
        assert.deepEqual(await nodes(), [0, cluster.program.config.ray.workers.cpu.limit]);
      });
    });
  });

  it("drains a worker before it goes, and loses no task", async () => {
    const second = await cluster.pod("ray-worker", 1);
    const { limit } = cluster.program.config.ray.workers.cpu;
    await eventually(30, async () => {
      assert.deepEqual(await nodes(), [0, limit, limit]);
    });
    const [result] = await Promise.all([
      head.exec(["python", "-c", OUTLIVE], { timeoutSeconds: 120 }),
      sleep(15_000).then(() => cluster.stop(second)),
    ]);
    assert.match(result, /FINISHED ray-worker-0 ray-worker-1/);
    await eventually(30, async () => {
      assert.deepEqual(await nodes(), [0, limit]);
    });
  });
});
