import * as fs from "node:fs";
import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { connect, type Destination } from "../base/connect";
import { deployment, podsAtOnce } from "../base/deployment";
import {
  type Bucket,
  type Endpoint,
  hostPort,
  podsNamed,
  type PostgresDatabase,
  type RedisAccess,
  type RedisLogin,
  serviceEndpoint,
  type ServiceTarget,
} from "../base/endpoint";
import { configFiles, type MountedFiles } from "../base/files";
import type { Offer } from "../base/offer";
import {
  container,
  type ContainerArgs,
  type ContainerSize,
  type PodArgs,
  podTemplate,
  serviceAccount,
} from "../base/pod";
import { POSTGRES_CA_MOUNT, postgresCaVolume, sqlalchemyUrl } from "../base/postgres-client";
import { REDIS_CA } from "../base/redis-client";
import { s3Ca, s3ClientEnv, s3ClientSecret } from "../base/s3-client";
import { autoscale, disruptionBudget, type PodRange } from "../base/scale";
import { type Metrics, scrape } from "../base/scrape";
import { type EnvSecret, envSecret } from "../base/secret";
import { service } from "../base/service";
import { KEPT_SECONDS } from "../base/scheduled-job";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";

const PORTS = { http: 6566, grpc: 6567 };
// The fixed metrics port of `feast serve`.
const METRICS_PORT = 8000;
const FEAST_UID = 1000;
const STORE_FILE = "feature_store.yaml";
// How long a server may use outdated definitions.
const REGISTRY_CACHE_SECONDS = 30;

// Connections of one process to the registry, which it mostly has in memory.
const POOL_SIZE = 3;
// gunicorn and its worker for HTTP, and the server for gRPC.
const SERVER_PROCESSES = 3;

/** The most connections to its registry: those of its servers, and of two materializations. */
export function feastConnections({ replicas }: Pick<FeastArgs, "replicas">): number {
  return (podsAtOnce(replicas.max) * SERVER_PROCESSES + Object.keys(MATERIALIZATIONS).length) * POOL_SIZE;
}

/** Inputs of {@link Feast}. */
export interface FeastArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Name of the project in the registry; keys in Redis end with it. */
  readonly project: string;
  /** Directory of the feature repository: its Python files define entities and feature views. */
  readonly repository: string;
  /** Database of the registry: definitions, and the time up to which they are materialized. */
  readonly registry: PostgresDatabase;
  readonly onlineStore: RedisLogin;
  /** Bucket of the Parquet files that feature views read. */
  readonly offlineStore: Bucket;
  /** Server pods: autoscaled between `min` and `max` by CPU. */
  readonly replicas: PodRange;
  /** Size of the container that serves HTTP. */
  readonly http: ContainerSize;
  /** Size of the container that serves gRPC. */
  readonly grpc: ContainerSize;
  /** Size of the Jobs that register definitions and that copy features from the offline to the online store. */
  readonly jobs: ContainerSize;
  /** When features are copied, as five cron fields in UTC. */
  readonly schedules: Readonly<Record<keyof typeof MATERIALIZATIONS, string>>;
  readonly metrics: Metrics;
}

/** Feast's rights in Redis: its keys end with the project's name. */
export function onlineStoreAccess(project: string): RedisAccess {
  // For reads, writes, and `feast apply`, which clears the features of removed views.
  return { keys: [`*${project}`], commands: ["hmget", "hset", "hkeys", "hdel", "del", "scan"] };
}

/** The feature store: servers for HTTP and gRPC, a Job that registers definitions, and CronJobs that materialize features. */
export class Feast extends pulumi.ComponentResource {
  /** `POST /get-online-features`, among others. */
  readonly http: Endpoint<"http">;
  /** The service `feast.serving.GrpcFeatureServer`. */
  readonly grpc: Endpoint<"grpc">;
  readonly offers: Offer;

