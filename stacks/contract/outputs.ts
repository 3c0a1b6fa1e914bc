import { z } from "zod";
import {
  auth,
  boltService,
  caReference,
  grpcService,
  httpService,
  httpsService,
  kafkaService,
  postgresService,
  rayService,
  redisService,
  s3Service,
  secretReference,
} from "./shapes";

// Of this file and its shapes packages/platform-outputs is built: they import nothing else of the platform.

/** Raised where a consumer must change something; the major version of packages/platform-outputs. */
export const CONTRACT = 2;

/** The file with the outputs, and their key in the ConfigMap `platform-outputs`. */
export const DOCUMENT = "outputs.json";

const urls = (description: string) => z.record(z.string(), z.string()).meta({ description });

const tenant = z
  .object({
    namespace: z.string(),
    secrets: z
      .record(z.string(), secretReference)
      .meta({ description: "By name, the Secrets with what the tenant's pods need to use one system" }),
  })
  .meta({ id: "Tenant", description: "A namespace for pods that use the platform" });

/** The outputs of each system. */
export const OUTPUTS = {
  postgres: postgresService,
  objectStore: s3Service,
  redis: redisService,
  kafka: kafkaService,
  elasticsearch: httpsService,
  neo4j: boltService,
  mlflow: httpService,
  feast: z.object({ http: httpService, grpc: grpcService }),
  ray: z.object({ dashboard: httpService, gcs: grpcService, client: rayService, serve: httpService.optional() }),
  serve: z.object({ applications: urls("URL of each Serve application, by name") }),
  polaris: httpService,
  trino: httpService,
  datahub: z.object({ gms: httpService, frontend: httpService }),
  superset: httpService,
  dolphinscheduler: httpService,
  monitoring: z.object({ prometheus: httpService, alertmanager: httpService, grafana: httpService.optional() }),
  gateway: z.object({
    sites: urls("URL of each public site, by its host"),
    apis: urls("URL of each public API, by name"),
    auth: auth.meta({ description: "How programs log in at public APIs" }),
    ca: caReference.optional().meta({ description: "Absent where public CAs sign the public hosts" }),
  }),
};

/** The Secrets that each system publishes: by key, the name of the credential that it offers. */
export const SECRETS = {
  postgres: {
    postgresMlflow: "mlflow",
    postgresFeast: "feast",
    postgresSuperset: "superset",
    postgresDatahub: "datahub",
    postgresDolphinscheduler: "dolphinscheduler",
    postgresPolaris: "polaris",
  },
  objectStore: { objectStore: "shared" },
  redis: { redisFeast: "feast" },
  elasticsearch: { elasticsearchDatahub: "datahub", elasticsearchTrino: "trino" },
  neo4j: { neo4j: "login" },
  ray: { ray: "token" },
  polaris: { polaris: "logins" },
  datahub: { datahub: "users" },
  superset: { supersetAdmin: "admin" },
  dolphinscheduler: { dolphinscheduler: "admin" },
  monitoring: { grafana: "grafana" },
  gateway: {
    gateway: "people",
    apiObjectStore: "objectStore",
    apiMlflow: "mlflow",
    apiFeast: "feast",
    apiRay: "ray",
    apiPolaris: "polaris",
    apiTrino: "trino",
    apiDatahub: "datahub",
    apiSuperset: "superset",
    apiDolphinscheduler: "dolphinscheduler",
    apiMonitoring: "monitoring",
  },
} as const;

type KeysOf<T> = T extends unknown ? Extract<keyof T, string> : never;
type PublishedSecret = KeysOf<(typeof SECRETS)[keyof typeof SECRETS]>;

const systems = Object.fromEntries(Object.entries(OUTPUTS).map(([name, output]) => [name, output.optional()])) as {
  [Name in keyof typeof OUTPUTS]: z.ZodOptional<(typeof OUTPUTS)[Name]>;
};
const secrets = Object.fromEntries(
  Object.values(SECRETS).flatMap((keys) => Object.keys(keys).map((key) => [key, secretReference.optional()])),
) as Record<PublishedSecret, z.ZodOptional<typeof secretReference>>;

/**
 * The public contract of a stack for other teams and stacks, with the outputs of each deployed system. Who reads it ignores
 * keys that it does not know, so that adding one is free.
 */
export const PlatformOutputs = z.object({
  contract: z.literal(CONTRACT),
  ...systems,
  secrets: z.object(secrets),
  tenants: z
    .record(z.string(), tenant)
    .optional()
    .meta({ description: "Those who use the platform from a namespace of their own, by name" }),
  /** The versions that clients must match. */
  versions: z.object({
    ray: z.string(),
    python: z.string(),
    mlflow: z.string(),
    feast: z.string(),
    kafka: z.string(),
    postgres: z.string(),
    elasticsearch: z.string(),
    neo4j: z.string(),
    datahub: z.string(),
  }),
});
export type PlatformOutputs = z.output<typeof PlatformOutputs>;
