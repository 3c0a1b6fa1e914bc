import { z } from "zod";
import { cidr, cronSchedule, kubernetesName, port, size, Size } from "./shapes";

const outside = z.record(kubernetesName, z.strictObject({ cidrs: z.array(cidr).min(1), port: port.default(443) }));
const Replicas = z.strictObject({ replicas: z.int().min(1), ...size });

/** The platform's systems that tasks may be allowed to reach. */
export const TASK_SYSTEMS = ["mlflow", "feast", "trino"] as const;
export type TaskSystem = (typeof TASK_SYSTEMS)[number];

/** DolphinScheduler. */
export const DolphinScheduler = z.strictObject({
  api: Replicas,
  master: Size,
  worker: Replicas,
  alert: Size,
  jobs: Size.meta({ description: "The Jobs that prepare the database and delete old instances" }),
  history: z
    .strictObject({
      schedule: cronSchedule.default("0 2 * * *"),
      retentionDays: z.int().min(1).default(180).meta({
        description:
          "Age in days from which workflow instances that ended are deleted, with their tasks, alerts and logs",
      }),
    })
    .prefault({})
    .meta({ description: "Deletion of old workflow instances" }),
  tasksReach: z
    .strictObject({ systems: z.array(z.enum(TASK_SYSTEMS)).default([]), outside: outside.default({}) })
    .default({ systems: [], outside: {} })
    .meta({ description: "What tasks may reach besides their database and bucket; by default nothing" }),
  alertsReach: outside.default({}).meta({ description: "Mail servers and webhooks that may receive alerts" }),
});
