import { z } from "zod";
import { cidr, size, Size, sizeGiB } from "./shapes";

/** PostgreSQL and its operator. */
export const Postgres = z.strictObject({
  instances: z.int().min(1),
  ...size,
  volume: z.strictObject({ sizeGiB }),
  operator: Size,
});

const Keeper = z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) });

/** The object store: one of ours, or somebody else's. */
export const ObjectStore = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("minio"),
    ...size,
    volume: z.strictObject({ sizeGiB }),
    region: z.string().default("us-east-1"),
    setup: Size,
  }),
  z.strictObject({
    kind: z.literal("seaweedfs"),
    master: Keeper.meta({ description: "The pod that knows which volume is where" }),
    volume: Keeper.meta({ description: "The pod that keeps the content of objects" }),
    filer: Keeper.meta({ description: "The pod that keeps the names of objects" }),
    s3: Size.meta({ description: "The pod that answers the S3 API" }),
    region: z.string().default("us-east-1"),
    setup: Size,
  }),
  z.strictObject({
    kind: z.literal("external"),
    url: z
      .url({ protocol: /^https?$/, error: "expected an http or https URL" })
      .meta({ description: "Base URL of the S3 API" }),
    cidrs: z.array(cidr).min(1).meta({ description: "Where that URL leads: what policies let pods reach" }),
    region: z.string(),
    setup: Size,
  }),
]);

/** Valkey. */
export const Redis = z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) });
