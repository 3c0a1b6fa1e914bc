import { z } from "zod";

/** What the scheduler reserves and what the kernel allows, of one resource. */
export const requestLimit = z
  .strictObject({ request: z.number().positive(), limit: z.number().positive() })
  .refine(({ request, limit }) => request <= limit, {
    path: ["limit"],
    error: ({ input }) => below(input, "limit", "request"),
  });

/** What a refinement says of a value below its bound: value, bound and next step; `parseConfig` adds the file. */
export function below(input: unknown, key: string, bound: string): string {
  const values = input as Record<string, number>;
  return `${values[key] ?? NaN} is below ${bound} (${values[bound] ?? NaN}); raise it`;
}

/** As {@link requestLimit}, with the most that anybody may ask for. */
export const sizeWithMax = z
  .strictObject({ request: z.number().positive(), limit: z.number().positive(), max: z.number().positive() })
  .refine(({ request, limit }) => request <= limit, {
    path: ["limit"],
    error: ({ input }) => below(input, "limit", "request"),
  })
  .refine(({ limit, max }) => limit <= max, { path: ["max"], error: ({ input }) => below(input, "max", "limit") });

/** The keys of a container's size. */
export const size = {
  cpu: requestLimit.meta({ description: "Cores of one container" }),
  memoryMiB: requestLimit.meta({ description: "Memory of one container, in MiB" }),
};
/** The size of one container. */
export const Size = z.strictObject(size);

/** The size of a volume. */
export const sizeGiB = z.int().min(1).meta({ description: "Size of the volume, in GiB" });
/** An IPv4 network. */
export const cidr = z.cidrv4("expected an IPv4 network such as 10.244.0.0/16");
/** A name that goes into those of Kubernetes objects. */
export const kubernetesName = z
  .string()
  .max(53)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, "expected lower-case letters, digits and dashes");

/** Bounds between which something is scaled. */
export const range = z
  .strictObject({ min: z.int().min(1), max: z.int().min(1) })
  .refine(({ min, max }) => min <= max, { path: ["max"], error: ({ input }) => below(input, "max", "min") });

/** When something runs. */
export const cronSchedule = z
  .string()
  .regex(/^\S+( \S+){4}$/, "expected five cron fields such as 15 3 * * *")
  .meta({ description: "When it runs, in UTC" });
