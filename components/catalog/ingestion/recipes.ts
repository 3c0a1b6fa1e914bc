/** What `datahub ingest` runs: where metadata comes from and where it goes. Credentials stand in it as `${VARIABLE}` alone. */
export interface Recipe {
  readonly pipeline_name: string;
  readonly source: { readonly type: string; readonly config: object };
  readonly transformers?: readonly { readonly type: string; readonly config: object }[];
  readonly sink: { readonly type: "datahub-rest"; readonly config: object };
}

/** The environment that recipes read. */
export const TOKEN = "DATAHUB_GMS_TOKEN";
export const USERNAME = "SOURCE_USERNAME";
export const PASSWORD = "SOURCE_PASSWORD";

/** Where pods of a recipe find whom they trust. */
export const TRUST_PATH = "/trust";

/** What is counted of tables: nothing, or their rows and columns. Figures on single fields are what no recipe here can ask for. */
export type Profiling = { readonly kind: "none" } | { readonly kind: "tables"; readonly workers: number };

function profiling(profile: Profiling): object {
  if (profile.kind === "none") return { enabled: false };
  return { enabled: true, profile_table_level_only: true, max_workers: profile.workers };
}

// What is gone at the source goes from the catalog, unless more than three quarters of it vanished at once: upstream's bound.
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
  /** Beginnings of the names of tables that nobody looks for. */
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
        options: { connect_args: { sslmode: "require" } },
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

/** The topics of Kafka, with the schemas that DataHub's own registry has of them. */
export function kafkaRecipe(args: {
  readonly gms: string;
  readonly bootstrap: string;
  /** Beginnings of the names of topics that nobody looks for. */
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
  /** Who asks: what Trino lets it see is Trino's to say. */
  readonly user: string;
  readonly catalog: string;
  /** Beginnings of the names of schemas that are looked at. */
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
            // All that the catalog grants this client; Polaris wants it said.
            scope: "PRINCIPAL_ROLE:ALL",
            // pyiceberg asks by default for credentials of the store with every table: Polaris gives none to who may not read data.
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
