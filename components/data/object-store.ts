import * as pulumi from "@pulumi/pulumi";
import type { Bucket, BucketUser, Credential, Endpoint, ExternalPeer, S3Store } from "../base/endpoint";
import { type MountedFiles, secretFiles } from "../base/files";
import { objectName, TENANT_USERS } from "../base/names";
import { s3Ca, s3CaEnv } from "../base/s3-client";
import type { Offer } from "../base/offer";
import type { ContainerSize } from "../base/pod";
import { envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";

/** Name of the Secret that jobs outside this program read: keys `accesskey` and `secretkey`. */
const SHARED_SECRET = "minio-credentials";
/** The name of a store inside the cluster on the old platform, which clients may still use. */
export const LEGACY_NAME = "minio-service";
// What the Job calls the shared user, and running MinIO servers its policy.
const SHARED_USER = "carbon-buckets";
const ADMINISTRATOR = "administrator";
const USERS_MOUNT = "/users";

/** Inputs of {@link ObjectStore}. */
export interface ObjectStoreArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Base URL of the S3 API, without a path. */
  readonly url: pulumi.Output<string>;
  readonly region: string;
  readonly destination: Endpoint<"http"> | ExternalPeer;
  /** The login that creates the buckets and, if necessary, the users. @default the shared user's */
  readonly administrator?: { readonly login: Credential; readonly makesUsers: boolean };
  /** The user of jobs outside this program, whose buckets are all but those that a user has to itself. */
  readonly shared: BucketUser;
  /** The users of clients. They may have the shared user's login, which then limits them to nothing. */
  readonly users: Readonly<Record<string, BucketUser>>;
  /** What the names of buckets begin with; users' rights name them in full. @default nothing */
  readonly bucketPrefix?: string;
  readonly setupSize: ContainerSize;
  /** Files with the alerts of the server. @default none */
  readonly alerts?: readonly string[];
}

/** S3 buckets and their users, on our own or an external server. */
export class ObjectStore<Name extends string = string, User extends string = string> extends pulumi.ComponentResource {
  readonly offers: Offer;
  private readonly stores: ReadonlyMap<string, S3Store & Pick<BucketUser, "access">>;
  private readonly bucketPrefix: string;

  constructor(
    name: string,
    args: ObjectStoreArgs & { readonly users: Readonly<Partial<Record<User, BucketUser>>> },
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:ObjectStore", name, {}, opts);
    const { namespace, url, region, destination, shared, users, bucketPrefix = "" }: ObjectStoreArgs = args;

    const secret = envSecret(
      SHARED_SECRET,
      { namespace, data: { accesskey: shared.login.username, secretkey: shared.login.password } },
      { parent: this },
    );
    const own = Object.entries(users).filter(([, { login }]) => login !== shared.login);
    const isApart = ([, { access }]: [string, BucketUser]) => !Object.keys(access).every((one) => one in shared.access);
    const together: [string, BucketUser][] = [[SHARED_USER, shared], ...own.filter((user) => !isApart(user))];
    const prepared = setUp(this, `${name}-setup`, args, together);
    this.stores = new Map(
      Object.entries(users).map(([user, rights]) => {
        const one: [string, BucketUser] = [user, rights];
        // A Job of its own, so that nobody waits for what nobody else needs.
        const ready = isApart(one) ? setUp(this, objectName(name, "setup", user), args, [one]) : prepared;
        return [user, { url, region, destination: { ...destination, ready: [ready] }, ...rights }];
      }),
    );
    this.bucketPrefix = bucketPrefix;
    this.offers = {
      ...(destination.kind === "endpoint"
        ? { endpoints: { s3: destination }, facts: { region } }
        : { facts: { region, ...publicStore(url, destination) } }),
      alerts: args.alerts ?? [],
      credentials: { shared: { namespace, name: secret.name } },
      // An object store outside the cluster never had it.
      legacyNames: { ...(destination.kind === "endpoint" && { [LEGACY_NAME]: [destination] }) },
      entries:
        destination.kind === "endpoint"
          ? [
              {
                kind: "api",
                name: "s3",
                endpoint: destination,
                rate: { perMinute: 500, perHour: 20000 },
                timeoutSeconds: 300,
                retries: 3,
                authorizes: true,
                signed: true,
              },
            ]
          : [],
    };
    this.registerOutputs();
  }

