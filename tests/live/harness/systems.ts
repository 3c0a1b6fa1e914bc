import type { Cluster } from "./cluster";
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
  return { head: await cluster.pod("ray-head"), worker: await cluster.pod("ray-worker") };
}
