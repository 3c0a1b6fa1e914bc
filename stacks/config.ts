import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
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

const Ray = z.discriminatedUnion("mode", [
  z.strictObject({
    mode: z.literal("standalone"),
    head: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
    workers: RayWorkers,
  }),
]);

const Replicas = z
  .strictObject({ min: z.int().min(1), max: z.int().min(1) })
  .refine(({ min, max }) => min <= max, { path: ["max"], error: ({ input }) => below(input, "max", "min") })
  .meta({ description: "Pods, autoscaled by CPU" });

/** What owns data, by the name that `protection.lifted` takes. */
export const DATA_OWNERS = ["postgres", "object-store", "redis"] as const;
export type DataOwner = (typeof DATA_OWNERS)[number];

/** The values of a stack: everything in which environments differ, under the one key `carbon:platform`. */
export const PlatformConfig = z.strictObject({
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
  redis: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  feast: z.strictObject({
    replicas: Replicas,
    http: Size.meta({ description: "The container that answers HTTP" }),
    grpc: Size.meta({ description: "The container that answers gRPC" }),
    jobs: Size.meta({ description: "A Job that registers definitions or materializes features" }),
  }),
  secrets: z
    .strictObject({ required: z.array(z.enum(Object.keys(SECRET_KEYS) as SecretName[])).default([]) })
    .default({ required: [] })
    .meta({ description: "Credentials that nobody may generate: `up` stops until they are set" }),
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
