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
  serviceEndpoint,
} from "../base/endpoint";
import { configFiles } from "../base/files";
import type { Offer } from "../base/offer";
import { container, type ContainerSize, podTemplate, serviceAccount } from "../base/pod";
import { jdbcUrl, libpqEnv, POSTGRES_CA_MOUNT, postgresCaVolume } from "../base/postgres-client";
import { disruptionBudget } from "../base/scale";
import { type Metrics, scrape } from "../base/scrape";
import { type EnvSecret, envSecret } from "../base/secret";
import { service } from "../base/service";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";

const UID = 1000;
const HOME = "/opt/dolphinscheduler";
const ADMIN = "admin";
const SETTINGS = "/etc/dolphinscheduler";
const TASK_LOGS = "/task-logs";

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
  /** Size of the Jobs that prepare the database. */
  readonly jobs: ContainerSize;
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
    const registry = envSecret(`${name}-registry`, { namespace, data: registryLogin(store) }, { parent: this });
    const objectStore = envSecret(`${name}-object-store`, { namespace, data: s3Login(resources) }, { parent: this });
    const prepared = this.prepare(name, args, database);

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
    this.api = serviceEndpoint("http", API.ports.http, { server: api.pods, ready: run(api) });
    this.offers = { endpoints: { api: this.api }, credentials: { admin: { namespace, name: `${name}-admin` } } };
    this.registerOutputs();
  }

  /** Creates the schema and replaces the vendor's password of `admin` before any server starts. */
  private prepare(
    name: string,
    { namespace, store, adminPassword, jobs: size }: DolphinSchedulerArgs,
    database: EnvSecret,
  ): pulumi.Resource {
    const schema = new SetupJob(
      `${name}-schema`,
      {
        namespace,
        image: images.dolphinschedulerTools,
        size,
        uid: UID,
        command: ["bash", "-c", SCHEMA],
        env: { ...COMMON, HEAP: heap(size) },
        secretEnv: [database],
        mounts: POSTGRES_CA_MOUNT,
        volumes: [postgresCaVolume(store)],
        talksTo: [store.server],
        // An interrupted migration is worse than a long one.
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
    const admin = envSecret(
      `${name}-admin`,
      { namespace, type: "kubernetes.io/basic-auth", data: { username: ADMIN, password: adminPassword } },
      { parent: this },
    );
    const login = envSecret(
      `${name}-psql`,
      { namespace, data: { ...libpqEnv(store), PGPASSWORD: store.login.password } },
      { parent: this },
    );
    const job = new SetupJob(
      `${name}-set-admin`,
      {
        namespace,
        image: images.postgres,
        size,
        uid: UID,
        command: ["bash", "-c", SET_ADMIN],
        secretEnv: [login, admin],
        mounts: POSTGRES_CA_MOUNT,
        volumes: [postgresCaVolume(store)],
        talksTo: [store.server],
      },
      { parent: this, dependsOn: schema.job },
    );
    return job.job;
  }
}

/** The properties of one kind of server. */
interface Server {
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
  /** Whether others call its pods by name, which requires stable names. */
  readonly named?: boolean;
  /** Whether it runs tasks and writes their logs. */
  readonly taskLogs?: boolean;
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
  const withObjectStore = { ...COMMON, ...s3Env(resources) };
  return {
    master: {
      ...SERVERS.master,
      pods: pods.master,
      size: args.master,
      env: { ...withObjectStore, MASTER_SERVERLOADPROTECTION_ENABLED: "false" },
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
      env: { ...withObjectStore, ...WORKER },
      secretEnv: [registry, objectStore],
      talksTo: [...stores, calls("master"), calls("alert"), ...args.tasksReach],
      named: true,
      taskLogs: true,
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
      env: { ...withObjectStore, API_PYTHONGATEWAY_ENABLED: "false" },
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
  after: pulumi.Resource,
): readonly pulumi.Resource[] {
  const { pods, ports, path, replicas = 1, size, secretEnv, named = false, taskLogs = false, tmpMiB = 256 } = server;
  const { name, namespace, matchLabels } = pods;
  const settings = configFiles(`${name}-settings`, { namespace, files: settingsFiles(taskLogs) }, { parent });
  const account = serviceAccount(pods, { parent });
  const wires = connect(parent, { from: pods, talksTo: server.talksTo });
  const entry = service(name, pods, ports, { parent }, { headless: named, unready: named });
  const template = podTemplate(pods, {
    containers: [
      container(name, {
        image: server.image,
        size,
        // Instead of the image's script, which does not forward SIGTERM and sizes the heap by the node's memory.
        command: ["java", ...jvmFlags(size), "-cp", `${HOME}/conf:${HOME}/libs/*`, server.main],
        ports,
        env: { ...server.env, ...SETTINGS_ENV },
        secretEnv,
        probe: { kind: "http", path: `${path}/actuator/health/readiness`, port: "http", startupSeconds: 600 },
        mounts: {
          "/tmp": "tmp",
          [SETTINGS]: "settings",
          ...POSTGRES_CA_MOUNT,
          ...(taskLogs && { [TASK_LOGS]: "task-logs" }),
        },
      }),
    ],
    uid: UID,
    priorityClass: "standard-services",
    secretEnv,
    scratch: { tmp: { sizeMiB: tmpMiB }, ...(taskLogs && { "task-logs": { sizeMiB: 4096 } }) },
    files: { settings },
    volumes: [postgresCaVolume(store)],
    // A worker stops its tasks, and the master reassigns them.
    terminationGracePeriodSeconds: 60,
  });
  const dependsOn = [after, account, settings.resource, ...wires, ...secretEnv.map(({ resource }) => resource)];
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

// Half of the memory: the rest is for Java's off-heap memory and, in a worker, for tasks.
function heap({ memoryMiB }: ContainerSize): string {
  return `-Xmx${Math.floor(memoryMiB.limit / 2)}m`;
}

function jvmFlags(size: ContainerSize): string[] {
  // The uid has no name in the image, and workers use that name in paths.
  return [heap(size), "-XX:+ExitOnOutOfMemoryError", "-Duser.name=dolphinscheduler"];
}

const COMMON = {
  HOME: "/tmp",
  // The images' default is Shanghai.
  TZ: "UTC",
  // Otherwise servers in a cluster first ask the API server for settings, and exit without an answer.
  SPRING_CLOUD_KUBERNETES_ENABLED: "false",
  REGISTRY_TYPE: "jdbc",
};

const WORKER = {
  // It would check the node's load, which Kubernetes manages.
  WORKER_SERVERLOADPROTECTION_ENABLED: "false",
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
    REMOTE_LOGGING_BASE_DIR: "logs",
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
const SET_ADMIN = `psql --no-psqlrc --set=ON_ERROR_STOP=1 --single-transaction <<'SQL'
\\getenv user username
\\getenv password password
DELETE FROM t_ds_session USING t_ds_user
 WHERE t_ds_session.user_id = t_ds_user.id AND user_name = :'user' AND user_password <> md5(:'password');
UPDATE t_ds_user SET user_password = md5(:'password'), update_time = now()
 WHERE user_name = :'user' AND user_password <> md5(:'password');
SQL`;

const SETTINGS_ENV = {
  SPRING_CONFIG_ADDITIONALLOCATION: `file:${SETTINGS}/`,
  LOGGING_CONFIG: `${SETTINGS}/logback.xml`,
};

function settingsFiles(taskLogs: boolean): Record<string, string> {
  return {
    "logback.xml": logback(taskLogs),
    // Not in the environment: Spring Cloud's own context, which has no registry, would also read the bean.
    "application.yaml": `spring.main.sources: file:${SETTINGS}/registry.xml\n`,
    "registry.xml": START_REGISTRY,
  };
}

// Nothing in 3.2.2 starts this registry: entries would not be renewed, lost servers not removed, and nobody notified.
const START_REGISTRY = `<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans https://www.springframework.org/schema/beans/spring-beans.xsd">
  <bean class="org.springframework.beans.factory.config.MethodInvokingBean">
    <property name="targetObject" ref="jdbcRegistry"/>
    <property name="targetMethod" value="start"/>
  </bean>
</beans>
`;

/** Logs everything to standard output, and each task also to its own file, which the UI shows. */
function logback(taskLogs: boolean): string {
  // The upload to the object store looks for files under this property.
  const perTask = `
  <property scope="context" name="log.base.ctx" value="${TASK_LOGS}"/>
  <appender name="TASKLOGFILE" class="ch.qos.logback.classic.sift.SiftingAppender">
    <filter class="org.apache.dolphinscheduler.plugin.task.api.log.TaskLogFilter"/>
    <Discriminator class="org.apache.dolphinscheduler.plugin.task.api.log.TaskLogDiscriminator">
      <key>taskInstanceLogFullPath</key>
      <logBase>${TASK_LOGS}</logBase>
    </Discriminator>
    <sift>
      <appender name="FILE-\${taskInstanceLogFullPath}" class="ch.qos.logback.core.FileAppender">
        <file>\${taskInstanceLogFullPath}</file>
        <encoder><pattern>[%level] %date{ISO8601} - %message%n</pattern></encoder>
      </appender>
    </sift>
  </appender>`;
  return `<configuration>
  <conversionRule conversionWord="message" converterClass="org.apache.dolphinscheduler.common.log.SensitiveDataConverter"/>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %level %logger{10} [WI-%X{workflowInstanceId:-0}][TI-%X{taskInstanceId:-0}] %message%n</pattern></encoder>
  </appender>${taskLogs ? perTask : ""}
  <!-- It fails to renew locks, every 2 s: docs/adr/0023-dolphinscheduler.md. -->
  <logger name="org.apache.dolphinscheduler.plugin.registry.jdbc.RegistryLockManager" level="OFF"/>
  <root level="INFO">
    <appender-ref ref="STDOUT"/>${taskLogs ? '\n    <appender-ref ref="TASKLOGFILE"/>' : ""}
  </root>
</configuration>
`;
}
