import { z } from "zod";
import { managerOf } from "../../components/data/postgres/parameters";
import {
  certificates,
  cidr,
  cronSchedule,
  exporter,
  kubernetesName,
  outside,
  port,
  size,
  Size,
  Volume,
  serverUrl,
} from "./shapes";

/** An S3 API outside the cluster. */
const externalS3 = {
  url: serverUrl(/^https?$/, "expected an http or https URL")
    .regex(/^[^:]+:\/\/[^/?#]+\/?$/, "expected an http or https URL without a path")
    .meta({ description: "Base URL of the S3 API, without a path" }),
  cidrs: z.array(cidr).min(1).meta({ description: "Addresses behind the URL, opened to pods by network policies" }),
  region: z.string(),
};

/** The name of a bucket. */
export const bucket = z
  .string()
  .regex(
    /^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
    "expected 3 to 63 lower-case letters, digits, dots and dashes, as S3 names buckets",
  );

const acknowledges = z
  .literal("lost-with-the-cluster")
  .optional()
  .meta({ description: "Confirms that backups stored on this cluster's volumes are lost with it" });

const BackupTarget = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("object-store").meta({ description: "A bucket of the platform's own object store" }),
    acknowledges,
  }),
  z.strictObject({ kind: z.literal("external"), ...externalS3, bucket, acknowledges }),
]);

const archive = kubernetesName.meta({ description: "Folder of the bucket that holds the backups of one server" });

const PostgresBackups = z.strictObject({
  target: BackupTarget.meta({ description: "Where backups are stored; change `archive` whenever this changes" }),
  archive: archive.default("postgres"),
  schedule: cronSchedule,
  retentionDays: z.int().min(1).meta({ description: "How far back a restore can go" }),
  plugin: Size.meta({ description: "The operator's backup plugin" }),
});

const parameterName = z
  .string()
  .regex(/^[a-z]\w*(\.\w+)?$/, { error: "expected a name such as work_mem", abort: true })
  .refine((name) => managerOf(name) === undefined, {
    error: ({ input }) => `${managerOf(String(input)) ?? ""} manages this parameter`,
  });

/** A PostgreSQL server outside the cluster. */
const ExternalPostgres = z.strictObject({
  kind: z.literal("external").meta({ description: "A server outside the cluster (docs/external-postgres.md)" }),
  host: z.hostname().meta({ description: "Its name, which must be in its certificate" }),
  port: port.default(5432),
  ...outside,
  ca: certificates.meta({ description: "The certificates that sign the server's, in PEM" }),
  database: z.string().default("postgres").meta({ description: "The database to which the administrator connects" }),
  setup: Size.meta({ description: "The Job that makes databases and roles" }),
});

/** PostgreSQL and its operator. */
const OwnPostgres = z.strictObject({
  kind: z.literal("cloudnative-pg").optional().meta({ description: "A server of the platform's own, the default" }),
  instances: z.int().min(1),
  ...size,
  volume: Volume,
  parameters: z
    .record(
      parameterName,
      z
        .union([z.string(), z.number(), z.boolean()], { error: "expected a text, a number, true or false" })
        .transform(String),
    )
    .default({})
    .meta({ description: "Parameters of PostgreSQL besides those that the program and CloudNativePG manage" }),
  operator: Size,
  setup: Size.meta({ description: "The Job that grants read access to databases" }),
  backups: PostgresBackups.optional(),
  restoreFrom: z
    .strictObject({
      archive,
      time: z.iso
        .datetime({ offset: true, error: 'expected a moment such as "2026-11-20T14:30:00Z", in quotes' })
        .optional()
        .meta({ description: "Point in time to restore to; by default the end of the archive" }),
    })
    .optional()
    .meta({ description: "Backup from which a new server starts; delete the existing server first (docs/backups.md)" }),
});

/** PostgreSQL: deployed by the platform, or external. */
export const Postgres = z.discriminatedUnion("kind", [OwnPostgres, ExternalPostgres]);

const bucketPrefix = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,39}$/, "expected at most 40 lower-case letters, digits, dots and dashes")
  .optional()
  .meta({
    description:
      "What the names of all buckets begin with, for a store that others use too; existing buckets stay behind",
    lasting: "fixed",
  });

const Keeper = z.strictObject({ ...size, volume: Volume });

/** The object store: deployed by the platform, or external. */
export const ObjectStore = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("minio"),
    ...size,
    volume: Volume,
    region: z.string().default("us-east-1"),
    bucketPrefix,
    setup: Size,
  }),
  z.strictObject({
    kind: z.literal("seaweedfs"),
    master: Keeper.meta({ description: "The pod that locates volumes" }),
    volume: Keeper.meta({ description: "The pod that stores object contents" }),
    filer: Keeper.meta({ description: "The pod that stores object names" }),
    s3: Size.meta({ description: "The pod that serves the S3 API" }),
    region: z.string().default("us-east-1"),
    bucketPrefix,
    setup: Size,
  }),
  z.strictObject({
    kind: z.literal("external"),
    ...externalS3,
    bucketPrefix,
    setup: Size,
  }),
]);

/** Valkey. */
export const Redis = z.strictObject({ ...size, volume: Volume, exporter });
