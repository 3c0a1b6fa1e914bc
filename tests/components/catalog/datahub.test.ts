import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import {
  Datahub,
  type DatahubArgs,
  kafkaAccess,
  scramLogin,
  searchAccess,
  userLine,
} from "../../../components/catalog/datahub";
import { bytes } from "../../../rehearsal/program/quantity";
import { makeChartDirectory } from "../../support/chart-directory";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, valueOf, waitsFor } from "../../support/mocks";
import { database, graph, metrics, onCluster, search, signOn, SIZE, streams } from "../../support/stubs";

const PASSWORDS = ["sql-password", "kafka-password", "search-password", "graph-password", "administrator-password"];

async function datahub(
  own: () => Partial<DatahubArgs> = () => ({}),
): Promise<{ seen: Registered[]; component: Datahub }> {
  const seen = await mockEngine();
  const key = (name: string) => pulumi.secret(`${name}-key`);
  const component = new Datahub(
    "datahub",
    {
      namespace: "data",
      chartDirectory: makeChartDirectory(),
      store: database("sql-password", "metadata"),
      streams: streams("kafka-password"),
      search: search("search-password"),
      keys: {
        administrator: pulumi.secret("administrator-password"),
        systemClient: key("system"),
        tokenSigning: key("signing"),
        tokenSalt: key("salt"),
        encryption: key("encryption"),
        session: key("session"),
      },
      publicHost: "datahub.example.com",
      metrics: metrics(),
      gms: SIZE,
      frontend: SIZE,
      maeConsumer: SIZE,
      mceConsumer: SIZE,
      systemUpdate: SIZE,
      ...own(),
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const withGraph = () => ({ graph: graph("graph-password") });

const release = (seen: readonly Registered[]): Registered => only(seen, "kubernetes:helm.sh/v3:Release");
const valuesOf = (seen: readonly Registered[]): any => release(seen).inputs.values;
const secretOf = (seen: readonly Registered[], name: string): any =>
  only(seen, "kubernetes:core/v1:Secret", name).inputs.stringData;

/** Name and key of every Secret that values refer to. */
function referencesIn(values: any): [string, string][] {
  if (typeof values !== "object" || values === null) return [];
  const { secretRef, secretKey, existingGmsSecret, secretKeyRef } = values;
  const own = [existingGmsSecret, secretKeyRef].flatMap((one) => (one === undefined ? [] : [[one.name, one.key]]));
  const named = secretRef === undefined ? [] : [[secretRef, secretKey]];
  return [...own, ...named, ...Object.values(values).flatMap(referencesIn)] as [string, string][];
}

describe("DataHub", () => {
  it("keeps passwords and keys in Secrets, and tells the chart their names", async () => {
    const { seen } = await datahub(withGraph);
    const rest = JSON.stringify(
      seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret").map((one) => one.inputs),
    );
    for (const secret of [...PASSWORDS, "signing-key", "system-key", "salt-key", "encryption-key", "session-key"]) {
      assert.ok(!rest.includes(secret), secret);
    }
    const names = all(seen, "kubernetes:core/v1:Secret").map(({ name }) => name);
    for (const [, name] of JSON.stringify(valuesOf(seen)).matchAll(/"secret(?:Ref|Name)":"([^"]+)"/g)) {
      assert.ok(
        names.includes(name ?? "") || ["streams-tls", "search-tls", "db-tls", "graph-tls"].includes(name ?? ""),
        name,
      );
    }
  });

  it("names no key of a Secret that is not in it", async () => {
    const { seen } = await datahub(withGraph);
    const references = referencesIn(valuesOf(seen));
    assert.equal(references.length, 9);
    for (const [name, key] of references) assert.ok(key in secretOf(seen, name), `${name}: ${key}`);
    const { name, secureEnv } = valuesOf(seen).global.credentialsAndCertsSecrets;
    assert.ok(
      secureEnv["sasl.jaas.config"] in secretOf(seen, name),
      "the variable names a key that the Secret does not have",
    );
  });

  it("knows no user by the vendor's password: its own list takes the place of the image's", async () => {
    const { seen } = await datahub();
    const users = "datahub:administrator-password\n";
    assert.equal(secretOf(seen, "datahub-users")["user.props"], users);
    const frontend = valuesOf(seen)["datahub-frontend"];
    const mount = frontend.extraVolumeMounts.find((one: any) => one.mountPath === "/datahub-frontend/conf/user.props");
    const volume = frontend.extraVolumes.find((one: any) => one.name === mount.name);
    assert.deepEqual([mount.subPath, volume.secret.secretName], ["user.props", "datahub-users"]);
  });

  it("has people log in at the identity provider, and gives nobody there an account of its own", async () => {
    const { seen } = await datahub(() => ({ signOn: signOn({}) }));
    const { extraEnvs } = valuesOf(seen)["datahub-frontend"];
    const env: any = Object.fromEntries(extraEnvs.map(({ name, value, valueFrom }: any) => [name, value ?? valueFrom]));
    assert.equal(env.AUTH_OIDC_DISCOVERY_URI, "https://login.example.com/.well-known/openid-configuration");
    assert.equal(env.AUTH_OIDC_BASE_URL, "https://datahub.example.com");
    assert.deepEqual([env.AUTH_OIDC_EXTRACT_GROUPS_ENABLED, env.AUTH_OIDC_GROUPS_CLAIM], ["true", "cognito:groups"]);
    const { name, key } = env.AUTH_OIDC_CLIENT_SECRET.secretKeyRef;
    assert.equal(secretOf(seen, name)[key], "client-secret");
    const names = new RegExp(env.AUTH_OIDC_USER_NAME_CLAIM_REGEX);
    const found = ["datahub", "ingestion", "__datahub_system", "datahub-team", "ada"].map(
      (one) => names.exec(one)?.[0],
    );
    assert.deepEqual(found, [undefined, undefined, undefined, "datahub-team", "ada"]);
    assert.ok(wires(seen).includes("datahub-datahub-frontend -> provider 443"), wires(seen).join());
  });

  it("writes logins in the ways that Java reads them", () => {
    const hostile = 'a"b\\c:#!=';
    assert.match(scramLogin(["user", hostile]), / required username="user" password="a\\"b\\\\c:#!=";$/);
    assert.equal(userLine("datahub", hostile), 'datahub:a"b\\\\c:#!=\n');
  });

  it("starts its first Job only after database, topics, indices and Secrets", async () => {
    const { seen } = await datahub(withGraph);
    const first = release(seen);
    for (const name of ["db-ready", "streams-ready", "search-ready", "graph-ready"]) {
      assert.ok(waitsFor(seen, first, only(seen, "kubernetes:core/v1:ConfigMap", name)), name);
    }
    for (const secret of all(seen, "kubernetes:core/v1:Secret")) assert.ok(waitsFor(seen, first, secret), secret.name);
    for (const account of all(seen, "kubernetes:core/v1:ServiceAccount")) {
      assert.ok(waitsFor(seen, first, account), account.name);
      assert.equal(account.inputs.automountServiceAccountToken, false, account.name);
    }
  });

  it("is not rolled back to servers that wait for an older upgrade of its data than the last", async () => {
    assert.equal(release((await datahub()).seen).inputs["atomic"], false);
  });

  it("opens to each pod what it needs, and to the Jobs of the chart before Helm runs them", async () => {
    const { seen } = await datahub(withGraph);
    const gms = "datahub-datahub-gms 8080";
    const [db, log, index, relations] = ["db 5432", "streams 9093", "search 9200", "graph 7687"];
    const reaches = (from: string, ...to: string[]) => to.map((one) => `${from} -> ${one}`);
    assert.deepEqual(
      wires(seen),
      [
        ...reaches("datahub-datahub-gms", db, log, index, relations),
        ...reaches("datahub-datahub-frontend", gms, log),
        ...reaches("datahub-datahub-mae-consumer", gms, log, index, relations),
        ...reaches("datahub-datahub-mce-consumer", gms, db, log, index, relations),
        ...reaches("datahub-system-update", gms, db, log, index, relations),
        ...reaches("datahub-system-update-nonblk", gms, db, log, index, relations),
        ...reaches("datahub-datahub-restore-indices-job-template", gms, db, log, index, relations),
        ...reaches(
          "prometheus",
          ...["gms", "frontend", "mae-consumer", "mce-consumer"].map((part) => `datahub-datahub-${part} 4319`),
        ),
      ].sort(),
    );
    // Whom Prometheus alone asks, nobody waits for.
    const policies = all(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy").filter(
      ({ name }) => !/^prometheus-|(frontend|consumer)-ingress$/.test(name),
    );
    for (const policy of policies) assert.ok(waitsFor(seen, release(seen), policy), policy.name);
    const job = { "batch.kubernetes.io/job-name": "datahub-system-update" };
    assert.deepEqual(
      policies.find(({ name }) => name === "datahub-system-update-egress")?.inputs.spec.podSelector.matchLabels,
      job,
    );
  });

  it("keeps relations in Elasticsearch unless there is a graph database", async () => {
    const without = valuesOf((await datahub()).seen).global;
    assert.deepEqual([without.graph_service_impl, without.neo4j], ["elasticsearch", undefined]);
    const { graph_service_impl: kind, neo4j } = valuesOf((await datahub(withGraph)).seen).global;
    assert.deepEqual([kind, neo4j.uri, neo4j.username], ["neo4j", "bolt+s://graph.elsewhere:7687", "graph-user"]);
  });

  it("keeps no more versions of an aspect than its policy says", async () => {
    assert.equal(valuesOf((await datahub()).seen).global.datahub.enable_retention, true);
  });

  it("has a template of the Job that rebuilds search and graph, with all that its servers are told", async () => {
    const { datahubUpgrade, datahubSystemUpdate } = valuesOf((await datahub(withGraph)).seen);
    assert.deepEqual(
      [datahubUpgrade.enabled, datahubUpgrade.serviceAccount],
      [true, datahubSystemUpdate.serviceAccount.name],
    );
    const { SKIP_NEO4J_CHECK, ELASTICSEARCH_SSL_TRUSTSTORE_FILE } = Object.fromEntries(
      datahubUpgrade.extraEnvs.map(({ name, value }: any) => [name, value]),
    );
    assert.deepEqual(
      [SKIP_NEO4J_CHECK, ELASTICSEARCH_SSL_TRUSTSTORE_FILE],
      ["true", "/mnt/search-trust/truststore.p12"],
    );
  });

  it("asks for TLS wherever it goes, and makes no database", async () => {
    const { global, datahubSystemUpdate } = valuesOf((await datahub()).seen);
    assert.equal(
      global.sql.datasource.url,
      "jdbc:postgresql://db.elsewhere:5432/metadata?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt",
    );
    assert.equal(global.springKafkaConfigurationOverrides["security.protocol"], "SASL_SSL");
    assert.equal(global.elasticsearch.useSSL, "true");
    assert.equal(datahubSystemUpdate.sql.setup.enabled, false);
    const databases = datahubSystemUpdate.extraEnvs.filter(({ name }: any) => name === "CREATE_DB");
    assert.deepEqual(databases, [{ name: "CREATE_DB", value: "false" }]);
  });

  it("finds every server by DNS, and gives each minutes to start", async () => {
    const values = valuesOf((await datahub()).seen);
    assert.deepEqual(values.global.hostAliases, []);
    for (const server of ["gms", "frontend", "mae-consumer", "mce-consumer"])
      assert.ok(values[`datahub-${server}`].livenessProbe.failureThreshold >= 10, server);
  });

  it("has room for the logs that its servers keep, and asks for that much of the node's disk", async () => {
    const values = valuesOf((await datahub()).seen);
    // datahub-project/datahub, logback.xml of each: `totalSizeCap` of the logs and those for debugging, and the files being written.
    const kept = {
      "datahub-gms": (10 + 2 + 2 * 0.1) * 1000 ** 3,
      "datahub-frontend": (10 + 2 + 2 * 0.1) * 1000 ** 3,
      "datahub-mae-consumer": 4 * 100 * 1000 ** 2,
      "datahub-mce-consumer": 4 * 100 * 1000 ** 2,
    };
    for (const [chart, logs] of Object.entries(kept)) {
      const { extraVolumes, resources } = values[chart];
      const room = bytes(extraVolumes.find(({ name }: any) => name === "tmp").emptyDir.sizeLimit);
      assert.ok(room >= logs, `${chart}: the kubelet evicts it for its logs`);
      for (const kind of ["requests", "limits"])
        assert.ok(bytes(resources[kind]["ephemeral-storage"]) > room, `${chart}: ${kind} are less than its volume`);
    }
  });

  it("answers under the names that people use, on the pods of the chart", async () => {
    const { seen, component } = await datahub();
    for (const [endpoint, name, port] of [
      [component.gms, "datahub-gms", 8080],
      [component.frontend, "datahub-frontend", 9002],
    ] as const) {
      assert.match(await valueOf(endpoint.host), new RegExp(`^${name}\\.`));
      const { spec } = only(seen, "kubernetes:core/v1:Service", name).inputs;
      assert.deepEqual(spec.selector, { "app.kubernetes.io/name": name, "app.kubernetes.io/instance": "datahub" });
      assert.deepEqual(spec.ports, [{ name: "http", port, targetPort: "http" }]);
    }
  });

  it("is granted its own topics, groups and indices, and no others", () => {
    const { topics, groups = [] } = kafkaAccess();
    assert.equal(Object.keys(topics).length, 7);
    assert.ok(
      [...Object.keys(topics), ...groups].every((name) => name !== "*"),
      "a rule for every topic or group opens Kafka to DataHub: name them",
    );
    assert.deepEqual(searchAccess().indices, [{ names: ["datahub_*"], privileges: ["all"] }]);
  });
});
