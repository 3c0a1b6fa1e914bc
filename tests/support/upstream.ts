/** A setting of a program, as the text that its container is given says it; the fallback holds where nothing does. */
export interface Setting<T> {
  readonly set?: RegExp;
  readonly fallback?: T;
  /** Where its authors say so. */
  readonly source: string;
}

/** A program of an image: what it does, whatever our manifests say. */
export interface ProgramFacts {
  /** What its command line has and that of no other program of the image. */
  readonly command: RegExp;
  /** Directories that it writes to. */
  readonly writes?: readonly Setting<string>[];
  /** The ports that it binds, by the names that our containers give them. */
  readonly ports?: Readonly<Record<string, Setting<number>>>;
  /** What answers for its health, by the name of the port: paths, or the health service of gRPC. */
  readonly health?: Readonly<Record<string, { readonly is: RegExp | "grpc"; readonly source: string }>>;
}

/** What is known of an image. */
interface ImageFacts {
  /** The user that its files belong to; any may run what has none. */
  readonly user?: { readonly uid: number; readonly source: string };
  readonly programs: readonly ProgramFacts[];
}

const HOME: Setting<string> = { set: /^HOME=(\S+)$/m, fallback: "/", source: "what it keeps for its user" };

const RAY = "docs.ray.io, CLI reference, ray start";
const ray: ImageFacts = {
  user: { uid: 1000, source: "ray-project/ray docker/base-deps/Dockerfile, RAY_UID" },
  programs: [
    {
      command: /ray start/,
      writes: [
        HOME,
        { set: /\s--temp-dir=(\S+)/, fallback: "/tmp/ray", source: RAY },
        { fallback: "/dev/shm", source: "docs.ray.io, Memory Management, the object store" },
      ],
      ports: {
        gcs: { set: /\s--port=(\d+)/, fallback: 6379, source: RAY },
        dashboard: { set: /\s--dashboard-port=(\d+)/, fallback: 8265, source: RAY },
        client: { set: /\s--ray-client-server-port=(\d+)/, fallback: 10001, source: RAY },
        metrics: { set: /\s--metrics-export-port=(\d+)/, source: RAY },
        agent: { set: /\s--dashboard-agent-listen-port=(\d+)/, fallback: 52365, source: RAY },
        serve: { fallback: 8000, source: "ray-project/ray python/ray/serve/_private/constants.py" },
      },
      health: {
        dashboard: {
          is: /^\/api\/gcs_healthz$/,
          source: "ray-project/ray python/ray/dashboard/modules/healthz/healthz_head.py",
        },
        agent: {
          is: /^\/api\/(local_raylet_)?healthz$/,
          source: "ray-project/ray python/ray/dashboard/modules/reporter/healthz_agent.py",
        },
        serve: { is: /^\/-\/healthz$/, source: "ray-project/ray python/ray/serve/_private/proxy.py" },
      },
    },
  ],
};

/** A server of DolphinScheduler: what its application.yaml says, which variables override. */
function dolphinScheduler(main: string, module: string, ports: Record<string, number>, context = ""): ImageFacts {
  const source = `apache/dolphinscheduler 3.2.2 ${module}/src/main/resources/application.yaml`;
  const names = { http: /^SERVER_PORT=(\d+)$/m, rpc: /^(?:MASTER_LISTEN|WORKER_LISTEN|ALERT)_?PORT=(\d+)$/m };
  return {
    programs: [
      {
        command: new RegExp(`\\.${main}$`),
        writes: [
          { fallback: "/tmp", source: "apache/dolphinscheduler 3.2.2 common.properties, data.basedir.path" },
          { set: /<logBase>(\S+)<\/logBase>/, source: "the logback.xml that LOGGING_CONFIG names" },
        ],
        ports: Object.fromEntries(
          Object.entries(ports).map(([name, fallback]) => [
            name,
            { set: names[name as keyof typeof names], fallback, source },
          ]),
        ),
        health: { http: { is: new RegExp(`^${context}/actuator/health(/readiness|/liveness)?$`), source } },
      },
    ],
  };
}

const FEAST = "feast-dev/feast sdk/python/feast/";
const NEO4J = "neo4j.com, Operations Manual, ";

