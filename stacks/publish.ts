import type * as pulumi from "@pulumi/pulumi";
import { type Endpoint, url } from "../components/base/endpoint";
import { clientVersions } from "../components/base/versions";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Observability } from "./observability";
import { type PlatformOutputs, published } from "./outputs";

/** What the layers hand out. */
interface Layers {
  readonly ground: Foundation;
  readonly stores: Data;
  readonly models: Ml;
  readonly watch: Observability | undefined;
}

/** The outputs of a stack: what there is of each system that is deployed. */
export function publish({ ground, stores, models, watch }: Layers): PlatformOutputs {
  const { mlflow, ray, feast, applications } = models;
  const { postgres, objectStore, redis } = stores;
  const namespace = ground.namespaces["data-platform"];
  const secret = (name: string) => ({ namespace, name });
  return {
    contract: 1,
    ...(mlflow && { mlflow: published(mlflow.tracking) }),
    ...(ray && {
      ray: {
        dashboard: published(ray.dashboard),
        gcs: published(ray.gcs),
        client: published(ray.client),
        ...(ray.serve && { serve: published(ray.serve) }),
      },
    }),
    ...(ray?.serve && { serve: { applications: urlsOf(ray.serve, applications) } }),
    ...(feast && { feast: { http: published(feast.http), grpc: published(feast.grpc) } }),
    ...(redis && { redis: published(redis.endpoint) }),
    ...(postgres && { postgres: published(postgres.database("mlflow").server) }),
    ...(objectStore && { objectStore: { url: objectStore.store.url, region: objectStore.store.region } }),
    ...(watch && {
      monitoring: {
        prometheus: published(watch.monitoring.prometheus),
        alertmanager: published(watch.monitoring.alertmanager),
        grafana: published(watch.monitoring.grafana),
      },
    }),
    secrets: {
      ...(objectStore && { objectStore: objectStore.store.secret }),
      ...(ray && { ray: secret(ray.auth.name) }),
      ...(watch && { grafana: { namespace: ground.namespaces.monitoring, name: watch.monitoring.grafanaSecret } }),
      ...(postgres && { postgresMlflow: secret(postgres.secretName("mlflow")) }),
      ...(postgres && { postgresFeast: secret(postgres.secretName("feast")) }),
      ...(feast && redis && { redisFeast: secret(redis.secretName("feast")) }),
    },
    versions: clientVersions,
  };
}

function urlsOf(
  endpoint: Endpoint<"http">,
  applications: Readonly<Record<string, string>>,
): Record<string, pulumi.Output<string>> {
  return Object.fromEntries(Object.entries(applications).map(([app, path]) => [app, url(endpoint, path)]));
}
