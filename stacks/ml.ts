import { Feast } from "../components/ml/feast";
import { Mlflow } from "../components/ml/mlflow";
import { Ray, type RayArgs } from "../components/ml/ray";
import { ServeApplications } from "../components/ml/serve-applications";
import { ServeDeployment } from "../components/ml/serve-deployment";
import { ServeTraining, type TrainingJob } from "../components/ml/serve-training";
import type { PlatformConfig } from "./config";
import type { Data } from "./data";
import { FEATURES } from "./features";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** What trains, tracks and serves models. */
export interface Ml {
  readonly mlflow: Mlflow;
  readonly ray: Ray;
  readonly feast: Feast;
  /** Path under which each Serve application answers, by its name. */
  readonly applications: Readonly<Record<string, string>>;
}

/** The ML stack: tracking, features, the Ray cluster that is wired to both, and what that serves and trains. */
export function ml(config: PlatformConfig, secrets: Secrets, stores: Data, ground: Foundation): Ml {
  const { postgres, objectStore, redis } = stores;
  const { opts, namespaces, metrics, podCidr, storageClass, publicHost, kubeApi, chartDirectory } = ground;
  const namespace = namespaces["data-platform"];
  const artifacts = objectStore.bucket("mlflow-artifacts");
  const { replicas, webWorkers, ...size } = config.mlflow;

  const mlflow = new Mlflow(
    "mlflow",
    {
      namespace,
      store: postgres.database("mlflow"),
      encryptionPassphrase: secrets.get("mlflowEncryptionPassphrase"),
      artifacts,
      replicas,
      webWorkers,
      size,
      publicHost: publicHost("mlflow"),
      podCidr,
      metrics,
    },
    opts,
  );
  const feast = new Feast(
    "feast",
    {
      namespace,
      ...FEATURES,
      registry: postgres.database("feast"),
      onlineStore: redis.login("feast"),
      offlineStore: objectStore.bucket("feast-offline"),
      ...config.feast,
      metrics,
    },
    opts,
  );
  const { jobs, applications } = config.serve;
  const { mode, workers, gpuWorkers, access } = config.ray;
  const code = new ServeApplications(
    "serve",
    {
      namespace,
      applications,
      bucket: objectStore.bucket("ray-applications"),
      // Without an operator the Service leads to the head; KubeRay's leads to every node that has a proxy.
      proxies: mode === "standalone" ? "HeadOnly" : "EveryNode",
      size: jobs,
    },
    opts,
  );
  const ray = new Ray(
    "ray",
    {
      namespace,
      mode: rayMode(),
      workers,
      ...(gpuWorkers && { gpuWorkers }),
      token: secrets.get("rayAuthToken"),
      services: { MLFLOW_TRACKING_URI: mlflow.tracking, FEAST_URL: feast.http },
      objectStore: artifacts.store,
      access: {
        groups: access.groups,
        pods: Object.entries(access.pods).map(([name, { namespace: home, labels }]) => ({
          name,
          namespace: namespaces[home],
          matchLabels: labels,
          serviceAccount: name,
        })),
      },
      metrics,
    },
    opts,
  );
  const client = { namespace, dashboard: ray.dashboard, auth: ray.auth, size: jobs };
  if (mode === "standalone") new ServeDeployment("serve-deploy", { ...client, config: code.config }, opts);
  new ServeTraining("serve-training", { ...client, jobs: trainingJobs(applications, code) }, opts);
  const paths = Object.entries(applications).map(([app, { routePrefix }]) => [app, routePrefix] as const);
  return { mlflow, feast, ray, applications: Object.fromEntries(paths) };

  function rayMode(): RayArgs["mode"] {
    if (config.ray.mode === "standalone") {
      const { head } = config.ray;
      return { kind: "standalone", head: { ...head, volume: { storageClass, sizeGiB: head.volume.sizeGiB } } };
    }
    const { head, serving, autoscaler, operator } = config.ray;
    return {
      kind: "kuberay",
      head,
      serving,
      autoscaler,
      serveConfig: code.config,
      operator: { namespace: namespaces["ray-system"], chartDirectory, kubeApi, size: operator },
    };
  }
}

/** The training of all applications: each with the code of its own. */
function trainingJobs(applications: PlatformConfig["serve"]["applications"], served: ServeApplications): TrainingJob[] {
  return Object.entries(applications).flatMap(([app, { training }]) =>
    Object.entries(training).map(([name, job]) => ({ ...job, name: `${app}-train-${name}`, code: served.code(app) })),
  );
}
