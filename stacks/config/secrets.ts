import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import type { PlatformConfig } from "./schema";
import { SECRET_KEYS, type SecretForm, type SecretName } from "./systems";

// MinIO refuses user names under 3 and passwords under 8 characters.
const FORMS: Record<SecretForm, { pattern: RegExp; allowed: string }> = {
  user: { pattern: /^[A-Za-z0-9._-]{3,128}$/, allowed: "3 to 128 letters, digits, dots, dashes or underscores" },
  // Spring and Quarkus would expand ${, Spring also #{, and Grafana $__.
  password: {
    pattern: /^(?!.*(\$\{|#\{|\$__))[\x21-\x7e]{8,128}$/,
    allowed: "8 to 128 visible ASCII characters without ${, #{ and $__",
  },
  // DataHub's tokens need 256 bits, and its system client secret may not contain a colon.
  key: { pattern: /^[A-Za-z0-9._-]{32,128}$/, allowed: "32 to 128 letters, digits, dots, dashes or underscores" },
  // As `docker login` stores them.
  logins: {
    pattern: /^\s*\{\s*"auths"\s*:\s*\{.*\}\s*\}\s*$/s,
    allowed: 'JSON such as {"auths":{"ghcr.io":{"auth":"…"}}}',
  },
  token: { pattern: /^[\x21-\x7e]{8,2048}$/, allowed: "8 to 2048 printable ASCII characters without spaces" },
};

// As long as secret keys of S3 are.
const TENANT_PASSWORD_LENGTH = 40;

/** The credentials that a stack must set: those that its config requires, and those that a third party issues. */
export function wantedCredentials(config: PlatformConfig): SecretName[] {
  const keys = Object.keys(SECRET_KEYS) as SecretName[];
  return keys.filter((key) => config.secrets.required.includes(key) || SECRET_KEYS[key].issuedWhere?.(config));
}

/** The credentials that the object store's shared login replaces unless they are set. */
export function sharedCredentials(config: PlatformConfig): SecretName[] {
  return (Object.keys(SECRET_KEYS) as SecretName[]).filter((key) => SECRET_KEYS[key].sharedWhere?.(config));
}

/** The credentials of a stack: set ones as they are, the rest generated. */
export class Secrets extends pulumi.ComponentResource {
  private readonly config = new pulumi.Config();

  /** `wanted` lists the keys that must be set. Throws one RunError that lists every one that is not. */
  constructor(name: string, wanted: readonly SecretName[]) {
    super("carbon:stacks:Secrets", name);
    const faults = wanted
      .filter((key) => !this.has(key))
      .map((key) => `carbon:${key} is not set and must not be generated; run ${setCommand(key)}`);
    if (faults.length > 0) throw new pulumi.RunError(faults.join("\n"));
    this.registerOutputs();
  }

  /** Whether a credential is set. */
  has(key: SecretName): boolean {
    return this.config.getSecret(key) !== undefined;
  }

  /** The value of a credential as a secret Output; generated unless it is set. */
  get(key: SecretName): pulumi.Output<string> {
    const { length } = SECRET_KEYS[key];
    if (length === undefined || this.has(key)) {
      return this.config.requireSecret(key).apply((value) => checked(key, value));
    }
    return this.generate(key, length);
  }

  /** A password of a tenant's, which nobody sets. */
  ofTenant(user: string): pulumi.Output<string> {
    return this.generate(user, TENANT_PASSWORD_LENGTH);
  }

  private generate(name: string, length: number): pulumi.Output<string> {
    // Letters and digits only: products quote the value differently in URLs and shell environments.
    return pulumi.secret(new random.RandomPassword(name, { length, special: false }, { parent: this }).result);
  }
}

function checked(key: SecretName, value: string): string {
  const { form, maxLength } = SECRET_KEYS[key];
  const { pattern, allowed } = FORMS[form];
  if (pattern.test(value) && value.length <= (maxLength ?? Infinity)) return value;
  const most = maxLength === undefined ? "" : `, here at most ${maxLength}`;
  throw new pulumi.RunError(
    `carbon:${key}: the value is not a valid ${form}; allowed are ${allowed}${most}; run ${setCommand(key)}`,
  );
}

/** The fault of a login of which only the other half is set. */
export function halfSet(key: SecretName, other: SecretName): pulumi.RunError {
  return new pulumi.RunError(`carbon:${key} is not set, but carbon:${other} is; run ${setCommand(key)}`);
}

function setCommand(key: SecretName): string {
  return `\`npx pulumi config set --secret carbon:${key} -s ${pulumi.getStack()}\``;
}