  /** A bucket, with the login of a user that may use it. */
  bucket(name: Name, user: User): Bucket {
    const found = this.stores.get(user);
    if (found === undefined) throw new Error(`the object store has no user ${user}`);
    const { access, ...store } = found;
    const fullName = `${this.bucketPrefix}${name}`;
    if (!(fullName in access)) throw new Error(`${user} may not use the bucket ${fullName}`);
    return { name: fullName, store };
  }
}

/** Makes the Job that creates the users, if necessary, and their buckets, and proves the rights of each. */
function setUp(
  parent: pulumi.Resource,
  name: string,
  { namespace, url, region, destination, administrator, shared, users, setupSize }: ObjectStoreArgs,
  own: readonly [string, BucketUser][],
): pulumi.Resource {
  const all = [shared, ...Object.values(users)].flatMap(({ access }) => Object.keys(access));
  const buckets = [...new Set(own.flatMap(([, { access }]) => Object.keys(access).map((one) => partsOf(one).bucket)))];
  const makesUsers = administrator?.makesUsers === true;
  const names = own.map(([user]) => user);
  const makerOf = (bucket: string): string =>
    administrator ? ADMINISTRATOR : (own.find(([, { access }]) => access[bucket] === "write")?.[0] ?? SHARED_USER);
  const rights = own.flatMap(([user, { access }]) =>
    [...new Set(all)].flatMap((bucket) => {
      const right = access[bucket] ?? "none";
      // A folder of a bucket that is its own.
      if (right === "none" && partsOf(bucket).bucket in access) return [];
      // Outside, the shared user may also stand in for others.
      const isProven = right !== "none" || user !== SHARED_USER || administrator !== undefined;
      return isProven ? [[user, bucket, right, makerOf(bucket)]] : [];
    }),
  );

  const logins = Object.fromEntries(own.map(([user, { login }]) => [user, lines(login)]));
  const policies = Object.fromEntries(own.map(([user, { access }]) => [`${user}.json`, policy(access)]));
  const files: MountedFiles = secretFiles(
    name,
    {
      namespace,
      files: {
        ...logins,
        ...(administrator && { [ADMINISTRATOR]: lines(administrator.login) }),
        ...(makesUsers && policies),
      },
    },
    { parent },
  );
  const ca = s3Ca({ destination });
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
        ...s3CaEnv({ destination }),
        ADMINISTRATOR: administrator ? ADMINISTRATOR : "",
        USERS: names.join(" "),
        NEW_USERS: makesUsers ? names.join(" ") : "",
        // All others that are called so are shut out.
        ...(makesUsers && names.includes(SHARED_USER) && { TENANTS: tenantsAmong(users).join(" ") }),
        BUCKETS: buckets.map((bucket) => `${makerOf(bucket)} ${bucket}`).join("\n"),
        RIGHTS: rights.map((right) => right.join(" ")).join("\n"),
      },
      files: { users: files },
      mounts: { [USERS_MOUNT]: "users", ...ca.mounts },
      volumes: ca.volumes,
      // mc writes the logins that it uses to its config.
      scratch: { tmp: { sizeMiB: 16, medium: "Memory" } },
      talksTo: [destination],
    },
    { parent },
  );
  return job;
}

function tenantsAmong(users: ObjectStoreArgs["users"]): string[] {
  return Object.keys(users).filter((user) => user.startsWith(TENANT_USERS));
}

/** A login as mc reads it from standard input, to keep it off the command line. */
function lines({ username, password }: Credential): pulumi.Output<string> {
  return pulumi.interpolate`${username}\n${password}\n`;
}

