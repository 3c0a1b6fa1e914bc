import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { externalPeer } from "../../../components/base/endpoint";
import { ObjectStore, type ObjectStoreArgs } from "../../../components/data/object-store";
import { all, mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { endpoint, onCluster, SIZE } from "../../support/stubs";
import { temporaryDirectory } from "../../support/temporary";

const LOGIN = { username: pulumi.secret("app-user"), password: pulumi.secret("app-password") };
const ADMIN = { username: pulumi.secret("root-user"), password: pulumi.secret("root-password") };

async function objectStore(own: Partial<ObjectStoreArgs> = {}): Promise<{ seen: Registered[]; store: ObjectStore }> {
  const seen = await mockEngine();
  const store = new ObjectStore(
    "store",
    {
      namespace: "data",
      url: pulumi.output("http://s3.elsewhere:9000"),
      region: "us-east-1",
      destination: endpoint("s3", "http", 9000),
      login: LOGIN,
      buckets: ["models", "features"],
      ownBuckets: {},
      setupSize: SIZE,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, store };
}

const ours = { administrator: { login: ADMIN, makesUser: true } };
const external = { destination: externalPeer("s3", "https://s3.example.com", ["203.0.113.0/24"]) };

describe("ObjectStore", () => {
  it("makes buckets and the user that may use them, and no login shows on a command line", async () => {
    const { status, calls } = await setup(ours);
    assert.equal(status, 0);
    assert.deepEqual(calls, [
      "alias set store http://s3.elsewhere:9000 < root-user,root-password",
      "admin user add store < app-user,app-password",
      "admin policy create store carbon-buckets /tmp/policy.json",
      "admin policy attach store carbon-buckets --user app-user",
      "mb --ignore-existing --region us-east-1 store/models",
      "mb --ignore-existing --region us-east-1 store/features",
    ]);
    for (const call of calls) assert.doesNotMatch(call.split(" < ")[0] ?? "", /password/);
  });

  it("may be set up again: a policy that is attached already is no fault", async () => {
    const attached = `case "$*" in *attach*) exit 1 ;; *entities*) echo "Policies: carbon-buckets" ;; esac`;
    const { status, calls } = await setup(ours, attached);
    assert.equal(status, 0);
    assert.ok(
      calls.includes("mb --ignore-existing --region us-east-1 store/features"),
      `the bucket is not made: ${calls.join("; ")}`,
    );
  });

  it("fails when the policy cannot be attached, and when any other step fails", async () => {
    assert.notEqual((await setup(ours, `case "$*" in *attach*) exit 1 ;; esac`)).status, 0);
    for (const step of ["alias", "user add", "policy create", "mb"]) {
      assert.notEqual((await setup(ours, `case "$*" in *"${step}"*) exit 1 ;; esac`)).status, 0, step);
    }
  });

  it("makes only buckets where the server is somebody else's, with the application user", async () => {
    const { status, calls } = await setup(external);
    assert.equal(status, 0);
    assert.deepEqual(calls, [
      "alias set store http://s3.elsewhere:9000 < app-user,app-password",
      "mb --ignore-existing --region us-east-1 store/models",
      "mb --ignore-existing --region us-east-1 store/features",
    ]);
    const { seen } = await objectStore(external);
    // Such a user may often not make buckets: those that are there need no right to.
    assert.equal((await setup(external, `case "$*" in mb*) exit 1 ;; esac`, true)).status, 0);
    const keys = Object.keys(only(seen, "kubernetes:core/v1:Secret", "store-setup").inputs.stringData as object);
    assert.deepEqual(keys.sort(), ["ACCESS_KEY", "SECRET_KEY"]);
    assert.deepEqual(all(seen, "kubernetes:apps/v1:StatefulSet"), []);
  });

  it("makes buckets as administrator, and no user, where the server knows its users", async () => {
    const { status, calls } = await setup({ administrator: { login: ADMIN, makesUser: false } });
    assert.equal(status, 0);
    assert.deepEqual(calls, [
      "alias set store http://s3.elsewhere:9000 < root-user,root-password",
      "mb --ignore-existing --region us-east-1 store/models",
      "mb --ignore-existing --region us-east-1 store/features",
    ]);
  });

  it("limits the user to our buckets", async () => {
    const { seen } = await objectStore(ours);
    const { env } = jobContainer(seen);
    const policy = JSON.parse(env.find(({ name }: any) => name === "POLICY").value as string);
    const buckets = ["models", "features"].map((name) => `arn:aws:s3:::${name}`);
    for (const { Effect, Action, Resource } of policy.Statement) {
      assert.equal(Effect, "Allow");
      for (const action of Action) assert.match(action, /^s3:(Get|List|Put|Delete|Abort)[A-Za-z]+$/);
      for (const resource of Resource) assert.ok(buckets.includes((resource as string).replace(/\/\*$/, "")), resource);
    }
  });

  it("gives a bucket a user of its own, whom it alone serves", async () => {
    const backup = { username: pulumi.secret("backup-user"), password: pulumi.secret("backup-password") };
    const { seen, store } = await objectStore({ ...ours, ownBuckets: { backups: backup } });
    const policyOf = (job: string): string =>
      only(seen, "kubernetes:batch/v1:Job", job).inputs.spec.template.spec.containers[0].env.find(
        ({ name }: any) => name === "POLICY",
      ).value;
    const own = JSON.parse(policyOf("store-setup-backups"));
    for (const { Resource } of own.Statement) assert.match(Resource[0], /^arn:aws:s3:::backups(\/\*)?$/);
    assert.doesNotMatch(policyOf("store-setup"), /backups/);
    const { name, store: handed } = store.ownBucket("backups");
    assert.deepEqual([name, await valueOf(handed.login.username)], ["backups", "backup-user"]);
    assert.throws(() => store.bucket("backups"), /no bucket backups/);
    assert.throws(() => store.ownBucket("models"), /no bucket models with a user of its own/);
  });

  it("hands the login out under the name that jobs know", async () => {
    const { seen } = await objectStore(ours);
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "minio-credentials").inputs;
    assert.deepEqual(stringData, { accesskey: "app-user", secretkey: "app-password" });
  });

  it("is ready once the set-up succeeded, which waits for the server", async () => {
    const { seen, store } = await objectStore(ours);
    const job = only(seen, "kubernetes:batch/v1:Job");
    assertOrder(seen, job, only(seen, "kubernetes:core/v1:ConfigMap", "s3-ready"));
    const { ready = [] } = store.bucket("models").store.destination;
    assert.deepEqual(await Promise.all(ready.map((one) => valueOf(one.urn))), [job.urn]);
    assert.throws(() => store.bucket("logs"), /no bucket logs/);
  });
});

function jobContainer(seen: readonly Registered[]): any {
  return only(seen, "kubernetes:batch/v1:Job").inputs.spec.template.spec.containers[0];
}

/** Runs the set-up script of the Job as its container would, with a stand-in for mc: its image has little else. */
async function setup(
  own: Partial<ObjectStoreArgs>,
  behaviour = "",
  bucketsExist = false,
): Promise<{ status: number | null; calls: string[] }> {
  const { seen } = await objectStore(own);
  const { command, env, envFrom } = jobContainer(seen);
  const directory = temporaryDirectory();
  // Reads standard input only where mc would ask for a login.
  fs.writeFileSync(
    path.join(directory, "mc"),
    `#!/bin/sh
case "$*" in
  "ls "*) exit ${bucketsExist ? 0 : 1} ;;
  "alias set store http"*|"admin user add store") read -r user; read -r password; echo "$* < $user,$password" >> ${directory}/calls ;;
  *) echo "$*" >> ${directory}/calls ;;
esac
${behaviour}
exit 0
`,
    { mode: 0o755 },
  );
  const secrets = envFrom.map(
    ({ secretRef }: any) => only(seen, "kubernetes:core/v1:Secret", secretRef.name).inputs.stringData,
  );
  const plain = Object.fromEntries(env.map(({ name, value }: any) => [name, value]));
  const { status } = spawnSync(`/bin/${String(command[0])}`, command.slice(1), {
    env: Object.assign({ ...plain, PATH: directory }, ...secrets),
    timeout: 10_000,
  });
  return { status, calls: fs.readFileSync(path.join(directory, "calls"), "utf8").trim().split("\n") };
}
