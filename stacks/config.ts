import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { gpuFaults } from "./gpus";
import { SECRET_KEYS, type SecretName } from "./secrets";

const requestLimit = z
  .strictObject({ request: z.number().positive(), limit: z.number().positive() })
  .refine(({ request, limit }) => request <= limit, {
    path: ["limit"],
    error: ({ input }) => below(input, "limit", "request"),
  });

// A refinement's message gives value, bound and next step; `parseConfig` adds the file.
function below(input: unknown, key: string, bound: string): string {
  const values = input as Record<string, number>;
  return `${values[key] ?? NaN} is below ${bound} (${values[bound] ?? NaN}); raise it`;
}

const sizeWithMax = z
  .strictObject({ request: z.number().positive(), limit: z.number().positive(), max: z.number().positive() })
  .refine(({ request, limit }) => request <= limit, {
    path: ["limit"],
    error: ({ input }) => below(input, "limit", "request"),
  })
  .refine(({ limit, max }) => limit <= max, { path: ["max"], error: ({ input }) => below(input, "max", "limit") });

const size = {
  cpu: requestLimit.meta({ description: "Cores of one container" }),
  memoryMiB: requestLimit.meta({ description: "Memory of one container, in MiB" }),
};
const Size = z.strictObject(size);

const sizeGiB = z.int().min(1).meta({ description: "Size of the volume, in GiB" });
const cidr = z.cidrv4("expected an IPv4 network such as 10.244.0.0/16");
const kubernetesName = z
  .string()
  .max(53)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, "expected lower-case letters, digits and dashes");

const Taint = z.strictObject({
  key: z.string().min(1),
  value: z.string().optional(),
  effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
});

const nodeFields = z.strictObject({
  cpu: z.int().min(1).meta({ description: "Logical CPUs" }),
  memoryGiB: z.int().min(1),
  pods: z.int().min(1).default(110),
  gpus: z
    .strictObject({ product: z.string(), count: z.int().min(1) })
    .optional()
    .meta({ description: "NVIDIA GPUs, as the device plugin counts them: a K80 board shows as two" }),
  labels: z.record(z.string(), z.string()).default({}),
  taints: z.array(Taint).default([]),
  reserved: z
    .strictObject({ cpu: z.number().min(0), memoryGiB: z.number().min(0) })
    .meta({ description: "What the system and other tenants of the node take" }),
});
const Node = (["cpu", "memoryGiB"] as const).reduce(
  (schema, resource) =>
    schema.refine((node) => node.reserved[resource] < node[resource], {
      path: ["reserved", resource],
      error: ({ input }) => {
        const { reserved, [resource]: all } = input as z.output<typeof nodeFields>;
        return `${reserved[resource]} leaves nothing of the node's ${all}; lower it`;
      },
    }),
  nodeFields,
);

const Cluster = z.strictObject({
  context: z.string().min(1).meta({ description: "Context of the kubeconfig that leads to this cluster" }),
  kubernetesVersion: z
    .string()
    .regex(/^1\.\d+$/, "expected a minor version such as 1.34, in quotes")
    .meta({ description: "Minor version that the nodes run" }),
  apiServer: z
    .strictObject({ cidrs: z.array(cidr).min(1), port: z.int().min(1).max(65535) })
    .meta({ description: "Where pods reach the API server, and from where it calls webhooks" }),
  podCidr: cidr.meta({ description: "Network of all pods", immutable: true }),
  nodeCidrs: z.array(cidr).min(1).meta({ description: "Networks of the nodes, where Prometheus asks kubelets" }),
  nodes: z
    .record(kubernetesName, Node)
    .refine((nodes) => Object.keys(nodes).length > 0, "names no node; describe at least one")
    .meta({ description: "The node inventory: rehearsals simulate it, capacity is checked against it" }),
});

const Quota = z.strictObject({
  cpu: requestLimit.meta({ description: "Cores of all pods together" }),
  memoryGiB: requestLimit.meta({ description: "Memory of all pods together, in GiB" }),
  pods: z.int().min(1),
  services: z.int().min(1),
  loadBalancers: z.int().min(0),
  nodePorts: z.int().min(0),
  claims: z.int().min(1),
  storageGiB: z.int().min(1),
  container: z
    .strictObject({ cpu: sizeWithMax, memoryMiB: sizeWithMax })
    .meta({ description: "What a container gets that names no size, and the most that one may ask for" }),
});

const ObjectStore = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("minio"),
    ...size,
    volume: z.strictObject({ sizeGiB }),
    region: z.string().default("us-east-1"),
    setup: Size,
  }),
  z.strictObject({
    kind: z.literal("external"),
    url: z
      .url({ protocol: /^https?$/, error: "expected an http or https URL" })
      .meta({ description: "Base URL of the S3 API" }),
    cidrs: z.array(cidr).min(1).meta({ description: "Where that URL leads: what policies let pods reach" }),
    region: z.string(),
    setup: Size,
  }),
]);

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

const Ray = z.discriminatedUnion("mode", [
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

const range = z
  .strictObject({ min: z.int().min(1), max: z.int().min(1) })
  .refine(({ min, max }) => min <= max, { path: ["max"], error: ({ input }) => below(input, "max", "min") });

const cronSchedule = z
  .string()
  .regex(/^\S+( \S+){4}$/, "expected five cron fields such as 15 3 * * *")
  .meta({ description: "When it runs, in UTC" });

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

const Serve = z.strictObject({
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

const Paging = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.enum(["pagerduty", "webhook"]),
    cidrs: z.array(cidr).min(1).meta({ description: "Where it leads: what policies let Alertmanager reach" }),
    port: z.int().min(1).max(65535).default(443),
  }),
  z.strictObject({
    kind: z.literal("none"),
    because: z.string().min(10).meta({ description: "Why nobody is told of a critical alert" }),
  }),
]);

