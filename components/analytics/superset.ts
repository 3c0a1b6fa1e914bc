import * as fs from "node:fs";
import * as path from "node:path";
import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "../base/connect";
import { deployment, type DeploymentArgs, podsAtOnce } from "../base/deployment";
import {
  type Endpoint,
  hostPort,
  type PodIdentity,
  podsNamed,
  type PostgresDatabase,
  type RedisAccess,
  type RedisLogin,
  serviceEndpoint,
  url,
} from "../base/endpoint";
import { configFiles, type MountedFiles } from "../base/files";
import type { MailServer } from "../base/mail";
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
import { autoscale, disruptionBudget, type PodRange } from "../base/scale";
import { type EnvSecret, envSecret } from "../base/secret";
import { service } from "../base/service";
import { SetupJob } from "../base/setup-job";
import { discoveryUrl, rolesByGroup, type SignOn, USERNAME_CLAIM } from "../base/sign-on";
import { images } from "../base/versions";

const PORT = 8088;
// The user `superset` of the image.
const SUPERSET_UID = 1000;
const FILES = path.join(__dirname, "superset");
const HEARTBEAT_FILE = "/tmp/heartbeat";
// How long a query may run in the background.
const QUERY_SECONDS = 3600;
const READER_PASSWORD = "READER_PASSWORD";
const ADMINISTRATOR = "admin";
// Longer queries are lost when their worker ends: blocking a node's drain for an hour would be worse.
const WORKER_GRACE_SECONDS = 600;

/** How much Superset does at a time. */
export interface SupersetPods {
  readonly web: Omit<SupersetWeb, "size">;
  readonly worker: Omit<SupersetWorker, "size">;
}

/** The most connections to its own database. Sources are queried without a pool, as the reader. */
export function supersetConnections({ web, worker }: SupersetPods): number {
  // The process that starts those of a worker opens some as well, and so does the one of beat.
  const queue = podsAtOnce(worker.replicas.max) * (worker.concurrency + 1) + 1;
  return podsAtOnce(web.replicas) * web.processes * poolSize(web.threads) + queue * poolSize(1);
}

/** Connections of a process: one for each thing that it does at a time, and one besides. */
function poolSize(threads: number): number {
  return threads + 1;
}

/** Inputs of {@link Superset}. */
export interface SupersetArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Superset's own database: users, charts, dashboards. */
  readonly store: PostgresDatabase;
  /** Caches, results of queries, and the queue between web server and workers. */
  readonly redis: RedisLogin;
  /** Signs sessions, and encrypts the passwords of data sources in the database. */
  readonly secretKey: pulumi.Output<string>;
  /** Password of the user `admin`. */
  readonly adminPassword: pulumi.Output<string>;
  /** How others log in. @default with passwords of their own */
  readonly signOn?: SignOn;
  /** Sends reports and alerts. @default there are none */
  readonly mail?: MailServer | undefined;
  /** Public host name of the UI, for links in mail. */
  readonly publicHost: string;
  /** A data source, if Trino is deployed. */
  readonly trino?: Endpoint<"http">;
  /** A data source: a database of the same server, with a read-only role. */
  readonly reader: PostgresDatabase;
  readonly web: SupersetWeb;
  readonly worker: SupersetWorker;
  /** How long queries of SQL Lab and the log of actions are kept, in days. */
  readonly retentionDays: number;
  /** Size of the pod that starts scheduled tasks. */
  readonly beat: ContainerSize;
  /** Size of the Job that migrates the database and creates the declared objects. */
  readonly setup: ContainerSize;
}

/** The web server. */
export interface SupersetWeb {
  readonly replicas: number;
  /** Processes of one pod. */
  readonly processes: number;
  /** Threads of one process, each serving one request at a time. */
  readonly threads: number;
  readonly size: ContainerSize;
}

/** The workers, which run queries and other tasks in the background. */
export interface SupersetWorker {
  /** Pods, autoscaled by CPU. */
  readonly replicas: PodRange;
  /** Tasks that one pod runs in parallel, each in its own process. */
  readonly concurrency: number;
  readonly size: ContainerSize;
}

