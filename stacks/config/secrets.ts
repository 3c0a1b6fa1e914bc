import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

/** What the value of a credential must look like. */
export type SecretForm = "password" | "user" | "token" | "key";

interface SecretKey {
  readonly form: SecretForm;
  /** Who reads it: shown by `npm run secrets`. */
  readonly usedBy: string;
  /** Length of a generated value. Absent where only somebody else can issue one. */
  readonly length?: number;
  /** The most characters that its product takes, where that is less than the form allows. */
  readonly maxLength?: number;
}

// ECK hashes passwords with bcrypt, which takes 72 bytes: with a longer one it leaves the user out, and says nothing.
const BCRYPT_MAX = 72;

/** Every credential that a stack may set with `npx pulumi config set --secret carbon:<key>`. */
export const SECRET_KEYS = {
  minioRootUser: { form: "user", usedBy: "MinIO server", length: 20 },
  minioRootPassword: { form: "password", usedBy: "MinIO server", length: 40 },
  seaweedfsAdminAccessKey: { form: "user", usedBy: "SeaweedFS, the Job that makes buckets", length: 20 },
  seaweedfsAdminSecretKey: { form: "password", usedBy: "SeaweedFS, the Job that makes buckets", length: 40 },
  objectStoreAccessKey: { form: "user", usedBy: "every client of S3, Secret minio-credentials", length: 20 },
  objectStoreSecretKey: { form: "password", usedBy: "every client of S3, Secret minio-credentials", length: 40 },
  postgresMlflowPassword: { form: "password", usedBy: "MLflow", length: 32 },
  mlflowEncryptionPassphrase: { form: "password", usedBy: "MLflow", length: 48 },
  rayAuthToken: {
    form: "password",
    usedBy: "Ray nodes and clients, deployment and training of applications, verify",
    length: 48,
  },
  postgresFeastPassword: { form: "password", usedBy: "Feast", length: 32 },
  postgresSupersetPassword: { form: "password", usedBy: "Superset", length: 32 },
  postgresDatahubPassword: { form: "password", usedBy: "DataHub", length: 32 },
  postgresDolphinschedulerPassword: { form: "password", usedBy: "DolphinScheduler", length: 32 },
  postgresPolarisPassword: { form: "password", usedBy: "Polaris", length: 32 },
  kafkaTrinoPassword: { form: "password", usedBy: "Trino", length: 32 },
  postgresTrinoReaderPassword: { form: "password", usedBy: "Trino, to read DataHub's database", length: 32 },
  postgresIngestionReaderPassword: {
    form: "password",
    usedBy: "DataHub's ingestion, to read its database",
    length: 32,
  },
  postgresSupersetReaderPassword: { form: "password", usedBy: "Superset, to read DataHub's database", length: 32 },
  backupAccessKey: { form: "user", usedBy: "PostgreSQL, for its backups alone", length: 20 },
  backupSecretKey: { form: "password", usedBy: "PostgreSQL, for its backups alone", length: 40 },
  dolphinschedulerAdminPassword: { form: "password", usedBy: "DolphinScheduler's user admin", length: 32 },
  redisFeastPassword: { form: "password", usedBy: "Feast", length: 32 },
  redisSupersetPassword: { form: "password", usedBy: "Superset", length: 32 },
  // Another one makes what the old one encrypted unreadable: docs/superset.md.
  supersetSecretKey: { form: "password", usedBy: "Superset", length: 64 },
  supersetAdminPassword: { form: "password", usedBy: "Superset's user admin", length: 32 },
  grafanaAdminPassword: { form: "password", usedBy: "Grafana's user admin", length: 32 },
  kafkaDatahubPassword: { form: "password", usedBy: "DataHub", length: 32 },
  kafkaIngestionPassword: { form: "password", usedBy: "DataHub's ingestion", length: 32 },
  elasticsearchDatahubPassword: { form: "password", usedBy: "DataHub", length: 32, maxLength: BCRYPT_MAX },
  elasticsearchTrinoPassword: { form: "password", usedBy: "Trino", length: 32, maxLength: BCRYPT_MAX },
  // Neo4j takes it once, with an empty volume (docs/adr/0021-search-and-graph.md).
  neo4jPassword: { form: "password", usedBy: "Neo4j, DataHub", length: 32 },
  datahubAdminPassword: { form: "password", usedBy: "DataHub's user datahub", length: 32 },
  datahubSystemClientSecret: { form: "key", usedBy: "DataHub's own parts, the user of its recipes", length: 48 },
  datahubTokenSigningKey: { form: "key", usedBy: "DataHub's access tokens, its recipes", length: 48 },
  datahubTokenSalt: { form: "key", usedBy: "DataHub's access tokens", length: 48 },
  datahubEncryptionKey: { form: "key", usedBy: "DataHub's own secrets", length: 48 },
  datahubSessionKey: { form: "key", usedBy: "DataHub's frontend", length: 48 },
  polarisRootSecret: { form: "password", usedBy: "Polaris' principal root, set-up of the catalog", length: 48 },
  // Of HMAC-SHA-256, which signs the tokens.
  polarisTokenKey: { form: "password", usedBy: "Polaris", length: 64 },
  polarisTrinoSecret: { form: "password", usedBy: "Trino's catalog iceberg", length: 48 },
  polarisIngestionSecret: { form: "password", usedBy: "DataHub's ingestion of the Iceberg catalog", length: 48 },
  trinoSharedSecret: { form: "password", usedBy: "Trino's coordinator and workers", length: 64 },
  // A PagerDuty routing key, or the URL of a webhook: monitoring.paging says which.
  pagingCredential: { form: "token", usedBy: "Alertmanager" },
} as const satisfies Record<string, SecretKey>;
export type SecretName = keyof typeof SECRET_KEYS;

