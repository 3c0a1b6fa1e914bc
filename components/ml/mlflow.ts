import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { podsAtOnce } from "../base/deployment";
import { type Bucket, type Endpoint, type PostgresDatabase, serviceNames, url } from "../base/endpoint";
import type { Offer } from "../base/offer";
import type { ContainerSize } from "../base/pod";
import { POSTGRES_CA_MOUNT, postgresCaVolume, sqlalchemyUrl } from "../base/postgres-client";
import { s3Ca, s3ClientEnv, s3ClientSecret } from "../base/s3-client";
import { type Metrics, scrape } from "../base/scrape";
import { ScheduledJob } from "../base/scheduled-job";
import { type EnvSecret, envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";
import { Workload } from "../base/workload";

const TRACKING_PORT = 5000;
const MLFLOW_UID = 1000;

// The tracking store and the model registry have a pool each, in every process. MLflow takes an overflow of 0 for unset.
const POOL = { size: 4, overflow: 1 };
const POOLS = 2;

/** The most connections to its database: those of every web worker, and of the process that starts them. */
export function mlflowConnections({ replicas, webWorkers }: Required<Pick<MlflowArgs, "replicas" | "webWorkers">>) {
  return podsAtOnce(replicas) * POOLS * (webWorkers * (POOL.size + POOL.overflow) + 1);
}

/** Inputs of {@link Mlflow}. */
export interface MlflowArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Database of runs and registered models. */
  readonly store: PostgresDatabase;
  /** Encrypts the API keys that users store; upstream's default is public. */
  readonly encryptionPassphrase: pulumi.Output<string>;
  /** Bucket of the artifacts, which clients use through the server, without S3 keys. */
  readonly artifacts: Bucket;
  /** Tracking server pods. @default 2 */
  readonly replicas?: number;
  readonly size: ContainerSize;
  /** Web server processes per pod. @default 2 */
  readonly webWorkers?: number;
  /** What passes through a pod, which keeps it in /tmp meanwhile. */
  readonly proxied: ProxiedArtifacts;
  /** When deleted runs, experiments and models go for good with their artifacts, and how long they can be restored before that. */
  readonly garbage: { readonly schedule: string; readonly olderThanDays: number };
  /** Public host names. */
  readonly publicHosts: readonly string[];
  /** The pod network as CIDR, since Prometheus addresses the server by its pod's IP. */
  readonly podCidr: string;
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  readonly metrics: Metrics;
}

/** Artifacts on their way between clients and the bucket. */
export interface ProxiedArtifacts {
  /** Size of the largest, in MiB: clients that reach the object store take larger ones there themselves. */
  readonly largestMiB: number;
  /** How many one pod has room for at a time. */
  readonly atOnce: number;
}

/** The MLflow tracking server and model registry. */
export class Mlflow extends pulumi.ComponentResource {
  /** The tracking API, for clients inside the cluster. */
  readonly tracking: Endpoint<"http">;
  /** What clients need that reach the object store as well. */
  readonly clientEnv: Readonly<Record<string, string>>;
  readonly offers: Offer;

  constructor(name: string, args: MlflowArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ml:Mlflow", name, {}, opts);
    const {
      namespace,
      store,
      encryptionPassphrase,
      artifacts,
      replicas = 2,
      size,
      webWorkers = 2,
      proxied,
      publicHosts,
      metrics,
    } = args;

    const database = envSecret(
      `${name}-database`,
      {
        namespace,
        data: {
          MLFLOW_BACKEND_STORE_URI: sqlalchemyUrl("psycopg2", store),
          MLFLOW_CRYPTO_KEK_PASSPHRASE: encryptionPassphrase,
        },
      },
      { parent: this },
    );
    const objectStore = envSecret(
      `${name}-object-store`,
      { namespace, data: s3ClientSecret(artifacts.store) },
      { parent: this },
    );
    const migrated = this.migrate(name, args, database);
    const ca = s3Ca(artifacts.store);
    const server = new Workload(
      name,
      {
        namespace,
        image: images.mlflow,
        replicas,
        size,
        uid: MLFLOW_UID,
        priorityClass: "standard-services",
        ports: { http: TRACKING_PORT },
        command: [
          "mlflow",
          "server",
          "--host=0.0.0.0",
          `--port=${TRACKING_PORT}`,
          `--workers=${webWorkers}`,
          "--serve-artifacts",
          `--artifacts-destination=s3://${artifacts.name}`,
          "--expose-prometheus=/tmp/metrics",
        ],
        env: {
          HOME: "/tmp",
          MLFLOW_SQLALCHEMYSTORE_POOL_SIZE: `${POOL.size}`,
          MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW: `${POOL.overflow}`,
          ...s3ClientEnv(artifacts.store),
          MLFLOW_SERVER_ALLOWED_HOSTS: allowedHosts(name, args),
          // The UI posts to the public host, and the server does not accept its own name as origin by default.
          MLFLOW_SERVER_CORS_ALLOWED_ORIGINS: publicHosts.map((host) => `https://${host}`).join(","),
          // Ray runs the jobs; MLflow's own runner would add a process for each kind of job.
          MLFLOW_SERVER_ENABLE_JOB_EXECUTION: "false",
        },
        secretEnv: [database, objectStore],
        // The metrics of each web server process lie there too.
        tmpMiB: proxied.largestMiB * proxied.atOnce + 256,
        // Uploads may take every thread that could answer, and a restart would cut them off.
        probe: {
          kind: "http",
          path: "/health",
          port: "http",
          startupSeconds: 180,
          liveness: { kind: "tcp", port: "http" },
        },
        mounts: { ...POSTGRES_CA_MOUNT, ...ca.mounts },
        volumes: [postgresCaVolume(store), ...ca.volumes],
        talksTo: [store.server, artifacts.store.destination],
      },
      { parent: this, dependsOn: migrated },
    );
    scrape(this, { pods: server.identity, port: { name: "http", number: TRACKING_PORT }, by: metrics });
    this.tracking = server.endpoint("http", "http");
    this.collectGarbage(name, args, database);
    // They are told by the server that they may, and get presigned URLs for the parts.
    this.clientEnv = { MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: `${proxied.largestMiB * 1024 ** 2}` };
    this.offers = {
      endpoints: { tracking: this.tracking },
      alerts: [path.join(__dirname, "mlflow.alerts.yaml")],
      entries: [
        { kind: "site", host: "mlflow", endpoint: this.tracking, timeoutSeconds: 300 },
        {
          kind: "api",
          name: "mlflow",
          endpoint: this.tracking,
          rate: { perMinute: 100, perHour: 5000 },
          timeoutSeconds: 60,
          retries: 2,
        },
      ],
    };
    this.registerOutputs();
  }