// The commands of each client library, including scripts (Celery and its lock, the limiter).
const REDIS_COMMANDS = {
  connection: ["ping", "multi", "exec", "watch", "unwatch", "evalsha", "script|load"],
  cache: ["get", "mget", "set", "setex", "setnx", "del", "unlink", "exists"],
  limiter: ["incrby", "expire", "ttl"],
  queue: ["lpush", "rpop", "brpop", "llen", "sadd", "srem", "smembers"],
  unacknowledged: ["hset", "hget", "hdel", "zadd", "zrem", "zrevrangebyscore"],
  results: ["publish", "subscribe", "unsubscribe"],
};

/** Superset's rights in Redis: its keys and channels start with its name (superset_config.py). */
export function supersetRedisAccess(): RedisAccess {
  return { keys: ["superset:*"], channels: "superset:*", commands: Object.values(REDIS_COMMANDS).flat() };
}

/** Superset: web server, queue workers, the single scheduler (beat), and the Job that runs before them. */
export class Superset extends pulumi.ComponentResource {
  /** UI and API. */
  readonly http: Endpoint<"http">;
  readonly offers: Offer;

  constructor(name: string, args: SupersetArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:analytics:Superset", name, {}, opts);
    const { namespace, store, redis, trino, reader, web, worker, signOn, mail } = args;
    const volumes = [postgresCaVolume(store), REDIS_CA.volume(redis.trust)];

    const logins = envSecret(
      `${name}-logins`,
      {
        namespace,
        data: {
          SUPERSET_SECRET_KEY: args.secretKey,
          SUPERSET_DATABASE_URI: sqlalchemyUrl("psycopg2", store),
          SUPERSET_REDIS_URL: redisUrl(redis),
          ...(signOn && { SUPERSET_CLIENT_SECRET: signOn.clientSecret }),
          ...(mail && { SUPERSET_MAIL_PASSWORD: mail.password }),
        },
      },
      { parent: this },
    );
    const admin = envSecret(
      `${name}-admin`,
      { namespace, data: { SUPERSET_ADMIN_USER: ADMINISTRATOR, SUPERSET_ADMIN_PASSWORD: args.adminPassword } },
      { parent: this },
    );
    const config = configFiles(
      `${name}-config`,
      { namespace, files: { ...read("superset_config.py", "reencrypt.py"), "settings.json": settings(args) } },
      { parent: this },
    );
    const setup = this.setUp(name, args, { config, logins, admin, volumes });
    const run = (pods: PodIdentity, talksTo: readonly Destination[], own: Process): k8s.apps.v1.Deployment =>
      this.run(pods, { volumes, config, logins, talksTo, own, after: [setup, ...reader.server.ready] });

    const stores = [store.server, redis.server];
    const queried = [...stores, ...(trino ? [trino] : [])];
    const webPods = podsNamed(name, namespace, { app: name, component: "web" });
    const entry = service(name, webPods, { http: PORT }, { parent: this });
    const server = run(webPods, [...queried, ...(signOn?.provider ?? [])], {
      replicas: web.replicas,
      container: webContainer(web),
    });
    disruptionBudget(webPods, web.replicas, { parent: this });
    this.http = serviceEndpoint("http", PORT, { auth: "session", server: webPods, ready: [entry, server] });

    const workerPods = podsNamed(`${name}-worker`, namespace);
    const reports = mail ? [this.http, mail.destination] : [];
    const workers = run(workerPods, [...queried, ...reports], {
      // No replicas: the autoscaler owns them.
      container: {
        ...celery(worker.size, `worker --concurrency=${worker.concurrency} ${WORKER_OPTIONS}`),
        // Where it gets the data of a report, as whoever owns that.
        ...(mail && { env: { ...SHARED.env, SUPERSET_WEB_URL: url(this.http, "/") } }),
      },
      graceSeconds: WORKER_GRACE_SECONDS,
    });
    autoscale(workers, workerPods, worker.replicas, { parent: this });

    run(podsNamed(`${name}-beat`, namespace), stores, {
      replicas: 1,
      // Two would start everything twice, so one ends before the next starts.
      strategy: { type: "Recreate" },
      container: celery(args.beat, "beat --loglevel=INFO"),
    });

    this.offers = {
      endpoints: { http: this.http },
      credentials: { admin: { namespace, name: admin.name } },
      entries: [
        { kind: "site", host: "superset", endpoint: this.http, timeoutSeconds: 300 },
        {
          kind: "api",
          name: "superset",
          endpoint: this.http,
          rate: { perMinute: 100, perHour: 5000 },
          timeoutSeconds: 60,
          retries: 2,
          authorizes: true,
        },
      ],
    };
    this.registerOutputs();
  }

