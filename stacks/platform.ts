import { url } from "../components/base/endpoint";
import { clientVersions } from "../components/base/versions";
import type { PlatformConfig } from "./config";
import { data } from "./data";
import { foundation } from "./foundation";
import { ml } from "./ml";
import { observability } from "./observability";
import { type PlatformOutputs, published } from "./outputs";
import { Secrets } from "./secrets";
import { verification } from "./verification";
import { workflows } from "./workflows";

/** The whole platform: layer after layer, each given what the ones below hand over. */
export function platform(config: PlatformConfig): PlatformOutputs {
  const secrets = new Secrets("secrets", config.secrets.required);
  const ground = foundation(config);
  const stores = data(config, secrets, ground);
  const models = ml(config, secrets, stores, ground);
  const reachable = { mlflow: models.mlflow.tracking, feast: models.feast.http, trino: undefined };
  const flows = workflows(config, secrets, stores, reachable, ground);
  const watch = observability(config, secrets, models, ground);
  verification(config, models, watch, ground);

  const { mlflow, ray, feast, applications } = models;
  const urls = Object.entries(applications).map(([app, path]) => [app, url(ray.serve, path)] as const);
  const { monitoring } = watch;
  const namespace = ground.namespaces["data-platform"];
  const { store } = stores.objectStore.bucket("mlflow-artifacts");
  return {
    contract: 1,
    mlflow: published(mlflow.tracking),
    ray: {
      dashboard: published(ray.dashboard),
      gcs: published(ray.gcs),
      client: published(ray.client),
      serve: published(ray.serve),
    },
    serve: { applications: Object.fromEntries(urls) },
    feast: { http: published(feast.http), grpc: published(feast.grpc) },
    redis: published(stores.redis.login("feast").server),
    postgres: published(stores.postgres.database("mlflow").server),
    objectStore: { url: store.url, region: store.region },
    ...(flows && { dolphinscheduler: published(flows.api) }),
    monitoring: {
      prometheus: published(monitoring.prometheus),
      alertmanager: published(monitoring.alertmanager),
      grafana: published(monitoring.grafana),
    },
    secrets: {
      objectStore: store.secret,
      ray: { namespace, name: ray.auth.name },
      grafana: { namespace: ground.namespaces.monitoring, name: monitoring.grafanaSecret },
      ...(flows && { dolphinscheduler: { namespace, name: flows.adminSecret } }),
      postgresMlflow: { namespace, name: stores.postgres.secretName("mlflow") },
      postgresFeast: { namespace, name: stores.postgres.secretName("feast") },
      postgresSuperset: { namespace, name: stores.postgres.secretName("superset") },
      postgresDatahub: { namespace, name: stores.postgres.secretName("datahub") },
      postgresDolphinscheduler: { namespace, name: stores.postgres.secretName("dolphinscheduler") },
      postgresPolaris: { namespace, name: stores.postgres.secretName("polaris") },
      redisFeast: { namespace, name: stores.redis.secretName("feast") },
    },
    versions: clientVersions,
  };
}
