import { javaTrust, mountedCa, TRUST_STORE_PASSWORD } from "../base/certificate";
import type { HelmValue } from "../base/chart-release";
import {
  type GraphLogin,
  hostPort,
  type KafkaLogin,
  type PostgresDatabase,
  type SearchLogin,
  url,
} from "../base/endpoint";
import { INGESTION_USER } from "../base/names";
import { type ContainerSize, type PriorityClassName, resources, RESTRICTED } from "../base/pod";
import { jdbcUrl, POSTGRES_CA_MOUNT, postgresCaVolume } from "../base/postgres-client";
import type { EnvSecret } from "../base/secret";
import { discoveryUrl, type SignOn, USERNAME_CLAIM } from "../base/sign-on";

/** User and group of every process: those of upstream's images. */
const DATAHUB_UID = 1000;
/** The administrator; DataHub's built-in policy requires this name. */
export const ADMINISTRATOR = "datahub";
/** Prefix of all indices, to which a role can be limited. */
export const INDEX_PREFIX = "datahub";

/** Connections that a pod opens to the database at most; upstream's 50 would be more than all others have together. */
export const POOLS = { gms: 20, mceConsumer: 10, systemUpdate: 10 };

/** The size of each pod. */
export interface DatahubSizes {
  readonly gms: ContainerSize;
  readonly frontend: ContainerSize;
  readonly maeConsumer: ContainerSize;
  readonly mceConsumer: ContainerSize;
  /** The Jobs that prepare tables, topics and indices, before and after the rest. */
  readonly systemUpdate: ContainerSize;
}

/** The keys of the Secrets that the values refer to. */
export const KEYS = {
  systemClientSecret: "system_client_secret",
  tokenSigningKey: "token_service_signing_key",
  tokenSalt: "token_service_salt",
  encryptionKey: "encryption_key_secret",
  sessionKey: "session_key",
  postgresPassword: "postgres_password",
  searchPassword: "search_password",
  graphPassword: "graph_password",
  kafkaLogin: "sasl_jaas_config",
  users: "user.props",
  clientSecret: "client_secret",
} as const;

/** The topics that DataHub creates, writes and reads, by the chart's keys, with the chart's names. */
export const TOPICS = {
  datahub_usage_event_name: "DataHubUsageEvent_v1",
  metadata_change_proposal_topic_name: "MetadataChangeProposal_v1",
  failed_metadata_change_proposal_topic_name: "FailedMetadataChangeProposal_v1",
  metadata_change_log_versioned_topic_name: "MetadataChangeLog_Versioned_v1",
  metadata_change_log_timeseries_topic_name: "MetadataChangeLog_Timeseries_v1",
  platform_event_topic_name: "PlatformEvent_v1",
  datahub_upgrade_history_topic_name: "DataHubUpgradeHistory_v1",
} as const;

/** DataHub's Secrets. */
export type DatahubSecrets = Readonly<Record<"auth" | "encryption" | "stores" | "kafka" | "frontend", EnvSecret>> & {
  /** The secret of the identity provider's client. */
  readonly signOn?: EnvSecret;
};

/** Inputs of the values. */
export interface ValuesArgs extends DatahubSizes {
  readonly store: PostgresDatabase;
  readonly streams: KafkaLogin;
  readonly search: SearchLogin;
  readonly graph?: GraphLogin;
  readonly secrets: DatahubSecrets;
  readonly signOn?: SignOn;
  readonly serviceAccounts: Readonly<Record<keyof DatahubSizes, string>>;
  readonly baseUrl: string;
}