const Monitoring = z.strictObject({
  retentionDays: z.int().min(1).meta({ description: "How long metrics are kept, while the volume has room" }),
  prometheus: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  alertmanager: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  grafana: Size,
  operator: Size,
  kubeStateMetrics: Size,
  nodeExporter: Size,
  reloader: Size.meta({ description: "Each container that watches configuration beside another" }),
  paging: Paging.meta({ description: "Who is told of alerts; the credential is carbon:pagingCredential" }),
});

/** What owns data, by the name that `protection.lifted` takes. */
export const DATA_OWNERS = ["postgres", "object-store", "redis"] as const;
export type DataOwner = (typeof DATA_OWNERS)[number];

/** The values of a stack: everything in which environments differ, under the one key `carbon:platform`. */
export const PlatformConfig = z
  .strictObject({
    domain: z
      .string()
      .regex(/^[a-z0-9.-]+$/, "expected a DNS name")
      .meta({ description: "DNS zone of every public host name" }),
    cluster: Cluster,
    charts: z
      .strictObject({ directory: z.string().min(1) })
      .meta({ description: "Folder with the pinned charts; `npm run charts:pull` fills it" }),
    storage: z.strictObject({
      provisioner: z.literal("existing").meta({ description: "The cluster brings the provisioner of its volumes" }),
      className: kubernetesName.meta({
        description: "StorageClass of all volumes; it must keep the volumes of deleted claims",
        immutable: true,
      }),
    }),
    quota: Quota,
    protection: z
      .strictObject({ lifted: z.array(z.enum(DATA_OWNERS)).default([]) })
      .default({ lifted: [] })
      .meta({ description: "What owns data and may be deleted or replaced all the same, by name" }),
    certManager: Size,
    postgres: z.strictObject({
      instances: z.int().min(1),
      ...size,
      volume: z.strictObject({ sizeGiB }),
      operator: Size,
    }),
    objectStore: ObjectStore,
    mlflow: z.strictObject({ replicas: z.int().min(1), webWorkers: z.int().min(1).default(2), ...size }),
    ray: Ray,
    serve: Serve,
    redis: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
    feast: z.strictObject({
      replicas: range.meta({ description: "Pods, autoscaled by CPU" }),
      http: Size.meta({ description: "The container that answers HTTP" }),
      grpc: Size.meta({ description: "The container that answers gRPC" }),
      jobs: Size.meta({ description: "A Job that registers definitions or materializes features" }),
    }),
    monitoring: Monitoring,
    verify: Size.meta({ description: "The pod with which `npm run verify` asks from inside the cluster" }),
    secrets: z
      .strictObject({ required: z.array(z.enum(Object.keys(SECRET_KEYS) as SecretName[])).default([]) })
      .default({ required: [] })
      .meta({ description: "Credentials that nobody may generate: `up` stops until they are set" }),
  })
  .superRefine(({ ray: { gpuWorkers }, cluster: { nodes } }, context) => {
    if (gpuWorkers === undefined) return;
    for (const { path, message } of gpuFaults({ workers: gpuWorkers, nodes })) {
      context.addIssue({ code: "custom", path: ["ray", "gpuWorkers", ...path], message });
    }
  });
export type PlatformConfig = z.output<typeof PlatformConfig>;

/** The values of the current stack. Throws one RunError that names every fault. */
export function loadConfig(): PlatformConfig {
  return parseConfig(new pulumi.Config().getObject("platform"), `Pulumi.${pulumi.getStack()}.yaml`);
}

/** Checks the value of `carbon:platform`; `file` is where a reader mends it. */
export function parseConfig(value: unknown, file: string): PlatformConfig {
  const parsed = PlatformConfig.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.flatMap((issue) => faultsOf(issue, file)).map((fault) => `\n  ${fault}`);
  throw new pulumi.RunError(`${file}, carbon:platform has ${faults.length} fault(s):${faults.join("")}`);
}

/** Per fault one line: the key, its value, what is allowed and the next step. */
function faultsOf(issue: z.core.$ZodIssue, file: string): string[] {
  const key = issue.path.join(".") || "carbon:platform";
  const expected = issue.message.replace(/^[^:]*: /, "").replace(/, received .*/, "");
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map(
        (unknown) =>
          `${[...issue.path, unknown].join(".")}: unknown key; docs/schema/stack-config.json lists what is allowed; ` +
          `remove it or correct its name in ${file}`,
      );
    case "custom":
      return [`${key}: ${issue.message} in ${file}`];
    case "invalid_key":
      return [`${key}: this name is not allowed: ${issue.issues[0]?.message ?? expected}; correct it in ${file}`];
    case "invalid_union": {
      const given = show((issue.input as Record<string, unknown>)[issue.discriminator ?? ""]);
      return [
        `${key}: ${given} is not allowed: ${expected.replace(/^.* Expected/, "expected")}; correct it in ${file}`,
      ];
    }
    default:
      if (issue.input === undefined) return [`${key}: missing: ${expected}; add it to ${file}`];
      return [`${key}: ${show(issue.input)} is not allowed: ${expected}; correct it in ${file}`];
  }
}

function show(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
