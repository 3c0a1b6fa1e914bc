import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, theCluster } from "./harness/cluster";
import { type Pod, PROBES } from "./harness/pod";
import { python } from "./harness/python";
import { rayCluster } from "./harness/systems";

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

const RUN_OF = `
import mlflow
run = mlflow.get_run(input["id"])
print(json.dumps({"host": run.data.params["host"], "artifact": mlflow.artifacts.load_text(f"runs:/{input['id']}/model.txt")}))
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
    const { data } = (await (await api("/nodes?view=summary")).json()) as any;
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
    const body = JSON.stringify({ entrypoint: `python - <<'END'\n${TRAIN}\nEND` });
    const { submission_id } = (await (await api("/api/jobs/", { method: "POST", body })).json()) as any;
    let job: any;
    do {
      await sleep(1000);
      job = await (await api(`/api/jobs/${submission_id}`)).json();
    } while (["PENDING", "RUNNING"].includes(job.status));
    const { logs } = (await (await api(`/api/jobs/${submission_id}/logs`)).json()) as any;
    assert.equal(job.status, "SUCCEEDED", logs);
    const id = /RUN (\w+)/.exec(logs)?.[1];
    assert.deepEqual(python(head, RUN_OF, { id }), { host: worker.name, artifact: "trained" });
  });

  it("drains a worker before it goes, and loses no task", async () => {
    const second = await cluster.pod("ray-worker", 1);
    assert.equal((await nodes()).length, 3);
    await cluster.stop(second);
    assert.equal((await nodes()).length, 2);
  });
});
