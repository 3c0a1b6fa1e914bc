import { z } from "zod";
import { dolphinschedulerConnections } from "../../components/analytics/dolphinscheduler";
import { polarisConnections } from "../../components/analytics/polaris";
import { supersetConnections } from "../../components/analytics/superset";
import { datahubConnections } from "../../components/catalog/datahub";
import { feastConnections } from "../../components/ml/feast";
import { mlflowConnections } from "../../components/ml/mlflow";
import { Superset } from "./bi";
import { Datahub } from "./catalog";
import { ObjectStore, Postgres, Redis } from "./data";
import { Mesh } from "./mesh";
import { Gateway } from "./gateway";
import type { Images } from "./images";
import type { Mail } from "./mail";
import { Feast, Mlflow, Ray, Serve } from "./ml";
import { Monitoring } from "./observability";
import { Elasticsearch, Neo4j } from "./search";
import { Size } from "./shapes";
import type { SignOnSystem, SingleSignOn } from "./sign-on";
import { Polaris, Trino } from "./sql";
import { Kafka } from "./streams";
import { DolphinScheduler } from "./workflows";

/** The form of a credential's value. */
export type SecretForm = "password" | "user" | "token" | "key" | "logins";

/** A credential of a system. */
export interface SecretKey {
  readonly form: SecretForm;
  /** Who uses it, as `npm run secrets` and editors show. */
  readonly usedBy: string;
  /** Length of a generated value. Absent if the value cannot be generated. */
  readonly length?: number;
  /** Maximum length, if the product accepts less than the form allows. */
  readonly maxLength?: number;
  /** Whether a third party issues the value in a stack, although it has a length. */
  readonly issuedWhere?: (config: Issuers) => boolean;
  /** Whether the object store's shared login takes its place in a stack that does not set it. */
  readonly sharedWhere?: (config: Issuers) => boolean;
}

/** The systems whose config determines who issues credentials. */
interface Issuers {
  readonly images?: z.output<typeof Images> | undefined;
  readonly objectStore?: z.output<typeof ObjectStore> | undefined;
  readonly postgres?: z.output<typeof Postgres> | undefined;
  readonly monitoring?: z.output<typeof Monitoring> | undefined;
  readonly gateway?: z.output<typeof Gateway> | undefined;
  readonly trino?: z.output<typeof Trino> | undefined;
  readonly singleSignOn?: z.output<typeof SingleSignOn> | undefined;
  readonly mail?: z.output<typeof Mail> | undefined;
}

/** A system of the platform. */
interface System {
  /** Its part of the stack file. Without it the system is not deployed. */
  readonly config: z.ZodType;
  /** The systems that it requires. Other connections are made only if both ends are deployed. */
  readonly needs?: readonly string[];
  /** Credentials that a stack may set with `npx pulumi config set --secret carbon:<key>`. */
  readonly credentials?: Readonly<Record<string, SecretKey>>;
}

// ECK hashes passwords with bcrypt, which takes 72 bytes: it silently omits a user with a longer password.
const BCRYPT_MAX = 72;

// An external store accepts only keys that it issued.
const isOutside = ({ objectStore }: Issuers): boolean => objectStore?.kind === "external";
const isPostgresOutside = ({ postgres }: Issuers): boolean => postgres?.kind === "external";
const backsUpOutside = ({ objectStore, postgres }: Issuers): boolean => {
  const target = postgres?.kind === "external" ? undefined : postgres?.backups?.target.kind;
  return target === "external" || (target !== undefined && isOutside({ objectStore }));
};

/** The access key of a system's own user in the object store. */
const s3AccessKey = (system: string) => s3Key("user", 20, system);
/** The secret key of a system's own user in the object store. */
const s3SecretKey = (system: string) => s3Key("password", 40, system);

function s3Key(form: SecretForm, length: number, system: string): SecretKey {
  return { form, usedBy: `${system}, the object store's set-up, SeaweedFS`, length, sharedWhere: isOutside };
}

const S3_SHARED =
  "the object store's set-up, SeaweedFS, jobs outside the program by the Secret minio-credentials; at an external store also each system without a login of its own: MLflow, Feast, Ray, Serve, Polaris, Trino, DolphinScheduler";
/** The key to a system's APIs. */
const apiKey = (system: string): SecretKey => ({
  form: "key",
  usedBy: `Programs that call ${system} through the gateway`,
  length: 48,
});

/** The secret of a system's client at the identity provider. */
const clientSecret = (system: SignOnSystem, title: string): SecretKey => ({
  form: "token",
  usedBy: `${title}, at the identity provider`,
  issuedWhere: ({ singleSignOn }) => singleSignOn?.[system] !== undefined,
});

