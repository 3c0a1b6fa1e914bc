import type { System } from "../../rehearsal/program/wiring";

/** How a group of systems looks. */
export interface Layer {
  readonly title: string;
  readonly fill: string;
  readonly line: string;
}

/** The groups of the pictures, one per directory of components, from what people use down to what everything depends on. */
export const LAYERS: Readonly<Record<string, Layer>> = {
  edge: { title: "Edge", fill: "#fdf2f8", line: "#be185d" },
  observability: { title: "Observability", fill: "#f5f3ff", line: "#6d28d9" },
  analytics: { title: "Analytics", fill: "#fffbeb", line: "#b45309" },
  catalog: { title: "Catalog", fill: "#ecfeff", line: "#0e7490" },
  ml: { title: "Machine learning", fill: "#eff6ff", line: "#1d4ed8" },
  data: { title: "Data", fill: "#f0fdf4", line: "#15803d" },
  ground: { title: "Ground", fill: "#f8fafc", line: "#475569" },
};

const OUTSIDE: Layer = { title: "Outside", fill: "#ffffff", line: "#94a3b8" };

/** The layer of a system; peers that the program does not run are outside. */
export function layerOf({ layer }: Pick<System, "layer">): Layer {
  return LAYERS[layer ?? ""] ?? OUTSIDE;
}

/** The systems of each layer that has any, by name, from what people use down to what is outside. */
export function byLayer(systems: readonly System[]): readonly { readonly layer: Layer; readonly systems: System[] }[] {
  return [...Object.values(LAYERS), OUTSIDE].flatMap((layer) => {
    const members = systems.filter((system) => layerOf(system) === layer);
    return members.length === 0 ? [] : [{ layer, systems: members }];
  });
}

/** Whichever the reader's machine has; boxes leave room for the widest. */
export const FONT = "Helvetica,Arial,sans-serif";
export const GREY = "#64748b";
