import { z } from "zod";

/** A service as published to consumers. */
export const service = <P extends string>(protocol: P) =>
  z.strictObject({
    protocol: z.literal(protocol),
    host: z.string().meta({ description: "DNS name inside the cluster" }),
    port: z.int(),
    url: z.string(),
  });

/** The Secret with a credential. */
export const secretReference = z
  .strictObject({ namespace: z.string(), name: z.string() })
  .meta({ description: "The Secret with a credential; never its value" });
