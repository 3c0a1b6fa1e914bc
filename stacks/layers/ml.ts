import { type Endpoint, externalPeer, fullyQualified, url } from "../../components/base/endpoint";
import { API_HOST, type Offer } from "../../components/base/offer";
import { Feast } from "../../components/ml/feast";
import { Mlflow } from "../../components/ml/mlflow";
import { Ray, type RayArgs } from "../../components/ml/ray";
import { groupLabels } from "../../components/ml/ray/pods";
import { type DeploymentScale, ServeApplications } from "../../components/ml/serve-applications";
import { ServeDeployment } from "../../components/ml/serve-deployment";
import { ServeTraining, type TrainingJob } from "../../components/ml/serve-training";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import type { Data } from "./data";
import { FEATURES } from "./features";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";

type Config<System extends keyof PlatformConfig> = NonNullable<PlatformConfig[System]>;

/** The systems that train, track and serve models. */
export interface Ml {
  readonly mlflow: Mlflow | undefined;
  readonly feast: Feast | undefined;
  readonly ray: Ray | undefined;
  readonly serve: Serving | undefined;
}

/** The applications of Ray Serve. */
export interface Serving {
  /** Path of each application, by name. */
  readonly applications: Readonly<Record<string, string>>;
  readonly offers: Offer;
}

/** The ML stack: tracking, features, the Ray cluster that uses both, and its applications and training. */
export function ml(config: PlatformConfig, secrets: Secrets, stores: Data, ground: Foundation): Ml {
  const { at, namespaces } = ground;
  const namespace = namespaces["data-platform"];
  const mlflow = config.mlflow && mlflowOf(config.mlflow, secrets, stores, ground);
  const feast = config.feast && feastOf(config.feast, stores, ground);
  if (config.ray === undefined) return { mlflow, feast, ray: undefined, serve: undefined };

  const { mode } = config.ray;
  const { jobs, applications } = config.serve ?? { applications: {} };
  const code =
    jobs &&
    new ServeApplications(
      "serve",
      {
        namespace,
        applications: Object.fromEntries(
          Object.entries(applications).map(([app, { deployments, workerGroup, ...application }]) => [
            app,
            {
              ...application,
              deployments: Object.fromEntries(
                Object.entries(deployments).map(([name, scale]) => [name, scaled(scale, workerGroup)]),
              ),
            },
          ]),
        ),
        bucket: needed(stores.objectStore).bucket("ray-applications", "serve"),
        // Standalone, the Service selects the head; with KubeRay, every node with a proxy.
        proxies: mode === "standalone" ? "HeadOnly" : "EveryNode",
        size: jobs,
      },
      at("serve"),
    );
  const services = {
    ...(mlflow && { MLFLOW_TRACKING_URI: mlflow.tracking }),
    ...(feast && { FEAST_URL: feast.http }),
  };
  // In KubeRay a cluster without applications never becomes ready.
  const served = Object.keys(applications).length > 0 ? code : undefined;
  const ray = rayOf(config.ray, { services, env: mlflow?.clientEnv ?? {} }, served, secrets, stores, ground);
  if (jobs !== undefined && code !== undefined) {
    const client = { namespace, dashboard: ray.dashboard, auth: ray.auth, size: jobs };
    if (mode === "standalone") new ServeDeployment("serve-deploy", { ...client, config: code.config }, at("serve"));
    new ServeTraining("serve-training", { ...client, jobs: trainingJobs(applications, code) }, at("serve"));
  }
  return {
    mlflow,
    feast,
    ray,
    serve: ray.serve && servingAt(fullyQualified(ray.serve, ground.clusterDomain), applications, code),
  };
}

type ScaleConfig = Config<"serve">["applications"][string]["deployments"][string];

function scaled({ cpu, gpus, memoryMiB, ...scale }: ScaleConfig, workerGroup: string | undefined): DeploymentScale {
  const labels = workerGroup === undefined ? undefined : groupLabels(workerGroup);
  return { ...scale, ...(cpu !== undefined && { resources: { cpu, gpus, memoryMiB, labels } }) };
}