// Every step can be repeated: attaching a policy twice is an error in some releases of mc, so the script then checks whether it
// is attached. The image has a shell but no grep. Tables of mc cut names off: users are listed as JSON, one on each line.
const SETUP_SCRIPT = `set -eu
fail() {
  echo "$*" >&2
  exit 1
}
log_in() {
  mc alias set "$1" "$S3_URL" < "${USERS_MOUNT}/$1" >/dev/null ||
    fail "$1 cannot log in at $S3_URL: is the store running, and is this the user's login there?"
}
[ -z "$ADMINISTRATOR" ] || log_in "$ADMINISTRATOR"
for user in $NEW_USERS; do
  read -r login < "${USERS_MOUNT}/$user"
  mc admin user add "$ADMINISTRATOR" < "${USERS_MOUNT}/$user"
  mc admin policy create "$ADMINISTRATOR" "$user" "${USERS_MOUNT}/$user.json"
  if ! mc admin policy attach "$ADMINISTRATOR" "$user" --user "$login"; then
    case "$(mc admin policy entities "$ADMINISTRATOR" --user "$login")" in *"$user"*) ;; *) exit 1 ;; esac
  fi
done
if [ "\${TENANTS+is set}" ]; then
  known=$(mc admin user list --json "$ADMINISTRATOR")
  while read -r line; do
    login=\${line#*'"accessKey":"'}
    login=\${login%%'"'*}
    case $login in ${TENANT_USERS}*) ;; *) continue ;; esac
    case " $TENANTS " in *" $login "*) ;; *) mc admin user remove "$ADMINISTRATOR" "$login" ;; esac
  done <<EOF
$known
EOF
fi
for user in $USERS; do log_in "$user"; done
while read -r user bucket; do
  mc ls "$user/$bucket" >/dev/null 2>&1 || mc mb --ignore-existing --region "$S3_REGION" "$user/$bucket" ||
    fail "$user cannot make the bucket $bucket: make it at the store, or set objectStore.bucketPrefix if it is somebody else's"
done <<EOF
$BUCKETS
EOF

echo proof > /tmp/proof
may() {
  "$@" >/dev/null || fail "$user may not $*: give it that right at the store"
}
may_not() {
  if "$@" >/dev/null 2>&1; then fail "$user may $*, which is not its own: take that right away at the store"; fi
}
is_read() {
  [ "$(mc cat "$1")" = proof ]
}
while read -r user bucket right maker; do
  object="$bucket/.carbon-$user"
  # What a folder holds has names that begin with it and a slash.
  case $bucket in */*) bucket="$bucket/" ;; esac
  case $right in
    write)
      may mc cp /tmp/proof "$user/$object"
      may is_read "$user/$object"
      may mc ls "$user/$bucket"
      may mc rm "$user/$object"
      ;;
    read)
      mc cp /tmp/proof "$maker/$object" >/dev/null
      may is_read "$user/$object"
      may mc ls "$user/$bucket"
      may_not mc cp /tmp/proof "$user/$object"
      may_not mc rm "$user/$object"
      mc rm "$maker/$object" >/dev/null
      ;;
    none)
      may_not mc ls "$user/$bucket"
      ;;
  esac
done <<EOF
$RIGHTS
EOF
echo "every user has its rights, and no others"
`;

/** What clients must know of a store outside the cluster. With `https` a public CA signed its certificate. */
function publicStore(url: pulumi.Output<string>, { port }: ExternalPeer): NonNullable<Offer["facts"]> {
  return {
    protocol: url.apply((text) => new URL(text).protocol.replace(":", "")),
    host: url.apply((text) => new URL(text).hostname),
    port,
    url,
    tls: url.apply((text) => text.startsWith("https:")),
    auth: "aws-sigv4",
  };
}

/** The bucket of a user's right, and the folder if it is no more than that. */
function partsOf(right: string): { bucket: string; folder?: string } {
  const [bucket = right, ...folders] = right.split("/");
  return { bucket, ...(folders.length > 0 && { folder: folders.join("/") }) };
}

/** A user's policy: its rights inside its buckets, nothing outside. */
function policy(access: BucketUser["access"]): string {
  const all = Object.keys(access);
  const buckets = all.filter((one) => partsOf(one).folder === undefined);
  const written = all.filter((one) => access[one] === "write");
  const arns = (names: readonly string[], objects = "") => names.map((name) => `arn:aws:s3:::${name}${objects}`);
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      ...(buckets.length > 0
        ? [{ Effect: "Allow", Action: ["s3:GetBucketLocation", "s3:ListBucket"], Resource: arns(buckets) }]
        : []),
      ...all.map(partsOf).flatMap(({ bucket, folder }) =>
        folder === undefined
          ? []
          : [
              { Effect: "Allow", Action: ["s3:GetBucketLocation"], Resource: arns([bucket]) },
              {
                Effect: "Allow",
                Action: ["s3:ListBucket"],
                Resource: arns([bucket]),
                Condition: { StringLike: { "s3:prefix": [`${folder}/*`] } },
              },
            ],
      ),
      { Effect: "Allow", Action: ["s3:GetObject"], Resource: arns(all, "/*") },
      ...(written.length > 0
        ? [
            {
              Effect: "Allow",
              Action: ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"],
              Resource: arns(written, "/*"),
            },
          ]
        : []),
    ],
  });
}
