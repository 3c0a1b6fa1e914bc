import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "../base/connect";
import { deployment, podsAtOnce } from "../base/deployment";
import {
  type Bucket,
  type Endpoint,
  type PodIdentity,
  podsNamed,
  type PostgresDatabase,
  type S3Store,
  serviceEndpoint,
  url,
} from "../base/endpoint";
import { configFiles, secretFiles } from "../base/files";
import type { Offer } from "../base/offer";
import { container, type ContainerSize, podTemplate, type Probe, serviceAccount } from "../base/pod";
import { jdbcUrl, libpqEnv, POSTGRES_CA_MOUNT, postgresCaVolume } from "../base/postgres-client";
import { S3_AND_PUBLIC_CAS, s3Ca, s3CaEnv, s3Trust } from "../base/s3-client";
import { disruptionBudget } from "../base/scale";
import { ScheduledJob } from "../base/scheduled-job";
import { type Metrics, scrape } from "../base/scrape";
import { type EnvSecret, envSecret } from "../base/secret";
import { service } from "../base/service";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";
import {
  CLEAN_LOGS,
  read,
  SETTINGS,
  SETTINGS_ENV,
  type SettingsArgs,
  settingsFiles,
  TASK_LOGS,
} from "./dolphinscheduler/settings";

const UID = 1000;
const HOME = "/opt/dolphinscheduler";
const ADMIN = "admin";
const JOB_FILES = "/etc/job";
/** The folder of the tasks' logs in the bucket. */
const LOGS = "logs";
const TASK_LOGS_MIB = 4096;

const API = {
  image: images.dolphinschedulerApi,
  main: "org.apache.dolphinscheduler.api.ApiApplicationServer",
  path: "/dolphinscheduler",
  ports: { http: 12345 },
};

/** The servers that plan workflows, run them and send alerts; they call each other. */
const SERVERS = {
  master: {
    image: images.dolphinschedulerMaster,
    main: "org.apache.dolphinscheduler.server.master.MasterServer",
    path: "",
    ports: { rpc: 5678, http: 5679 },
  },
  worker: {
    image: images.dolphinschedulerWorker,
    main: "org.apache.dolphinscheduler.server.worker.WorkerServer",
    path: "",
    ports: { rpc: 1234, http: 1235 },
  },
  alert: {
    image: images.dolphinschedulerAlert,
    main: "org.apache.dolphinscheduler.alert.AlertServer",
    path: "",
    ports: { rpc: 50052, http: 50053 },
  },
} as const;

// Connections of one server; the default of 50 would exceed PostgreSQL's limit many times over. A worker has only a registry.
const POOLS = { server: 10, worker: 5 };

/** The most connections to its database. Only the API has a pod more during a rollout. */
export function dolphinschedulerConnections({ api, worker }: Pick<DolphinSchedulerArgs, "api" | "worker">): number {
  const [master, alert] = [1, 1];
  return (master + alert + podsAtOnce(api.replicas)) * POOLS.server + worker.replicas * POOLS.worker;
}

/** Inputs of {@link DolphinScheduler}. */
export interface DolphinSchedulerArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Database of workflows and their runs, and the registry in which the servers find each other. */
  readonly store: PostgresDatabase;
  /** The same database for workers, whose login is granted the registry alone. */
  readonly registry: PostgresDatabase;
  /** Password of the user `admin`. */
  readonly adminPassword: pulumi.Output<string>;
  /** Bucket of uploaded task files and of the tasks' logs. */
  readonly resources: Bucket;
  readonly api: Replicas;
  /** Always one pod: 3.2.2 does not renew the locks that two would share (docs/adr/0023-dolphinscheduler.md). */
  readonly master: ContainerSize;
  /** Tasks run inside these pods. */
  readonly worker: Replicas;
  /** Always one pod, for the same reason. */
  readonly alert: ContainerSize;
  /** Size of the Jobs that prepare the database and delete old instances. */
  readonly jobs: ContainerSize;
  /** When old workflow instances are deleted, and how long ago they began then. */
  readonly history: { readonly schedule: string; readonly retentionDays: number };
  /** What tasks may reach besides the database and the object store. */
  readonly tasksReach: readonly Destination[];
  /** Where alerts may be sent. */
  readonly alertsReach: readonly Destination[];
  readonly metrics: Metrics;
}

