import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { Superset, type SupersetArgs, supersetRedisAccess } from "../../../components/analytics/superset";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, waitsFor } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { cache, database, endpoint, mail, onCluster, signOn, SIZE } from "../../support/stubs";

const HOSTILE = `p@ss:w/rd?#[%41]&+ "'\\$é`;
const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
const JOB = "kubernetes:batch/v1:Job";

async function superset(own: Partial<SupersetArgs> = {}): Promise<Registered[]> {
  const seen = await mockEngine();
  const store = database(HOSTILE, "charts");
  new Superset(
    "superset",
    {
      namespace: "bi",
      store,
      redis: cache(HOSTILE),
      secretKey: pulumi.secret("the-key"),
      adminPassword: pulumi.secret("the-admin"),
      reader: { ...store, database: "catalog", login: { ...store.login, password: pulumi.secret("reads-only") } },
      web: { replicas: 2, processes: 3, threads: 8, size: SIZE },
      worker: { replicas: { min: 2, max: 5 }, concurrency: 4, size: SIZE },
      retentionDays: 30,
      publicHost: "superset.example.com",
      beat: SIZE,
      setup: SIZE,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return seen;
}

const specOf = (seen: readonly Registered[], name: string): any => only(seen, DEPLOYMENT, name).inputs.spec;
const containerOf = (seen: readonly Registered[], name: string): any => specOf(seen, name).template.spec.containers[0];
const secretOf = (seen: readonly Registered[], name: string): any =>
  only(seen, "kubernetes:core/v1:Secret", name).inputs.stringData;
const sourcesOf = (seen: readonly Registered[]): any[] =>
  JSON.parse(only(seen, "kubernetes:core/v1:ConfigMap", "superset-setup").inputs.data["sources.json"] as string);

describe("Superset", () => {
  it("reaches its stores under passwords of any characters, which stand in Secrets alone", async () => {
    const seen = await superset();
    const { SUPERSET_DATABASE_URI, SUPERSET_REDIS_URL } = secretOf(seen, "superset-logins");
    const found = [SUPERSET_DATABASE_URI, SUPERSET_REDIS_URL].map((text: string) => {
      const { protocol, username, password, host, pathname, search } = new URL(text);
      return [protocol, username, decodeURIComponent(password), host, pathname, search];
    });
    assert.deepEqual(found, [
      [
        "postgresql+psycopg2:",
        "runner",
        HOSTILE,
        "db.elsewhere:5432",
        "/charts",
        "?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt&connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000",
      ],
      [
        "rediss:",
        "runner",
        HOSTILE,
        "redis.elsewhere:6379",
        "/0",
        "?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=/etc/redis-ca/ca.crt",
      ],
    ]);
    const rest = JSON.stringify(seen.filter(({ type }) => !type.endsWith(":Secret")).map(({ inputs }) => inputs));
    for (const text of ["rd?#", encodeURIComponent(HOSTILE), "the-key", "the-admin", "reads-only"]) {
      assert.ok(!rest.includes(text), text);
    }
  });

  it("tells the Job alone who the administrator is and how data sources are read", async () => {
    const seen = await superset();
    const secrets = (container: any): string[] => container.envFrom.map(({ secretRef }: any) => secretRef.name);
    const [job] = only(seen, JOB).inputs.spec.template.spec.containers;
    assert.deepEqual(secrets(job), ["superset-logins", "superset-admin", "superset-sources"]);
    for (const name of ["superset", "superset-worker", "superset-beat"]) {
      assert.deepEqual(secrets(containerOf(seen, name)), ["superset-logins"], name);
    }
  });

  it("declares the reader, and Trino where there is one, without a password", async () => {
    const reader = {
      name: "PostgreSQL catalog",
      uri: "postgresql+psycopg2://runner@db.elsewhere:5432/catalog?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt&connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000",
      passwordVariable: "READER_PASSWORD",
    };
    const without = await superset();
    assert.deepEqual(sourcesOf(without), [reader]);
    assert.equal(secretOf(without, "superset-sources").READER_PASSWORD, "reads-only");
    const trino = { name: "Trino", uri: "trino://superset@trino.elsewhere:8080", impersonate: true };
    const seen = await superset({ trino: endpoint("trino", "http", 8080) });
    assert.deepEqual(sourcesOf(seen), [trino, reader]);
    assert.deepEqual(
      wires(seen).filter((wire) => wire.includes(" -> trino ")),
      ["superset -> trino 8080", "superset-worker -> trino 8080"],
    );
  });

  it("prepares the database before anything starts, and starts nothing without its stores", async () => {
    const seen = await superset();
    const job = only(seen, JOB);
    assertOrder(seen, job, only(seen, "kubernetes:core/v1:ConfigMap", "db-ready"));
    for (const deployment of all(seen, DEPLOYMENT)) {
      assert.ok(waitsFor(seen, deployment, job), deployment.name);
      assert.ok(waitsFor(seen, deployment, only(seen, "kubernetes:core/v1:ConfigMap", "redis-ready")), deployment.name);
      assert.deepEqual(deployment.inputs.spec.template.spec.initContainers, [], "nothing waits inside a pod");
    }
  });

  it("has people log in at the identity provider alone, which it reaches, where there is one", async () => {
    const seen = await superset({ signOn: signOn({ Alpha: ["analysts"], sql_lab: ["analysts", "board"] }) });
    const { data } = only(seen, "kubernetes:core/v1:ConfigMap", "superset-config").inputs;
    assert.deepEqual(JSON.parse(data["settings.json"]).signOn, {
      discoveryUrl: "https://login.example.com/.well-known/openid-configuration",
      clientId: "own-client",
      scopes: ["openid", "profile"],
      groupsClaim: "cognito:groups",
      rolesOf: { analysts: ["Alpha", "sql_lab"], board: ["sql_lab"] },
      usernameClaim: "preferred_username",
      administrator: "admin",
    });
    assert.equal(secretOf(seen, "superset-logins").SUPERSET_CLIENT_SECRET, "client-secret");
    assert.deepEqual(
      wires(seen).filter((wire) => wire.includes(" -> provider ")),
      ["superset -> provider 443"],
    );
  });

  it("mails reports where there is a mail server, with data that workers get from the web server", async () => {
    const seen = await superset({ mail: mail() });
    const { data } = only(seen, "kubernetes:core/v1:ConfigMap", "superset-config").inputs;
    assert.deepEqual(JSON.parse(data["settings.json"]).mail, {
      server: "smtp.example.com",
      port: 587,
      username: "carbon",
      from: "carbon@example.com",
      site: "https://superset.example.com/",
    });
    assert.equal(secretOf(seen, "superset-logins").SUPERSET_MAIL_PASSWORD, "mail-password");
    const env = Object.fromEntries(
      containerOf(seen, "superset-worker").env.map(({ name, value }: any) => [name, value]),
    );
    assert.equal(env["SUPERSET_WEB_URL"], "http://superset.bi.svc:8088/");
    const added = wires(seen).filter((wire) => / -> (mail|superset) /.test(wire));
    assert.deepEqual(added, ["superset-worker -> mail 587", "superset-worker -> superset 8088"]);
  });

  it("has exactly one beat, and never two at a time", async () => {
    const { replicas, strategy } = specOf(await superset(), "superset-beat");
    assert.deepEqual([replicas, strategy], [1, { type: "Recreate" }]);
  });

  it("scales workers between their bounds, and gives one that goes ten minutes for its tasks", async () => {
    const seen = await superset();
    const { minReplicas, maxReplicas, scaleTargetRef } = only(seen, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler")
      .inputs.spec;
    assert.deepEqual([scaleTargetRef.name, minReplicas, maxReplicas], ["superset-worker", 2, 5]);
    const { replicas, template } = specOf(seen, "superset-worker");
    assert.deepEqual([replicas, template.spec.terminationGracePeriodSeconds], [undefined, 600]);
    assert.match(containerOf(seen, "superset-worker").command[2] as string, /worker --concurrency=4 /);
  });

  it("keeps a web server through a drain where it has several", async () => {
    const budgets = (seen: readonly Registered[]) => all(seen, "kubernetes:policy/v1:PodDisruptionBudget").length;
    const one = await superset({ web: { replicas: 1, processes: 1, threads: 1, size: SIZE } });
    assert.deepEqual([budgets(await superset()), budgets(one)], [1, 0]);
  });

  it("prunes what grows and what is in use, after as many days as the stack file says", async () => {
    const files = only(await superset(), "kubernetes:core/v1:ConfigMap", "superset-config").inputs["data"];
    assert.deepEqual(JSON.parse(files["settings.json"]), { retentionDays: 30 });
    const tasks = [...files["superset_config.py"].matchAll(/"task": "([^"]+)"/g)].map(([, task]) => task);
    assert.deepEqual(tasks.sort(), ["prune_logs", "prune_query", "reports.prune_log", "reports.scheduler"]);
  });

  it("runs no templates in people's SQL, which would be code in the server", async () => {
    const files = only(await superset(), "kubernetes:core/v1:ConfigMap", "superset-config").inputs["data"];
    assert.doesNotMatch(files["superset_config.py"], /ENABLE_TEMPLATE_PROCESSING/);
  });

  it("asks for channels and keys of its own in Redis, and for no command that reaches further", () => {
    const { keys, channels, commands } = supersetRedisAccess();
    assert.deepEqual([keys, channels], [["superset:*"], "superset:*"]);
    assert.deepEqual(
      commands.filter((command) =>
        /^@|^(keys|scan|flush\w*|config|acl|eval|script|client|info|monitor)$/.test(command),
      ),
      [],
    );
  });
});
