import type { PlatformConfig } from "./schema";

/** The keys that may say `existing`. */
export type AddOnKey = "certManager" | "monitoring.operator";

/** What the stack file says that the cluster has: nothing of it is installed. */
export function existingAddOns({ certManager, monitoring }: PlatformConfig): AddOnKey[] {
  return [
    ...(certManager === "existing" ? (["certManager"] as const) : []),
    ...(monitoring?.operator === "existing" ? (["monitoring.operator"] as const) : []),
  ];
}