function servingAt(
  endpoint: Endpoint<"http">,
  applications: Config<"serve">["applications"],
  code: ServeApplications | undefined,
): Serving {
  const paths = Object.entries(applications).map(([app, { routePrefix }]) => [app, routePrefix] as const);
  const urls = Object.fromEntries(paths.map(([app, path]) => [app, url(endpoint, path)]));
  return {
    applications: Object.fromEntries(paths),
    offers: { facts: { applications: urls }, alerts: code?.alerts ?? [] },
  };
}

function mlflowOf(
  { replicas, webWorkers, proxiedArtifacts: proxied, garbage, ...size }: Config<"mlflow">,
  secrets: Secrets,
  { postgres, objectStore }: Data,
  { at, namespaces, metrics, podCidr, clusterDomain, publicHost }: Foundation,
): Mlflow {
  return new Mlflow(
    "mlflow",
    {
      namespace: namespaces["data-platform"],
      store: needed(postgres).database("mlflow"),
      encryptionPassphrase: secrets.get("mlflowEncryptionPassphrase"),
      artifacts: needed(objectStore).bucket("mlflow-artifacts", "mlflow"),
      replicas,
      webWorkers,
      proxied,
      garbage,
      size,
      publicHosts: ["mlflow", API_HOST].map(publicHost),
      podCidr,
      clusterDomain,
      metrics,
    },
    at("mlflow"),
  );
}

function feastOf(
  config: Config<"feast">,
  { postgres, objectStore, redis }: Data,
  { at, namespaces, metrics }: Foundation,
): Feast {
  return new Feast(
    "feast",
    {
      namespace: namespaces["data-platform"],
      ...FEATURES,
      registry: needed(postgres).database("feast"),
      onlineStore: needed(redis).login("feast"),
      offlineStore: needed(objectStore).bucket("feast-offline", "feast"),
      ...config,
      metrics,
    },
    at("feast"),
  );
}

function rayOf(
  config: Config<"ray">,
  tasks: Pick<RayArgs, "services" | "env">,
  served: ServeApplications | undefined,
  secrets: Secrets,
  { objectStore, redis }: Data,
  { at, namespaces, metrics, volumeOf, kubeApi, chartDirectory }: Foundation,
): Ray {
  const { workers, gpuWorkers, workerGroups, packageIndex, access, publicDashboard } = config;
  return new Ray(
    "ray",
    {
      namespace: namespaces["data-platform"],
      mode: modeOf(config),
      workers,
      gpuWorkers,
      workerGroups,
      state: redis?.find("ray"),
      packageIndex: packageIndex && {
        url: packageIndex.url,
        server: externalPeer("package-index", packageIndex.url, packageIndex.cidrs),
      },
      token: secrets.get("rayAuthToken"),
      ...tasks,
      features: needed(objectStore).bucket("feast-offline", "ray"),
      access: {
        groups: access.groups,
        pods: Object.entries(access.pods).map(([name, { namespace: home, labels, serviceAccount }]) => ({
          // Distinct from the names of our workloads, whose policies would get the same name.
          name: `ray-client-${name}`,
          namespace: namespaces[home],
          matchLabels: labels,
          serviceAccount,
        })),
      },
      publicDashboard,
      metrics,
    },
    at("ray"),
  );

  function modeOf(ray: Config<"ray">): RayArgs["mode"] {
    if (ray.mode === "standalone") {
      const { head } = ray;
      return { kind: "standalone", head: { ...head, volume: volumeOf(head.volume) } };
    }
    const { head, serving, autoscaler, operator } = ray;
    return {
      kind: "kuberay",
      head,
      autoscaler,
      ...(served && { serving: { ...serving, config: served.config } }),
      operator: { namespace: namespaces["ray-system"], chartDirectory, kubeApi, size: operator, metrics },
    };
  }
}

/** The training jobs of all applications, each with its application's code. */
function trainingJobs(applications: Config<"serve">["applications"], served: ServeApplications): TrainingJob[] {
  return Object.entries(applications).flatMap(([app, { training, packages, workerGroup }]) =>
    Object.entries(training).map(([name, { cpu, gpus, memoryMiB, ...job }]) => ({
      ...job,
      packages,
      resources: { cpu, gpus, memoryMiB, labels: workerGroup === undefined ? undefined : groupLabels(workerGroup) },
      name: `${app}-train-${name}`,
      code: served.code(app),
    })),
  );
}
