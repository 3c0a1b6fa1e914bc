import { z } from "zod";
import { range, size, Size } from "./shapes";

/** Superset. */
export const Superset = z.strictObject({
  web: z.strictObject({
    replicas: z.int().min(1),
    processes: z.int().min(1).meta({ description: "Web server processes per pod" }),
    threads: z.int().min(1).meta({ description: "Threads per process, each serving one request at a time" }),
    ...size,
  }),
  worker: z.strictObject({
    replicas: range.meta({ description: "Pods, autoscaled by CPU" }),
    concurrency: z.int().min(1).meta({ description: "Tasks that one pod runs in parallel, each in its own process" }),
    ...size,
  }),
  retentionDays: z
    .int()
    .min(1)
    .default(180)
    .meta({ description: "How long queries of SQL Lab and the log of what people do are kept, in days" }),
  beat: Size.meta({ description: "The pod that starts scheduled tasks" }),
  setup: Size.meta({
    description: "The Job that migrates the database and creates the admin user and the declared objects",
  }),
});
