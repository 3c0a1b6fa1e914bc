import { VERIFIED } from "../../base/postgres-client";

/** A recipe for `datahub ingest`, with source and sink. It refers to credentials only as `${VARIABLE}`. */
export interface Recipe {
  readonly pipeline_name: string;
  readonly source: { readonly type: string; readonly config: object };
  readonly transformers?: readonly { readonly type: string; readonly config: object }[];
  readonly sink: { readonly type: "datahub-rest"; readonly config: object };
}

/** The environment variables of recipes. */
export const TOKEN = "DATAHUB_GMS_TOKEN";
export const USERNAME = "SOURCE_USERNAME";
export const PASSWORD = "SOURCE_PASSWORD";

/** Directory of the trusted CA in a recipe's pods. */
export const TRUST_PATH = "/trust";

/** Profiling of tables: none, or counts of rows and columns. Recipes here cannot request column statistics. */
export type Profiling = { readonly kind: "none" } | { readonly kind: "tables"; readonly workers: number };

function profiling(profile: Profiling): object {
  if (profile.kind === "none") return { enabled: false };
  return { enabled: true, profile_table_level_only: true, max_workers: profile.workers };
}

// Removes entities that are gone from the source, unless more than upstream's limit of 75 % vanished at once.
const FORGETS = { stateful_ingestion: { enabled: true, remove_stale_metadata: true } };

function sink(gms: string): Recipe["sink"] {
  return { type: "datahub-rest", config: { server: gms, token: variable(TOKEN) } };
}

function variable(name: string): string {
  return `\${${name}}`;
}

/** Tables and views of one schema of a database. */
export function postgresRecipe(args: {
  readonly gms: string;
  readonly hostPort: string;
  readonly database: string;
  readonly schema: string;
  /** Prefixes of ignored tables. */
  readonly ignored: readonly string[];
  readonly profiling: Profiling;
}): Recipe {
  const { gms, hostPort, database, schema, ignored } = args;
  return {
    pipeline_name: "postgres",
    source: {
      type: "postgres",
      config: {
        host_port: hostPort,
        database,
        username: variable(USERNAME),
        password: variable(PASSWORD),
        options: { connect_args: { ...VERIFIED, sslrootcert: `${TRUST_PATH}/ca.crt` } },
        schema_pattern: { allow: [`^${schema}$`] },
        table_pattern: { deny: ignored.map((start) => `^${database}\\.${schema}\\.${start}.*`) },
        include_tables: true,
        include_views: true,
        profiling: profiling(args.profiling),
        ...FORGETS,
      },
    },
    sink: sink(gms),
  };
}

/** Kafka's topics, with their schemas from DataHub's registry. */
export function kafkaRecipe(args: {
  readonly gms: string;
  readonly bootstrap: string;
  /** Prefixes of ignored topics. */
  readonly ignored: readonly string[];
}): Recipe {
  return {
    pipeline_name: "kafka",
    source: {
      type: "kafka",
      config: {
        connection: {
          bootstrap: args.bootstrap,
          schema_registry_url: `${args.gms}/schema-registry/api/`,
          consumer_config: {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": variable(USERNAME),
            "sasl.password": variable(PASSWORD),
            "ssl.ca.location": `${TRUST_PATH}/ca.crt`,
          },
        },
        topic_patterns: { allow: [".*"], deny: args.ignored.map((start) => `^${start}.*`) },
        ...FORGETS,
      },
    },
    sink: sink(args.gms),
  };
}

/** Tables and views of one catalog of Trino. */
export function trinoRecipe(args: {
  readonly gms: string;
  readonly hostPort: string;
  /** The user name, on which Trino's access control depends. */
  readonly user: string;
  readonly catalog: string;
  /** Prefixes of the ingested schemas. */
  readonly schemas: readonly string[];
  readonly profiling: Profiling;
}): Recipe {
  return {
    pipeline_name: "trino",
    source: {
      type: "trino",
      config: {
        host_port: args.hostPort,
        username: args.user,
        database: args.catalog,
        schema_pattern: { allow: args.schemas.map((start) => `^${start}.*`) },
        profiling: profiling(args.profiling),
        ...FORGETS,
      },
    },
    sink: sink(args.gms),
  };
}

/** All tables of an Iceberg catalog. */
export function icebergRecipe(args: {
  readonly gms: string;
  readonly uri: string;
  readonly warehouse: string;
  readonly platformInstance: string;
  readonly tags: readonly string[];
}): Recipe {
  const { warehouse } = args;
  return {
    pipeline_name: "iceberg",
    source: {
      type: "iceberg",
      config: {
        catalog: {
          [warehouse]: {
            type: "rest",
            uri: args.uri,
            warehouse,
            credential: `${variable(USERNAME)}:${variable(PASSWORD)}`,
            // All roles of this client; Polaris requires a scope.
            scope: "PRINCIPAL_ROLE:ALL",
            // By default pyiceberg requests store credentials with every table, which Polaris denies to clients that may not read data.
            "header.X-Iceberg-Access-Delegation": "",
          },
        },
        platform_instance: args.platformInstance,
        profiling: profiling({ kind: "none" }),
        ...FORGETS,
      },
    },
    transformers: [
      { type: "simple_add_dataset_tags", config: { tag_urns: args.tags.map((tag) => `urn:li:tag:${tag}`) } },
    ],
    sink: sink(args.gms),
  };
}

/** Deletes expired tokens, old usage statistics and records of runs, and what has been marked as removed for some time. */
export function cleanupRecipe(gms: string, retentionDays: number): Recipe {
  return {
    pipeline_name: "cleanup",
    source: {
      type: "datahub-gc",
      config: {
        truncate_index_older_than_days: retentionDays,
        dataprocess_cleanup: { retention_days: retentionDays },
        soft_deleted_entities_cleanup: { retention_days: retentionDays },
        execution_request_cleanup: { keep_history_max_days: retentionDays },
      },
    },
    // Without a token it writes as the system.
    sink: { type: "datahub-rest", config: { server: gms } },
  };
}
