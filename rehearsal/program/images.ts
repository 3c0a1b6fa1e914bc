import { IMAGE_KEYS } from "../../components/base/pod-settings";

/** The images that an object names whole: those of its pods, and those that an operator is told of. */
export function imagesIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === "string" && IMAGE_KEYS.includes(key) ? [inner] : imagesIn(inner),
  );
}
