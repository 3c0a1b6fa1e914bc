import { z } from "zod";

/** How a client logs in. */
export const auth = z
  .enum([
    "none",
    "password",
    "basic",
    "bearer",
    "oauth2",
    "session",
    "scram-sha-256",
    "scram-sha-512",
    "api-key",
    "aws-sigv4",
  ])
  .meta({ id: "Auth", description: "How a client logs in" });

/** Where the certificate lies that a client must trust. */
export const caReference = z
  .object({ kind: z.enum(["Secret", "ConfigMap"]), namespace: z.string(), name: z.string(), key: z.string() })
  .meta({ id: "CaReference", description: "The CA to verify the server with, in PEM" });
export type CaReference = z.output<typeof caReference>;

/** The Secret with a credential. */
export const secretReference = z
  .object({ namespace: z.string(), name: z.string() })
  .meta({ id: "SecretReference", description: "The Secret with a credential; never its value" });

const publicUrl = z.string().meta({ description: "URL of its API from outside the cluster, through the gateway" });

/** What a client needs to connect. */
const connection = {
  host: z.string().meta({ description: "DNS name inside the cluster" }),
  port: z.int(),
  url: z.string().meta({ description: "Address with the protocol as its scheme, without a path" }),
  tls: z.boolean().meta({ description: "Whether clients must use TLS, and verify the server and its name" }),
  auth,
  ca: caReference.optional().meta({ description: "Absent without TLS, and where public CAs sign" }),
  publicUrl: publicUrl.optional(),
};

const service = <P extends string>(id: string, protocol: P) =>
  z.object({ protocol: z.literal(protocol), ...connection }).meta({ id });

export const httpService = service("HttpService", "http");
export const httpsService = service("HttpsService", "https");
export const grpcService = service("GrpcService", "grpc");
export const rayService = service("RayService", "ray");
export const redisService = service("RedisService", "rediss");
export const kafkaService = service("KafkaService", "kafka");
export const boltService = service("BoltService", "bolt+s");
export const postgresService = z
  .object({
    protocol: z.literal("postgresql"),
    ...connection,
    sslmode: z.literal("verify-full").meta({ description: "The parameter of libpq, with the CA as sslrootcert" }),
  })
  .meta({ id: "PostgresService" });
/** An S3 API, inside the cluster or outside. */
export const s3Service = z
  .object({ protocol: z.enum(["http", "https"]), ...connection, region: z.string() })
  .meta({ id: "S3Service" });
