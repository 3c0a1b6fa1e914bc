import * as pulumi from "@pulumi/pulumi";

/** A recorded input as the plugin reads it: secrets without their wrappers. */
export function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== "object" || value === null) return value;
  const entries = value as Record<string, unknown>;
  if (entries[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig) return unwrapped(entries["value"]);
  return Object.fromEntries(Object.entries(entries).map(([key, inner]) => [key, unwrapped(inner)]));
}

/** As {@link unwrapped}, and without the nulls in objects, which the API server is not sent. */
export function plain(value: unknown): unknown {
  return withoutNulls(unwrapped(value));
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const set = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(set.map(([key, inner]) => [key, withoutNulls(inner)]));
}
