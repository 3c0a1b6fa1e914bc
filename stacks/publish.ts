import type * as pulumi from "@pulumi/pulumi";
import { type Endpoint, url } from "../components/base/endpoint";
import { clientVersions } from "../components/base/versions";
import type { Kafka } from "../components/data/kafka";
import type { DolphinScheduler } from "../components/analytics/dolphinscheduler";
import type { Superset } from "../components/analytics/superset";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Observability } from "./observability";
import { type PlatformOutputs, published } from "./outputs";
import type { Search } from "./search";

/** What the layers hand out. */
interface Layers {
  readonly ground: Foundation;
  readonly stores: Data;
  readonly kafka: Kafka | undefined;
  readonly found: Search;
  readonly models: Ml;
  readonly superset: Superset | undefined;
  readonly dolphinscheduler: DolphinScheduler | undefined;
  readonly watch: Observability | undefined;
}

/** The outputs of a stack: what there is of each system that is deployed. */
export function publish({
  ground,
  stores,
  kafka,
  found,
  models,
  superset,
  dolphinscheduler,
  watch,
}: Layers): PlatformOutputs {
  const { mlflow, ray, feast, applications } = models;
  const { postgres, objectStore, redis } = stores;
  const { elasticsearch, neo4j } = found;
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
    ...(kafka && { kafka: published(kafka.bootstrap) }),
    ...(watch && {
      monitoring: {
        prometheus: published(watch.monitoring.prometheus),
        alertmanager: published(watch.monitoring.alertmanager),
        grafana: published(watch.monitoring.grafana),
      },
    }),
    ...(elasticsearch && { elasticsearch: published(elasticsearch.endpoint) }),
    ...(neo4j && { neo4j: published(neo4j.login().server) }),
    ...(superset && { superset: published(superset.http) }),
    ...(dolphinscheduler && { dolphinscheduler: published(dolphinscheduler.api) }),
    secrets: {
      ...(objectStore && { objectStore: objectStore.store.secret }),
      ...(ray && { ray: secret(ray.auth.name) }),
      ...(watch && { grafana: { namespace: ground.namespaces.monitoring, name: watch.monitoring.grafanaSecret } }),
      ...(postgres && {
        postgresMlflow: secret(postgres.secretName("mlflow")),
        postgresFeast: secret(postgres.secretName("feast")),
        postgresSuperset: secret(postgres.secretName("superset")),
        postgresDatahub: secret(postgres.secretName("datahub")),
        postgresDolphinscheduler: secret(postgres.secretName("dolphinscheduler")),
        postgresPolaris: secret(postgres.secretName("polaris")),
      }),
      ...(feast && redis && { redisFeast: secret(redis.secretName("feast")) }),
      ...(elasticsearch && { elasticsearchDatahub: secret(elasticsearch.secretName("datahub")) }),
      ...(elasticsearch && { elasticsearchTrino: secret(elasticsearch.secretName("trino")) }),
      ...(neo4j && { neo4j: secret(neo4j.secretName) }),
      ...(superset && { supersetAdmin: secret(superset.adminSecret) }),
      ...(dolphinscheduler && { dolphinschedulerAdmin: secret(dolphinscheduler.adminSecret) }),
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
