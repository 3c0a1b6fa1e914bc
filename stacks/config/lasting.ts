import { z } from "zod";
import type { Lasting, LastingValuesArgs } from "../../components/ground/lasting-values";
import { PlatformConfig } from "./schema";

export type { Lasting };

type Values = LastingValuesArgs["values"];

/**
 * The values of a config that last, as the schema's metadata marks them, by the StorageClass that decides whether volumes can
 * grow: what is no volume is with the default. An optional value that is absent is empty.
 */
export function lastingValues(config: PlatformConfig): ReadonlyMap<string, Values> {
  const found = walk(PlatformConfig, config, []);
  const of = (lasting: Lasting) =>
    Object.fromEntries(found.filter((one) => one.lasting === lasting).map(({ key, value }) => [key, value]));
  const { className } = config.storage;
  const [fixed, raised, volumes] = [of("fixed"), of("raised"), Object.entries(of("volume"))];
  const classOf = (key: string) => String(fixed[key.replace(/sizeGiB$/, "className")] || className);
  const classes = new Set([className, ...volumes.map(([key]) => classOf(key))]);
  return new Map(
    [...classes].map((one) => {
      const volume = Object.fromEntries(volumes.filter(([key]) => classOf(key) === one));
      return [one, one === className ? { fixed, raised, volume } : { fixed: {}, raised: {}, volume }];
    }),
  );
}

/** The StorageClasses of all volumes, the default first. */
export function storageClasses(config: PlatformConfig): string[] {
  return [...lastingValues(config).keys()];
}

/** The StorageClasses that the cluster must have, by the key that names each. */
export function existingClasses(config: PlatformConfig): Readonly<Record<string, string>> {
  const { className, provisioner } = config.storage;
  const made = provisioner === "local-path" ? className : undefined;
  const found = storageClasses(config).filter((one) => one !== made);
  return Object.fromEntries(found.map((one) => [one, one === className ? "storage.className" : "volume.className"]));
}

interface Found {
  readonly key: string;
  readonly lasting: Lasting;
  readonly value: string | number;
}

function walk(schema: z.core.$ZodType, value: unknown, path: readonly string[]): Found[] {
  const { lasting } = (z.globalRegistry.get(schema) ?? {}) as { readonly lasting?: Lasting };
  if (lasting !== undefined) return [{ key: path.join("."), lasting, value: (value ?? "") as string | number }];
  if (value === undefined) return [];
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case "optional":
    case "default":
    case "prefault":
      return walk(def.innerType, value, path);
    case "object":
      return Object.entries(def.shape).flatMap(([key, inner]) =>
        walk(inner, (value as Record<string, unknown>)[key], [...path, key]),
      );
    case "record":
      return Object.entries(value as object).flatMap(([key, inner]) => walk(def.valueType, inner, [...path, key]));
    case "union": {
      const option = def.options.find((one) => z.safeParse(one, value).success);
      return option === undefined ? [] : walk(option, value, path);
    }
    default:
      return [];
  }
}
