import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { Mlflow, type MlflowArgs } from "../../../components/ml/mlflow";
import { bytes } from "../../../rehearsal/program/quantity";
import { all, mockEngine, only, type Registered, settled } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { bucket, database, metrics, onCluster, SIZE } from "../../support/stubs";

const HOSTILE = `p@ss:w/rd?#[%41]&+ "'\\$é`;

const args = (own: Partial<MlflowArgs> = {}): MlflowArgs => ({
  namespace: "ml",
  store: database(HOSTILE),
  encryptionPassphrase: pulumi.secret("passphrase"),
  artifacts: bucket(),
  size: SIZE,
  garbage: { schedule: "30 4 * * *", olderThanDays: 30 },
  proxied: { largestMiB: 300, atOnce: 3 },
  publicHosts: ["mlflow.example.com", "api.example.com"],
  podCidr: "10.244.0.0/16",
  clusterDomain: "cluster.test",
  metrics: metrics(),
  ...own,
});

async function mlflow(own: Partial<MlflowArgs> = {}): Promise<Registered[]> {
  const seen = await mockEngine();
  new Mlflow("mlflow", args(own), onCluster());
  await settled();
  return seen;
}

const container = (seen: readonly Registered[]): any =>
  only(seen, "kubernetes:apps/v1:Deployment").inputs.spec.template.spec.containers[0];
const envOf = (seen: readonly Registered[], name: string): string =>
  container(seen).env.find((one: any) => one.name === name)?.value;

