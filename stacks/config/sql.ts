import { z } from "zod";
import { OWN_CATALOGS } from "../../components/analytics/trino/catalogs";
import { cidr, cronSchedule, port, size, Size } from "./shapes";

// The JVM needs 1 GiB outside the heap.
const MIN_MEMORY_MIB = 2048;

const node = {
  cpu: size.cpu,
  memoryMiB: size.memoryMiB.refine(({ limit }) => limit >= MIN_MEMORY_MIB, {
    path: ["limit"],
    error: `a Trino node needs at least ${MIN_MEMORY_MIB} MiB; raise it`,
  }),
};

const catalogName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, {
    error: "expected lower-case letters, digits and underscores, beginning with a letter",
    abort: true,
  })
  .refine((name) => name !== "system" && !OWN_CATALOGS.some((own) => own === name), {
    error: `the platform has ${OWN_CATALOGS.join(", ")}, and Trino has system`,
  });

const property = z.string().regex(/^[a-zA-Z0-9._-]+$/, "expected the name of a property, such as connection-url");

const CREDENTIAL = /(password|secret|credential|token|private-key|access-key)/i;

// In a URL.
const CREDENTIAL_VALUE = /\/\/[^/@]*:[^/@]*@|[?;&](password|pwd)=/i;

/** A catalog of a source outside the platform. */
const Catalog = z
  .strictObject({
    properties: z
      .record(property, z.string().regex(/^[^\r\n]*$/, "expected one line"))
      .refine((properties) => "connector.name" in properties, "name the connector by connector.name"),
    secrets: z
      .array(property)
      .default([])
      .meta({ description: "Properties whose values are in the credential carbon:trinoCatalogPassword" }),
    reaches: z
      .array(z.strictObject({ cidrs: z.array(cidr).min(1), port }))
      .default([])
      .meta({ description: "Where the source listens, opened to Trino's pods by network policies" }),
  })
  .superRefine(({ properties, secrets }, context) => {
    for (const [name, value] of Object.entries(properties)) {
      const path = ["properties", name];
      if (secrets.includes(name)) {
        context.addIssue({ code: "custom", path, message: "secrets has it, too; remove one" });
      } else if (CREDENTIAL_VALUE.test(value) || (CREDENTIAL.test(name) && !/^(true|false)$/.test(value))) {
        const message = "it may be a credential: list its name under secrets, and set carbon:trinoCatalogPassword";
        context.addIssue({ code: "custom", path, message });
      }
    }
  });

/** Trino: its coordinator and workers. */
export const Trino = z.strictObject({
  coordinator: z.strictObject(node),
  workers: z
    .strictObject({ replicas: z.int().min(0), ...node })
    .meta({ description: "Worker pods; with 0 replicas the coordinator runs the queries itself" }),
  catalogs: z.record(catalogName, Catalog).default({}).meta({
    description: "Catalogs of sources outside the platform, in the words of Trino's connectors (docs/trino.md)",
  }),
  snapshots: z
    .strictObject({
      schedule: cronSchedule.default("0 3 * * *"),
      // Trino refuses less.
      retentionDays: z.int().min(7).default(30).meta({
        description:
          "Age in days from which snapshots of Iceberg tables are deleted, with the files that only they have",
      }),
    })
    .prefault({})
    .meta({ description: "Deletion of old snapshots of Iceberg tables, if Polaris is deployed" }),
});

/** Apache Polaris, the catalog of the Iceberg tables. */
export const Polaris = z.strictObject({
  replicas: z.int().min(1),
  ...size,
  setup: Size.meta({ description: "The Jobs that create the schema, the catalog and its clients" }),
});
