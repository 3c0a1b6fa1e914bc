import { z } from "zod";
import { clientVersions } from "../../components/base/versions";
import {
  clientAccount,
  cronSchedule,
  httpsUrl,
  kubernetesName,
  nodeSelector,
  notBelow,
  outside,
  peopleGroup,
  range,
  size,
  Size,
  tolerations,
  Volume,
} from "./shapes";

/** The tracking server. */
export const Mlflow = z.strictObject({
  replicas: z.int().min(1),
  webWorkers: z.int().min(1).default(2),
  ...size,
  proxiedArtifacts: z
    .strictObject({
      largestMiB: z.int().min(64).default(512).meta({
        description: "Size of the largest; Ray's tasks take larger ones to and from the object store themselves",
      }),
      atOnce: z.int().min(1).default(4).meta({ description: "How many one pod has room for at a time" }),
    })
    .prefault({})
    .meta({ description: "Artifacts that pass through the server, which keeps them in its scratch space meanwhile" }),
  garbage: z
    .strictObject({
      schedule: cronSchedule.default("30 4 * * *"),
      olderThanDays: z.int().min(0).default(30).meta({ description: "Until then they can be restored" }),
    })
    .prefault({})
    .meta({ description: "When deleted runs, experiments and models go for good, with their artifacts" }),
});

/** The workers of a cluster. */
export const RayWorkers = z
  .strictObject({ ...size, min: z.int().min(1), max: z.int().min(1) })
  .refine(({ min, max }) => min <= max, notBelow("max", "min"));

// Nodes of other versions than the head's cannot join.
const VERSIONS = `${clientVersions.ray}-py${clientVersions.python.replace(".", "")}`;
const workerImage = z
  .string()
  .regex(
    new RegExp(`:[\\w.-]*${VERSIONS.replaceAll(".", "\\.")}(?![\\d.])`),
    `expected an image of Ray ${clientVersions.ray} and Python ${clientVersions.python}, with ${VERSIONS} in its tag`,
  );

const gpuWorkers = (min: z.ZodInt) =>
  z
    .strictObject({
      image: workerImage.meta({
        description: "Image with the CUDA libraries; its tag ends in the CUDA version, such as -cu117",
      }),
      gpusPerWorker: z.int().min(1),
      ...size,
      min,
      max: z.int().min(1),
    })
    .refine(({ min, max }) => min <= max, notBelow("max", "min"))
    .optional()
    .meta({ description: "GPU workers; by default none" });

const workerGroups = (min: z.ZodInt) =>
  z
    .record(
      kubernetesName
        .max(30)
        .regex(/^(?!(workers|gpu|gpu-workers|headgroup)$)/, "workers, gpu, gpu-workers and headgroup are taken"),
      z
        .strictObject({
          ...size,
          min,
          max: z.int().min(1),
          image: workerImage.optional().meta({
            description:
              "Image of the group, made of the platform's (docs/ray.md); with GPUs its tag ends in -cu117 or so",
          }),
          gpusPerWorker: z.int().min(1).optional(),
          nodeSelector: nodeSelector.meta({ description: "Labels of the nodes where they run, beside those of GPUs" }),
          tolerations: tolerations.meta({ description: "Taints of nodes that they put up with, beside those of GPUs" }),
        })
        .refine(({ min, max }) => min <= max, notBelow("max", "min")),
    )
    .default({})
    .meta({ description: "Further groups of workers, by name, which tasks select by the label worker-group" });

// Standalone, an autoscaler sees only the CPU time of workers that run: from zero it would start none.
const SOME = z.int().min(1, "expected 1 or more, since only mode kuberay starts the first worker of a group on demand");
const NONE = z.int().min(0);

// The namespaces of pods that are not operators.
const CLIENT_NAMESPACES = ["data-platform", "monitoring", "gateway"] as const;

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
          serviceAccount: clientAccount,
        }),
      )
      .default({})
      .meta({ description: "Pods that may reach the dashboard, the job API and the client port" }),
    groups: z
      .array(peopleGroup)
      .default([])
      .meta({ description: "Kubernetes groups that may read the token and forward a port to the head" }),
  })
  .default({ pods: {}, groups: [] })
  .meta({ description: "Who may run code on Ray; by default nobody" });

const ray = {
  workers: RayWorkers,
  packageIndex: z
    .strictObject({
      url: httpsUrl.meta({
        description: "Index of Python packages, as pip asks it, such as https://pypi.example.com/simple",
      }),
      ...outside,
    })
    .optional()
    .meta({ description: "Where the packages of `serve.applications.*.packages` come from. Default: nowhere" }),
  faultTolerance: z.boolean().default(false).meta({
    description:
      "Whether Redis keeps what the heads know, so that actors, jobs and applications outlive a restart of theirs",
  }),
  access: RayAccess,
  publicDashboard: z.boolean().default(false).meta({
    description: "Whether the gateway lets people reach the dashboard, from which they may run any code",
  }),
};