describe("Mlflow", () => {
  it("reaches its database under a password of any characters, which stands in the Secret alone", async () => {
    const seen = await mlflow();
    const secret = only(seen, "kubernetes:core/v1:Secret", "mlflow-database");
    const uri = new URL(secret.inputs.stringData.MLFLOW_BACKEND_STORE_URI as string);
    assert.deepEqual(
      [uri.protocol, uri.username, decodeURIComponent(uri.password), uri.host, uri.pathname, uri.search],
      [
        "postgresql+psycopg2:",
        "runner",
        HOSTILE,
        "db.elsewhere:5432",
        "/runs",
        "?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt&connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000",
      ],
    );
    const rest = JSON.stringify(seen.filter((one) => one !== secret).map(({ inputs }) => inputs));
    assert.ok(
      !rest.includes("rd?#") && !rest.includes(encodeURIComponent(HOSTILE)),
      "the password lies outside of its Secret, as it is or encoded",
    );
    assert.deepEqual(container(seen).envFrom[0], { secretRef: { name: "mlflow-database" } });
  });

  it("answers to its Service's names and its pods' addresses, with and without the port, and to its public host", async () => {
    const hosts = envOf(await mlflow(), "MLFLOW_SERVER_ALLOWED_HOSTS").split(",");
    const inside = ["mlflow", "mlflow.ml", "mlflow.ml.svc", "mlflow.ml.svc.cluster.test", "10.244.*"];
    for (const host of [...inside, "localhost", "127.0.0.1"]) {
      assert.ok(hosts.includes(host) && hosts.includes(`${host}:*`), host);
    }
    for (const host of ["mlflow.example.com", "api.example.com"]) {
      assert.ok(hosts.includes(host), `who comes by ${host} would be refused`);
    }
    assert.ok(!hosts.includes("*"), "every Host header is allowed: a page of a stranger could call the server");
  });

  it("lets the page of its public host post to it, and no other page", async () => {
    assert.equal(
      envOf(await mlflow(), "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"),
      "https://mlflow.example.com,https://api.example.com",
    );
  });

  it("encrypts what users store with a passphrase of ours, not with the published one", async () => {
    const { stringData } = only(await mlflow(), "kubernetes:core/v1:Secret", "mlflow-database").inputs;
    assert.equal(stringData.MLFLOW_CRYPTO_KEK_PASSPHRASE, "passphrase");
  });

  it("admits the pod network where its prefix ends inside a number", async () => {
    const hosts = envOf(await mlflow({ podCidr: "10.244.128.0/17" }), "MLFLOW_SERVER_ALLOWED_HOSTS").split(",");
    assert.ok(hosts.includes("10.244.*"), "probes and scrapes come by the pod's address and would be refused");
  });

  it("migrates the schema before the server starts, and after the database is there", async () => {
    const seen = await mlflow();
    const migration = only(seen, "kubernetes:batch/v1:Job", "mlflow-migrate");
    const server = only(seen, "kubernetes:apps/v1:Deployment");
    assertOrder(seen, server, migration);
    assertOrder(seen, migration, only(seen, "kubernetes:core/v1:ConfigMap", "db-ready"));
    assertOrder(seen, server, only(seen, "kubernetes:core/v1:ConfigMap", "bucket-ready"));
    const [job] = migration.inputs.spec.template.spec.containers;
    assert.equal(job.image, container(seen).image, "the schema is that of the server");
    assert.deepEqual(job.envFrom, [{ secretRef: { name: "mlflow-database" } }]);
  });

  it("serves the artifacts itself, so that its clients need no S3 keys", async () => {
    const seen = await mlflow();
    assert.ok(
      container(seen).command.includes("--serve-artifacts"),
      "without a proxy every client needs the keys of the object store",
    );
    assert.ok(
      container(seen).command.includes("--artifacts-destination=s3://artifacts"),
      "artifacts do not go to the bucket",
    );
    assert.equal(envOf(seen, "MLFLOW_S3_ENDPOINT_URL"), "https://s3.elsewhere:9000");
    const keys = only(seen, "kubernetes:core/v1:Secret", "mlflow-object-store").inputs.stringData;
    assert.deepEqual(keys, { AWS_ACCESS_KEY_ID: "bucket-user", AWS_SECRET_ACCESS_KEY: "bucket-password" });
  });

  it("has room in /tmp for as many artifacts as may pass at a time, and sends larger ones past it", async () => {
    const seen = await mockEngine();
    const { clientEnv } = new Mlflow("mlflow", args(), onCluster());
    await settled();
    const { volumes } = only(seen, "kubernetes:apps/v1:Deployment").inputs.spec.template.spec;
    const tmp = volumes.find(({ name }: any) => name === "tmp").emptyDir.sizeLimit;
    assert.ok(bytes(tmp) > 3 * 300 * 1024 ** 2, `${tmp}: three artifacts of 300 MiB evict the pod`);
    assert.deepEqual(clientEnv, { MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE: `${300 * 1024 ** 2}` });
  });

  it("deletes for good what users deleted a month ago, through the server, which has the keys of the bucket", async () => {
    const { spec } = only(await mlflow(), "kubernetes:batch/v1:CronJob").inputs;
    assert.equal(spec.schedule, "30 4 * * *");
    const [gc] = spec.jobTemplate.spec.template.spec.containers;
    assert.equal(gc.command.at(-1), "--older-than=30d");
    assert.deepEqual(gc.envFrom, [{ secretRef: { name: "mlflow-database" } }]);
    const tracking = gc.env.find(({ name }: any) => name === "MLFLOW_TRACKING_URI").value;
    assert.equal(tracking, "http://mlflow.ml.svc:5000");
  });

  it("runs two pods with a budget unless told otherwise", async () => {
    const budgets = (seen: readonly Registered[]) => all(seen, "kubernetes:policy/v1:PodDisruptionBudget").length;
    const two = await mlflow();
    assert.deepEqual([only(two, "kubernetes:apps/v1:Deployment").inputs.spec.replicas, budgets(two)], [2, 1]);
    const one = await mlflow({ replicas: 1 });
    assert.deepEqual([only(one, "kubernetes:apps/v1:Deployment").inputs.spec.replicas, budgets(one)], [1, 0]);
  });
});
