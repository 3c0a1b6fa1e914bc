import { z } from "zod";
import type { Lasting, LastingValuesArgs } from "../../components/ground/lasting-values";
import { PlatformConfig } from "./schema";

export type { Lasting };

/** The values of a config that last, as the schema's metadata marks them; an optional one that is absent is empty. */
export function lastingValues(config: PlatformConfig): LastingValuesArgs["values"] {
  const found = walk(PlatformConfig, config, []);
  const of = (lasting: Lasting) =>
    Object.fromEntries(found.filter((one) => one.lasting === lasting).map(({ key, value }) => [key, value]));
  return { fixed: of("fixed"), raised: of("raised"), volume: of("volume") };
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
