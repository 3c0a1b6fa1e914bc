import { z } from "zod";
import { objectName, TENANT_USERS } from "../../components/base/names";
import { Quota } from "./cluster";
import { bucket } from "./data";
import { BACKUPS, BUCKETS, DATABASES, NAMESPACES, WAREHOUSE } from "./own-names";
import { RayWorkers } from "./ml";
import { kubernetesName, peopleGroup, Size, size, Volume } from "./shapes";
import { topicName } from "./streams";
import type { SystemName } from "./systems";

// The role of its owner, and parts of names in Kubernetes and in the shell, are made of it.
const database = z.string().regex(/^[a-z][a-z0-9]{0,30}$/, "expected at most 31 lower-case letters and digits");

const indices = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_.-]*\*?$/, "expected the name of an index, or a prefix followed by *, such as pricing-*");

// A folder in the object store is called so, too.
const schema = z.string().regex(/^[a-z][a-z0-9_]{0,62}$/, "expected at most 63 lower-case letters, digits and _");

const KINDS = {
  bucket: {
    system: "objectStore",
    name: bucket.meta({ description: "A bucket of the object store, which is made if it is not there" }),
    hasAccess: true,
  },
  database: {
    system: "postgres",
    name: database.meta({ description: "A database of the tenant's own in PostgreSQL" }),
    hasAccess: false,
  },
  topic: {
    system: "kafka",
    name: topicName.meta({ description: "A topic of `kafka.topics`" }),
    hasAccess: true,
  },
  catalog: {
    system: "polaris",
    name: z.enum(["iceberg"]).meta({ description: "The catalog of Iceberg tables, with `schema`" }),
    hasAccess: false,
  },
  search: {
    system: "elasticsearch",
    name: indices.meta({ description: "The tenant's indices in Elasticsearch; their names begin with its own" }),
    hasAccess: false,
  },
} as const satisfies Record<string, { system: SystemName; name: z.ZodType<string>; hasAccess: boolean }>;

// APIs, which have one way in for programs.
const APIS = { mlflow: "mlflow", features: "feast", serve: "serve" } as const satisfies Record<string, SystemName>;

type PartKind = keyof typeof KINDS;
type ApiKind = keyof typeof APIS;

/** What a tenant may be granted: a part of a store, an API, or a Ray cluster of its own. */
export type GrantKind = PartKind | ApiKind | "ray";

const kinds = Object.keys(KINDS) as PartKind[];
const apis = Object.keys(APIS) as ApiKind[];

/** One thing that a tenant may use. */
export interface Grant {
  readonly kind: GrantKind;
  readonly name: string;
  readonly access: "read" | "write";
}

const named = Object.fromEntries(kinds.map((kind) => [kind, KINDS[kind].name.optional()])) as {
  [Kind in PartKind]: z.ZodOptional<(typeof KINDS)[Kind]["name"]>;
};

const EXPECTED = `expected ${[...apis, "ray"].join(", ")}, or one of ${kinds.join(", ")} with its name`;

const Part = z
  .strictObject({
    ...named,
    schema: schema.optional().meta({ description: "Of a catalog: a schema of the tenant's own, with its tables" }),
    access: z
      .enum(["read", "write"])
      .optional()
      .meta({ description: "Of a bucket or topic: `write` may also read. What else there is belongs to the tenant" }),
  })
  .transform((grant, context): Grant => {
    const [kind, ...more] = kinds.filter((one) => grant[one] !== undefined);
    if (kind === "catalog" && grant.schema === undefined) {
      context.addIssue({ code: "custom", path: ["schema"], message: "missing: the tenant's schema; add it" });
      return z.NEVER;
    }
    const name = kind && (kind === "catalog" ? grant.schema : grant[kind]);
    if (
      kind === undefined ||
      name === undefined ||
      more.length > 0 ||
      (kind !== "catalog" && grant.schema !== undefined)
    ) {
      context.addIssue({ code: "custom", message: EXPECTED });
      return z.NEVER;
    }
    if (KINDS[kind].hasAccess === (grant.access !== undefined)) return { kind, name, access: grant.access ?? "write" };
    const message = KINDS[kind].hasAccess
      ? "missing: read or write; add it"
      : `a ${kind} belongs to its tenant, who may read and write; remove it`;
    context.addIssue({ code: "custom", path: ["access"], message });
    return z.NEVER;
  });

