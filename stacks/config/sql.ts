import { z } from "zod";
import { cronSchedule, size, Size } from "./shapes";

// The JVM needs 1 GiB outside the heap.
const MIN_MEMORY_MIB = 2048;

const node = {
  cpu: size.cpu,
  memoryMiB: size.memoryMiB.refine(({ limit }) => limit >= MIN_MEMORY_MIB, {
    path: ["limit"],
    error: `a Trino node needs at least ${MIN_MEMORY_MIB} MiB; raise it`,
  }),
};

/** Trino: its coordinator and workers. */
export const Trino = z.strictObject({
  coordinator: z.strictObject(node),
  workers: z
    .strictObject({ replicas: z.int().min(0), ...node })
    .meta({ description: "Worker pods; with 0 replicas the coordinator runs the queries itself" }),
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