  /** Deletes what users deleted, which MLflow only marks. */
  private collectGarbage(name: string, { namespace, size, store, garbage }: MlflowArgs, database: EnvSecret): void {
    new ScheduledJob(
      `${name}-gc`,
      {
        namespace,
        image: images.mlflow,
        size,
        uid: MLFLOW_UID,
        // The same as `mlflow gc --backend-store-uri URI`, without the password in the URI on a command line.
        command: ["python", "-c", COLLECT, `--older-than=${garbage.olderThanDays}d`],
        // Artifacts are deleted through the server, which has the keys.
        env: { HOME: "/tmp", MLFLOW_TRACKING_URI: url(this.tracking) },
        secretEnv: [database],
        mounts: POSTGRES_CA_MOUNT,
        volumes: [postgresCaVolume(store)],
        talksTo: [store.server, this.tracking],
        schedule: garbage.schedule,
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
  }

  private migrate(name: string, { namespace, size, store }: MlflowArgs, database: EnvSecret): pulumi.Resource {
    const migration = new SetupJob(
      `${name}-migrate`,
      {
        namespace,
        image: images.mlflow,
        size,
        uid: MLFLOW_UID,
        // The same as `mlflow db upgrade URI`, without the password in the URI on a command line.
        command: ["python", "-c", MIGRATION],
        env: { HOME: "/tmp" },
        secretEnv: [database],
        mounts: POSTGRES_CA_MOUNT,
        volumes: [postgresCaVolume(store)],
        talksTo: [store.server],
        // A large tracking database takes long, and an interrupted migration is worse than a long one.
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
    return migration.job;
  }
}

// At the end it asks what the server asks first.
const MIGRATION = `import os
from mlflow.db import commands
from mlflow.store.db.utils import _verify_schema, create_sqlalchemy_engine_with_retry
uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
commands.main(["upgrade", uri], standalone_mode=False)
_verify_schema(create_sqlalchemy_engine_with_retry(uri))`;

const COLLECT = `import os, sys
from mlflow.cli import gc
gc([*sys.argv[1:], "--backend-store-uri", os.environ["MLFLOW_BACKEND_STORE_URI"]])`;

// Since 3.5 the server answers 403 to any other Host header, including the port (mlflow#22095).
function allowedHosts(
  service: string,
  { namespace, publicHosts, podCidr, clusterDomain }: MlflowArgs,
): pulumi.Output<string> {
  const inside = [
    ...serviceNames(service, namespace, clusterDomain),
    addressPattern(podCidr),
    // For `kubectl port-forward`.
    "localhost",
    "127.0.0.1",
  ];
  return pulumi
    .all(inside)
    .apply((hosts) => [...hosts.flatMap((host) => [host, `${host}:*`]), ...publicHosts].join(","));
}

/** The pattern 10.244.* for 10.244.0.0/16: MLflow matches shell patterns, not networks. */
function addressPattern(cidr: string): string {
  const [address = "", bits = "0"] = cidr.split("/");
  return [...address.split(".").slice(0, Math.floor(Number(bits) / 8)), "*"].join(".");
}