const Grant = z.union(
  [
    z
      .enum([...apis, "ray"])
      .transform((kind): Grant => ({ kind, name: kind, access: "write" }))
      .meta({
        description:
          "An API, through the gateway and with a key of the tenant's; or a Ray cluster in its namespace, of the size of its key `ray`",
      }),
    Part,
  ],
  { error: EXPECTED },
);

const TenantQuota = Quota.omit({ loadBalancers: true, nodePorts: true }).extend({
  services: Quota.shape.services.default(20),
  claims: Quota.shape.claims.default(10),
});

// A cluster that trains a small model.
const CLUSTER = {
  head: { cpu: { request: 0.25, limit: 1 }, memoryMiB: { request: 1024, limit: 2048 }, volume: { sizeGiB: 5 } },
  workers: { min: 1, max: 2, cpu: { request: 0.5, limit: 1 }, memoryMiB: { request: 1024, limit: 2048 } },
};

const TenantRay = z.strictObject({
  head: z
    .strictObject({ ...size, volume: Volume.meta({ description: "Logs and runtime environments" }) })
    .default(CLUSTER.head)
    .meta({ description: "Its head, which runs no tasks" }),
  workers: RayWorkers.default(CLUSTER.workers).meta({ description: "Its workers, autoscaled by CPU" }),
});

const NOTEBOOK_SIZE = { cpu: { request: 0.25, limit: 1 }, memoryMiB: { request: 512, limit: 2048 } };

const Notebooks = z.strictObject({
  image: z
    .string()
    .optional()
    .meta({ description: "Image with JupyterLab, made of the platform's (docs/tenants.md). Default: the platform's" }),
  size: Size.default(NOTEBOOK_SIZE).meta({ description: "All notebooks that run at a time together" }),
  gpus: z.int().min(1).optional().meta({ description: "GPUs of one node; by default none" }),
  volume: Volume.meta({ description: "The home directory, where notebooks are kept" }),
});

const Tenant = z.strictObject({
  quota: TenantQuota.meta({ description: "What all pods and volumes of the tenant may take together" }),
  members: z
    .array(peopleGroup)
    .min(1)
    .meta({ description: "Groups of the cluster whose people run pods in the tenant's namespace" }),
  ray: TenantRay.optional().meta({ description: "Size of the Ray cluster that it uses: a part of its quota" }),
  notebooks: Notebooks.optional().meta({
    description: "JupyterLab in the tenant's namespace, logged in to what it uses: a part of its quota. Default: none",
  }),
  uses: z.array(Grant).default([]).meta({ description: "What its pods may reach, each with a login of its own" }),
});

/** Those who use the platform from a namespace of their own. */
export const Tenants = z
  .record(kubernetesName, Tenant)
  .default({})
  .meta({ description: "Teams with a namespace of their own, which has the tenant's name (docs/tenants.md)" });

type Tenants = z.output<typeof Tenants>;
type Tenant = z.output<typeof Tenant>;

/** What the program calls a tenant's JupyterLab. */
export function notebookUser(tenant: string): string {
  return objectName(`${TENANT_USERS}${tenant}`, "notebook");
}

/** The size of a tenant's Ray cluster. */
export function rayOf(tenants: Tenants, { tenant }: TenantGrant): z.output<typeof TenantRay> {
  return tenants[tenant]?.ray ?? CLUSTER;
}

/** A grant, and whose it is. */
export interface TenantGrant extends Grant {
  readonly tenant: string;
  /** What the system calls the user. */
  readonly user: string;
  /** The Secret in the tenant's namespace that leads there. */
  readonly secret: string;
}

/** The grants of all tenants, or those of one kind. */
export function tenantGrants({ tenants }: { readonly tenants: Tenants }, ...only: readonly GrantKind[]): TenantGrant[] {
  return Object.entries(tenants).flatMap(([tenant, { uses }]) =>
    uses
      .map((grant) => {
        const name = grant.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
        const secret = grant.kind in KINDS ? objectName(grant.kind, name.replace(/-$/, "")) : grant.kind;
        return { ...grant, tenant, secret, user: objectName(`${TENANT_USERS}${tenant}`, secret) };
      })
      .filter(({ kind }) => only.length === 0 || only.includes(kind)),
  );
}

