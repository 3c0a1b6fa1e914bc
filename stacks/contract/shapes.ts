import { z } from "zod";

/** A service, as consumers read it. */
export const service = <P extends string>(protocol: P) =>
  z.strictObject({
    protocol: z.literal(protocol),
    host: z.string().meta({ description: "DNS name inside the cluster" }),
    port: z.int(),
    url: z.string(),
  });

/** Where a credential lies. */
export const secretReference = z
  .strictObject({ namespace: z.string(), name: z.string() })
  .meta({ description: "Where a credential lies; never its value" });
