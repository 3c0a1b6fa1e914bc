import * as pulumi from "@pulumi/pulumi";
import type { Bucket, Credential, Endpoint, ExternalPeer, OwnBucket, S3Store } from "../base/endpoint";
import { objectName } from "../base/names";
import type { Offer } from "../base/offer";
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
  /** The login that creates the buckets and, if necessary, the application user. @default the application user */
  readonly administrator?: { readonly login: Credential; readonly makesUser: boolean };
  /** The application user, which may use only our buckets. */
  readonly login: Credential;
  readonly buckets: readonly string[];
  /** Buckets with their own user, which the application user may not use. */
  readonly ownBuckets: Readonly<Record<string, Credential>>;
  readonly setupSize: ContainerSize;
}

/** S3 buckets and their users, on our own or an external server. */
export class ObjectStore<Name extends string = string, OwnName extends string = string>
  extends pulumi.ComponentResource
{
  /** The S3 API, and the user of our buckets. */
  readonly store: S3Store;
  readonly offers: Offer;
  private readonly buckets: readonly string[];
  private readonly ownBuckets: ReadonlyMap<string, OwnBucket>;

  constructor(
    name: string,
    args: ObjectStoreArgs & {
      readonly buckets: readonly Name[];
      readonly ownBuckets: Readonly<Partial<Record<OwnName, Credential>>>;
    },
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:ObjectStore", name, {}, opts);
    const { namespace, url, region, destination, login, buckets, ownBuckets }: ObjectStoreArgs = args;

    const shared = envSecret(
      SHARED_SECRET,
      { namespace, data: { accesskey: login.username, secretkey: login.password } },
      { parent: this },
    );
    this.store = {
      url,
      region,
      destination: setUp(this, `${name}-setup`, args, { policy: "carbon-buckets", login, buckets }),
      login,
      secret: { namespace: pulumi.output(namespace), name: shared.name },
    };
    const own = Object.entries(ownBuckets).map(([bucket, user]) => {
      const only = { policy: bucket, login: user, buckets: [bucket] };
      const prepared = setUp(this, objectName(name, "setup", bucket), args, only);
      return [bucket, { name: bucket, store: { url, region, destination: prepared, login: user } }] as const;
    });
    this.ownBuckets = new Map(own);
    this.buckets = buckets;
    this.offers = {
      facts: { url, region },
      credentials: { shared: this.store.secret },
      // An object store outside the cluster never had it.
      legacyNames: { ...(destination.kind === "endpoint" && { "minio-service": [destination] }) },
    };
    this.registerOutputs();
  }

  /** The bucket of a service. */
  bucket(name: Name): Bucket {
    if (!this.buckets.includes(name)) throw new Error(`the object store has no bucket ${name}`);
    return { name, store: this.store };
  }

  /** A bucket with its own user. */
  ownBucket(name: OwnName): OwnBucket {
    const own = this.ownBuckets.get(name);
    if (own === undefined) throw new Error(`the object store has no bucket ${name} with a user of its own`);
    return own;
  }
}

/** A user, and the buckets that only it may use. */
interface BucketUser {
  /** Name of the user's policy on the server. */
  readonly policy: string;
  readonly login: Credential;
  readonly buckets: readonly string[];
}

/** Makes the Job that creates the buckets and, if necessary, their users. Returns the destination for those who come after it. */
function setUp(
  parent: pulumi.Resource,
  name: string,
  { namespace, url, region, destination, administrator, setupSize }: ObjectStoreArgs,
  { policy, login, buckets }: BucketUser,
): S3Store["destination"] {
  const logins = envSecret(
    name,
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
    { parent },
  );
  const { job } = new SetupJob(
    name,
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
        ...(administrator?.makesUser && { POLICY_NAME: policy, POLICY: bucketPolicy(buckets) }),
      },
      secretEnv: [logins],
      talksTo: [destination],
    },
    { parent },
  );
  return { ...destination, ready: [job] };
}

// mc reads logins from standard input, to keep them off the command line. Every step can be repeated: attaching a policy
// twice is an error in mc, so the script then checks whether it is attached. The image has a shell but no grep.
const SETUP_SCRIPT = `set -eu
printf '%s\\n%s\\n' "\${ADMIN_ACCESS_KEY:-$ACCESS_KEY}" "\${ADMIN_SECRET_KEY:-$SECRET_KEY}" | mc alias set store "$S3_URL"
if [ -n "\${POLICY:-}" ]; then
  printf '%s\\n%s\\n' "$ACCESS_KEY" "$SECRET_KEY" | mc admin user add store
  printf '%s' "$POLICY" > /tmp/policy.json
  mc admin policy create store "$POLICY_NAME" /tmp/policy.json
  if ! mc admin policy attach store "$POLICY_NAME" --user "$ACCESS_KEY"; then
    case "$(mc admin policy entities store --user "$ACCESS_KEY")" in *"$POLICY_NAME"*) ;; *) exit 1 ;; esac
  fi
fi
for bucket in $BUCKETS; do
  mc ls "store/$bucket" >/dev/null 2>&1 || mc mb --ignore-existing --region "$S3_REGION" "store/$bucket"
done
`;

/** A user's policy: everything inside its buckets, nothing outside. */
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