/** The values of the chart datahub. */
export function values(args: ValuesArgs): { readonly [key: string]: HelmValue } {
  const { serviceAccounts, secrets } = args;
  const service = { type: "ClusterIP" };
  return {
    global: global(args),
    "datahub-gms": {
      ...pod(args, "gms", "critical-services"),
      service,
      extraEnvs: [
        ...java(args),
        ...pool(POOLS.gms),
        ...environment({ DATAHUB_BASE_URL: args.baseUrl }),
        // The chart sets it only if DataHub itself runs recipes; without it the key would be upstream's.
        secretEnv("SECRET_SERVICE_ENCRYPTION_KEY", secrets.encryption, KEYS.encryptionKey),
      ],
    },
    "datahub-frontend": {
      ...pod(args, "frontend", "standard-services"),
      service,
      existingGmsSecret: { name: secrets.frontend.name, key: KEYS.sessionKey },
      extraEnvs: [...environment({ JAVA_MEMORY_OPTS: HEAP }), ...signOnEnv(args)],
      extraVolumes: [...volumes(args, "frontend"), { name: "users", secret: { secretName: secrets.frontend.name } }],
      extraVolumeMounts: [
        ...mounts(args),
        // Replaces the image's file, which has the user `datahub` with the password `datahub`.
        { name: "users", mountPath: `/datahub-frontend/conf/${KEYS.users}`, subPath: KEYS.users, readOnly: true },
      ],
    },
    "datahub-mae-consumer": { ...pod(args, "maeConsumer", "standard-services"), extraEnvs: java(args) },
    "datahub-mce-consumer": {
      ...pod(args, "mceConsumer", "standard-services"),
      extraEnvs: [...java(args), ...pool(POOLS.mceConsumer)],
    },
    // It runs recipes from the browser; ours run as CronJobs.
    "acryl-datahub-actions": { enabled: false },
    // A suspended CronJob, from which an operator starts a Job that rebuilds search and graph (docs/datahub.md).
    datahubUpgrade: {
      enabled: true,
      serviceAccount: serviceAccounts.systemUpdate,
      ...SECURITY,
      extraEnvs: java(args),
      extraVolumes: volumes(args, "systemUpdate"),
      extraVolumeMounts: mounts(args),
      restoreIndices: {
        resources: resources(args.systemUpdate),
        // Offsets become slower with each page.
        args: { urnBasedPagination: true },
      },
    },
    datahubSystemUpdate: {
      // With zero-downtime upgrades it does not scale anything down, so it does not need the API server.
      serviceAccount: { create: false, name: serviceAccounts.systemUpdate, rbac: false },
      // The chart treats `createDatabase: false` as unset, so the Job gets its environment from us.
      sql: { setup: { enabled: false } },
      resources: resources(args.systemUpdate),
      ...SECURITY,
      extraEnvs: [
        ...java(args),
        ...pool(POOLS.systemUpdate),
        ...environment({ DATAHUB_SQL_SETUP_ENABLED: "true", CREATE_TABLES: "true", CREATE_DB: "false" }),
      ],
      extraVolumes: volumes(args, "systemUpdate"),
      extraVolumeMounts: mounts(args),
      // The chart would choose a random hour for each release.
      bootstrapMCPs: { datahubGC: { values: { schedule: { interval: "30 1 * * *" } } } },
    },
  };
}

