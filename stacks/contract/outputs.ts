import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { type Endpoint, url } from "../../components/base/endpoint";

const service = <P extends string>(protocol: P) =>
  z.strictObject({
    protocol: z.literal(protocol),
    host: z.string().meta({ description: "DNS name inside the cluster" }),
    port: z.int(),
    url: z.string(),
  });
const secretReference = z
  .strictObject({ namespace: z.string(), name: z.string() })
  .meta({ description: "Where a credential lies; never its value" });

/**
 * The public contract of a stack: what other teams and stacks read, of each system that is deployed. A removed or changed key
 * raises `contract`.
 */
export const PlatformOutputs = z.strictObject({
  contract: z.literal(1),
  mlflow: service("http").optional(),
  ray: z
    .strictObject({
      dashboard: service("http"),
      gcs: service("grpc"),
      client: service("ray"),
      serve: service("http").optional(),
    })
    .optional(),
  serve: z
    .strictObject({
      applications: z
        .record(z.string(), z.string())
        .meta({ description: "Where each Serve application answers, by its name" }),
    })
    .optional(),
  feast: z.strictObject({ http: service("http"), grpc: service("grpc") }).optional(),
  redis: service("redis").optional(),
  postgres: service("postgresql").optional(),
  objectStore: z.strictObject({ url: z.string(), region: z.string() }).optional(),
  kafka: service("kafka").optional(),
  datahub: z.strictObject({ gms: service("http"), frontend: service("http") }).optional(),
  monitoring: z
    .strictObject({ prometheus: service("http"), alertmanager: service("http"), grafana: service("http") })
    .optional(),
  elasticsearch: service("http").optional(),
  neo4j: service("bolt").optional(),
  superset: service("http").optional(),
  dolphinscheduler: service("http").optional(),
  trino: service("http").optional(),
  polaris: service("http").optional(),
  secrets: z.strictObject({
    objectStore: secretReference.optional(),
    ray: secretReference.optional(),
    grafana: secretReference.optional(),
    postgresMlflow: secretReference.optional(),
    postgresFeast: secretReference.optional(),
    postgresSuperset: secretReference.optional(),
    postgresDatahub: secretReference.optional(),
    postgresDolphinscheduler: secretReference.optional(),
    postgresPolaris: secretReference.optional(),
    redisFeast: secretReference.optional(),
    elasticsearchDatahub: secretReference.optional(),
    elasticsearchTrino: secretReference.optional(),
    neo4j: secretReference.optional(),
    supersetAdmin: secretReference.optional(),
    datahub: secretReference.optional(),
    dolphinscheduler: secretReference.optional(),
    polaris: secretReference.optional(),
  }),
  /** What clients must have installed to match the servers. */
  versions: z.strictObject({ ray: z.string(), python: z.string(), mlflow: z.string() }),
});

/** T, in which any part may still be an Output. */
export type Lifted<T> = pulumi.Input<T extends object ? { [K in keyof T]: Lifted<T[K]> } : T>;
export type PlatformOutputs = {
  [K in keyof z.output<typeof PlatformOutputs>]: Lifted<z.output<typeof PlatformOutputs>[K]>;
};

/** An endpoint as consumers read it. */
export function published<P extends Endpoint["protocol"]>(endpoint: Endpoint<P>) {
  return { protocol: endpoint.protocol, host: endpoint.host, port: endpoint.port, url: url(endpoint) };
}
