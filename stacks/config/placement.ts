import { z } from "zod";
import { nodeSelector, tolerations } from "./shapes";
import { type SystemName, SYSTEMS } from "./systems";

const Placement = z.strictObject({
  nodeSelector: nodeSelector.meta({
    description: "Labels of the nodes where its pods run; those that have a selector of their own keep that",
  }),
  tolerations: tolerations.meta({ description: "Taints of nodes that its pods put up with" }),
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