/** Pods of one size. */
export interface Replicas extends ContainerSize {
  readonly replicas: number;
}

/** DolphinScheduler without ZooKeeper: API and UI, a master, workers and an alert server. */
export class DolphinScheduler extends pulumi.ComponentResource {
  /** The API, under `/dolphinscheduler`. */
  readonly api: Endpoint<"http">;
  readonly offers: Offer;

  constructor(name: string, args: DolphinSchedulerArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:analytics:DolphinScheduler", name, {}, opts);
    const { namespace, store, resources } = args;
    const database = envSecret(`${name}-database`, { namespace, data: databaseLogin(store) }, { parent: this });
    const registry = envSecret(`${name}-registry`, { namespace, data: registryLogin(args.registry) }, { parent: this });
    const objectStore = envSecret(`${name}-object-store`, { namespace, data: s3Login(resources) }, { parent: this });
    const admin = envSecret(
      `${name}-admin`,
      { namespace, type: "kubernetes.io/basic-auth", data: { username: ADMIN, password: args.adminPassword } },
      { parent: this },
    );
    const prepared = this.prepare(name, args, { database, registry, admin });

    const run = (server: Server): readonly pulumi.Resource[] => {
      scrape(this, {
        pods: server.pods,
        port: { name: "http", number: server.ports.http },
        path: `${server.path}/actuator/prometheus`,
        by: args.metrics,
      });
      return startServer(this, server, store, prepared);
    };
    const { master, worker, alert, api } = serversOf(name, args, { database, registry, objectStore });
    for (const server of [master, worker, alert]) run(server);
    this.api = serviceEndpoint("http", API.ports.http, {
      auth: "session",
      server: api.pods,
      ready: run(api),
    });
    this.deleteHistory(name, args, admin);
    this.deleteLogs(name, args);
    this.offers = {
      endpoints: { api: this.api },
      credentials: { admin: { namespace, name: admin.name } },
      entries: [
        { kind: "site", host: "dolphin", endpoint: this.api, timeoutSeconds: 300 },
        {
          kind: "api",
          name: "dolphinscheduler",
          endpoint: this.api,
          rate: { perMinute: 100, perHour: 5000 },
          timeoutSeconds: 120,
          retries: 2,
        },
      ],
    };
    this.registerOutputs();
  }

