import { X509Certificate } from "node:crypto";
import { z } from "zod";

/** Of a resource: Kubernetes knows no smaller part of a CPU. */
const amount = z.number().min(0.001);

/** What a refinement says of a value below its bound; `parseConfig` adds the file. */
export const notBelow = (key: string, bound: string) => ({
  path: [key],
  error: ({ input }: { readonly input: unknown }) => {
    const values = input as Record<string, number>;
    return `${values[key] ?? NaN} is below ${bound} (${values[bound] ?? NaN}); raise it`;
  },
});

/** A TCP port. */
export const port = z.int().min(1).max(65535);

/** The request and limit of one resource. */
export const requestLimit = z
  .strictObject({ request: amount, limit: amount })
  .refine(({ request, limit }) => request <= limit, notBelow("limit", "request"));

/** {@link requestLimit} with an upper bound for every limit. */
export const sizeWithMax = z
  .strictObject({ request: amount, limit: amount, max: amount })
  .refine(({ request, limit }) => request <= limit, notBelow("limit", "request"))
  .refine(({ limit, max }) => limit <= max, notBelow("max", "limit"));

/** The fields of a container's size. */
export const size = {
  cpu: requestLimit.meta({ description: "CPU cores per container" }),
  memoryMiB: requestLimit.meta({ description: "Memory per container, in MiB" }),
};
/** A container's CPU and memory. */
export const Size = z.strictObject(size);

/** The size of an exporter, a small program that answers every half minute. */
export const exporter = Size.default({
  cpu: { request: 0.02, limit: 0.2 },
  memoryMiB: { request: 32, limit: 128 },
}).meta({ description: "The pod that asks the server for its metrics" });

/** An add-on of the cluster: what installs it, or that the cluster has it. */
export const addOn = <S extends z.ZodType>(installed: S) =>
  z.union([z.literal("existing"), installed], { error: 'expected "existing" or its sizes' });

/** An IPv4 network. */
export const cidr = z
  .cidrv4({ error: "expected an IPv4 network such as 10.244.0.0/16", abort: true })
  .refine((network) => hostPart(network) === 0, {
    error: ({ input }) => `${String(input)} is a host in a network; name the network, or the host as /32`,
  });

function hostPart(network: string): number {
  const [address = "", length] = network.split("/");
  return address.split(".").reduce((value, byte) => value * 256 + Number(byte), 0) % 2 ** (32 - Number(length));
}

/** The URL of a server outside the platform. */
export const serverUrl = (protocol: RegExp, expected: string) =>
  z.url({ protocol, error: expected, abort: true }).refine((url) => new URL(url).username === "", {
    error: "has a login in it; take it out and set the credential",
    abort: true,
  });

/** The URL of a server outside the platform that speaks TLS. */
export const httpsUrl = serverUrl(/^https$/, "expected an https URL");

/** Where pods reach a server outside the cluster. */
export const outside = {
  cidrs: z.array(cidr).min(1).meta({ description: "Its addresses, opened by network policies" }),
};

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Certificates of authorities, in PEM. */
export const certificates = z.string().refine(areCertificates, { error: "is no list of certificates in PEM" });

function areCertificates(text: string): boolean {
  const found = text.match(CERTIFICATE) ?? [];
  if (found.length === 0 || text.replace(CERTIFICATE, "").trim() !== "") return false;
  try {
    for (const one of found) new X509Certificate(one);
    return true;
  } catch {
    return false;
  }
}

/** Who says who people are, by OpenID Connect. */
export const identityProvider = { issuer: httpsUrl.meta({ description: "The identity provider" }), ...outside };

/** A name that becomes part of Kubernetes object names. */
export const kubernetesName = z
  .string()
  .max(53)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, "expected lower-case letters, digits and dashes");

/** The volume of a pod. */
export const Volume = z.strictObject({
  sizeGiB: z.int().min(1).meta({ description: "Volume size, in GiB", lasting: "volume" }),
  className: kubernetesName.optional().meta({
    description: "StorageClass of the volume; its reclaim policy must be Retain. Default: storage.className",
    lasting: "fixed",
  }),
});

export type DeclaredVolume = z.output<typeof Volume>;

const NAME = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
const labelKey = z
  .string()
  .regex(new RegExp(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?${NAME}$`), "expected a key such as example.com/disk");
const labelValue = z
  .string()
  .regex(new RegExp(`^(${NAME})?$`), "expected at most 63 letters, digits, dots, dashes and underscores");

/** Labels of nodes. */
export const nodeSelector = z.record(labelKey, labelValue).default({});

/** Taints of nodes that pods put up with. */
export const tolerations = z
  .array(
    z.strictObject({
      key: labelKey,
      value: labelValue.optional().meta({ description: "Of the taint. Default: any" }),
      effect: z.enum(["NoSchedule", "NoExecute"]).optional().meta({ description: "Default: both" }),
    }),
  )
  .default([]);

/** A registry of images, or a part of it. */
export const registry = z
  .string()
  .regex(
    /^[a-z0-9.-]+(:[0-9]+)?(\/[a-z0-9._-]+)*$/,
    "expected the host of a registry and perhaps a folder, such as ghcr.io/254carbon",
  );

/** A group of people that the cluster knows. */
export const peopleGroup = z
  .string()
  .min(1)
  .regex(/^(?!system:)/, "expected a group of people; those of the system are everybody");

/** The account of pods that the program does not make. */
export const clientAccount = kubernetesName
  .default("default")
  .meta({ description: "ServiceAccount of the pods: the mesh knows them by it" });

/** The bounds of an autoscaler. */
export const range = z
  .strictObject({ min: z.int().min(1), max: z.int().min(1) })
  .refine(({ min, max }) => min <= max, notBelow("max", "min"));

/** A cron schedule. */
export const cronSchedule = z
  .string()
  .regex(/^\S+( \S+){4}$/, { error: "expected five cron fields such as 15 3 * * *", abort: true })
  .refine((schedule) => schedule.split(" ").every((field, index) => fitsCron(field, CRON[index])), {
    error: ({ input }) =>
      `"${String(input)}" names no time: minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-6 (Sunday is 0); correct it`,
  })
  .meta({ description: "Cron schedule, in UTC" });

interface CronField {
  readonly min: number;
  readonly max: number;
  /** Names for the numbers, starting at `min`. */
  readonly names?: readonly string[];
}

// As robfig/cron parses them, which Kubernetes and CloudNativePG use: Sunday is 0, never 7.
const CRON: readonly CronField[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: "jan feb mar apr may jun jul aug sep oct nov dec".split(" ") },
  { min: 0, max: 6, names: "sun mon tue wed thu fri sat".split(" ") },
];

/** Whether every part of a field, such as `1-5`, `MON` or an asterisk with a step, is in range. */
function fitsCron(field: string, { min, max, names = [] }: CronField = { min: 0, max: 0 }): boolean {
  const number = (text: string): number => {
    const index = names.indexOf(text.toLowerCase());
    return index < 0 ? Number(/^[0-9]+$/.exec(text)?.[0]) : min + index;
  };
  return field.split(",").every((part) => {
    const [, first, last = first, step] = /^(\*|\?|\w+)(?:-(\w+))?(?:\/([0-9]+))?$/.exec(part) ?? [];
    if (first === undefined || last === undefined || Number(step) === 0) return false;
    if (first === "*" || first === "?") return first === last;
    return min <= number(first) && number(first) <= number(last) && number(last) <= max;
  });
}
