import assert from "node:assert/strict";
import { stackConfig } from "../../rehearsal/program/evaluate";
import { outsideCertificate } from "./harness/certificates";
import { type Cluster, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import { Gateway } from "./harness/gateway";
import { Browser, IdentityProvider, ISSUER } from "./harness/identity-provider";
import type { Pod } from "./harness/pod";
import { sqlEngine } from "./harness/systems";
import { query } from "./harness/trino";

// Starts a second coordinator beside the first, of the same files but for one property more in a catalog.
const SPOILED = `
cp -rL /etc/trino /tmp/etc && chmod -R u+w /tmp/etc
echo "$1" >> "/tmp/etc/catalog/$2.properties"
sed -i -e 's/^-Xmx.*/-Xmx400M/' /tmp/etc/jvm.config
sed -i -e '/memory/d' -e 's/:8080/:8099/' -e 's/port=8080/port=8099/' /tmp/etc/config.properties
exec /usr/lib/trino/bin/launcher run --etc-dir /tmp/etc --data-dir /tmp/data -Dnode.id=spoiled 2>&1`;

// Takes a worker some 15 s.
const SLOW = `SELECT count(*) FROM UNNEST(sequence(1, 10000)) a (x) CROSS JOIN UNNEST(sequence(1, 10000)) b (y)
CROSS JOIN UNNEST(sequence(1, 10)) c (z) WHERE x * y % 7 = 3`;

const SCHEME = "https://";

const FILE_TABLES = `iceberg.catalog.type=TESTING_FILE_METASTORE
hive.metastore.catalog.dir=s3://iceberg-warehouse/files
`;

describe("Trino", () => {
  let cluster: Cluster;
  let coordinator: Pod;
  let worker: Pod;
  let catalogs: string[];
  let gateway: Gateway;
  // Without the scheme.
  let site: string;
  let api: string;
  before(async () => {
    cluster = await theCluster();
    const files = cluster.program.data("ConfigMap", "trino-coordinator-catalog") as Record<string, string>;
    // The rendered access to the object store, with tables that are found in files in place of Polaris.
    const store = (files["iceberg.properties"] ?? "").replaceAll(/^iceberg\..*\n/gm, "");
    files["files.properties"] = `${store}${FILE_TABLES}`;
    catalogs = Object.keys(files)
      .map((file) => file.replace(".properties", ""))
      .filter((name) => !["tpch", "tpcds"].includes(name));
    ({ coordinator, worker } = await sqlEngine(cluster));
    gateway = await Gateway.of(cluster);
    gateway.follow(cluster);
    const { sites, apis } = cluster.program.outputs.gateway;
    [site, api] = [sites.trino.slice(SCHEME.length), apis.trino.slice(SCHEME.length)];
  });

  const asPerson = () => {
    const { username = "", password = "" } = cluster.program.data("Secret", "gateway-people");
    return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
  };
  const withKey = () => ({ "x-api-key": cluster.program.data("Secret", "api-key-trino")["trino"] ?? "" });
  const status = async (url: string, headers: Readonly<Record<string, string>> = {}) =>
    (await gateway.ask({ url, headers })).status;
  const reached = (url: string, headers: () => Readonly<Record<string, string>>) =>
    eventually(60, async () => {
      assert.equal(await status(url, headers()), 200);
    });

  /** The rows of a query by somebody outside, who is led on by what Trino says of itself. */
  async function rowsOf(url: string, proof: Readonly<Record<string, string>>): Promise<unknown[]> {
    const headers = { ...proof, "x-trino-user": "ada" };
    let answer = JSON.parse(
      (await gateway.ask({ url: `${url}/v1/statement`, method: "POST", body: "SELECT current_user", headers })).body,
    );
    const found: unknown[] = [];
    for (;;) {
      found.push(...(answer.data ?? []));
      if (answer.nextUri === undefined) return found;
      assert.ok(answer.nextUri.startsWith(`https://${url}/v1/statement/`), answer.nextUri);
      answer = JSON.parse((await gateway.ask({ url: answer.nextUri.slice(SCHEME.length), headers })).body);
    }
  }

  it("starts with the rendered files, and knows our catalogs and no other", async () => {
    assert.ok(catalogs.length > 0, "Trino has no catalogs");
    assert.deepEqual((await query(coordinator, "SHOW CATALOGS")).flat(), [...catalogs, "system"].sort());
  });

  it("has a worker, which the coordinator leaves all work to", async () => {
    const nodes = await query(coordinator, "SELECT coordinator, state FROM system.runtime.nodes ORDER BY coordinator");
    assert.deepEqual(nodes, [
      [false, "active"],
      [true, "active"],
    ]);
    const rows = "SELECT count(*), sum(n) FROM UNNEST(sequence(1, 10000)) AS t(n)";
    assert.deepEqual(await query(coordinator, rows), [[10000, 50005000]]);
  });

  it("reads PostgreSQL over TLS as a role that may only read", async function () {
    if (!catalogs.includes("postgres")) return this.skip();
    const postgres = await cluster.postgres();
    const [database = ""] = /(?<=:5432\/)\w+/.exec(
      cluster.program.data("ConfigMap", "trino-coordinator-catalog")["postgres.properties"] ?? "",
    ) ?? [""];
    await postgres.query(
      `SET ROLE "${database}"; CREATE TABLE sql_engine (n int); INSERT INTO sql_engine VALUES (1), (2)`,
      database,
    );
    assert.deepEqual(await query(coordinator, "SELECT sum(n) FROM postgres.public.sql_engine"), [[3]]);
    await assert.rejects(query(coordinator, "INSERT INTO postgres.public.sql_engine VALUES (3)"), /permission denied/);
    await assert.rejects(query(coordinator, "CREATE TABLE postgres.public.another (n int)"), /permission denied/);
  });

  it("reads the topics of Kafka over TLS, by its login", async function () {
    if (!catalogs.includes("kafka")) return this.skip();
    const kafka = await cluster.kafka();
    const topics = Object.keys(cluster.program.config.kafka.topics);
    assert.deepEqual((await query(coordinator, "SHOW TABLES FROM kafka.default")).flat(), topics.sort());
    assert.deepEqual(await kafka.attempt([kafka.operator, "produce", "data-ingestion"]), ["OK"]);
    const records = 'SELECT DISTINCT _message FROM kafka.default."data-ingestion"';
    assert.deepEqual(await query(coordinator, records), [["1"]]);
  });

  it("writes tables into the object store and reads them back, over TLS, as its own user", async () => {
    await query(coordinator, "CREATE SCHEMA files.live");
    await query(coordinator, "CREATE TABLE files.live.prices AS SELECT * FROM UNNEST(ARRAY[1, 2, 3]) t (price)");
    assert.deepEqual(await query(coordinator, "SELECT sum(price) FROM files.live.prices"), [[6]]);
  });

  it("does not start with a catalog property that its connector does not have, and names it", async () => {
    const [catalog = ""] = catalogs;
    const spoiled = coordinator.exec(["sh", "-c", SPOILED, "spoiled", `${catalog}.max-connections=5`, catalog], {
      timeoutSeconds: 300,
    });
    await assert.rejects(spoiled, new RegExp(`'${catalog}\\.max-connections' was not used`));
  });

  it("shows Prometheus what the program asks for, without a login", async () => {
    const prometheus = await cluster.prometheus();
    await eventually(60, async () => {
      const scraped = (await prometheus.targets()).filter(({ labels }) => labels["job"] === "trino");
      assert.deepEqual(scraped.map(({ lastError, labels }) => [labels["component"], lastError]).sort(), [
        ["coordinator", ""],
        ["worker", ""],
      ]);
    });
    for (const metric of asked(cluster)) {
      assert.ok((await prometheus.query(metric)).length > 0, metric);
    }
  });

  it("answers queries of people and programs through the gateway, whom it leads on by public URLs", async () => {
    await reached(`${site}/v1/info`, asPerson);
    assert.deepEqual(await rowsOf(site, asPerson()), [["ada"]]);
    assert.deepEqual(await rowsOf(api, withKey()), [["ada"]]);
    assert.deepEqual(await rowsOf(api, { authorization: `Bearer ${withKey()["x-api-key"]}` }), [["ada"]]);
    for (const [url, proof] of [
      [site, {}],
      [site, withKey()],
      [site, { authorization: "Basic YWRtaW46d3Jvbmc=" }],
      [api, {}],
      [api, asPerson()],
      [api, { "x-api-key": "wrong" }],
    ] as const) {
      assert.equal(await status(`${url}/v1/info`, proof), 401, `${url} ${JSON.stringify(proof)}`);
    }
  });

  it("leads people to its pages through the gateway and lets them in there, with cookies for TLS alone", async () => {
    const browser = new Browser(gateway.places(`https://${site}`), asPerson());
    const login = await browser.open(`https://${site}/`);
    assert.deepEqual([login.url.href, login.status], [`https://${site}/ui/login.html`, 200]);
    const pages = await browser.open(`https://${site}/ui/login`, { username: "ada", password: "", redirectPath: "" });
    assert.deepEqual([pages.url.href, pages.status], [`https://${site}/ui/`, 200]);
    const { status: known } = await browser.open(`https://${site}/ui/api/stats`);
    assert.deepEqual([known, await status(`${site}/ui/api/stats`, asPerson())], [200, 401]);
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const sent = await gateway.ask({
      url: `${site}/ui/login`,
      method: "POST",
      body: "username=ada&password=&redirectPath=",
      headers: { ...asPerson(), ...form },
    });
    assert.match(String(sent.headers["set-cookie"]), /Secure;HttpOnly/);
  });

  it("believes no client that it came to another host or port", async () => {
    const lies = { "x-forwarded-host": "evil.example", "x-forwarded-server": "evil.example" };
    const { headers } = await gateway.ask({
      url: `${site}/`,
      headers: { ...asPerson(), ...lies, forwarded: "host=evil.example", "x-forwarded-port": "1234" },
    });
    assert.equal(headers["location"], `https://${site}/ui/`);
  });

  it("lets in whom an access proxy vouches for, and programs with a token, when the stack says so", async () => {
    const certificate = outsideCertificate(new URL(ISSUER).hostname);
    const provider = await IdentityProvider.start(cluster, [], certificate);
    gateway.trust(certificate.cert);
    const issuer = { issuer: ISSUER, jwks: `${ISSUER}/jwks`, audiences: ["carbon"], cidrs: [] };
    const { gateway: rest } = stackConfig("dev");
    assert.ok(rest !== undefined, "dev has no gateway");
    const people = { kind: "accessProxy" as const, header: "Cf-Access-Jwt-Assertion", ...issuer };
    await cluster.reconfigure("dev", { gateway: { ...rest, people, programs: { kind: "jwt", ...issuer } } });
    gateway.follow(cluster);
    const vouched = (token: string) => ({ "cf-access-jwt-assertion": token });
    const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
    await reached(`${site}/v1/info`, () => vouched(provider.token("carbon")));
    assert.deepEqual(await rowsOf(site, vouched(provider.token("carbon"))), [["ada"]]);
    assert.deepEqual(await rowsOf(api, bearer(provider.token("carbon"))), [["ada"]]);
    const refused = [
      await status(`${site}/v1/info`),
      await status(`${site}/v1/info`, bearer(provider.token("carbon"))),
      await status(`${site}/v1/info`, vouched(provider.token("carbon", -120))),
      await status(`${site}/v1/info`, vouched(provider.token("another"))),
      await status(`${api}/v1/info`, vouched(provider.token("carbon"))),
      await status(`${api}/v1/info`, bearer(provider.token("another"))),
    ];
    provider.close();
    await cluster.reconfigure("dev", {});
    gateway.follow(cluster);
    assert.deepEqual(refused, [401, 401, 401, 403, 401, 403]);
  });

  it("has a worker that is to go finish its query first, by the hook that Kubernetes calls", async () => {
    let isAnswered = false;
    const answer = query(coordinator, SLOW).finally(() => (isAnswered = true));
    const running = "SELECT count(*) > 0 FROM system.runtime.tasks WHERE state = 'RUNNING' AND splits > 1";
    await eventually(20, async () => {
      assert.deepEqual(await query(coordinator, running), [[true]]);
    });
    assert.ok(!isAnswered, "a query without the password is answered");
    await cluster.stop(worker);
    assert.deepEqual(await answer, [[122465300]]);
  });
});

/** The metrics that the PodMonitor of the coordinator asks for. */
function asked(cluster: Cluster): string[] {
  return cluster.program.object("trino-coordinator", "PodMonitor")["spec"].podMetricsEndpoints[0].params["name[]"];
}
