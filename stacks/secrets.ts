import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

interface SecretKey {
  /** What the value must look like. */
  readonly form: "password" | "user" | "token";
  /** Who reads it: shown by `npm run secrets`. */
  readonly usedBy: string;
  /** Length of a generated value. Absent where only somebody else can issue one. */
  readonly length?: number;
}

/** Every credential that a stack may set with `npx pulumi config set --secret carbon:<key>`. */
export const SECRET_KEYS = {
  minioRootUser: { form: "user", usedBy: "MinIO server", length: 20 },
  minioRootPassword: { form: "password", usedBy: "MinIO server", length: 40 },
  seaweedfsAdminAccessKey: { form: "user", usedBy: "SeaweedFS, the Job that makes buckets", length: 20 },
  seaweedfsAdminSecretKey: { form: "password", usedBy: "SeaweedFS, the Job that makes buckets", length: 40 },
  objectStoreAccessKey: { form: "user", usedBy: "MLflow, Ray, Serve, Feast, Secret minio-credentials", length: 20 },
  objectStoreSecretKey: { form: "password", usedBy: "MLflow, Ray, Serve, Feast, Secret minio-credentials", length: 40 },
  postgresMlflowPassword: { form: "password", usedBy: "MLflow", length: 32 },
  mlflowEncryptionPassphrase: { form: "password", usedBy: "MLflow", length: 48 },
  rayAuthToken: {
    form: "password",
    usedBy: "Ray nodes and clients, deployment and training of applications, verify",
    length: 48,
  },
  postgresFeastPassword: { form: "password", usedBy: "Feast", length: 32 },
  redisFeastPassword: { form: "password", usedBy: "Feast", length: 32 },
  grafanaAdminPassword: { form: "password", usedBy: "Grafana's user admin", length: 32 },
  // A PagerDuty routing key, or the URL of a webhook: monitoring.paging says which.
  pagingCredential: { form: "token", usedBy: "Alertmanager" },
} as const satisfies Record<string, SecretKey>;
export type SecretName = keyof typeof SECRET_KEYS;

// MinIO refuses user names under 3 and passwords under 8 characters.
const FORMS: Record<SecretKey["form"], { pattern: RegExp; allowed: string }> = {
  user: { pattern: /^[A-Za-z0-9._-]{3,128}$/, allowed: "3 to 128 letters, digits, dots, dashes or underscores" },
  password: { pattern: /^[\x21-\x7e]{8,128}$/, allowed: "8 to 128 printable ASCII characters without spaces" },
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

  /** The value of a credential: a secret Output. */
  get(key: SecretName): pulumi.Output<string> {
    const { form, length }: SecretKey = SECRET_KEYS[key];
    if (this.config.getSecret(key) !== undefined) {
      return this.config.requireSecret(key).apply((value) => checked(key, form, value));
    }
    if (length === undefined) {
      throw new pulumi.RunError(`carbon:${key} is not set, and nobody can generate it; run ${setCommand(key)}`);
    }
    // Letters and digits only: the value goes into URLs and shell environments of products that quote differently.
    return pulumi.secret(new random.RandomPassword(key, { length, special: false }, { parent: this }).result);
  }
}

function checked(key: SecretName, form: SecretKey["form"], value: string): string {
  const { pattern, allowed } = FORMS[form];
  if (pattern.test(value)) return value;
  throw new pulumi.RunError(
    `carbon:${key}: the value is not a ${form}; allowed are ${allowed}; run ${setCommand(key)}`,
  );
}

function setCommand(key: SecretName): string {
  return `\`npx pulumi config set --secret carbon:${key} -s ${pulumi.getStack()}\``;
}