  /** Creates the schema, lets workers in and replaces the vendor's password of `admin` before any server starts. */
  private prepare(
    name: string,
    { namespace, store, jobs: size }: DolphinSchedulerArgs,
    { database, registry, admin }: Record<"database" | "registry" | "admin", EnvSecret>,
  ): readonly pulumi.Resource[] {
    const shared = {
      namespace,
      size,
      uid: UID,
      mounts: POSTGRES_CA_MOUNT,
      volumes: [postgresCaVolume(store)],
      talksTo: [store.server],
    };
    const schema = new SetupJob(
      `${name}-schema`,
      {
        ...shared,
        image: images.dolphinschedulerTools,
        command: ["bash", "-c", SCHEMA],
        env: { ...COMMON, HEAP: heap(size) },
        secretEnv: [database],
        // An interrupted migration is worse than a long one.
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
    const login = envSecret(
      `${name}-psql`,
      { namespace, data: { ...libpqEnv(store), PGPASSWORD: store.login.password } },
      { parent: this },
    );
    const setAdmin = new SetupJob(
      `${name}-set-admin`,
      { ...shared, image: images.postgres, command: ["bash", "-c", SET_ADMIN], secretEnv: [login, admin] },
      { parent: this, dependsOn: schema.job },
    );
    const scripts = configFiles(
      `${name}-grants`,
      { namespace, files: read("grant-registry.sql", "prove-registry.sql") },
      { parent: this },
    );
    const grants = new SetupJob(
      `${name}-grants`,
      {
        ...shared,
        image: images.postgres,
        command: ["bash", "-c", GRANT_REGISTRY],
        // Another version's schema may make the tables anew, without the grants.
        env: { SCHEMA: images.dolphinschedulerTools },
        secretEnv: [login, registry],
        mounts: { ...POSTGRES_CA_MOUNT, [JOB_FILES]: "scripts" },
        files: { scripts },
      },
      { parent: this, dependsOn: schema.job },
    );
    return [setAdmin.job, grants.job];
  }

  private deleteHistory(name: string, { namespace, jobs, history }: DolphinSchedulerArgs, admin: EnvSecret): void {
    const scripts = configFiles(`${name}-history`, { namespace, files: read("delete-history.py") }, { parent: this });
    new ScheduledJob(
      `${name}-history`,
      {
        namespace,
        // It has Python.
        image: images.dolphinschedulerWorker,
        size: jobs,
        uid: UID,
        command: ["python3", `${JOB_FILES}/delete-history.py`],
        env: { API_URL: url(this.api, API.path), RETENTION_DAYS: `${history.retentionDays}` },
        secretEnv: [admin],
        mounts: { [JOB_FILES]: "scripts" },
        files: { scripts },
        talksTo: [this.api],
        schedule: history.schedule,
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
  }

  /** Deletes the bucket's copies of old logs, which DolphinScheduler keeps for ever. */
  private deleteLogs(name: string, { namespace, jobs, history, resources }: DolphinSchedulerArgs): void {
    const { login, url: address, destination } = resources.store;
    const ca = s3Ca(resources.store);
    const file = secretFiles(
      `${name}-logs`,
      { namespace, files: { login: pulumi.interpolate`${login.username}\n${login.password}\n` } },
      { parent: this },
    );
    new ScheduledJob(
      `${name}-logs`,
      {
        namespace,
        image: images.minioClient,
        size: jobs,
        uid: UID,
        command: ["sh", "-c", DELETE_LOGS],
        // mc writes the login to its configuration, hence in memory.
        env: {
          HOME: "/tmp",
          MC_CONFIG_DIR: "/dev/shm/mc",
          S3_URL: address,
          LOGS: `store/${resources.name}/${LOGS}/`,
          AGE: `${history.retentionDays}d`,
          ...s3CaEnv(resources.store),
        },
        mounts: { [JOB_FILES]: "login", ...ca.mounts },
        volumes: ca.volumes,
        files: { login: file },
        talksTo: [destination],
        schedule: history.schedule,
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
  }
}

/** The properties of one kind of server. */
interface Server extends SettingsArgs {
  readonly image: string;
  readonly main: string;
  readonly pods: PodIdentity;
  /** The base path of its HTTP API, including the actuator. */
  readonly path: string;
  readonly ports: { readonly http: number; readonly rpc?: number };
  /** @default 1 */
  readonly replicas?: number;
  readonly size: ContainerSize;
  readonly env: Readonly<Record<string, pulumi.Input<string>>>;
  readonly secretEnv: readonly EnvSecret[];
  readonly talksTo: readonly Destination[];
  /** The object store, where it uses one. */
  readonly objectStore?: S3Store;
  /** What tells that it still works. @default its actuator */
  readonly liveness?: Probe["liveness"];
  /** Whether others call its pods by name, which requires stable names. */
  readonly named?: boolean;
  /** Size of /tmp, in MiB. @default 256 */
  readonly tmpMiB?: number;
}

/** The four servers; they call each other. */
function serversOf(
  name: string,
  args: DolphinSchedulerArgs,
  { database, registry, objectStore }: Record<"database" | "registry" | "objectStore", EnvSecret>,
): Record<keyof typeof SERVERS | "api", Server> {
  const { namespace, store, resources } = args;
  const pods = {
    api: podsNamed(`${name}-api`, namespace),
    master: podsNamed(`${name}-master`, namespace),
    worker: podsNamed(`${name}-worker`, namespace),
    alert: podsNamed(`${name}-alert`, namespace),
  };
  const calls = (kind: keyof typeof SERVERS): Destination => ({
    kind: "pods",
    server: pods[kind],
    ports: [{ port: SERVERS[kind].ports.rpc }],
    why: "rpc",
  });
  const stores = [store.server, resources.store.destination];
  const withObjectStore = { env: { ...COMMON, ...s3Env(resources) }, objectStore: resources.store };
  return {
    master: {
      ...SERVERS.master,
      pods: pods.master,
      size: args.master,
      ...withObjectStore,
      env: { ...withObjectStore.env, ...MASTER },
      secretEnv: [database, objectStore],
      // Including itself: it is notified of sub-workflows by a call.
      talksTo: [...stores, calls("master"), calls("worker")],
      named: true,
      taskLogs: true,
    },
    worker: {
      ...SERVERS.worker,
      pods: pods.worker,
      replicas: args.worker.replicas,
      size: args.worker,
      ...withObjectStore,
      env: { ...withObjectStore.env, ...WORKER },
      // A worker that stops itself closes this port and its registry alone: the process stays, and its actuator is content.
      liveness: { kind: "tcp", port: "rpc" },
      secretEnv: [registry, objectStore],
      talksTo: [args.registry.server, resources.store.destination, calls("master"), calls("alert"), ...args.tasksReach],
      named: true,
      taskLogs: true,
      hides: [...Object.keys(registryLogin(args.registry)), ...Object.keys(s3Login(resources))],
      // Tasks unpack resources and write files here.
      tmpMiB: 8192,
    },
    alert: {
      ...SERVERS.alert,
      pods: pods.alert,
      size: args.alert,
      env: COMMON,
      secretEnv: [database],
      talksTo: [store.server, ...args.alertsReach],
      named: true,
    },
    api: {
      ...API,
      pods: pods.api,
      replicas: args.api.replicas,
      size: args.api,
      ...withObjectStore,
      env: { ...withObjectStore.env, API_PYTHONGATEWAY_ENABLED: "false" },
      secretEnv: [database, objectStore],
      // For logs, and for commands to running tasks.
      talksTo: [...stores, calls("master"), calls("worker"), calls("alert")],
      // Uploads are stored here until the object store has them.
      tmpMiB: 2048,
    },
  };
}

function startServer(
  parent: pulumi.Resource,
  server: Server,
  store: PostgresDatabase,
  after: readonly pulumi.Resource[],
): readonly pulumi.Resource[] {
  const { pods, ports, replicas = 1, size, secretEnv, named = false, taskLogs = false } = server;
  const trusts = isTrusting(server);
  const { name, namespace, matchLabels } = pods;
  const settings = configFiles(`${name}-settings`, { namespace, files: settingsFiles(server) }, { parent });
  const account = serviceAccount(pods, { parent });
  const wires = connect(parent, { from: pods, talksTo: server.talksTo });
  const entry = service(name, pods, ports, { parent }, { headless: named, unready: named });
  const template = podTemplate(pods, {
    initContainers: trusts ? [container("trust", { ...S3_AND_PUBLIC_CAS.container, image: server.image })] : [],
    containers: [
      container(name, {
        image: server.image,
        size,
        // Instead of the image's script, which does not forward SIGTERM and sizes the heap by the node's memory.
        command: ["java", ...jvmFlags(server), "-cp", `${HOME}/conf:${HOME}/libs/*`, server.main],
        ports,
        env: { ...server.env, ...SETTINGS_ENV },
        secretEnv,
        probe: {
          kind: "http",
          path: `${server.path}/actuator/health/readiness`,
          port: "http",
          startupSeconds: 600,
          liveness: server.liveness ?? {
            kind: "http",
            path: `${server.path}/actuator/health/liveness`,
            port: "http",
          },
        },
        mounts: {
          "/tmp": "tmp",
          [SETTINGS]: "settings",
          ...POSTGRES_CA_MOUNT,
          ...(taskLogs && { [TASK_LOGS]: "task-logs" }),
        },
        readOnlyMounts: trusts ? { [S3_AND_PUBLIC_CAS.directory]: S3_AND_PUBLIC_CAS.volume.name } : {},
      }),
      ...(taskLogs ? [logCleaner(server.image)] : []),
    ],
    uid: UID,
    priorityClass: "standard-services",
    secretEnv,
    scratch: {
      tmp: { sizeMiB: server.tmpMiB ?? 256 },
      ...(taskLogs && { "task-logs": { sizeMiB: TASK_LOGS_MIB } }),
      ...(trusts && { [S3_AND_PUBLIC_CAS.volume.name]: S3_AND_PUBLIC_CAS.volume }),
    },
    files: { settings },
    volumes: [postgresCaVolume(store), ...(server.objectStore ? s3Ca(server.objectStore).volumes : [])],
    // A worker stops its tasks, and the master reassigns them.
    terminationGracePeriodSeconds: 60,
  });
  const dependsOn = [...after, account, settings.resource, ...wires, ...secretEnv.map(({ resource }) => resource)];
  const workload = named
    ? new k8s.apps.v1.StatefulSet(
        name,
        {
          metadata: { name, namespace, labels: matchLabels },
          spec: {
            replicas,
            selector: { matchLabels },
            template,
            serviceName: name,
            podManagementPolicy: "Parallel",
          },
        },
        { parent, dependsOn: [...dependsOn, entry] },
      )
    : deployment(pods, { replicas, template }, { parent, dependsOn });
  disruptionBudget(pods, replicas, { parent });
  return [entry, workload];
}

function isTrusting({ objectStore }: Pick<Server, "objectStore">): boolean {
  return objectStore !== undefined && s3Trust(objectStore) !== undefined;
}

// DolphinScheduler deletes a log with its instance alone, and logback limits each file alone.
function logCleaner(image: string): ReturnType<typeof container> {
  return container("clean-logs", {
    image,
    size: { cpu: { request: 0.01, limit: 0.1 }, memoryMiB: { request: 16, limit: 64 } },
    command: ["bash", `${SETTINGS}/${CLEAN_LOGS}`, TASK_LOGS, `${TASK_LOGS_MIB / 2}`],
    probe: { kind: "command", command: ["bash", "-c", `test -n "$(find ${TASK_LOGS}/.cleaned -mmin -5)"`] },
    mounts: { [TASK_LOGS]: "task-logs", [SETTINGS]: "settings" },
  });
}

// Half of the memory: the rest is for Java's off-heap memory and, in a worker, for tasks.
function heap({ memoryMiB }: ContainerSize): string {
  return `-Xmx${Math.floor(memoryMiB.limit / 2)}m`;
}

function jvmFlags(server: Server): string[] {
  const { size, hides } = server;
  return [
    heap(size),
    ...(isTrusting(server) ? S3_AND_PUBLIC_CAS.javaOptions : []),
    "-XX:+ExitOnOutOfMemoryError",
    // The uid has no name in the image, and workers use that name in paths.
    "-Duser.name=dolphinscheduler",
    // Else a task could load code into the worker.
    ...(hides ? ["-XX:+DisableAttachMechanism"] : []),
  ];
}

const COMMON = {
  HOME: "/tmp",
  // The images' default is Shanghai.
  TZ: "UTC",
  // Otherwise servers in a cluster first ask the API server for settings, and exit without an answer.
  SPRING_CLOUD_KUBERNETES_ENABLED: "false",
  REGISTRY_TYPE: "jdbc",
};

const MASTER = {
  MASTER_SERVERLOADPROTECTION_ENABLED: "false",
  // Without the database, `waiting` drops all work as well, and then waits for what its own thread would have to notice:
  // after 100 s it stops in any case (dolphinscheduler#17439).
  MASTER_REGISTRYDISCONNECTSTRATEGY_STRATEGY: "stop",
};

const WORKER = {
  // It would check the node's load, which Kubernetes manages.
  WORKER_SERVERLOADPROTECTION_ENABLED: "false",
  WORKER_REGISTRYDISCONNECTSTRATEGY_STRATEGY: "stop",
  // No sudo: all tasks run as the worker's user, the tenant `default`.
  SUDO_ENABLE: "false",
  WORKER_TENANTCONFIG_AUTOCREATETENANTENABLED: "false",
  WORKER_TENANTCONFIG_DEFAULTTENANTENABLED: "true",
};

function s3Env({ name, store: { url, region } }: Bucket): Record<string, pulumi.Input<string>> {
  return {
    RESOURCE_STORAGE_TYPE: "S3",
    RESOURCE_STORAGE_UPLOAD_BASE_PATH: "/dolphinscheduler",
    RESOURCE_AWS_REGION: region,
    RESOURCE_AWS_S3_BUCKET_NAME: name,
    RESOURCE_AWS_S3_ENDPOINT: url,
    // Logs outlive the pod that wrote them.
    REMOTE_LOGGING_ENABLE: "true",
    REMOTE_LOGGING_TARGET: "S3",
    REMOTE_LOGGING_BASE_DIR: LOGS,
    REMOTE_LOGGING_S3_BUCKET_NAME: name,
    REMOTE_LOGGING_S3_ENDPOINT: url,
    REMOTE_LOGGING_S3_REGION: region,
  };
}

function s3Login({ store: { login } }: Bucket): Record<string, pulumi.Input<string>> {
  return {
    RESOURCE_AWS_ACCESS_KEY_ID: login.username,
    RESOURCE_AWS_SECRET_ACCESS_KEY: login.password,
    REMOTE_LOGGING_S3_ACCESS_KEY_ID: login.username,
    REMOTE_LOGGING_S3_ACCESS_KEY_SECRET: login.password,
  };
}

function databaseLogin(store: PostgresDatabase): Record<string, pulumi.Input<string>> {
  return {
    SPRING_DATASOURCE_URL: jdbcUrl(store),
    SPRING_DATASOURCE_USERNAME: store.login.username,
    SPRING_DATASOURCE_PASSWORD: store.login.password,
    SPRING_DATASOURCE_HIKARI_MAXIMUMPOOLSIZE: `${POOLS.server}`,
  };
}

// A worker uses the database only as its registry.
function registryLogin(store: PostgresDatabase): Record<string, pulumi.Input<string>> {
  return {
    REGISTRY_HIKARICONFIG_JDBCURL: jdbcUrl(store),
    REGISTRY_HIKARICONFIG_USERNAME: store.login.username,
    REGISTRY_HIKARICONFIG_PASSWORD: store.login.password,
    REGISTRY_HIKARICONFIG_MAXIMUMPOOLSIZE: `${POOLS.worker}`,
  };
}

// The same as upgrade-schema.sh and initialize-jdbc-registry.sh, without the files that they write next to themselves.
const SCHEMA = `set -e
tools=${HOME}/tools
run() { java "$HEAP" -cp "$tools/conf:$tools/libs/*:$tools/sql" "$@"; }
run -Dspring.profiles.active=upgrade,postgresql org.apache.dolphinscheduler.tools.datasource.UpgradeDolphinScheduler
run -Dspring.profiles.active=postgresql org.apache.dolphinscheduler.tools.command.CommandApplication`;

// The product's own unsalted hash. A new password ends existing sessions.
const SET_ADMIN = `set -e
found=$(psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --single-transaction <<'SQL'
\\getenv user username
\\getenv password password
DELETE FROM t_ds_session USING t_ds_user
 WHERE t_ds_session.user_id = t_ds_user.id AND user_name = :'user' AND user_password <> md5(:'password');
UPDATE t_ds_user SET user_password = md5(:'password'), update_time = now()
 WHERE user_name = :'user' AND user_password <> md5(:'password');
SELECT count(*) FROM t_ds_user WHERE user_name = :'user' AND user_password = md5(:'password') AND state = 1;
SQL
)
if [ "$found" != 1 ]; then
  echo "$found active users are called ${ADMIN}: rename or enable it in DolphinScheduler, under Security, User Manage" >&2
  exit 1
fi`;

const DELETE_LOGS = `set -e
mc alias set store "$S3_URL" < ${JOB_FILES}/login > /dev/null
mc rm --recursive --force --older-than "$AGE" "$LOGS"`;

const GRANT_REGISTRY = `set -e
run() { psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --single-transaction --file="${JOB_FILES}/$1"; }
run grant-registry.sql
export PGUSER=$REGISTRY_HIKARICONFIG_USERNAME PGPASSWORD=$REGISTRY_HIKARICONFIG_PASSWORD
run prove-registry.sql`;