  constructor(name: string, args: FeastArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ml:Feast", name, {}, opts);
    const { namespace, project, registry, onlineStore, offlineStore } = args;

    const logins = envSecret(
      `${name}-stores`,
      {
        namespace,
        data: { FEAST_REGISTRY: sqlalchemyUrl("psycopg", registry), FEAST_ONLINE_STORE: connectionString(onlineStore) },
      },
      { parent: this },
    );
    const objectStore = envSecret(
      `${name}-object-store`,
      { namespace, data: s3ClientSecret(offlineStore.store) },
      { parent: this },
    );
    const store = configFiles(
      `${name}-store`,
      { namespace, files: { [STORE_FILE]: storeConfig(project) } },
      { parent: this },
    );
    const storeCa = s3Ca(offlineStore.store);
    const shared: Shared = {
      job: {
        image: images.feast,
        size: args.jobs,
        env: { HOME: "/tmp", FEAST_OFFLINE_BUCKET: offlineStore.name, ...s3ClientEnv(offlineStore.store) },
        secretEnv: [logins, objectStore],
        mounts: { "/tmp": "tmp", "/store": "store", ...POSTGRES_CA_MOUNT, ...REDIS_CA.mounts, ...storeCa.mounts },
      },
      logins,
      store,
      volumes: [postgresCaVolume(registry), REDIS_CA.volume(onlineStore.trust), ...storeCa.volumes],
      stores: [registry.server, onlineStore.server, offlineStore.store.destination],
    };
    const applied = this.apply(name, args, shared);
    const server = this.serve(name, args, shared, applied);
    this.materialize(name, args, shared, applied);

    this.http = serviceEndpoint("http", PORTS.http, server);
    this.grpc = serviceEndpoint("grpc", PORTS.grpc, server);
    this.offers = {
      endpoints: { http: this.http, grpc: this.grpc },
      alerts: [path.join(__dirname, "feast.alerts.yaml")],
      entries: [
        {
          kind: "api",
          name: "feast",
          endpoint: this.http,
          rate: { perMinute: 600, perHour: 30000 },
          timeoutSeconds: 10,
          retries: 2,
        },
      ],
    };
    this.registerOutputs();
  }

  /** Registers what the repository defines. */
  private apply(name: string, args: FeastArgs, { job, store, volumes, stores }: Shared): pulumi.Resource {
    const { namespace } = args;
    const definitions = configFiles(
      `${name}-definitions`,
      { namespace, files: pythonFiles(args.repository) },
      { parent: this },
    );
    const apply = new SetupJob(
      `${name}-apply`,
      {
        ...job,
        namespace,
        uid: FEAST_UID,
        command: ["sh", "-c", APPLY],
        mounts: { ...job.mounts, "/definitions": "definitions" },
        files: { store, definitions },
        volumes,
        talksTo: stores,
      },
      { parent: this },
    );
    return apply.job;
  }

  private serve(name: string, args: FeastArgs, shared: Shared, applied: pulumi.Resource): ServiceTarget {
    const { namespace, registry, onlineStore, replicas } = args;
    const { job, logins, store, volumes } = shared;
    const pods = podsNamed(`${name}-server`, namespace, { app: name, component: "feature-server" });
    const account = serviceAccount(pods, { parent: this });
    const wires = connect(this, { from: pods, talksTo: [registry.server, onlineStore.server] });
    const entry = service(pods.name, pods, PORTS, { parent: this });
    const template = podTemplate(pods, {
      containers: servers(args, { ...job, secretEnv: [logins], env: { HOME: "/tmp" } }),
      uid: FEAST_UID,
      priorityClass: "standard-services",
      secretEnv: [logins],
      scratch: { tmp: { sizeMiB: 256 } },
      files: { store },
      volumes,
    });
    const server = deployment(pods, { template }, { parent: this, dependsOn: [applied, account, ...wires] });
    autoscale(server, pods, replicas, { parent: this });
    disruptionBudget(pods, replicas.min, { parent: this });
    scrape(this, { pods, port: { name: "metrics", number: METRICS_PORT }, by: args.metrics });
    return { server: pods, ready: [entry, server] };
  }

  /** Copies features from the offline into the online store, as the schedules say. */
  private materialize(
    name: string,
    { namespace, schedules }: FeastArgs,
    shared: Shared,
    applied: pulumi.Resource,
  ): void {
    const { job, store, volumes, stores } = shared;
    const materializer = `${name}-materialize`;
    // Both CronJobs share it, so it has the system's name.
    const pods = { ...podsNamed(materializer, namespace), name };
    const account = serviceAccount(pods, { parent: this });
    const wires = connect(this, { from: pods, talksTo: stores });
    for (const suffix of ["hourly", "daily"] as const) {
      const { command, deadlineSeconds } = MATERIALIZATIONS[suffix];
      const cronJob = `${materializer}-${suffix}`;
      const template = podTemplate(pods, {
        containers: [container("materialize", { ...job, command: ["sh", "-c", command] })],
        uid: FEAST_UID,
        priorityClass: "low-priority-batch",
        secretEnv: job.secretEnv,
        scratch: { tmp: { sizeMiB: 1024 } },
        files: { store },
        volumes,
        restartPolicy: "OnFailure",
      });
      new k8s.batch.v1.CronJob(
        cronJob,
        {
          metadata: { name: cronJob, namespace, labels: pods.matchLabels },
          spec: {
            schedule: schedules[suffix],
            timeZone: "Etc/UTC",
            concurrencyPolicy: "Forbid",
            startingDeadlineSeconds: 600,
            successfulJobsHistoryLimit: 1,
            failedJobsHistoryLimit: 3,
            jobTemplate: {
              spec: {
                backoffLimit: 2,
                activeDeadlineSeconds: deadlineSeconds,
                ttlSecondsAfterFinished: KEPT_SECONDS,
                template,
              },
            },
          },
        },
        { parent: this, dependsOn: [applied, account, ...wires] },
      );
    }
  }
}