/** Facts about every image that runs in pods of ours, by its name without registry and tag. */
export const UPSTREAM: Readonly<Record<string, ImageFacts>> = {
  "datahub-ingestion": {
    user: { uid: 1000, source: "datahub-project/datahub docker/datahub-ingestion/Dockerfile, the user datahub" },
    programs: [{ command: /^datahub ingest/, writes: [HOME] }],
  },
  "dolphinscheduler-alert-server": dolphinScheduler(
    "AlertServer",
    "dolphinscheduler-alert/dolphinscheduler-alert-server",
    { http: 50053, rpc: 50052 },
  ),
  "dolphinscheduler-api": dolphinScheduler(
    "ApiApplicationServer",
    "dolphinscheduler-api",
    { http: 12345 },
    "/dolphinscheduler",
  ),
  "dolphinscheduler-master": dolphinScheduler("MasterServer", "dolphinscheduler-master", { http: 5679, rpc: 5678 }),
  "dolphinscheduler-tools": { programs: [] },
  "dolphinscheduler-worker": {
    ...dolphinScheduler("WorkerServer", "dolphinscheduler-worker", { http: 1235, rpc: 1234 }),
    user: { uid: 1000, source: "images/dolphinscheduler-worker/Dockerfile" },
  },
  feast: {
    user: { uid: 1000, source: "images/feast/Dockerfile" },
    programs: [
      { command: /\bfeast --chdir/, writes: [HOME] },
      {
        command: /^feast .*\bserve\b/,
        ports: {
          http: { set: /\s--port=(\d+)/, fallback: 6566, source: `${FEAST}cli/serve.py` },
          metrics: { fallback: 8000, source: `${FEAST}feature_server.py` },
        },
        health: { http: { is: /^\/health$/, source: `${FEAST}feature_server.py` } },
      },
      {
        command: /^feast .*\blisten\b/,
        ports: { grpc: { set: /\s--address=\S*:(\d+)/, fallback: 50051, source: `${FEAST}cli/cli.py` } },
        health: { grpc: { is: "grpc", source: `${FEAST}infra/contrib/grpc_server.py` } },
      },
    ],
  },
  mc: {
    programs: [
      { command: /./, writes: [{ set: /^MC_CONFIG_DIR=(\S+)$/m, fallback: "/", source: "minio/mc cmd/flags.go" }] },
    ],
  },
  minio: {
    programs: [
      {
        command: /^server /,
        writes: [{ set: /^server (\/\S+)/, source: "minio/minio cmd/server-main.go" }],
        ports: {
          s3: { set: /\s--address[= ]\S*:(\d+)/, fallback: 9000, source: "minio/minio cmd/server-main.go" },
          console: { set: /\s--console-address[= ]\S*:(\d+)/, source: "minio/minio cmd/server-main.go" },
        },
        health: {
          s3: { is: /^\/minio\/health\/(live|ready|cluster)$/, source: "minio/minio cmd/healthcheck-router.go" },
        },
      },
    ],
  },
  mlflow: {
    programs: [
      {
        command: /^mlflow server/,
        writes: [HOME, { set: /\s--expose-prometheus=(\S+)/, source: "mlflow/mlflow mlflow/cli.py" }],
        ports: { http: { set: /\s--port=(\d+)/, fallback: 5000, source: "mlflow/mlflow mlflow/cli.py" } },
        health: { http: { is: /^\/health$/, source: "mlflow/mlflow mlflow/server/__init__.py" } },
      },
    ],
  },
  neo4j: {
    user: { uid: 7474, source: "neo4j/docker-neo4j docker-image-src/5/coredb/Dockerfile-trixie" },
    programs: [
      {
        command: /neo4j console/,
        writes: ["data", "logs", "run"].map((directory) => ({
          set: new RegExp(`^server\\.directories\\.${directory}=(\\S+)$`, "m"),
          fallback: `/var/lib/neo4j/${directory}`,
          source: `${NEO4J}Default file locations`,
        })),
        ports: {
          bolt: { set: /^server\.bolt\.listen_address=\S*:(\d+)$/m, fallback: 7687, source: `${NEO4J}Ports` },
          https: { set: /^server\.https\.listen_address=\S*:(\d+)$/m, fallback: 7473, source: `${NEO4J}Ports` },
        },
        health: { https: { is: /^\/$/, source: "neo4j.com, HTTP API, Discovery API" } },
      },
    ],
  },
  "polaris-admin-tool": {
    user: { uid: 10000, source: "apache/polaris runtime/admin/src/main/docker/Dockerfile.jvm" },
    programs: [],
  },
  // Of it only psql, which any user may run.
  postgresql: { programs: [] },
  ray,
  "ray-gpu": ray,
  notebook: {
    user: { uid: 1000, source: "images/notebook/Dockerfile" },
    programs: [
      {
        command: /^jupyter lab /,
        writes: [HOME, { fallback: "/tmp", source: "sockets and files of kernels" }],
        ports: {
          http: { set: /\s--port=(\d+)/, fallback: 8888, source: "jupyter-server jupyter_server/serverapp.py, port" },
        },
        health: {
          http: { is: /^\/api$/, source: "jupyter-server jupyter_server/base/handlers.py, APIVersionHandler" },
        },
      },
    ],
  },
  superset: {
    user: { uid: 1000, source: "apache/superset Dockerfile, the user superset" },
    programs: [
      {
        command: /./,
        writes: [
          { set: /^SUPERSET_HOME=(\S+)$/m, fallback: "/app/superset_home", source: "apache/superset Dockerfile" },
        ],
      },
      {
        command: /^gunicorn /,
        writes: [{ set: /\s--worker-tmp-dir=(\S+)/, fallback: "/tmp", source: "docs.gunicorn.org, Settings" }],
        ports: { http: { set: /\s--bind=\S*:(\d+)/, fallback: 8000, source: "docs.gunicorn.org, Settings" } },
        health: { http: { is: /^\/(health|healthcheck|ping)$/, source: "apache/superset superset/views/health.py" } },
      },
    ],
  },
  cloudflared: {
    user: { uid: 65532, source: "cloudflare/cloudflared Dockerfile" },
    programs: [
      {
        command: /^tunnel /,
        ports: {
          metrics: { set: /--metrics=\S+:(\d+)/, source: "cloudflare/cloudflared cmd/cloudflared/tunnel/cmd.go" },
        },
        health: { metrics: { is: /^\/(ready|healthcheck)$/, source: "cloudflare/cloudflared metrics/metrics.go" } },
      },
    ],
  },
  "local-path-provisioner": {
    programs: [
      {
        command: /^local-path-provisioner start /,
        ports: {
          health: {
            set: /^HEALTH_PORT=(\d+)$/m,
            fallback: 8080,
            source: "rancher/local-path-provisioner v0.0.37 main.go",
          },
        },
        health: {
          health: {
            is: /^\/(health|ready)$/,
            source: "rancher/local-path-provisioner v0.0.37 main.go, startHealthServer",
          },
        },
      },
    ],
  },
  redis_exporter: {
    user: { uid: 59000, source: "oliver006/redis_exporter Dockerfile" },
    programs: [
      {
        command: /^$/,
        ports: {
          metrics: {
            set: /^REDIS_EXPORTER_WEB_LISTEN_ADDRESS=:(\d+)$/m,
            fallback: 9121,
            source: "oliver006/redis_exporter main.go",
          },
        },
        health: { metrics: { is: /^\/health$/, source: "oliver006/redis_exporter exporter/exporter.go" } },
      },
    ],
  },
  "elasticsearch-exporter": {
    user: { uid: 65534, source: "prometheus-community/elasticsearch_exporter Dockerfile, the user nobody" },
    programs: [
      {
        command: /--es\.uri=/,
        ports: {
          metrics: {
            set: /--web\.listen-address=:(\d+)/,
            fallback: 9114,
            source: "prometheus-community/elasticsearch_exporter main.go",
          },
        },
        health: {
          metrics: { is: /^\/healthz$/, source: "prometheus-community/elasticsearch_exporter main.go" },
        },
      },
    ],
  },
  valkey: {
    user: { uid: 999, source: "valkey-io/valkey-container 9.1/debian/Dockerfile" },
    programs: [
      {
        command: / valkey-server /,
        writes: [{ set: /^dir (\S+)$/m, fallback: "/data", source: "valkey-io/valkey valkey.conf" }],
        ports: { redis: { set: /^tls-port (\d+)$/m, source: "valkey-io/valkey valkey.conf" } },
      },
    ],
  },
};
