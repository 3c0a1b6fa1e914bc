import type { SearchAccess } from "../../components/base/endpoint";
import { searchAccess } from "../../components/catalog/datahub";
import { Elasticsearch } from "../../components/data/elasticsearch";
import { Neo4j } from "../../components/data/neo4j";
import type { PlatformConfig } from "../config/schema";
import { tenantGrants } from "../config/tenants";
import type { Foundation } from "./foundation";
import type { Secrets } from "../config/secrets";

/** The search and graph stores. */
export interface Search {
  readonly elasticsearch: Elasticsearch<"datahub" | "trino"> | undefined;
  readonly neo4j: Neo4j | undefined;
}

/** Elasticsearch and Neo4j, each if configured. */
export function search(config: PlatformConfig, secrets: Secrets, ground: Foundation): Search {
  return { elasticsearch: elasticsearch(config, secrets, ground), neo4j: neo4j(config, secrets, ground) };
}

function elasticsearch(config: PlatformConfig, secrets: Secrets, ground: Foundation): Search["elasticsearch"] {
  if (config.elasticsearch === undefined) return undefined;
  const { nodes, volume, operator, exporter, readable, ...size } = config.elasticsearch;
  const { at, namespaces, kubeApi, authority, clusterDomain, chartDirectory, metrics, isProtected } = ground;
  return new Elasticsearch(
    "elasticsearch",
    {
      namespace: namespaces["data-platform"],
      operatorNamespace: namespaces["elastic-system"],
      chartDirectory,
      kubeApi,
      authority,
      clusterDomain,
      // The old name, which clients still use.
      aliases: ["elasticsearch-service"],
      nodes,
      size,
      operatorSize: operator,
      volume: ground.volumeOf(volume),
      clients: {
        ...(config.datahub && {
          datahub: { password: secrets.get("elasticsearchDatahubPassword"), ...searchAccess() },
        }),
        ...(config.trino && {
          trino: { password: secrets.get("elasticsearchTrinoPassword"), ...queryAccess(readable) },
        }),
        ...Object.fromEntries(
          tenantGrants(config, "search").map(({ user, name }) => [
            user,
            { password: secrets.ofTenant(user), cluster: [], indices: [{ names: [name], privileges: ["all"] }] },
          ]),
        ),
      },
      exporter: { size: exporter, password: secrets.get("elasticsearchExporterPassword") },
      metrics,
      protect: isProtected("elasticsearch"),
    },
    at("elasticsearch"),
  );
}

function neo4j(config: PlatformConfig, secrets: Secrets, ground: Foundation): Neo4j | undefined {
  if (config.neo4j === undefined) return undefined;
  const { volume, ...size } = config.neo4j;
  return new Neo4j(
    "neo4j",
    {
      namespace: ground.namespaces["data-platform"],
      authority: ground.authority,
      clusterDomain: ground.clusterDomain,
      size,
      volume: ground.volumeOf(volume),
      password: secrets.get("neo4jPassword"),
      protect: ground.isProtected("neo4j"),
    },
    ground.at("neo4j"),
  );
}

/** Trino's rights: find nodes and shards, and read. */
function queryAccess(names: readonly string[]): SearchAccess {
  return { cluster: ["monitor"], indices: [{ names, privileges: ["read", "view_index_metadata", "monitor"] }] };
}