/** What Jobs and servers have in common. */
interface Shared {
  readonly job: ContainerArgs & { readonly secretEnv: readonly EnvSecret[] };
  readonly logins: EnvSecret;
  readonly store: MountedFiles;
  /** Volumes besides the files. */
  readonly volumes: NonNullable<PodArgs["volumes"]>;
  readonly stores: readonly Destination[];
}

// Feast derives module names from file paths, and the links of a mounted ConfigMap contain invalid ones. So the files are
// copied, also when the container restarts.
const APPLY =
  "mkdir -p /tmp/repository && cp -fL /definitions/* /store/* /tmp/repository && feast --chdir /tmp/repository apply && " +
  // Read from the registry, with the servers' login.
  "feast --chdir /tmp/repository feature-views list";

const TIME = "+%Y-%m-%dT%H:%M:%SZ";

// Both may run at the same time: Feast keeps the newest event of each key in Redis.
const MATERIALIZATIONS = {
  // New data since the last run, then late data from before that.
  hourly: {
    command: `feast --chdir /store materialize-incremental "$(date -u ${TIME})" && ${materialize("2 hours ago")}`,
    deadlineSeconds: 3000,
  },
  // Even later data.
  daily: {
    command: materialize("7 days ago"),
    deadlineSeconds: 4 * 3600,
  },
};

function materialize(since: string): string {
  return `feast --chdir /store materialize "$(date -u -d '${since}' ${TIME})" "$(date -u ${TIME})"`;
}

/** The containers of a server pod, since Feast has no server for both protocols. */
function servers({ http, grpc }: FeastArgs, shared: ContainerArgs): ReturnType<typeof container>[] {
  const feast = ["feast", "--chdir", "/store"];
  return [
    container("http", {
      ...shared,
      size: http,
      command: [
        ...feast,
        "serve",
        "--host=0.0.0.0",
        `--port=${PORTS.http}`,
        `--registry_ttl_sec=${REGISTRY_CACHE_SECONDS}`,
        "--metrics",
        "--no-access-log",
        // By default its only worker exits after a thousand requests and drops connections.
        "--max-requests=0",
      ],
      ports: { http: PORTS.http, metrics: METRICS_PORT },
      // It asks the registry, hence PostgreSQL. gunicorn replaces a worker that hangs.
      probe: {
        kind: "http",
        path: "/health",
        port: "http",
        startupSeconds: 180,
        liveness: { kind: "tcp", port: "http" },
      },
    }),
    container("grpc", {
      ...shared,
      size: grpc,
      command: [...feast, "listen", `--address=0.0.0.0:${PORTS.grpc}`, `--registry_ttl_sec=${REGISTRY_CACHE_SECONDS}`],
      ports: { grpc: PORTS.grpc },
      probe: { kind: "grpc", port: PORTS.grpc, startupSeconds: 180 },
    }),
  ];
}

function pythonFiles(directory: string): Record<string, string> {
  const files = fs.readdirSync(directory).filter((file) => file.endsWith(".py"));
  return Object.fromEntries(files.map((file) => [file, fs.readFileSync(path.join(directory, file), "utf8")]));
}

// Feast expands environment variables in this file.
function storeConfig(project: string): string {
  return stringify({
    project,
    provider: "local",
    registry: {
      registry_type: "sql",
      path: "${FEAST_REGISTRY}",
      // A connection is tried before it is used: after a failover each would fail once (feast#3611).
      sqlalchemy_config_kwargs: { pool_size: POOL_SIZE, max_overflow: 0, pool_pre_ping: true },
      cache_ttl_seconds: REGISTRY_CACHE_SECONDS,
      // Otherwise the servers reject requests for a view during its materialization (feast#6780).
      serve_features_while_materializing: true,
    },
    online_store: { type: "redis", connection_string: "${FEAST_ONLINE_STORE}" },
    offline_store: { type: "file" },
    entity_key_serialization_version: 3,
  });
}

// Feast splits it at commas and parses each value as JSON; before that, it is unquoted in the store file's YAML.
function connectionString({ server, login }: RedisLogin): pulumi.Output<string> {
  const verified = `ssl=true,ssl_cert_reqs=required,ssl_check_hostname=true,ssl_ca_certs=${REDIS_CA.file}`;
  const password = login.password.apply(escaped);
  return pulumi.interpolate`${hostPort(server)},${verified},username=${login.username},password="${password}"`;
}

/** The contents of a JSON string, using only letters, digits and backslashes. */
function escaped(text: string): string {
  return text.replace(/[^A-Za-z0-9]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