/** Where a schema's files lie: a bucket, and a folder of it. */
export function filesOf({ name: schema }: TenantGrant): string {
  return `${WAREHOUSE}/${schema}`;
}

/** What the object store calls the user of a schema's files. */
export function filesUser({ user }: TenantGrant): string {
  return objectName(user, "files");
}

interface Fault {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

interface Systems {
  readonly tenants: Tenants;
  readonly objectStore?: { readonly kind: string } | undefined;
  readonly postgres?: { readonly kind?: string | undefined; readonly database?: string } | undefined;
  readonly polaris?: object | undefined;
  readonly kafka?:
    | { readonly topics: Readonly<Record<string, unknown>>; readonly clients: Readonly<Record<string, unknown>> }
    | undefined;
}

/** What tenants ask for and cannot have. */
export function tenantFaults(config: Systems): Fault[] {
  const all = tenantGrants(config);
  const names = Object.keys(config.tenants)
    .filter((name) => name in NAMESPACES || /^(default$|kube-)/.test(name))
    .map((name) => ({ path: ["tenants", name], message: "this namespace is not a tenant's; choose another name" }));
  const grants = Object.entries(config.tenants).flatMap(([tenant, { uses }]) => {
    const own = all.filter((grant) => grant.tenant === tenant);
    return uses.flatMap(({ kind, name }, index) => {
      const grant = own[index];
      const message = grant && grantFault(grant, all, config);
      return message === undefined
        ? []
        : [
            {
              path: ["tenants", tenant, "uses", index, ...(kind in KINDS ? [kind] : [])],
              message: `${name} ${message}`,
            },
          ];
    });
  });
  return [...names, ...grants, ...Object.entries(config.tenants).flatMap(roomFaults)];
}

/** The pods that the program runs in a tenant's namespace, at most. */
function ownPods({ ray = CLUSTER, notebooks, uses }: Tenant): OwnPod[] {
  const cluster = [
    { key: "ray.head", count: 1, size: ray.head, volumeGiB: ray.head.volume.sizeGiB },
    { key: "ray.workers", count: ray.workers.max, size: ray.workers },
  ];
  const lab = notebooks && {
    key: "notebooks.size",
    count: 1,
    size: notebooks.size,
    volumeGiB: notebooks.volume.sizeGiB,
  };
  return [...(uses.some(({ kind }) => kind === "ray") ? cluster : []), ...(lab ? [lab] : [])];
}

interface OwnPod {
  readonly key: string;
  readonly count: number;
  readonly size: OwnSize;
  readonly volumeGiB?: number;
}

type OwnSize = Pick<z.output<typeof RayWorkers>, "cpu" | "memoryMiB">;

/** Where the program's pods have no room in a tenant's quota. */
function roomFaults([tenant, config]: [string, Tenant]): Fault[] {
  const { quota } = config;
  const pods = ownPods(config);
  const sum = (part: (pod: (typeof pods)[number]) => number) =>
    pods.reduce((all, pod) => all + pod.count * part(pod), 0);
  const gib = (part: "request" | "limit") => sum(({ size }) => size.memoryMiB[part]) / 1024;
  const wanted = [
    { path: ["cpu", "request"], has: quota.cpu.request, takes: sum(({ size }) => size.cpu.request) },
    { path: ["cpu", "limit"], has: quota.cpu.limit, takes: sum(({ size }) => size.cpu.limit) },
    { path: ["memoryGiB", "request"], has: quota.memoryGiB.request, takes: gib("request") },
    { path: ["memoryGiB", "limit"], has: quota.memoryGiB.limit, takes: gib("limit") },
    { path: ["pods"], has: quota.pods, takes: sum(() => 1) },
    { path: ["storageGiB"], has: quota.storageGiB, takes: sum(({ volumeGiB = 0 }) => volumeGiB) },
  ];
  const short = wanted
    .filter(({ has, takes }) => takes > has)
    .map(({ path, has, takes }) => ({
      path: ["tenants", tenant, "quota", ...path],
      message: `${has} is below what its own pods take at most (${takes}, by ${[...new Set(pods.map(({ key }) => key.split(".")[0]))].join(" and ")}); raise it, or make them smaller`,
    }));
  const large = pods.flatMap(({ key, size }) =>
    (["cpu", "memoryMiB"] as const)
      .filter((resource) => size[resource].limit > quota.container[resource].max)
      .map((resource) => ({
        path: ["tenants", tenant, ...key.split("."), resource, "limit"],
        message: `${size[resource].limit} is above quota.container.${resource}.max (${quota.container[resource].max}); lower it, or raise that`,
      })),
  );
  const unused = config.ray !== undefined && !pods.some(({ key }) => key.startsWith("ray."));
  const idle = { path: ["tenants", tenant, "ray"], message: "is the size of nothing; add ray to uses, or remove it" };
  return [...short, ...large, ...(unused ? [idle] : [])];
}

function needsOf(kind: GrantKind): string[] {
  if (kind === "ray") return [];
  return kind in APIS ? [APIS[kind as ApiKind], "gateway"] : [KINDS[kind as PartKind].system];
}

/** Why a tenant cannot have a grant, as what is said of its name. */
function grantFault(grant: TenantGrant, all: readonly TenantGrant[], config: Systems): string | undefined {
  const { kind, tenant, name, user } = grant;
  const needs = needsOf(kind);
  const missing = needs.find((system) => config[system as keyof Systems] === undefined);
  if (missing !== undefined)
    return `needs ${missing}, which is not configured; configure ${missing}, or remove the grant`;
  const twin = all.find((other) => other !== grant && other.user === user);
  if (twin !== undefined) return `and ${twin.name} get one login, ${user}; keep one, or rename one`;
  const others = all.filter((other) => other.kind === kind && other.tenant !== tenant);
  switch (kind) {
    case "bucket":
      if (config.objectStore?.kind === "external") {
        return "is in a store that issues its own logins; make bucket and login there, and remove the grant";
      }
      return [...BUCKETS, BACKUPS].some((own) => own === name)
        ? "is a bucket of the platform's; choose another"
        : undefined;
    case "database": {
      const reserved = [...DATABASES, ...SERVER_DATABASES, config.postgres?.database];
      if (reserved.includes(name)) return "is a database of the platform's; choose another";
      const owner = others.find((other) => other.name === name)?.tenant;
      return owner === undefined ? undefined : `is ${owner}'s as well, and a database has one owner; choose another`;
    }
    case "topic":
      if (config.kafka && !(name in config.kafka.topics)) {
        return "is no topic; add it to kafka.topics or correct its name";
      }
      return config.kafka && user in config.kafka.clients
        ? `needs the name ${user}, which kafka.clients has; rename that client`
        : undefined;
    case "catalog": {
      if (config.objectStore?.kind === "external") {
        return "has its files in a store that issues its own logins; remove the grant";
      }
      if (name === PROOF) return "is what Polaris' set-up makes and drops; choose another";
      const owner = others.find((other) => other.name === name)?.tenant;
      return owner === undefined ? undefined : `is ${owner}'s as well, and a schema has one owner; choose another`;
    }
    case "mlflow":
    case "features":
    case "serve":
    case "ray":
      return undefined;
    case "search": {
      if (!name.startsWith(`${tenant}-`)) return `does not begin with ${tenant}-; rename the indices`;
      const other = others.find((one) => overlap(one.name, name));
      return other && `meets ${other.name} of ${other.tenant}; choose names that begin otherwise`;
    }
  }
}

// See polaris-setup.py.
const PROOF = "carbon_proof";

// Those of PostgreSQL itself, and the one that CloudNativePG makes first.
const SERVER_DATABASES = ["postgres", "template0", "template1", "app"];

/** Whether an index may match both patterns. */
function overlap(one: string, other: string): boolean {
  const [a, b] = [one, other].map((pattern) => pattern.replace(/\*$/, "")) as [string, string];
  return (one.endsWith("*") && b.startsWith(a)) || (other.endsWith("*") && a.startsWith(b)) || one === other;
}
