import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { Polaris } from "../../../components/analytics/polaris";
import { charts, images } from "../../../components/base/versions";
import { makeChartDirectory } from "../../support/chart-directory";
import { mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { bucket, database, metrics, onCluster, SIZE } from "../../support/stubs";

const JOB = "kubernetes:batch/v1:Job";

async function polaris(tokenKey = "canary-key"): Promise<{ seen: Registered[]; catalog: Polaris }> {
  const seen = await mockEngine();
  const catalog = new Polaris(
    "polaris",
    {
      namespace: "data",
      chartDirectory: makeChartDirectory(),
      store: database("canary-database", "polaris"),
      warehouse: bucket("warehouse"),
      replicas: 2,
      size: SIZE,
      setupSize: SIZE,
      rootSecret: pulumi.secret(`canary-root"\\`),
      tokenKey: pulumi.secret(tokenKey),
      clients: {
        trino: { secret: pulumi.secret("canary-trino"), access: "write" },
        ingestion: { secret: pulumi.secret("canary-ingestion"), access: "read" },
      },
      metrics: metrics(),
    },
    onCluster(),
  );
  await settled();
  return { seen, catalog };
}

function container(job: Registered): any {
  return job.inputs.spec.template.spec.containers[0];
}

function variables(job: Registered): Record<string, string> {
  return Object.fromEntries(container(job).env.map(({ name, value }: any) => [name, value]));
}

describe("Polaris", () => {
  it("shows no credential in values, commands and environments", async () => {
    const { seen } = await polaris();
    const shown = seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret").map(({ inputs }) => inputs);
    assert.doesNotMatch(JSON.stringify(shown), /canary|bucket-password/);
  });

  it("is bootstrapped with root's secret from a file, by the tool of the server's version", async () => {
    const { seen } = await polaris();
    const job = only(seen, JOB, "polaris-bootstrap");
    const { args, volumeMounts, image } = container(job);
    assert.deepEqual(args, ["bootstrap", "--credentials-file=/etc/polaris-root/credentials.json"]);
    assert.ok(
      volumeMounts.some(({ mountPath }: any) => mountPath === "/etc/polaris-root"),
      "without this volume root's login would lie in the environment",
    );
    assert.equal(image.split(":")[1], charts.polaris.version);
    assert.equal(image, images.polarisAdminTool);
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "polaris-root").inputs;
    assert.deepEqual(JSON.parse(stringData["credentials.json"]), {
      POLARIS: { "client-id": "root", "client-secret": `canary-root"\\` },
    });
  });

  it("keeps its entities in its database, over TLS", async () => {
    const { seen } = await polaris();
    const { secret } = only(seen, "kubernetes:helm.sh/v3:Release", "polaris").inputs.values.persistence.relationalJdbc;
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", secret.name).inputs;
    assert.deepEqual(
      [secret.jdbcUrl, secret.username, secret.password].map((key) => stringData[key]),
      [
        "jdbc:postgresql://db.elsewhere:5432/polaris?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt",
        "runner",
        "canary-database",
      ],
    );
  });

  it("tries a connection to its database before it uses it", async () => {
    const { extraEnv } = only((await polaris()).seen, "kubernetes:helm.sh/v3:Release").inputs["values"];
    assert.equal(
      extraEnv.find(({ name }: any) => name === "QUARKUS_DATASOURCE_JDBC_VALIDATE_ON_BORROW")?.value,
      "true",
    );
  });

  it("tells clients when its tokens get another key", async () => {
    const tokens = async (key: string) => valueOf((await polaris(key)).catalog.catalog("trino").tokens);
    assert.notEqual(await tokens("canary-1"), await tokens("canary-2"));
    assert.equal(await tokens("canary-1"), await tokens("canary-1"));
  });

  it("trusts the CA of the object store", async () => {
    const { extraEnv, extraVolumes, extraVolumeMounts } = only(
      (await polaris()).seen,
      "kubernetes:helm.sh/v3:Release",
      "polaris",
    ).inputs.values;
    const { name } = extraVolumes.find(({ secret }: any) => secret.secretName === "s3-tls");
    const { mountPath } = extraVolumeMounts.find((mount: any) => mount.name === name);
    const { value } = extraEnv.find((one: any) => one.name === "JAVA_TOOL_OPTIONS");
    assert.match(value, new RegExp(`-Djavax.net.ssl.trustStore=${String(mountPath)}/truststore.p12 `));
  });

  it("starts when the realm is there, and gets its catalog when it runs", async () => {
    const { seen } = await polaris();
    const release = only(seen, "kubernetes:helm.sh/v3:Release", "polaris");
    const chart = seen.find(({ urn }) => urn === release.parent);
    const waitsFor = [...release.dependencies, ...(chart?.dependencies ?? [])].join(" ");
    assert.match(waitsFor, /Job::polaris-bootstrap/);
    assert.match(only(seen, JOB, "polaris-setup").dependencies.join(" "), /polaris/);
  });

  it("lets Trino write and the ingestion read, and tells each its own secret", async () => {
    const { seen, catalog } = await polaris();
    const { GRANTS = "", CATALOG = "" } = variables(only(seen, JOB, "polaris-setup"));
    const { trino, ingestion } = JSON.parse(GRANTS);
    assert.deepEqual(trino, [{ type: "catalog", privilege: "CATALOG_MANAGE_CONTENT" }]);
    assert.ok(ingestion.length > 0, "ingestion may do nothing in the catalog: give it its privileges");
    for (const { privilege } of ingestion) assert.match(privilege, /_(LIST|READ_PROPERTIES)$/);
    assert.equal(JSON.parse(CATALOG).storageConfigInfo.allowedLocations[0], "s3://warehouse");
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "polaris-logins").inputs;
    assert.equal(stringData.CLIENT_SECRET_ingestion, "canary-ingestion");
    const { name, path, login } = catalog.catalog("ingestion");
    assert.deepEqual([name, path], ["iceberg", "/api/catalog"]);
    assert.equal(await new Promise((resolve) => login.password.apply(resolve)), "canary-ingestion");
    assert.throws(() => catalog.catalog("nobody"), /no client nobody/);
  });
});