/** Every system that a stack may have. */
export const SYSTEMS = {
  mesh: { config: Mesh },
  postgres: {
    config: Postgres,
    credentials: {
      backupAccessKey: {
        form: "user",
        usedBy: "PostgreSQL, for its backups alone, and the object store that keeps them (SeaweedFS)",
        length: 20,
        issuedWhere: backsUpOutside,
      },
      backupSecretKey: {
        form: "password",
        usedBy: "PostgreSQL, for its backups alone, and the object store that keeps them (SeaweedFS)",
        length: 40,
        issuedWhere: backsUpOutside,
      },
      postgresAdministrator: {
        form: "user",
        usedBy: "The set-up of an external PostgreSQL, which makes databases and roles",
        issuedWhere: isPostgresOutside,
      },
      postgresAdministratorPassword: {
        form: "password",
        usedBy: "The set-up of an external PostgreSQL, which makes databases and roles",
        issuedWhere: isPostgresOutside,
      },
    },
  },
  objectStore: {
    config: ObjectStore,
    credentials: {
      objectStoreApiKey: apiKey("the object store"),
      minioRootUser: { form: "user", usedBy: "MinIO, the object store's set-up", length: 20 },
      minioRootPassword: { form: "password", usedBy: "MinIO, the object store's set-up", length: 40 },
      seaweedfsAdminAccessKey: { form: "user", usedBy: "SeaweedFS, the object store's set-up", length: 20 },
      seaweedfsAdminSecretKey: { form: "password", usedBy: "SeaweedFS, the object store's set-up", length: 40 },
      objectStoreAccessKey: {
        form: "user",
        usedBy: S3_SHARED,
        length: 20,
        issuedWhere: isOutside,
      },
      objectStoreSecretKey: {
        form: "password",
        usedBy: S3_SHARED,
        length: 40,
        issuedWhere: isOutside,
      },
    },
  },
  redis: {
    config: Redis,
    credentials: { redisExporterPassword: { form: "password", usedBy: "Redis, its exporter", length: 32 } },
  },
  kafka: { config: Kafka },
  elasticsearch: {
    config: Elasticsearch,
    credentials: {
      elasticsearchExporterPassword: {
        form: "password",
        usedBy: "Elasticsearch, its exporter",
        length: 32,
        maxLength: BCRYPT_MAX,
      },
    },
  },
  neo4j: {
    config: Neo4j,
    credentials: {
      // Neo4j reads it only once, when its volume is empty (docs/adr/0021-search-and-graph.md).
      neo4jPassword: { form: "password", usedBy: "Neo4j, DataHub", length: 32 },
    },
  },
  mlflow: {
    config: Mlflow,
    needs: ["postgres", "objectStore"],
    credentials: {
      mlflowApiKey: apiKey("MLflow"),
      postgresMlflowPassword: { form: "password", usedBy: "PostgreSQL, MLflow", length: 32 },
      mlflowEncryptionPassphrase: { form: "password", usedBy: "MLflow", length: 48 },
      objectStoreMlflowAccessKey: s3AccessKey("MLflow"),
      objectStoreMlflowSecretKey: s3SecretKey("MLflow"),
    },
  },
  feast: {
    config: Feast,
    needs: ["postgres", "redis", "objectStore"],
    credentials: {
      feastApiKey: apiKey("Feast"),
      postgresFeastPassword: { form: "password", usedBy: "PostgreSQL, Feast", length: 32 },
      redisFeastPassword: { form: "password", usedBy: "Feast", length: 32 },
      objectStoreFeastAccessKey: s3AccessKey("Feast"),
      objectStoreFeastSecretKey: s3SecretKey("Feast"),
    },
  },
  ray: {
    config: Ray,
    // Its tasks read features and code from buckets and store artifacts there.
    needs: ["objectStore"],
    credentials: {
      rayApiKey: apiKey("Ray Serve"),
      rayAuthToken: {
        form: "password",
        usedBy: "Ray nodes and clients, serve-deploy, serve-training, verify",
        length: 48,
      },
      redisRayPassword: { form: "password", usedBy: "Ray's heads, with ray.faultTolerance", length: 32 },
      objectStoreRayAccessKey: s3AccessKey("Ray"),
      objectStoreRaySecretKey: s3SecretKey("Ray"),
    },
  },
  serve: {
    config: Serve,
    // An application reads models and features, and loads its code from a bucket.
    needs: ["ray", "mlflow", "feast", "objectStore"],
    credentials: {
      objectStoreServeAccessKey: s3AccessKey("Serve"),
      objectStoreServeSecretKey: s3SecretKey("Serve"),
    },
  },
  polaris: {
    config: Polaris,
    needs: ["postgres", "objectStore"],
    credentials: {
      polarisApiKey: apiKey("Polaris"),
      postgresPolarisPassword: { form: "password", usedBy: "PostgreSQL, Polaris", length: 32 },
      polarisRootSecret: { form: "password", usedBy: "Polaris' principal root, set-up of the catalog", length: 48 },
      // The tokens are signed with HMAC-SHA-256.
      polarisTokenKey: { form: "password", usedBy: "Polaris", length: 64 },
      objectStorePolarisAccessKey: s3AccessKey("Polaris"),
      objectStorePolarisSecretKey: s3SecretKey("Polaris"),
    },
  },
  trino: {
    config: Trino,
    credentials: {
      trinoApiKey: apiKey("Trino"),
      trinoCatalogPassword: {
        form: "token",
        usedBy:
          'Trino\'s catalogs outside the platform: one password for all, or JSON such as {"prices":{"connection-password":"…"}}',
        issuedWhere: ({ trino }) => Object.values(trino?.catalogs ?? {}).some(({ secrets }) => secrets.length > 0),
      },
      trinoSharedSecret: { form: "password", usedBy: "Trino's coordinator and workers", length: 64 },
      postgresTrinoReaderPassword: {
        form: "password",
        usedBy: "PostgreSQL, Trino: to read DataHub's database",
        length: 32,
      },
      kafkaTrinoPassword: { form: "password", usedBy: "Kafka, Trino", length: 32 },
      elasticsearchTrinoPassword: {
        form: "password",
        usedBy: "Elasticsearch, Trino",
        length: 32,
        maxLength: BCRYPT_MAX,
      },
      polarisTrinoSecret: { form: "password", usedBy: "Polaris, Trino's catalog iceberg", length: 48 },
      objectStoreTrinoAccessKey: s3AccessKey("Trino"),
      objectStoreTrinoSecretKey: s3SecretKey("Trino"),
    },
  },
  datahub: {
    config: Datahub,
    needs: ["postgres", "kafka", "elasticsearch"],
    credentials: {
      datahubApiKey: apiKey("DataHub"),
      postgresDatahubPassword: { form: "password", usedBy: "PostgreSQL, DataHub", length: 32 },
      kafkaDatahubPassword: { form: "password", usedBy: "Kafka, DataHub", length: 32 },
      elasticsearchDatahubPassword: {
        form: "password",
        usedBy: "Elasticsearch, DataHub",
        length: 32,
        maxLength: BCRYPT_MAX,
      },
      datahubAdminPassword: { form: "password", usedBy: "DataHub's user datahub", length: 32 },
      datahubSystemClientSecret: { form: "key", usedBy: "DataHub's own parts, DataHub's ingestion", length: 48 },
      datahubTokenSigningKey: { form: "key", usedBy: "DataHub's access tokens, DataHub's ingestion", length: 48 },
      datahubTokenSalt: { form: "key", usedBy: "DataHub's access tokens", length: 48 },
      datahubEncryptionKey: { form: "key", usedBy: "DataHub's own secrets", length: 48 },
      datahubSessionKey: { form: "key", usedBy: "DataHub's frontend", length: 48 },
      datahubClientSecret: clientSecret("datahub", "DataHub's frontend"),
      postgresIngestionReaderPassword: {
        form: "password",
        usedBy: "PostgreSQL, DataHub's ingestion: to read its database",
        length: 32,
      },
      kafkaIngestionPassword: { form: "password", usedBy: "Kafka, DataHub's ingestion", length: 32 },
      polarisIngestionSecret: { form: "password", usedBy: "Polaris, DataHub's ingestion of its catalog", length: 48 },
    },
  },
  superset: {
    config: Superset,
    needs: ["postgres", "redis"],
    credentials: {
      supersetApiKey: apiKey("Superset"),
      postgresSupersetPassword: { form: "password", usedBy: "PostgreSQL, Superset", length: 32 },
      postgresSupersetReaderPassword: {
        form: "password",
        usedBy: "PostgreSQL, Superset: to read DataHub's database",
        length: 32,
      },
      redisSupersetPassword: { form: "password", usedBy: "Superset", length: 32 },
      // Changing it makes everything encrypted with the old key unreadable: docs/superset.md.
      supersetSecretKey: { form: "password", usedBy: "Superset", length: 64 },
      supersetAdminPassword: { form: "password", usedBy: "Superset's user admin", length: 32 },
      supersetClientSecret: clientSecret("superset", "Superset"),
    },
  },
  dolphinscheduler: {
    config: DolphinScheduler,
    needs: ["postgres", "objectStore"],
    credentials: {
      dolphinschedulerApiKey: apiKey("DolphinScheduler"),
      postgresDolphinschedulerPassword: { form: "password", usedBy: "PostgreSQL, DolphinScheduler", length: 32 },
      postgresDolphinschedulerWorkerPassword: {
        form: "password",
        usedBy: "PostgreSQL, DolphinScheduler's workers: for its registry alone",
        length: 32,
      },
      dolphinschedulerAdminPassword: { form: "password", usedBy: "DolphinScheduler's user admin", length: 32 },
      objectStoreDolphinschedulerAccessKey: s3AccessKey("DolphinScheduler"),
      objectStoreDolphinschedulerSecretKey: s3SecretKey("DolphinScheduler"),
    },
  },
  monitoring: {
    config: Monitoring,
    credentials: {
      monitoringApiKey: apiKey("Prometheus and Grafana"),
      grafanaAdminPassword: { form: "password", usedBy: "Grafana's user admin, beside Prometheus", length: 32 },
      grafanaClientSecret: clientSecret("grafana", "Grafana, beside Prometheus"),
      // A PagerDuty routing key, or the URL of a webhook or Slack's: monitoring.paging says which.
      pagingCredential: {
        form: "token",
        usedBy: "Alertmanager, beside Prometheus",
        issuedWhere: ({ monitoring }: Issuers) =>
          monitoring !== undefined && !["none", "email"].includes(monitoring.paging.kind),
      },
    },
  },
  gateway: {
    config: Gateway,
    credentials: {
      gatewayPassword: { form: "password", usedBy: "People, as user admin at the gateway", length: 32 },
      gatewayClientSecret: {
        form: "token",
        usedBy: "The gateway, at the identity provider",
        issuedWhere: ({ gateway }: Issuers) => gateway?.people.kind === "oidc",
      },
      cloudflareTunnelToken: {
        form: "token",
        usedBy: "The gateway's tunnel",
        issuedWhere: ({ gateway }: Issuers) => gateway?.exposure.kind === "cloudflareTunnel",
      },
      cloudflareDnsToken: {
        form: "token",
        usedBy: "cert-manager, to prove the public host names",
        issuedWhere: ({ gateway }: Issuers) =>
          gateway?.certificates.kind === "acme" && gateway.certificates.challenge === "dns01",
      },
    },
  },
  verify: { config: Size.meta({ description: "The pod from which `npm run verify` tests the cluster" }) },
} as const satisfies Record<string, System>;