// MinIO refuses user names under 3 and passwords under 8 characters.
const FORMS: Record<SecretForm, { pattern: RegExp; allowed: string }> = {
  user: { pattern: /^[A-Za-z0-9._-]{3,128}$/, allowed: "3 to 128 letters, digits, dots, dashes or underscores" },
  // Spring and Quarkus would expand ${.
  password: { pattern: /^(?!.*\$\{)[\x21-\x7e]{8,128}$/, allowed: "8 to 128 visible ASCII characters without ${" },
  // DataHub's tokens want 256 bits, and its system client may hold no colon.
  key: { pattern: /^[A-Za-z0-9._-]{32,128}$/, allowed: "32 to 128 letters, digits, dots, dashes or underscores" },
  token: { pattern: /^[\x21-\x7e]{8,2048}$/, allowed: "8 to 2048 printable ASCII characters without spaces" },
};

/** The credentials of a stack: what is set, and for the rest what is generated. */
export class Secrets extends pulumi.ComponentResource {
  private readonly config = new pulumi.Config();

  /** `required` lists the keys that nobody may generate. Throws one RunError that names every one that is not set. */
  constructor(name: string, required: readonly SecretName[]) {
    super("carbon:stacks:Secrets", name);
    const faults = required
      .filter((key) => this.config.getSecret(key) === undefined)
      .map((key) => `secrets.required: ${key} is not set; run ${setCommand(key)}`);
    if (faults.length > 0) throw new pulumi.RunError(faults.join("\n"));
    this.registerOutputs();
  }

  /** The value of a credential that only somebody else can issue: a secret Output. Throws a RunError where it is not set. */
  issued(key: SecretName): pulumi.Output<string> {
    if (this.config.getSecret(key) === undefined) {
      throw new pulumi.RunError(`carbon:${key} is not set, and nobody can generate it; run ${setCommand(key)}`);
    }
    return this.config.requireSecret(key).apply((value) => checked(key, value));
  }

  /** The value of a credential, which is generated unless it is set: a secret Output. */
  get(key: SecretName): pulumi.Output<string> {
    const { length }: SecretKey = SECRET_KEYS[key];
    if (this.config.getSecret(key) !== undefined || length === undefined) return this.issued(key);
    // Letters and digits only: the value goes into URLs and shell environments of products that quote differently.
    return pulumi.secret(new random.RandomPassword(key, { length, special: false }, { parent: this }).result);
  }
}

function checked(key: SecretName, value: string): string {
  const { form, maxLength }: SecretKey = SECRET_KEYS[key];
  const { pattern, allowed } = FORMS[form];
  if (pattern.test(value) && value.length <= (maxLength ?? Infinity)) return value;
  const most = maxLength === undefined ? "" : `, here at most ${maxLength}`;
  throw new pulumi.RunError(
    `carbon:${key}: the value is not a ${form}; allowed are ${allowed}${most}; run ${setCommand(key)}`,
  );
}

function setCommand(key: SecretName): string {
  return `\`npx pulumi config set --secret carbon:${key} -s ${pulumi.getStack()}\``;
}