function global({ store, streams, search, graph, secrets }: ValuesArgs): HelmValue {
  const { auth, encryption } = secrets;
  return {
    graph_service_impl: graph === undefined ? "elasticsearch" : "neo4j",
    ...(graph && { neo4j: neo4j(graph, secrets.stores) }),
    datahub_standalone_consumers_enabled: true,
    // The servers' charts would map `mysql`, `broker` and others to a foreign address.
    hostAliases: [],
    elasticsearch: {
      host: search.server.host,
      port: `${search.server.port}`,
      useSSL: "true",
      // The images' tool does not know our CA, and the program has already waited.
      skipcheck: "true",
      auth: {
        username: search.login.username,
        password: { secretRef: secrets.stores.name, secretKey: KEYS.searchPassword },
      },
      indexPrefix: INDEX_PREFIX,
    },
    kafka: {
      bootstrap: { server: hostPort(streams.bootstrap) },
      // The brokers' default.
      replicationFactor: -1,
      topics: TOPICS,
      schemaregistry: { type: "INTERNAL" },
      metadataChangeLog: { hooks: { ingestionScheduler: { enabled: false } } },
    },
    springKafkaConfigurationOverrides: {
      "security.protocol": "SASL_SSL",
      "sasl.mechanism": "SCRAM-SHA-512",
      "ssl.truststore.type": "PKCS12",
      "ssl.truststore.location": `${TRUST.kafka}/truststore.p12`,
      "ssl.truststore.password": TRUST_STORE_PASSWORD,
    },
    credentialsAndCertsSecrets: {
      name: secrets.kafka.name,
      path: "/mnt/kafka",
      secureEnv: { "sasl.jaas.config": KEYS.kafkaLogin },
    },
    sql: {
      datasource: {
        host: hostPort(store.server),
        port: `${store.server.port}`,
        url: jdbcUrl(store),
        driver: "org.postgresql.Driver",
        database: store.database,
        username: store.login.username,
        password: { secretRef: secrets.stores.name, secretKey: KEYS.postgresPassword },
      },
    },
    datahub: {
      // Else every version of every aspect stays: DataHub's default policy keeps the last 20.
      enable_retention: true,
      appServiceAccount: { create: false },
      encryptionKey: {
        secretRef: encryption.name,
        secretKey: KEYS.encryptionKey,
        provisionSecret: { enabled: false },
      },
      managed_ingestion: { enabled: false },
      // The consumers answer probes only on this port, even if nothing scrapes their metrics.
      monitoring: { enablePrometheus: true, metricsMode: "actuator_only" },
      metadata_service_authentication: {
        enabled: true,
        systemClientSecret: { secretRef: auth.name, secretKey: KEYS.systemClientSecret },
        tokenService: {
          signingKey: { secretRef: auth.name, secretKey: KEYS.tokenSigningKey },
          salt: { secretRef: auth.name, secretKey: KEYS.tokenSalt },
        },
        provisionSecrets: { enabled: false },
      },
    },
  };
}

function neo4j({ server, login }: GraphLogin, stores: EnvSecret): HelmValue {
  return {
    host: hostPort(server),
    uri: url(server),
    // The only database of Neo4j's community edition.
    database: "neo4j",
    username: login.username,
    password: { secretRef: stores.name, secretKey: KEYS.graphPassword },
  };
}

const NEO4J_CA = mountedCa("neo4j");
/** Directory of the trusted CA in pods. */
const TRUST = { kafka: "/mnt/kafka-trust", search: "/mnt/search-trust" };

function mounts({ graph }: ValuesArgs): HelmValue[] {
  const cas = { [TRUST.kafka]: "kafka-trust", [TRUST.search]: "search-trust", ...POSTGRES_CA_MOUNT };
  return [
    { name: "tmp", mountPath: "/tmp" },
    ...Object.entries({ ...cas, ...(graph && NEO4J_CA.mounts) }).map(([mountPath, name]) => ({
      name,
      mountPath,
      readOnly: true,
    })),
  ];
}

// For unpacked Java libraries and logs. Upstream's logback.xml lets these two servers keep 10 GB of logs and 2 GB for debugging,
// which they write in any case; the kubelet would evict a pod that has more than its limit. The others keep 400 MB.
const TMP_MIB: Readonly<Record<keyof DatahubSizes, number>> = {
  gms: 13 * 1024,
  frontend: 13 * 1024,
  maeConsumer: 1024,
  mceConsumer: 1024,
  systemUpdate: 1024,
};

/** The size of a server's pod with its scratch volume. */
export function podSize(component: keyof DatahubSizes, sizes: DatahubSizes): ContainerSize {
  return { ...sizes[component], scratchMiB: TMP_MIB[component] };
}

function volumes({ store, streams, search, graph }: ValuesArgs, component: keyof DatahubSizes): HelmValue[] {
  const trusted = { "kafka-trust": streams.trust, "search-trust": search.trust };
  return [
    { name: "tmp", emptyDir: { sizeLimit: `${TMP_MIB[component]}Mi` } },
    ...Object.entries(trusted).map(([name, { volume }]) => ({ name, ...volume })),
    postgresCaVolume(store),
    ...(graph ? [NEO4J_CA.volume(graph.trust)] : []),
  ];
}

// Memory outside the heap: threads, classes, Kafka and HTTP buffers.
const HEAP = "-XX:MaxRAMPercentage=60";

