import type { Cluster } from "./cluster";
import { eventually } from "./eventually";
import type { Pod } from "./pod";

// Each brings up what its system needs first, in the order that the program declares; what runs already stays.

/** MinIO with its buckets. */
async function objectStore(cluster: Cluster): Promise<Pod> {
  const server = await cluster.pod("minio");
  await cluster.job("object-store-setup");
  return server;
}

/** MLflow on PostgreSQL and the object store. */
export async function trackingServer(cluster: Cluster): Promise<Pod> {
  await Promise.all([cluster.postgres(), objectStore(cluster)]);
  await cluster.job("mlflow-migrate");
  return cluster.pod("mlflow");
}

/** A Ray head and its first worker, wired to MLflow. */
export async function rayCluster(cluster: Cluster): Promise<{ readonly head: Pod; readonly worker: Pod }> {
  await trackingServer(cluster);
  if (cluster.program.config.ray.faultTolerance) await cluster.pod("redis");
  return { head: await cluster.pod("ray-head"), worker: await cluster.pod("ray-worker") };
}

/** The feature store on PostgreSQL, Valkey and the object store, with the views of the repository registered. */
export async function featureServer(cluster: Cluster): Promise<Pod> {
  await Promise.all([cluster.postgres(), cluster.pod("redis"), objectStore(cluster)]);
  await cluster.job("feast-apply");
  return cluster.pod("feast-server");
}

/** Superset's three kinds of pods on PostgreSQL and Valkey. */
export async function superset(
  cluster: Cluster,
): Promise<{ readonly web: Pod; readonly worker: Pod; readonly beat: Pod }> {
  await cluster.postgres();
  await cluster.job("superset-setup"); // without Valkey: the Job has no wire to it
  await cluster.pod("redis");
  const [web, worker, beat] = await Promise.all([
    cluster.pod("superset"),
    cluster.pod("superset-worker"),
    cluster.pod("superset-beat"),
  ]);
  return { web, worker, beat };
}

/** Ray with the applications of the config deployed: `serve` answers on the head. They have no model yet. */
export async function application(cluster: Cluster): Promise<Pod> {
  const [{ head }] = await Promise.all([rayCluster(cluster), featureServer(cluster)]);
  await cluster.job("serve-upload");
  await cluster.job("serve-deploy");
  return head;
}

/** The commodity application after its first day: data, features of it, and champions of its models that it has loaded. */
export async function predictions(cluster: Cluster): Promise<Pod> {
  const head = await application(cluster);
  await cluster.once("the first day", async () => {
    const { working_dir: code } = serveConfig(cluster).applications[0].runtime_env;
    const { url } = cluster.program.outputs.ray.dashboard;
    const submit = ["ray", "job", "submit", "--address", url, "--working-dir", code, "--entrypoint-num-cpus=1", "--"];
    await head.exec([...submit, "python", "-m", "commodity.sample"], { timeoutSeconds: 120 });
    await cluster.cronJob("feast-materialize-hourly");
    for (const name of trainings(cluster)) await cluster.cronJob(name);
    // The application asks the registry each minute.
    await eventually(90, async () => {
      const { models } = await (await fetch(head.url("serve", "/healthz"))).json();
      const states = Object.values(models).map(({ status }: any) => status);
      if (states.some((status) => status !== "ready")) throw new Error(states.join("; "));
    });
  });
  return head;
}

/** What the program hands to Ray Serve. */
export function serveConfig(cluster: Cluster): any {
  const [container] = cluster.program.object("serve-deploy", "Job")["spec"].template.spec.containers;
  return JSON.parse(container.env.find(({ name }: any) => name === "SERVE_CONFIG").value);
}

/** Names of the CronJobs that train. */
function trainings(cluster: Cluster): string[] {
  return cluster.program.all("CronJob").flatMap(({ metadata: { name } }) => (name.includes("-train-") ? [name] : []));
}

/** DolphinScheduler on PostgreSQL and the object store. */
export async function workflows(
  cluster: Cluster,
): Promise<Readonly<Record<"api" | "master" | "worker" | "alert", Pod>>> {
  await Promise.all([cluster.postgres(), objectStore(cluster)]);
  await cluster.job("dolphinscheduler-schema");
  await cluster.job("dolphinscheduler-set-admin");
  await cluster.job("dolphinscheduler-grants");
  const [master, worker, alert, api] = await Promise.all(
    ["master", "worker", "alert", "api"].map((kind) => cluster.pod(`dolphinscheduler-${kind}`)),
  );
  return { api, master, worker, alert } as Readonly<Record<"api" | "master" | "worker" | "alert", Pod>>;
}

/** Trino, with the stores behind its catalogs. */
export async function sqlEngine(cluster: Cluster): Promise<{ readonly coordinator: Pod; readonly worker: Pod }> {
  await Promise.all([cluster.postgres(), objectStore(cluster)]);
  await cluster.job("postgres-datahub-readers");
  const coordinator = await cluster.pod("trino-coordinator");
  return { coordinator, worker: await cluster.pod("trino-worker") };
}
