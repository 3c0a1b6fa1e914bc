import { z } from "zod";
import { range, size, Size } from "./shapes";

/** Superset. */
export const Superset = z.strictObject({
  web: z.strictObject({
    replicas: z.int().min(1),
    processes: z.int().min(1).meta({ description: "Processes of one pod that answer requests" }),
    threads: z.int().min(1).meta({ description: "Requests that one process answers at a time" }),
    ...size,
  }),
  worker: z.strictObject({
    replicas: range.meta({ description: "Pods, autoscaled by CPU" }),
    concurrency: z.int().min(1).meta({ description: "Tasks that one pod runs at a time, each in a process" }),
    ...size,
  }),
  beat: Size.meta({ description: "The pod that starts tasks by the clock" }),
  setup: Size.meta({ description: "The Job that migrates the database and makes what is declared" }),
});