  /** Migrates the database and makes what is declared, before any process starts. */
  private setUp(
    name: string,
    args: SupersetArgs,
    { config, logins, admin, volumes }: Record<"logins" | "admin", EnvSecret> & Pick<ProcessArgs, "config" | "volumes">,
  ): pulumi.Resource {
    const { namespace, store, reader } = args;
    const sources = envSecret(
      `${name}-sources`,
      { namespace, data: { [READER_PASSWORD]: reader.login.password } },
      { parent: this },
    );
    const declarations = configFiles(
      `${name}-setup`,
      { namespace, files: { ...read("initialize.py"), "sources.json": sourceList(args) } },
      { parent: this },
    );
    const setup = new SetupJob(
      `${name}-setup`,
      {
        ...SHARED,
        namespace,
        uid: SUPERSET_UID,
        size: args.setup,
        command: ["sh", "-c", "superset db upgrade && python /etc/superset-setup/initialize.py"],
        secretEnv: [logins, admin, sources],
        mounts: { ...SHARED.mounts, "/etc/superset-setup": "setup" },
        files: { config, setup: declarations },
        volumes,
        talksTo: [store.server, reader.server],
        // A large database takes long, and an interrupted migration is worse than a long one.
        timeoutSeconds: 3600,
      },
      { parent: this },
    );
    return setup.job;
  }

  private run(
    pods: PodIdentity,
    { volumes, config, logins, talksTo, own, after }: ProcessArgs,
  ): k8s.apps.v1.Deployment {
    const account = serviceAccount(pods, { parent: this });
    const wires = connect(this, { from: pods, talksTo });
    const template = podTemplate(pods, {
      containers: [container(pods.name, { ...SHARED, secretEnv: [logins], ...own.container })],
      uid: SUPERSET_UID,
      priorityClass: "standard-services",
      secretEnv: [logins],
      scratch: { tmp: { sizeMiB: 512 } },
      files: { config },
      volumes,
      ...(own.graceSeconds !== undefined && { terminationGracePeriodSeconds: own.graceSeconds }),
    });
    return deployment(pods, { ...own, template }, { parent: this, dependsOn: [account, ...wires, ...after] });
  }
}

/** What the Job and every process have in common. */
const SHARED = {
  image: images.superset,
  env: {
    HOME: "/tmp",
    SUPERSET_HOME: "/tmp",
    SUPERSET_CONFIG_PATH: "/etc/superset/superset_config.py",
    SUPERSET_QUERY_SECONDS: `${QUERY_SECONDS}`,
    HEARTBEAT_FILE,
    SUPERSET_DATABASE_POOL: `${poolSize(1)}`,
  },
  mounts: { "/tmp": "tmp", "/etc/superset": "config", ...POSTGRES_CA_MOUNT, ...REDIS_CA.mounts },
};

interface ProcessArgs {
  /** The CAs of its servers. */
  readonly volumes: NonNullable<PodArgs["volumes"]>;
  readonly config: MountedFiles;
  readonly logins: EnvSecret;
  readonly talksTo: readonly Destination[];
  readonly own: Process;
  readonly after: readonly pulumi.Resource[];
}

/** The differences between the processes. */
interface Process extends Omit<DeploymentArgs, "template"> {
  readonly container: Pick<ContainerArgs, "command" | "size" | "ports" | "probe" | "env">;
  readonly graceSeconds?: number;
}

