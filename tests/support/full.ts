import type { PlatformConfig } from "../../stacks/config/schema";

/** T without optional parts. */
export type Full<T> = { [K in keyof T]-?: NonNullable<T[K]> };

/** The config of a stack that has every system, as each stack file does. */
export type FullConfig = Full<PlatformConfig>;
