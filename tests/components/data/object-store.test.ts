import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type BucketUser, type Credential, externalPeer } from "../../../components/base/endpoint";
import { ObjectStore, type ObjectStoreArgs } from "../../../components/data/object-store";
import { all, mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { endpoint, onCluster, SIZE } from "../../support/stubs";
import { temporaryDirectory } from "../../support/temporary";

const login = (name: string): Credential => ({
  username: pulumi.secret(`${name}-user`),
  password: pulumi.secret(`${name}-password`),
});
const SHARED: BucketUser = { login: login("app"), access: { models: "write", code: "write" } };
const USERS: Record<string, BucketUser> = {
  trainer: { login: login("trainer"), access: { models: "write", code: "read" } },
  backups: { login: login("backup"), access: { backups: "write" } },
};
// What the server lets each of them do, if it is as it should be.
const ALLOWED = [
  ...["administrator/models w", "administrator/code w", "administrator/backups w"],
  ...["carbon-buckets/models w", "carbon-buckets/code w"],
  ...["trainer/models w", "trainer/code r", "backups/backups w"],
];

async function objectStore(own: Partial<ObjectStoreArgs> = {}): Promise<{ seen: Registered[]; store: ObjectStore }> {
  const seen = await mockEngine();
  const store = new ObjectStore(
    "store",
    {
      namespace: "data",
      url: pulumi.output("http://s3.elsewhere:9000"),
      region: "us-east-1",
      destination: endpoint("s3", "http", 9000),
      shared: SHARED,
      users: USERS,
      setupSize: SIZE,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, store };
}

const ours = { administrator: { login: login("root"), makesUsers: true } };
const external = { destination: externalPeer("s3", "https://s3.example.com", ["203.0.113.0/24"]) };

describe("ObjectStore", () => {
  it("makes buckets and a user for each client, and no login shows on a command line", async () => {
    const { status, calls } = await setup(ours);
    assert.equal(status, 0);
    const users = Object.entries({ "carbon-buckets": "app", trainer: "trainer" });
    assert.deepEqual(
      calls.filter((call) => /^(alias set administrator|admin|mb) /.test(call)),
      [
        "alias set administrator http://s3.elsewhere:9000 < root-user,root-password",
        ...users.flatMap(([user, name]) => [
          `admin user add administrator < ${name}-user,${name}-password`,
          `admin policy create administrator ${user} /users/${user}.json`,
          `admin policy attach administrator ${user} --user ${name}-user`,
        ]),
        "admin user list --json administrator",
        ...["models", "code"].map((bucket) => `mb --ignore-existing --region us-east-1 administrator/${bucket}`),
      ],
    );
    for (const call of calls) assert.doesNotMatch(call.split(" < ")[0] ?? "", /password/);
  });

  it("keeps the logins that mc writes down off the node's disk", async () => {
    const { spec } = only((await objectStore(ours)).seen, "kubernetes:batch/v1:Job", "store-setup").inputs.spec
      .template;
    const { name } = spec.containers[0].volumeMounts.find(({ mountPath }: any) => mountPath === "/tmp");
    assert.equal(spec.volumes.find((volume: any) => volume.name === name).emptyDir.medium, "Memory");
  });

  it("may be set up again: a policy that is attached already is no fault", async () => {
    const attached = `case "$*" in *attach*) exit 1 ;; *entities*) echo "Policies: carbon-buckets trainer" ;; esac`;
    assert.equal((await setup(ours, { behaviour: attached })).status, 0);
  });

  it("fails when the policy cannot be attached, and when any other step fails", async () => {
    for (const step of ["alias", "user add", "policy create", "attach", "mb", "rm trainer"]) {
      const { status } = await setup(ours, { behaviour: `case "$*" in *"${step}"*) exit 1 ;; esac` });
      assert.notEqual(status, 0, step);
    }
  });

  it("proves the rights of each user: what is missing or too much is said, with the next step", async () => {
    for (const [allowed, message] of [
      [
        without("trainer/models w"),
        /^trainer may not mc cp \S+ trainer\/models\/\S+: give it that right at the store$/m,
      ],
      [without("trainer/code r"), /^trainer may not is_read trainer\/code/m],
      [[...ALLOWED, "trainer/code w"], /^trainer may mc cp .* trainer\/code\/.*take that right away at the store$/m],
      [[...ALLOWED, "trainer/backups r"], /^trainer may mc ls trainer\/backups, which is not its own/m],
      [[...ALLOWED, "carbon-buckets/backups w"], /^carbon-buckets may mc ls carbon-buckets\/backups/m],
    ] as const) {
      const { status, stderr } = await setup(ours, { allowed, existing: ["backups"] });
      assert.notEqual(status, 0, String(message));
      assert.match(stderr, message);
    }
  });

  it("makes only buckets where the server is somebody else's, with the shared user", async () => {
    const { status, calls } = await setup(external);
    assert.equal(status, 0);
    const made = (bucket: string) => `mb --ignore-existing --region us-east-1 ${bucket}`;
    assert.deepEqual(
      calls.filter((call) => /^(admin|mb)/.test(call)),
      [made("carbon-buckets/models"), made("carbon-buckets/code")],
    );
    assert.ok(
      (await setup(external, {}, "store-setup-backups")).calls.includes(made("backups/backups")),
      "the bucket of the backups is not made",
    );
    const broad = { allowed: [...ALLOWED, "carbon-buckets/backups w"] };
    assert.equal(
      (await setup(external, broad)).status,
      0,
      "the shared user stood in for all before they had their own",
    );
    const shared = { ...external, users: { trainer: USERS["trainer"] as BucketUser } };
    // Such a user may often not make buckets: those that are there need no right to.
    const refused = `case "$*" in mb*) exit 1 ;; esac`;
    assert.equal((await setup(shared, { behaviour: refused, existing: ["models", "code"] })).status, 0);
    const { stderr } = await setup(shared, { behaviour: refused });
    assert.match(stderr, /cannot make the bucket models: make it at the store, or set objectStore\.bucketPrefix/);
    const { seen } = await objectStore(shared);
    const files = Object.keys(only(seen, "kubernetes:core/v1:Secret", "store-setup").inputs.stringData as object);
    assert.deepEqual(files.sort(), ["carbon-buckets", "trainer"]);
    assert.deepEqual(all(seen, "kubernetes:apps/v1:StatefulSet"), []);
  });

  it("proves nothing of a client that has the shared user's login", async () => {
    const users = { trainer: { ...SHARED, access: { code: "read" } } } as const;
    const { status, calls } = await setup({ ...external, users });
    assert.equal(status, 0);
    assert.ok(!calls.some((call) => call.includes("trainer")), "a call names a user that the store has no login of");
    const { store } = await objectStore({ ...external, users });
    assert.equal(await valueOf(store.bucket("code", "trainer").store.login.username), "app-user");
  });

  it("makes buckets as administrator, and no user, where the server knows its users", async () => {
    const { status, calls } = await setup({ administrator: { login: login("root"), makesUsers: false } });
    assert.equal(status, 0);
    assert.ok(!calls.some((call) => call.startsWith("admin")), "somebody else's store is administered");
    assert.ok(calls.includes("mb --ignore-existing --region us-east-1 administrator/models"), "the bucket is not made");
  });

  it("limits each user to its buckets, and to reading what it only reads", async () => {
    const { seen } = await objectStore(ours);
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "store-setup").inputs;
    const rights = (user: string): string[] =>
      JSON.parse(stringData[`${user}.json`] as string).Statement.flatMap(({ Effect, Action, Resource }: any) =>
        Action.flatMap((action: string) => Resource.map((resource: string) => `${Effect} ${action} ${resource}`)),
      );
    const list = (bucket: string) =>
      ["GetBucketLocation", "ListBucket"].map((action) => `Allow s3:${action} arn:aws:s3:::${bucket}`);
    const on = (bucket: string, ...actions: string[]) =>
      actions.map((action) => `Allow s3:${action} arn:aws:s3:::${bucket}/*`);
    assert.deepEqual(
      new Set(rights("trainer")),
      new Set([
        ...[...list("models"), ...list("code"), ...on("code", "GetObject")],
        ...on("models", "GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"),
      ]),
    );
    assert.ok(
      !JSON.stringify(rights("carbon-buckets")).includes("backups"),
      "the users of the platform may touch the backups",
    );
  });

  it("makes a user that shares no bucket apart from the others", async () => {
    const { status, calls } = await setup(ours, {}, "store-setup-backups");
    assert.equal(status, 0);
    assert.deepEqual(
      calls.filter((call) => /^(admin user|mb)/.test(call)),
      [
        "admin user add administrator < backup-user,backup-password",
        "mb --ignore-existing --region us-east-1 administrator/backups",
      ],
    );
    const tooMuch = { allowed: [...ALLOWED, "backups/models r"], existing: ["models"] };
    const { stderr } = await setup(ours, tooMuch, "store-setup-backups");
    assert.match(stderr, /^backups may mc ls backups\/models/m);
  });

  it("shuts out the users of tenants whose grant is gone, and no other, also when the last one goes", async () => {
    const listed = ["tenant-pricing-bucket-prices", "tenant-pricing-bucket-old", "app-user", "atenant-x"];
    const json = listed
      .map((accessKey) => JSON.stringify({ status: "success", accessKey, policyName: "x" }))
      .join("\n");
    const behaviour = `case "$*" in *"user list"*) echo '${json}' ;; esac`;
    const removed = async (users: ObjectStoreArgs["users"]) =>
      (await setup({ ...ours, users }, { behaviour })).calls.filter((call) => call.includes("user remove"));
    const tenant = { login: login("tenant"), access: { prices: "write" } } as const;
    assert.deepEqual(await removed({ ...USERS, "tenant-pricing-bucket-prices": tenant }), [
      "admin user remove administrator tenant-pricing-bucket-old",
    ]);
    assert.deepEqual(await removed(USERS), [
      "admin user remove administrator tenant-pricing-bucket-prices",
      "admin user remove administrator tenant-pricing-bucket-old",
    ]);
  });

  it("names buckets with the prefix, and hands each out to those alone who may use it", async () => {
    const access = { "acme-models": "read" } as const;
    const { store } = await objectStore({ ...ours, bucketPrefix: "acme-", users: { reader: { ...SHARED, access } } });
    assert.equal(store.bucket("models", "reader").name, "acme-models");
    assert.throws(() => store.bucket("code", "reader"), /reader may not use the bucket acme-code/);
    assert.throws(() => store.bucket("models", "writer"), /no user writer/);
  });

  it("hands the login out under the name that jobs know", async () => {
    const { seen } = await objectStore(ours);
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "minio-credentials").inputs;
    assert.deepEqual(stringData, { accesskey: "app-user", secretkey: "app-password" });
  });

  it("is ready once the set-up succeeded, which waits for the server: no client gets a user that is not there", async () => {
    const { seen, store } = await objectStore(ours);
    const job = only(seen, "kubernetes:batch/v1:Job", "store-setup");
    assertOrder(seen, job, only(seen, "kubernetes:core/v1:ConfigMap", "s3-ready"));
    const { ready = [] } = store.bucket("models", "trainer").store.destination;
    assert.deepEqual(await Promise.all(ready.map((one) => valueOf(one.urn))), [job.urn]);
  });
});

