import type { PlatformConfig } from "../../stacks/config/schema";

/** T without optional parts. */
export type Full<T> = { [K in keyof T]-?: NonNullable<T[K]> };

/** The config of a stack that has every system. */
export type FullConfig = Full<PlatformConfig>;

/** The same with a PostgreSQL of the platform's own, as each stack file has. */
export type StackConfig = Omit<FullConfig, "postgres"> & {
  readonly postgres: Exclude<FullConfig["postgres"], { readonly kind: "external" }>;
};