/** The systems with a database, whose pods determine how many connections there may be. */
interface DatabaseClients {
  readonly mlflow?: z.output<typeof Mlflow> | undefined;
  readonly feast?: z.output<typeof Feast> | undefined;
  readonly superset?: z.output<typeof Superset> | undefined;
  readonly datahub?: object | undefined;
  readonly dolphinscheduler?: z.output<typeof DolphinScheduler> | undefined;
  readonly polaris?: z.output<typeof Polaris> | undefined;
}

/** The most connections of each deployed system to its database. */
export function postgresConnections(clients: DatabaseClients) {
  const { mlflow, feast, superset, datahub, dolphinscheduler, polaris } = clients;
  return {
    mlflow: mlflow && mlflowConnections(mlflow),
    feast: feast && feastConnections(feast),
    superset: superset && supersetConnections(superset),
    datahub: datahub && datahubConnections(),
    dolphinscheduler: dolphinscheduler && dolphinschedulerConnections(dolphinscheduler),
    polaris: polaris && polarisConnections(polaris),
  };
}

export type SystemName = keyof typeof SYSTEMS;

/** The values of a part, for the systems that have it. */
export type PartOf<Name extends keyof System> = {
  [
    One in SystemName as (typeof SYSTEMS)[One] extends Readonly<Record<Name, unknown>> ? One : never
  ]: (typeof SYSTEMS)[One] extends Readonly<Record<Name, infer Value>> ? Value : never;
};