/** Ray, standalone or managed by KubeRay. */
export const Ray = z.discriminatedUnion("mode", [
  z.strictObject({
    mode: z.literal("standalone"),
    head: z.strictObject({ ...size, volume: Volume }),
    ...ray,
    gpuWorkers: gpuWorkers(SOME),
    workerGroups: workerGroups(SOME),
  }),
  z.strictObject({
    mode: z.literal("kuberay"),
    head: Size,
    ...ray,
    gpuWorkers: gpuWorkers(NONE),
    workerGroups: workerGroups(NONE),
    serving: z
      .strictObject({ head: Size, workers: RayWorkers, workerGroups: workerGroups(NONE) })
      .meta({ description: "The cluster that runs Ray Serve; during an update there are two" }),
    autoscaler: Size.meta({ description: "The sidecar of each head that scales the workers" }),
    operator: Size,
  }),
]);

const rayResources = {
  cpu: z.number().positive().meta({ description: "Logical CPUs that Ray reserves" }),
  gpus: z.number().positive().optional().meta({ description: "GPUs that Ray reserves, on a worker that has them" }),
  memoryMiB: z.int().min(1).optional().meta({ description: "Memory that Ray reserves, in MiB" }),
};

const ServeApplication = z.strictObject({
  directory: z.string().min(1).meta({ description: "Directory of the application's Python packages" }),
  importPath: z
    .string()
    .regex(/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$/, "expected <module>:<builder>")
    .meta({ description: "Builder that Ray Serve imports and calls with `args`" }),
  routePrefix: z.string().regex(/^\/([\w.-]+(\/[\w.-]+)*)?$/, "expected a path such as / or /prices"),
  args: z.record(z.string(), z.unknown()).default({}).meta({ description: "Arguments of the builder" }),
  packages: z
    .array(
      z
        .string()
        .regex(
          /^(?!ray\b)[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?==\d[\w.!+-]*$/,
          "expected a package other than Ray and its exact version, such as xgboost==3.1.2",
        ),
    )
    .default([])
    .meta({ description: "Python packages that Ray installs for the application and its training (ray.packageIndex)" }),
  workerGroup: z.string().optional().meta({
    description:
      "Group of workers where its deployments and training run, such as one with an image of its own: of ray.workerGroups, and by KubeRay also of ray.serving.workerGroups",
  }),
  deployments: z
    .record(
      z.string(),
      z
        .strictObject({
          replicas: range,
          targetOngoingRequests: z
            .number()
            .positive()
            .meta({ description: "Running and queued requests per replica above which replicas are added" }),
          ...rayResources,
          cpu: rayResources.cpu.optional().meta({
            description: "Logical CPUs per replica; without it cpu, gpus and memoryMiB are what the code says",
          }),
        })
        .refine(({ cpu, gpus, memoryMiB }) => cpu !== undefined || (gpus ?? memoryMiB) === undefined, {
          path: ["cpu"],
          error: "is missing beside gpus or memoryMiB; add it: they replace the code's as a whole",
        }),
    )
    .meta({ description: "Scaling of each deployment, by class name" }),
  training: z
    .record(
      kubernetesName,
      z.strictObject({
        schedule: cronSchedule,
        command: z.array(z.string()).min(1).meta({ description: "Command that Ray runs on a worker" }),
        ...rayResources,
        timeoutSeconds: z.int().min(60).default(3600),
      }),
    )
    .default({})
    .meta({ description: "Scheduled jobs on the Ray cluster" }),
});

/** The applications of Ray Serve and their training. */
export const Serve = z.strictObject({
  jobs: Size.meta({ description: "The Jobs that upload code, deploy applications and submit training" }),
  applications: z
    .record(kubernetesName, ServeApplication)
    .refine(
      (applications) => {
        const prefixes = Object.values(applications).map(({ routePrefix }) => routePrefix);
        return new Set(prefixes).size === prefixes.length;
      },
      { error: "two applications answer under one routePrefix; give each its own" },
    )
    .meta({ description: "Ray Serve applications by name" }),
});

/** The feature server. */
export const Feast = z.strictObject({
  replicas: range.meta({ description: "Pods, autoscaled by CPU" }),
  http: Size.meta({ description: "The container that serves HTTP" }),
  grpc: Size.meta({ description: "The container that serves gRPC" }),
  jobs: Size.meta({ description: "The Jobs that register definitions and materialize features" }),
  schedules: z
    .strictObject({
      hourly: cronSchedule
        .default("5 * * * *")
        .meta({ description: "When new features and those of the last two hours are copied to Redis, in UTC" }),
      daily: cronSchedule
        .default("0 2 * * *")
        .meta({ description: "When the features of the last seven days are copied to Redis again, in UTC" }),
    })
    .prefault({})
    .meta({ description: "Schedules of the jobs that materialize features" }),
});
