import type { ChartDeclaration, DeclaredWorkload, HelmValue } from "../base/chart-release";
import type { PostgresDatabase } from "../base/endpoint";
import { type ContainerSize, resources, RESTRICTED } from "../base/pod";
import { POSTGRES_CA_MOUNT, postgresCaVolume } from "../base/postgres-client";
import type { s3Ca } from "../base/s3-client";
import type { EnvSecret } from "../base/secret";

/** Where clients reach the API. */
export const API_PORT = 8181;
/** Port of health and metrics. */
const MANAGEMENT_PORT = 8182;
/** Connections that a pod opens to its database at most. */
export const POOL_SIZE = 10;
/** The user of Polaris' images. */
export const POLARIS_UID = 10000;
/** The server's only tenant. */
export const REALM = "POLARIS";
/** Name of the catalog, which clients call the warehouse. */
export const CATALOG = "iceberg";
/** Key of the Secret with the token signing key. */
export const SYMMETRIC_KEY = "symmetric.key";

/** Name of the metrics port. */
export const METRICS = { name: "polaris-mgmt", number: MANAGEMENT_PORT };

const POD_LABELS = { app: "polaris" };

/** What the values are made from. */
export interface ValuesArgs {
  readonly replicas: number;
  readonly size: ContainerSize;
  readonly serviceAccount: string;
  readonly store: PostgresDatabase;
  readonly database: EnvSecret;
  readonly objectStore: EnvSecret;
  readonly tokens: EnvSecret;
  readonly objectStoreEnv: Readonly<Record<string, HelmValue>>;
  readonly objectStoreCa: ReturnType<typeof s3Ca>;
}

/** The values of the chart. */
export function values(args: ValuesArgs): { readonly [key: string]: HelmValue } {
  const { replicas, size, store, database, objectStore, tokens, objectStoreEnv, objectStoreCa } = args;
  return {
    replicaCount: replicas,
    resources: resources(size),
    priorityClassName: "standard-services",
    serviceAccount: { create: false, name: args.serviceAccount },
    podLabels: POD_LABELS,
    podAnnotations: Object.fromEntries(
      [database, objectStore, tokens].map(({ name, checksum }) => [`checksum.254carbon.com/${name}`, checksum]),
    ),
    podSecurityContext: {
      runAsNonRoot: true,
      fsGroup: POLARIS_UID,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    containerSecurityContext: { ...RESTRICTED, runAsUser: POLARIS_UID, runAsGroup: POLARIS_UID },
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "ScheduleAnyway" },
    ],
    // The chart has no startup probe, and on just the requested CPU a JVM takes most of a minute to start.
    livenessProbe: { initialDelaySeconds: 90, failureThreshold: 6, timeoutSeconds: 5 },
    readinessProbe: { failureThreshold: 2, timeoutSeconds: 5 },
    serviceMonitor: { enabled: false },
    realmContext: { realms: [REALM] },
    features: { SUPPORTED_CATALOG_STORAGE_TYPES: ["S3"] },
    persistence: {
      type: "relational-jdbc",
      relationalJdbc: {
        secret: {
          name: database.name,
          username: "QUARKUS_DATASOURCE_USERNAME",
          password: "QUARKUS_DATASOURCE_PASSWORD",
          jdbcUrl: "QUARKUS_DATASOURCE_JDBC_URL",
        },
      },
    },
    authentication: {
      tokenBroker: {
        type: "symmetric-key",
        secret: { name: tokens.name, symmetricKey: { secretKey: SYMMETRIC_KEY } },
      },
    },
    extraVolumes: [postgresCaVolume(store), ...objectStoreCa.volumes],
    extraVolumeMounts: Object.entries({ ...POSTGRES_CA_MOUNT, ...objectStoreCa.mounts }).map(([mountPath, name]) => ({
      name,
      mountPath,
      readOnly: true,
    })),
    // The server writes table metadata to the bucket with the SDK's credentials.
    envFrom: [{ secretRef: { name: objectStore.name } }],
    extraEnv: [
      { name: "QUARKUS_DATASOURCE_JDBC_MAX_SIZE", value: `${POOL_SIZE}` },
      // Else requests fail on connections from before PostgreSQL's last restart, for two minutes (quarkus#41616).
      { name: "QUARKUS_DATASOURCE_JDBC_VALIDATE_ON_BORROW", value: "true" },
      ...Object.entries(objectStoreEnv).map(([name, value]) => ({ name, value })),
      // Share of the memory limit; classes, threads and buffers take the rest.
      { name: "JAVA_MAX_MEM_RATIO", value: "65" },
    ],
  };
}

/** What the chart runs with these values. */
export function declaration(
  name: string,
  replicas: number,
  size: ContainerSize,
): ChartDeclaration & { readonly workloads: readonly [DeclaredWorkload] } {
  const server: DeclaredWorkload = {
    kind: "Deployment",
    name,
    labels: { "app.kubernetes.io/name": "polaris", "app.kubernetes.io/instance": name },
    podLabels: POD_LABELS,
    ports: { [METRICS.name]: METRICS.number },
    serviceAccount: name,
    replicas,
    size,
  };
  return {
    workloads: [server],
    services: [
      { name, port: API_PORT, podPort: API_PORT, workload: name },
      { name: `${name}-mgmt`, port: MANAGEMENT_PORT, podPort: MANAGEMENT_PORT, workload: name },
    ],
    serviceAccounts: "program",
    crds: [],
  };
}