/** The credentials of no system. */
const CLUSTER_CREDENTIALS = {
  registryLogins: {
    form: "logins",
    usedBy: "Nodes, to pull images",
    issuedWhere: ({ images }: Issuers) => images?.pullSecret === true,
  },
  mailPassword: {
    form: "token",
    usedBy: "Superset, and Grafana and Alertmanager beside Prometheus, to send mail",
    issuedWhere: ({ mail }: Issuers) => mail !== undefined,
  },
} as const satisfies Readonly<Record<string, SecretKey>>;

type KeysOf<T> = T extends unknown ? Extract<keyof T, string> : never;
type Credentials = PartOf<"credentials">;

/** Name of a credential. */
export type SecretName = KeysOf<Credentials[keyof Credentials] | typeof CLUSTER_CREDENTIALS>;

/** A part of every system that has it, by the system's name. */
export function partsOf<Name extends keyof System>(part: Name): [SystemName, NonNullable<System[Name]>][] {
  return Object.entries<System>(SYSTEMS).flatMap(([name, { [part]: value }]) =>
    value === undefined ? [] : [[name as SystemName, value]],
  );
}

/** Every credential that a stack may set. */
export const SECRET_KEYS = Object.fromEntries(
  [...partsOf("credentials").map(([, credentials]) => credentials), CLUSTER_CREDENTIALS].flatMap(Object.entries),
) as Readonly<Record<SecretName, SecretKey>>;
