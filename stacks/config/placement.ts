import { z } from "zod";
import { type SystemName, SYSTEMS } from "./systems";

const NAME = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
const labelKey = z
  .string()
  .regex(new RegExp(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?${NAME}$`), "expected a key such as example.com/disk");
const labelValue = z
  .string()
  .regex(new RegExp(`^(${NAME})?$`), "expected at most 63 letters, digits, dots, dashes and underscores");

const Placement = z.strictObject({
  nodeSelector: z
    .record(labelKey, labelValue)
    .default({})
    .meta({ description: "Labels of the nodes where its pods run; those that have a selector of their own keep that" }),
  tolerations: z
    .array(
      z.strictObject({
        key: labelKey,
        value: labelValue.optional().meta({ description: "Of the taint. Default: any" }),
        effect: z.enum(["NoSchedule", "NoExecute"]).optional().meta({ description: "Default: both" }),
      }),
    )
    .default([])
    .meta({ description: "Taints of nodes that its pods put up with" }),
});

/** A system whose pods run somewhere: those of the mesh run on every node. */
export type PlacedSystem = Exclude<SystemName, "mesh">;

const PLACED = (Object.keys(SYSTEMS) as SystemName[]).filter((system) => system !== "mesh");

/** Where the pods of each system run. */
export const Placements = z
  .partialRecord(z.enum(PLACED), Placement)
  .default({})
  .meta({ description: "Nodes for the pods of a system, those of its operator and its jobs included. Default: any" });

/** A fault for each placement of a system that there is not. */
export function placementFaults(config: {
  readonly placement: z.output<typeof Placements>;
}): { path: string[]; message: string }[] {
  const configured: Readonly<Record<string, unknown>> = config;
  return Object.keys(config.placement)
    .filter((system) => configured[system] === undefined)
    .map((system) => ({
      path: ["placement", system],
      message: `${system} is not configured; configure ${system}, or remove its placement`,
    }));
}
