import * as pulumi from "@pulumi/pulumi";
import type { Bucket, Credential, Endpoint, ExternalPeer, S3Store } from "../base/endpoint";
import type { ContainerSize } from "../base/pod";
import { envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";

/** Name of the Secret that jobs outside this program read: keys `accesskey` and `secretkey`. */
const SHARED_SECRET = "minio-credentials";

/** Inputs of {@link ObjectStore}. */
export interface ObjectStoreArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Base URL of the S3 API, without a path. */
  readonly url: pulumi.Output<string>;
  readonly region: string;
  readonly destination: Endpoint | ExternalPeer;
  /** Who makes the buckets, and the application user where the server does not know it. @default the application user */
  readonly administrator?: { readonly login: Credential; readonly makesUser: boolean };
  /** The application user: it may use our buckets, and nothing else. */
  readonly login: Credential;
  readonly buckets: readonly string[];
  readonly setupSize: ContainerSize;
}

/** S3 buckets and the one user that may use them, on a server of ours or of somebody else. */
export class ObjectStore extends pulumi.ComponentResource {
  /** The S3 API, and the user of our buckets. */
  readonly store: S3Store;
  private readonly buckets: readonly string[];

  constructor(name: string, args: ObjectStoreArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:ObjectStore", name, {}, opts);
    const { namespace, url, region, destination, administrator, login, buckets, setupSize } = args;

    const shared = envSecret(
      SHARED_SECRET,
      { namespace, data: { accesskey: login.username, secretkey: login.password } },
      { parent: this },
    );
    const setupLogin = envSecret(
      `${name}-setup`,
      {
        namespace,
        data: {
          ACCESS_KEY: login.username,
          SECRET_KEY: login.password,
          ...(administrator && {
            ADMIN_ACCESS_KEY: administrator.login.username,
            ADMIN_SECRET_KEY: administrator.login.password,
          }),
        },
      },
      { parent: this },
    );
    const setup = new SetupJob(
      `${name}-setup`,
      {
        namespace,
        image: images.minioClient,
        size: setupSize,
        uid: 1000,
        command: ["sh", "-c", SETUP_SCRIPT],
        env: {
          HOME: "/tmp",
          MC_CONFIG_DIR: "/tmp/mc",
          S3_URL: url,
          S3_REGION: region,
          BUCKETS: buckets.join(" "),
          ...(administrator?.makesUser && { POLICY: bucketPolicy(buckets) }),
        },
        secretEnv: [setupLogin],
        talksTo: [destination],
      },
      { parent: this, dependsOn: "ready" in destination ? [...destination.ready] : [] },
    );
    this.store = {
      url,
      region,
      destination,
      login,
      secret: { namespace: pulumi.output(namespace), name: shared.name },
      ready: [setup.job],
    };
    this.buckets = buckets;
    this.registerOutputs();
  }

  /** The bucket of a service. */
  bucket(name: string): Bucket {
    if (!this.buckets.includes(name)) throw new Error(`the object store has no bucket ${name}`);
    return { name, store: this.store };
  }
}

// mc reads logins from standard input, so that they stand on no command line. Every step may be repeated: attaching a
// policy twice is an error to mc, so the script then looks whether it is attached. Its image has a shell, but no grep.
const SETUP_SCRIPT = `set -eu
printf '%s\\n%s\\n' "\${ADMIN_ACCESS_KEY:-$ACCESS_KEY}" "\${ADMIN_SECRET_KEY:-$SECRET_KEY}" | mc alias set store "$S3_URL"
if [ -n "\${POLICY:-}" ]; then
  printf '%s\\n%s\\n' "$ACCESS_KEY" "$SECRET_KEY" | mc admin user add store
  printf '%s' "$POLICY" > /tmp/policy.json
  mc admin policy create store carbon-buckets /tmp/policy.json
  if ! mc admin policy attach store carbon-buckets --user "$ACCESS_KEY"; then
    case "$(mc admin policy entities store --user "$ACCESS_KEY")" in *carbon-buckets*) ;; *) exit 1 ;; esac
  fi
fi
for bucket in $BUCKETS; do
  mc ls "store/$bucket" >/dev/null 2>&1 || mc mb --ignore-existing --region "$S3_REGION" "store/$bucket"
done
`;

/** What the application user may do: everything inside our buckets, nothing outside. */
function bucketPolicy(buckets: readonly string[]): string {
  const resources = buckets.map((bucket) => `arn:aws:s3:::${bucket}`);
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Action: ["s3:GetBucketLocation", "s3:ListBucket"], Resource: resources },
      {
        Effect: "Allow",
        Action: ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
        Resource: resources.map((resource) => `${resource}/*`),
      },
    ],
  });
}
