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

// Those of the AWS SDK in DolphinScheduler 3.2.2 (1.12.300): it knows no other, wherever its endpoint is (dolphinscheduler#18267).
const REGIONS =
  "af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2 ap-southeast-3 ca-central-1 " +
  "cn-north-1 cn-northwest-1 eu-central-1 eu-north-1 eu-south-1 eu-west-1 eu-west-2 eu-west-3 me-central-1 me-south-1 sa-east-1 us-east-1 " +
  "us-east-2 us-gov-east-1 us-gov-west-1 us-iso-east-1 us-iso-west-1 us-isob-east-1 us-west-1 us-west-2";

interface Parts {
  readonly dolphinscheduler?: unknown;
  readonly objectStore?: { readonly region: string } | undefined;
}

/** A fault where tasks' logs would never reach the object store, of which DolphinScheduler writes a line in the worker's log alone. */
export function workflowFaults({ dolphinscheduler, objectStore }: Parts): { path: string[]; message: string }[] {
  if (dolphinscheduler === undefined || objectStore === undefined) return [];
  if (REGIONS.split(" ").includes(objectStore.region)) return [];
  const message =
    `"${objectStore.region}" is no region that DolphinScheduler knows, so that tasks' logs end with their pods; ` +
    "give the store one of AWS, such as us-east-1, and name it";
  return [{ path: ["objectStore", "region"], message }];
}
