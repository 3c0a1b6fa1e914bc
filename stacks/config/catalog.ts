import { z } from "zod";
import { cronSchedule, size, Size } from "./shapes";

const prefixes = z.array(z.string().min(1));

/** How often each source is ingested, and what of it. */
const Ingestion = z.strictObject({
  ...size,
  postgres: z
    .strictObject({
      schedule: cronSchedule.default("0 4 * * *"),
      ignoredTables: prefixes
        .default(["tmp_", "staging_"])
        .meta({ description: "Tables whose names start with one of these are left out" }),
    })
    .prefault({})
    .meta({ description: "Ingestion of the database that DataHub may read" }),
  kafka: z
    .strictObject({
      schedule: cronSchedule.default("30 */4 * * *"),
      ignoredTopics: prefixes
        .default(["_", "connect-"])
        .meta({ description: "Topics whose names start with one of these are left out" }),
    })
    .prefault({})
    .meta({ description: "Ingestion of Kafka's topics" }),
  trino: z
    .strictObject({
      schedule: cronSchedule.default("0 */6 * * *"),
      schemas: prefixes
        .default(["data_", "analytics_", "warehouse_"])
        .meta({ description: "Only schemas whose names start with one of these are ingested" }),
    })
    .prefault({})
    .meta({ description: "Ingestion of Trino's catalog `iceberg`" }),
  iceberg: z
    .strictObject({
      schedule: cronSchedule.default("0 */2 * * *"),
      platformInstance: z.string().min(1).default("hmco_iceberg").meta({
        description: "Name of the catalog in DataHub's URNs; with another name every table becomes a new entity",
      }),
      tags: z
        .array(z.string().min(1))
        .default(["iceberg", "data-lake"])
        .meta({ description: "Tags that ingestion adds to every table" }),
    })
    .prefault({})
    .meta({ description: "Ingestion of Polaris" }),
  cleanup: z
    .strictObject({
      schedule: cronSchedule.default("30 1 * * *"),
      retentionDays: z.int().min(1).default(30).meta({
        description: "How long removed entities, records of runs and usage statistics are kept, in days",
      }),
    })
    .prefault({})
    .meta({ description: "Deletion of what DataHub no longer needs" }),
});

/** DataHub and its ingestion. */
export const Datahub = z.strictObject({
  gms: Size.meta({ description: "The metadata service" }),
  frontend: Size,
  maeConsumer: Size.meta({ description: "The consumer that writes metadata changes to the search indices" }),
  mceConsumer: Size.meta({ description: "The consumer that applies proposed changes from Kafka" }),
  systemUpdate: Size.meta({ description: "The Job that prepares tables, topics and indices" }),
  ingestion: Ingestion.optional().meta({
    description: "The pod of an ingestion recipe; if set, every deployed source is ingested on a schedule",
  }),
});