/** The environment of the servers and upgrade Jobs: Java's options and trust store. */
function java({ graph }: ValuesArgs): HelmValue[] {
  return environment({
    // Neo4j's client has no trust store of its own; nothing else relies on Java's.
    JAVA_OPTS: [HEAP, ...(graph ? javaTrust(NEO4J_CA.trustStore) : [])].join(" "),
    ELASTICSEARCH_SSL_TRUSTSTORE_FILE: `${TRUST.search}/truststore.p12`,
    ELASTICSEARCH_SSL_TRUSTSTORE_TYPE: "PKCS12",
    ELASTICSEARCH_SSL_TRUSTSTORE_PASSWORD: TRUST_STORE_PASSWORD,
    DATAHUB_TELEMETRY_ENABLED: "false",
    // It would copy the whole program to /tmp to start faster.
    EXTRACT_JAR_ENABLED: "false",
    // The images would check its HTTP port, which DataHub does not use otherwise.
    ...(graph && { SKIP_NEO4J_CHECK: "true" }),
  });
}

/** The chart's own keys know three providers, and would put the client's secret into the release. */
function signOnEnv({ signOn, secrets, baseUrl }: ValuesArgs): HelmValue[] {
  if (signOn === undefined || secrets.signOn === undefined) return [];
  return [
    ...environment({
      AUTH_OIDC_ENABLED: "true",
      AUTH_OIDC_CLIENT_ID: signOn.clientId,
      AUTH_OIDC_DISCOVERY_URI: discoveryUrl(signOn),
      AUTH_OIDC_BASE_URL: baseUrl,
      AUTH_OIDC_SCOPE: signOn.scopes.join(" "),
      AUTH_OIDC_USER_NAME_CLAIM: USERNAME_CLAIM,
      // DataHub's own accounts are not the provider's to give away: who bears the name of one is refused.
      AUTH_OIDC_USER_NAME_CLAIM_REGEX: `^(?!(${[ADMINISTRATOR, INGESTION_USER].join("|")})$|__).+$`,
      AUTH_OIDC_EXTRACT_GROUPS_ENABLED: "true",
      AUTH_OIDC_GROUPS_CLAIM: signOn.groupsClaim,
    }),
    secretEnv("AUTH_OIDC_CLIENT_SECRET", secrets.signOn, KEYS.clientSecret),
  ];
}

function pool(connections: number): HelmValue[] {
  return environment({ EBEAN_MAX_CONNECTIONS: `${connections}` });
}

function environment(variables: Readonly<Record<string, string>>): HelmValue[] {
  return Object.entries(variables).map(([name, value]) => ({ name, value }));
}

function secretEnv(name: string, secret: EnvSecret, key: string): HelmValue {
  return { name, valueFrom: { secretKeyRef: { name: secret.name, key } } };
}

const SECURITY = {
  podSecurityContext: {
    fsGroup: DATAHUB_UID,
    fsGroupChangePolicy: "OnRootMismatch",
    seccompProfile: { type: "RuntimeDefault" },
  },
  securityContext: { runAsNonRoot: true, runAsUser: DATAHUB_UID, runAsGroup: DATAHUB_UID, ...RESTRICTED },
};

/** Labels by which alerts tell the pods of a server apart. */
export function podLabels(component: keyof DatahubSizes): Readonly<Record<string, string>> {
  return { app: "datahub", component };
}

/** What the subcharts have in common. */
function pod(args: ValuesArgs, component: keyof DatahubSizes, priorityClassName: PriorityClassName) {
  return {
    serviceAccount: { create: false, name: args.serviceAccounts[component] },
    priorityClassName,
    resources: resources(podSize(component, args)),
    ...SECURITY,
    // The charts have no startup probe: on half a CPU a server takes minutes, so it is given 60 s and 10 periods of 30 s.
    livenessProbe: { failureThreshold: 10 },
    extraPodLabels: podLabels(component),
    podAnnotations: Object.fromEntries(
      Object.values(args.secrets).map(({ name, checksum }) => [`checksum.254carbon.com/${name}`, checksum]),
    ),
    extraVolumes: volumes(args, component),
    extraVolumeMounts: mounts(args),
  };
}
