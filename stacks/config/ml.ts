import { z } from "zod";
import { below, cronSchedule, kubernetesName, range, size, Size, sizeGiB } from "./shapes";

/** The tracking server. */
export const Mlflow = z.strictObject({ replicas: z.int().min(1), webWorkers: z.int().min(1).default(2), ...size });

const RayWorkers = z
  .strictObject({ ...size, min: z.int().min(1), max: z.int().min(1) })
  .refine(({ min, max }) => min <= max, {
    path: ["max"],
    error: ({ input }) => below(input, "max", "min"),
  });

const RayGpuWorkers = z
  .strictObject({
    image: z.string().min(1).meta({
      description: "Image with the libraries that the cards need; its tag names the CUDA version, such as -cu117",
    }),
    gpusPerWorker: z.int().min(1),
    ...size,
    min: z.int().min(1),
    max: z.int().min(1),
  })
  .refine(({ min, max }) => min <= max, {
    path: ["max"],
    error: ({ input }) => below(input, "max", "min"),
  })
  .optional()
  .meta({ description: "Workers with GPUs; none unless they are described" });

// Where pods of other systems run; all other namespaces are those of operators.
const CLIENT_NAMESPACES = ["data-platform", "monitoring", "kong"] as const;

const RayAccess = z
  .strictObject({
    pods: z
      .record(
        kubernetesName,
        z.strictObject({
          namespace: z.enum(CLIENT_NAMESPACES),
          labels: z
            .record(z.string(), z.string())
            .refine((labels) => Object.keys(labels).length > 0, "selects every pod; name at least one label"),
        }),
      )
      .default({})
      .meta({ description: "Pods that reach the dashboard, the job API and the client port" }),
    groups: z
      .array(z.string().min(1))
      .default([])
      .meta({ description: "Groups of people who may read the token and forward a port to the head" }),
  })
  .default({ pods: {}, groups: [] })
  .meta({ description: "Who may run code on Ray: nobody unless named here" });

const ray = { workers: RayWorkers, gpuWorkers: RayGpuWorkers, access: RayAccess };

/** Ray, with or without its operator. */
export const Ray = z.discriminatedUnion("mode", [
  z.strictObject({
    mode: z.literal("standalone"),
    head: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
    ...ray,
  }),
  z.strictObject({
    mode: z.literal("kuberay"),
    head: Size,
    ...ray,
    serving: z
      .strictObject({ head: Size, workers: RayWorkers })
      .meta({ description: "The cluster that runs Ray Serve; while it is replaced, there are two of it" }),
    autoscaler: Size.meta({ description: "The container beside each head that scales the workers" }),
    operator: Size,
  }),
]);

const ServeApplication = z.strictObject({
  directory: z.string().min(1).meta({ description: "Folder with the application's Python packages" }),
  importPath: z
    .string()
    .regex(/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$/, "expected <module>:<builder>")
    .meta({ description: "What Ray Serve imports and calls with `args`" }),
  routePrefix: z.string().regex(/^\/([\w.-]+(\/[\w.-]+)*)?$/, "expected a path such as / or /prices"),
  args: z.record(z.string(), z.unknown()).default({}).meta({ description: "Arguments of the builder" }),
  deployments: z
    .record(
      z.string(),
      z.strictObject({
        replicas: range,
        targetOngoingRequests: z
          .number()
          .positive()
          .meta({ description: "Requests per replica, running and waiting, that more replicas are started for" }),
        cpu: z.number().positive().meta({ description: "Logical CPUs of one replica" }),
      }),
    )
    .meta({ description: "Scale of each deployment, by the name of its class" }),
  training: z
    .record(
      kubernetesName,
      z.strictObject({
        schedule: cronSchedule,
        command: z.array(z.string()).min(1).meta({ description: "What Ray runs on a worker, word by word" }),
        cpu: z.number().positive().meta({ description: "Logical CPUs that it takes" }),
        timeoutSeconds: z.int().min(60).default(3600),
      }),
    )
    .default({})
    .meta({ description: "Jobs on the Ray cluster, by the clock" }),
});

/** What Ray Serve runs, and what it trains. */
export const Serve = z.strictObject({
  jobs: Size.meta({ description: "A Job that uploads code, deploys it or submits training" }),
  applications: z
    .record(kubernetesName, ServeApplication)
    .refine(
      (applications) => {
        const prefixes = Object.values(applications).map(({ routePrefix }) => routePrefix);
        return new Set(prefixes).size === prefixes.length;
      },
      { error: "two applications answer under one routePrefix; give each its own" },
    )
    .meta({ description: "What Ray Serve runs: another application is another entry" }),
});

/** The feature server. */
export const Feast = z.strictObject({
  replicas: range.meta({ description: "Pods, autoscaled by CPU" }),
  http: Size.meta({ description: "The container that answers HTTP" }),
  grpc: Size.meta({ description: "The container that answers gRPC" }),
  jobs: Size.meta({ description: "A Job that registers definitions or materializes features" }),
});