function without(right: string): string[] {
  return ALLOWED.filter((one) => one !== right);
}

interface Server {
  /** Shell code that runs before mc's work. */
  readonly behaviour?: string;
  /** `user/bucket r` or `user/bucket w`. */
  readonly allowed?: readonly string[];
  readonly existing?: readonly string[];
}

/** Runs the set-up script of the Job as its container would, with a stand-in for mc: its image has little else. */
async function setup(
  own: Partial<ObjectStoreArgs>,
  { behaviour = "", allowed = ALLOWED, existing = [] }: Server = {},
  job = "store-setup",
): Promise<{ status: number | null; calls: string[]; stderr: string }> {
  const { seen } = await objectStore(own);
  const [{ command, env }] = only(seen, "kubernetes:batch/v1:Job", job).inputs.spec.template.spec.containers;
  const directory = temporaryDirectory();
  for (const bucket of existing) fs.writeFileSync(path.join(directory, `made-${bucket}`), "");
  const users = path.join(directory, "users");
  fs.mkdirSync(users);
  const { stringData } = only(seen, "kubernetes:core/v1:Secret", job).inputs;
  for (const [file, text] of Object.entries(stringData as Record<string, string>)) {
    fs.writeFileSync(path.join(users, file), text);
  }
  // Reads standard input only where mc would ask for a login.
  fs.writeFileSync(
    path.join(directory, "mc"),
    `#!/bin/sh
case "$*" in
  "alias set "*|"admin user add "*) read -r user; read -r password; echo "$* < $user,$password" >> ${directory}/calls ;;
  *) echo "$*" >> ${directory}/calls ;;
esac
${behaviour}
for last; do :; done
right=w
case "$1" in
  ls|cat) right=r ;;
  mb) > "${directory}/made-\${last#*/}"; exit 0 ;;
  cp|rm) ;;
  *) exit 0 ;;
esac
bucket=\${last%/.*}
[ -e "${directory}/made-\${bucket#*/}" ] || exit 1
case " ${allowed.join(",")}," in
  *[\\ ,]"$bucket w,"*) ;;
  *[\\ ,]"$bucket r,"*) [ $right = r ] || exit 1 ;;
  *) exit 1 ;;
esac
[ "$1" = cat ] && echo proof
exit 0
`,
    { mode: 0o755 },
  );
  const { status, stderr } = spawnSync(
    `/bin/${String(command[0])}`,
    [
      ...command.slice(1, -1),
      command.at(-1).replaceAll("/users", users).replaceAll("/tmp/proof", path.join(directory, "proof")),
    ],
    {
      env: { ...Object.fromEntries(env.map(({ name, value }: any) => [name, value])), PATH: directory },
      encoding: "utf8",
      timeout: 20_000,
    },
  );
  const calls = fs.readFileSync(path.join(directory, "calls"), "utf8").replaceAll(users, "/users").trim().split("\n");
  return { status, stderr, calls };
}
