import { z } from "zod";
import { cidr, cronSchedule, kubernetesName, size, Size, sizeGiB } from "./shapes";

/** An S3 API of somebody else. */
const externalS3 = {
  url: z
    .url({ protocol: /^https?$/, error: "expected an http or https URL", abort: true })
    .regex(/^[^:]+:\/\/[^/?#]+\/?$/, "expected an http or https URL without a path")
    .meta({ description: "Base URL of the S3 API, without a path" }),
  cidrs: z.array(cidr).min(1).meta({ description: "Where that URL leads: what policies let pods reach" }),
  region: z.string(),
};

const bucket = z
  .string()
  .regex(
    /^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
    "expected 3 to 63 lower-case letters, digits, dots and dashes, as S3 names buckets",
  );

const acknowledges = z
  .literal("lost-with-the-cluster")
  .optional()
  .meta({ description: "Where the backups lie on volumes of this cluster: that this is known" });

const BackupTarget = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("object-store").meta({ description: "A bucket of the platform's own object store" }),
    acknowledges,
  }),
  z.strictObject({ kind: z.literal("external"), ...externalS3, bucket, acknowledges }),
]);

const archive = kubernetesName.meta({ description: "Folder of the bucket that one server wrote to" });

const PostgresBackups = z.strictObject({
  target: BackupTarget.meta({ description: "Where backups go; with another one name another `archive`, too" }),
  archive: archive.default("postgres"),
  schedule: cronSchedule,
  retentionDays: z.int().min(1).meta({ description: "How far back a restore can reach" }),
  plugin: Size.meta({ description: "What tells the operator how to back up" }),
});

/** PostgreSQL and its operator. */
export const Postgres = z.strictObject({
  instances: z.int().min(1),
  ...size,
  volume: z.strictObject({ sizeGiB }),
  operator: Size,
  setup: Size.meta({ description: "The Job that grants readers what they may" }),
  backups: PostgresBackups.optional(),
  restoreFrom: z
    .strictObject({
      archive,
      time: z.iso
        .datetime({ offset: true, error: 'expected a moment such as "2026-11-20T14:30:00Z", in quotes' })
        .optional()
        .meta({ description: "The last moment that is restored; the end of the archive unless named" }),
    })
    .optional()
    .meta({ description: "What a new server starts from; remove the one that is there first (docs/backups.md)" }),
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
    ...externalS3,
    setup: Size,
  }),
]);

/** Valkey. */
export const Redis = z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) });
