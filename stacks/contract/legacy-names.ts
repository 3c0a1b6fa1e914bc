import type { Endpoint } from "../../components/base/endpoint";
import type { Elasticsearch } from "../../components/data/elasticsearch";
import type { Kafka } from "../../components/data/kafka";
import { LegacyNames } from "../../components/data/legacy-names";
import type { Neo4j } from "../../components/data/neo4j";
import type { Polaris } from "../../components/analytics/polaris";
import type { PlatformConfig } from "../config/schema";
import type { Data } from "../layers/data";
import type { Foundation } from "../layers/foundation";

/** What had another name before. */
interface Renamed extends Data {
  readonly kafka: Kafka | undefined;
  readonly elasticsearch: Elasticsearch | undefined;
  readonly neo4j: Neo4j | undefined;
  readonly polaris: Polaris | undefined;
}

/** The names of before, for those systems that are deployed; what keeps its name needs none. */
export function legacyNames(
  config: PlatformConfig,
  { postgres, objectStore, redis, kafka, elasticsearch, neo4j, polaris }: Renamed,
  { opts, namespaces }: Foundation,
): void {
  if (!config.legacyNames) return;
  const database = postgres?.database("mlflow").server;
  const s3 = objectStore?.store.destination;
  const aliases: Record<string, Endpoint> = {
    ...(database && { "postgres-shared-service": database, "postgres-workflow-service": database }),
    // An object store outside the cluster never had it.
    ...(s3?.kind === "endpoint" && { "minio-service": s3 }),
    ...(redis && { "redis-service": redis.endpoint }),
    ...(kafka && { "kafka-service": kafka.bootstrap }),
    ...(elasticsearch && { "elasticsearch-service": elasticsearch.endpoint }),
    ...(neo4j && { "graphdb-service": neo4j.login().server }),
    ...(polaris && { "iceberg-rest-catalog": polaris.api }),
  };
  new LegacyNames("legacy-names", { namespace: namespaces["data-platform"], aliases }, opts);
}
