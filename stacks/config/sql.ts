import { z } from "zod";
import { size, Size } from "./shapes";

// Below, too little is left for a heap beside the GiB that the JVM takes for itself.
const MIN_MEMORY_MIB = 2048;

const node = {
  cpu: size.cpu,
  memoryMiB: size.memoryMiB.refine(({ limit }) => limit >= MIN_MEMORY_MIB, {
    path: ["limit"],
    error: `a node of Trino needs ${MIN_MEMORY_MIB} MiB; raise it`,
  }),
};

/** Trino: its coordinator, and who does the work. */
export const Trino = z.strictObject({
  coordinator: z.strictObject(node),
  workers: z
    .strictObject({ replicas: z.int().min(0), ...node })
    .meta({ description: "Pods that do the work; with none of them the coordinator does it itself" }),
});

/** Apache Polaris, the catalog of the Iceberg tables. */
export const Polaris = z.strictObject({
  replicas: z.int().min(1),
  ...size,
  setup: Size.meta({ description: "A Job that makes the schema, the catalog or its clients" }),
});
