import type * as pulumi from "@pulumi/pulumi";
import { type Endpoint, url } from "../../components/base/endpoint";
import { clientVersions } from "../../components/base/versions";
import type { Kafka } from "../../components/data/kafka";
import type { DolphinScheduler } from "../../components/analytics/dolphinscheduler";
import type { Superset } from "../../components/analytics/superset";
import type { Datahub } from "../../components/catalog/datahub";
import type { Data } from "../layers/data";
import type { Foundation } from "../layers/foundation";
import type { Ml } from "../layers/ml";
import type { Observability } from "../layers/observability";
import { type PlatformOutputs, published } from "./outputs";
import type { Search } from "../layers/search";
import type { Sql } from "../layers/sql";

/** What the layers hand out: the systems that are deployed. */
interface Layers extends Data, Ml, Search, Sql, Partial<Observability> {
  readonly namespaces: Foundation["namespaces"];
  readonly kafka: Kafka | undefined;
  readonly datahub: Datahub | undefined;
  readonly superset: Superset | undefined;
  readonly dolphinscheduler: DolphinScheduler | undefined;
}

/** The outputs of a stack: what there is of each system that is deployed. */
export function publish(layers: Layers): PlatformOutputs {
  const { namespaces, postgres, objectStore, redis, kafka, elasticsearch, neo4j } = layers;
  const { mlflow, ray, feast, applications, polaris, trino, datahub, superset, dolphinscheduler, monitoring } = layers;
  const namespace = namespaces["data-platform"];
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
    ...(datahub && { datahub: { gms: published(datahub.gms), frontend: published(datahub.frontend) } }),
    ...(dolphinscheduler && { dolphinscheduler: published(dolphinscheduler.api) }),
    ...(monitoring && {
      monitoring: {
        prometheus: published(monitoring.prometheus),
        alertmanager: published(monitoring.alertmanager),
        grafana: published(monitoring.grafana),
      },
    }),
    ...(elasticsearch && { elasticsearch: published(elasticsearch.endpoint) }),
    ...(neo4j && { neo4j: published(neo4j.login().server) }),
    ...(superset && { superset: published(superset.http) }),
    ...(trino && { trino: published(trino.endpoint) }),
    ...(polaris && { polaris: published(polaris.api) }),
    secrets: {
      ...(objectStore && { objectStore: objectStore.store.secret }),
      ...(ray && { ray: secret(ray.auth.name) }),
      ...(monitoring && { grafana: { namespace: namespaces.monitoring, name: monitoring.grafanaSecret } }),
      ...(postgres && {
        postgresMlflow: secret(postgres.secretName("mlflow")),
        postgresFeast: secret(postgres.secretName("feast")),
        postgresSuperset: secret(postgres.secretName("superset")),
        postgresDatahub: secret(postgres.secretName("datahub")),
        postgresDolphinscheduler: secret(postgres.secretName("dolphinscheduler")),
        postgresPolaris: secret(postgres.secretName("polaris")),
      }),
      ...(feast && redis && { redisFeast: secret(redis.secretName("feast")) }),
      ...(elasticsearch && datahub && { elasticsearchDatahub: secret(elasticsearch.secretName("datahub")) }),
      ...(elasticsearch && trino && { elasticsearchTrino: secret(elasticsearch.secretName("trino")) }),
      ...(neo4j && { neo4j: secret(neo4j.secretName) }),
      ...(superset && { supersetAdmin: secret(superset.adminSecret) }),
      ...(dolphinscheduler && { dolphinscheduler: secret(dolphinscheduler.adminSecret) }),
      ...(datahub && { datahub: secret(datahub.usersSecret) }),
      ...(polaris && { polaris: secret(polaris.loginsSecret) }),
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