function webContainer({ processes, threads, size }: SupersetWeb): Process["container"] {
  return {
    command: [
      "gunicorn",
      `--bind=0.0.0.0:${PORT}`,
      `--workers=${processes}`,
      "--worker-class=gthread",
      `--threads=${threads}`,
      // Several processes may load Superset on one CPU: upstream's timeout of a minute would kill them.
      "--timeout=300",
      // On a slow disk, heartbeats could be so late that it considers its workers dead.
      "--worker-tmp-dir=/dev/shm",
      "--access-logfile=-",
      "superset.app:create_app()",
    ],
    size,
    env: { ...SHARED.env, SUPERSET_DATABASE_POOL: `${poolSize(threads)}` },
    ports: { http: PORT },
    // Slow queries may take every thread that could answer, and a restart would cut them off.
    probe: {
      kind: "http",
      path: "/health",
      port: "http",
      startupSeconds: 300,
      liveness: { kind: "tcp", port: "http" },
    },
  };
}

// Workers need no gossip. A process returns the memory of large results only when it ends.
const WORKER_OPTIONS = "-O fair --loglevel=INFO --without-gossip --without-mingle --max-tasks-per-child=100";

/**
 * A Celery process. A probe over the queue (`celery inspect ping`) would load all of Superset each time, so the process touches
 * a file while it works (superset_config.py). The file of an earlier process in the pod does not count.
 */
function celery(size: ContainerSize, command: string): Process["container"] {
  const start = `rm -f ${HEARTBEAT_FILE} && exec celery --app=superset.tasks.celery_app:app ${command}`;
  return {
    command: ["sh", "-c", start],
    size,
    probe: {
      kind: "command",
      command: ["sh", "-c", `test -n "$(find ${HEARTBEAT_FILE} -mmin -2)"`],
      startupSeconds: 300,
      // While Redis is away it does not beat, and its queries go on.
      livenessSeconds: 600,
    },
  };
}

function read(...files: readonly string[]): Record<string, string> {
  return Object.fromEntries(files.map((file) => [file, fs.readFileSync(path.join(FILES, file), "utf8")]));
}

/** What superset_config.py takes from the stack file. */
function settings({ retentionDays, signOn, mail, publicHost }: SupersetArgs): string {
  return JSON.stringify({
    retentionDays,
    ...(signOn && { signOn: clientOf(signOn) }),
    ...(mail && { mail: senderOf(mail, publicHost) }),
  });
}

function senderOf({ server, port, username, from }: MailServer, publicHost: string): object {
  return { server, port, username, from, site: `https://${publicHost}/` };
}

function clientOf(signOn: SignOn): object {
  const { clientId, scopes, groupsClaim, roles } = signOn;
  return {
    ...{ clientId, scopes, groupsClaim },
    discoveryUrl: discoveryUrl(signOn),
    rolesOf: Object.fromEntries(rolesByGroup(roles)),
    usernameClaim: USERNAME_CLAIM,
    administrator: ADMINISTRATOR,
  };
}

/** The declarations for initialize.py, which refer to passwords but do not contain them. */
function sourceList({ trino, reader }: SupersetArgs): pulumi.Output<string> {
  return pulumi.jsonStringify([
    // Tells Trino the user's name.
    ...(trino
      ? [{ name: "Trino", uri: pulumi.interpolate`trino://superset@${hostPort(trino)}`, impersonate: true }]
      : []),
    {
      name: `PostgreSQL ${reader.database}`,
      uri: sqlalchemyUrl("psycopg2", reader, { password: false }),
      passwordVariable: READER_PASSWORD,
    },
  ]);
}

function redisUrl({ server, login }: RedisLogin): pulumi.Output<string> {
  const password = login.password.apply(encodeURIComponent);
  const verified = `ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=${REDIS_CA.file}`;
  return pulumi.interpolate`rediss://${login.username}:${password}@${hostPort(server)}/0?${verified}`;
}
