import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Cluster, OUT, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import { stackConfig } from "../../rehearsal/program/evaluate";
import { outsideCertificate } from "./harness/certificates";
import { Gateway } from "./harness/gateway";
import { MAIL, MailServer } from "./harness/mail-server";
import { Browser, IdentityProvider, ISSUER } from "./harness/identity-provider";
import type { Pod } from "./harness/pod";
import { python } from "./harness/python";
import { superset } from "./harness/systems";
import { read } from "../support/sources";

// Somebody who uses the API, behind the gateway that ends TLS.
const PERSON = `
import urllib.error, urllib.request
headers = {"Content-Type": "application/json", "X-Forwarded-Proto": "https"}

def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        answer = urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8088" + path, data, headers), timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    if cookie := answer.headers.get("Set-Cookie"):
        headers["Cookie"] = cookie.split(";")[0]
    return answer.status, answer.read().decode(), answer.headers

def login(username, password):
    body = {"username": username, "password": password, "provider": "db"}
    status, text, _ = ask("/api/v1/security/login", body)
    if status == 200:
        headers["Authorization"] = "Bearer " + json.loads(text)["access_token"]
        headers["X-CSRFToken"] = json.loads(ask("/api/v1/security/csrf_token/")[1])["result"]
        headers["Referer"] = "https://127.0.0.1:8088/"
    return status
`;

const SOURCES = `
login(input["user"], input["password"])
print(json.dumps(sorted([one["database_name"], one["backend"]] for one in json.loads(ask("/api/v1/database/")[1])["result"])))
`;

// A query that a worker runs: its result is in Redis, and nowhere else.
const QUERY = `
import os, redis, time, uuid
login(input["user"], input["password"])
sources = json.loads(ask("/api/v1/database/")[1])["result"]
source = next(one["id"] for one in sources if one["database_name"] == input["source"])
client = uuid.uuid4().hex[:11]
query = {"database_id": source, "sql": input["sql"], "runAsync": True, "client_id": client, "schema": "public"}
status, text, _ = ask("/api/v1/sqllab/execute/", query)
found = {"status": status, "answer": text, "state": ""}
deadline = time.time() + 60
while status == 202 and found["state"] not in ("success", "failed") and time.time() < deadline:
    time.sleep(0.5)
    found = json.loads(ask("/api/v1/query/" + str(json.loads(text)["query"]["queryId"]))[1])["result"]
    found["state"] = found.get("status")
if key := found.get("results_key"):
    found["rows"] = json.loads(ask(f"/api/v1/sqllab/results/?q=(key:'{key}')")[1])["data"]
    found["kept"] = redis.Redis.from_url(os.environ["SUPERSET_REDIS_URL"]).exists(f"superset:results:{key}")
print(json.dumps({key: found.get(key) for key in ("status", "answer", "state", "rows", "kept", "error_message")}))
`;

// Three queries of a table that is locked, of which the worker runs one; prints how many wait in Redis.
const BUSY = `
import os, redis, time, uuid
login(input["user"], input["password"])
sources = json.loads(ask("/api/v1/database/")[1])["result"]
source = next(one["id"] for one in sources if one["database_name"] == input["source"])
query = {"database_id": source, "sql": "SELECT * FROM locked", "runAsync": True, "schema": "public"}
for _ in range(3):
    status, text, _ = ask("/api/v1/sqllab/execute/", query | {"client_id": uuid.uuid4().hex[:11]})
    assert status == 202, text
time.sleep(3)
print(redis.Redis.from_url(os.environ["SUPERSET_REDIS_URL"]).llen("superset:celery"))
`;

const REFUSED = `
import os, redis
client = redis.Redis.from_url(os.environ["SUPERSET_REDIS_URL"])
def outcome(*command):
    try:
        client.execute_command(*command)
        return "OK"
    except redis.ResponseError as error:
        return type(error).__name__
print(json.dumps([outcome(*command) for command in input]))
`;

// What beat would send to a worker, run here and now; prints the actions that are still in the log.
const PRUNE = `
import os
from datetime import datetime, timedelta
from superset.app import create_app
with create_app().app_context():
    from superset import db
    from superset.models.core import Log
    from superset.tasks import scheduler
    from superset.tasks.celery_app import app
    for action, days in input.items():
        db.session.add(Log(action=action, dttm=datetime.now() - timedelta(days=days)))
    db.session.commit()
    for entry in app.conf.beat_schedule.values():
        app.tasks[entry["task"]].run(**entry["kwargs"])
    print(json.dumps([log.action for log in db.session.query(Log).filter(Log.action.in_(input))]))
`;

// A chart of a table, and a report of it to somebody.
const REPORT = `
login(input["user"], input["password"])
def make(kind, **body):
    status, text, _ = ask(f"/api/v1/{kind}/", body)
    assert status == 201, text
    return json.loads(text)["id"]
sources = json.loads(ask("/api/v1/database/")[1])["result"]
source = next(one["id"] for one in sources if one["database_name"] == input["source"])
dataset = make("dataset", database=source, schema="public", table_name=input["table"])
query = {"columns": ["answer"], "metrics": [], "filters": [], "orderby": [], "row_limit": 10, "extras": {}}
form = {"viz_type": "table", "query_mode": "raw", "all_columns": ["answer"], "datasource": f"{dataset}__table"}
context = {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "form_data": form,
           "force": False, "result_format": "csv", "result_type": "full"}
chart = make("chart", slice_name="answers", viz_type="table", datasource_id=dataset, datasource_type="table",
             params=json.dumps(form), query_context=json.dumps(context))
recipients = [{"type": "Email", "recipient_config_json": {"target": input["to"]}}]
print(make("report", type="Report", name="answers", crontab="* * * * *", timezone="UTC", report_format="CSV",
           chart=chart, recipients=recipients, creation_method="alerts_reports", active=True))
`;

const WORKER_LOG = "superset-worker-0.superset-worker.log";

const FLAGS = `
from superset import config
print(json.dumps(sorted(set(config.FEATURE_FLAGS) - set(config.DEFAULT_FEATURE_FLAGS))))
`;

describe("Superset", () => {
  let cluster: Cluster;
  let web: Pod;
  let worker: Pod;
  let beat: Pod;
  let gateway: Gateway;
  let site: string;
  before(async () => {
    cluster = await theCluster();
    ({ web, worker, beat } = await superset(cluster));
    gateway = await Gateway.of(cluster);
    gateway.follow(cluster);
    site = cluster.program.outputs.gateway.sites.superset;
  });

  const person = (script: string, input: object = {}): Promise<any> => python(web, `${PERSON}\n${script}`, input);
  const admin = (): { user: string; password: string } => {
    const { SUPERSET_ADMIN_USER = "", SUPERSET_ADMIN_PASSWORD = "" } = cluster.program.data("Secret", "superset-admin");
    return { user: SUPERSET_ADMIN_USER, password: SUPERSET_ADMIN_PASSWORD };
  };
  /** Name and kind of each data source that the program declares. */
  const declared = (): string[][] => {
    const { "sources.json": list = "" } = cluster.program.data("ConfigMap", "superset-setup");
    return JSON.parse(list)
      .map(({ name, uri }: any) => [name, uri.split(/[+:]/)[0]])
      .sort();
  };
  const login = (user: string, password: string): Promise<number> =>
    person(`print(login(input["user"], input["password"]))`, { user, password });

  it("migrates an empty database, over TLS, as the role that owns it", async () => {
    const postgres = await cluster.postgres();
    const tables = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('ab_user', 'dashboards', 'dbs')";
    assert.deepEqual(await postgres.query(tables, "superset"), ["superset"]);
    const plain =
      "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'superset' AND NOT ssl";
    assert.deepEqual(await postgres.query(plain), ["0"]);
  });

  it("answers every probe of web server, worker and beat", async () => {
    for (const pod of [web, worker, beat]) assert.deepEqual(await pod.faults(), []);
  });

  it("takes a worker or a beat for dead that has not been heard of for minutes, until it is heard of again", async () => {
    for (const pod of [worker, beat]) {
      const [, , check] = pod.containers[0].livenessProbe.exec.command;
      await assert.rejects(
        pod.exec(["sh", "-c", `touch -d '5 minutes ago' /tmp/heartbeat && ${check}`]),
        /exit code 1/,
      );
      await eventually(30, async () => {
        assert.equal(await pod.fault("livenessProbe"), undefined);
      });
    }
  });

  it("forgets what people did after the declared number of days, by tasks that a worker knows", async () => {
    const { "settings.json": settings = "" } = cluster.program.data("ConfigMap", "superset-config");
    const { retentionDays } = JSON.parse(settings) as { retentionDays: number };
    assert.deepEqual(await python(worker, PRUNE, { old: retentionDays + 1, recent: retentionDays - 1 }), ["recent"]);
  });

  it("knows its administrator, and neither the vendor's login nor anybody without one", async () => {
    const { user, password } = admin();
    assert.deepEqual([await login(user, password), await login("admin", "admin")], [200, 401]);
    assert.equal(await person(`print(ask("/api/v1/database/")[0])`), 401);
    assert.equal(await person(`print(ask("/register/form")[0])`), 404);
  });

  it("hands out cookies for TLS alone, and pages that load nothing of strangers", async () => {
    const [status, headers] = await person(`status, _, sent = ask("/login/"); print(json.dumps([status, dict(sent)]))`);
    assert.equal(status, 200);
    for (const flag of ["Secure", "HttpOnly", "SameSite=Lax"]) assert.match(headers["Set-Cookie"], new RegExp(flag));
    assert.match(headers["Content-Security-Policy"], /default-src 'self'/);
  });

  it("has the declared data sources from the start, their passwords encrypted", async () => {
    assert.ok(
      declared().some(([name]) => name === "PostgreSQL datahub"),
      "the data source is not declared",
    );
    assert.deepEqual(await person(SOURCES, admin()), declared());
    const postgres = await cluster.postgres();
    const { password = "" } = cluster.program.data("Secret", "postgres-superset-reader");
    const reader = "SELECT dbs::text FROM dbs WHERE database_name = 'PostgreSQL datahub'";
    const [row = ""] = await postgres.query(reader, "superset");
    assert.ok(
      row.includes("superset_reader") && !row.includes(password) && !row.includes(encodeURIComponent(password)),
      "the saved data source has another user, or its password in plain text",
    );
  });

  it("runs a query in a worker, as the reader, and keeps its result in Redis", async () => {
    const postgres = await cluster.postgres();
    await postgres.query(
      "CREATE TABLE live AS SELECT 42 AS answer; GRANT SELECT ON live TO superset_reader",
      "datahub",
    );
    const query = { ...admin(), source: "PostgreSQL datahub" };
    const answer = await person(QUERY, { ...query, sql: "SELECT answer FROM live" });
    assert.deepEqual([answer.rows, answer.kept], [[{ answer: 42 }], 1], JSON.stringify(answer));
    const refused = await person(QUERY, { ...query, sql: "DELETE FROM live" });
    assert.deepEqual([refused.state, refused.rows], ["failed", null], JSON.stringify(refused));
  });

  it("leaves queries in Redis while its worker is busy, for the next one that is not", async () => {
    const postgres = await cluster.postgres();
    await postgres.query("CREATE TABLE locked (); GRANT SELECT ON locked TO superset_reader", "datahub");
    const [waiting] = await Promise.all([
      person(BUSY, { ...admin(), source: "PostgreSQL datahub" }),
      postgres.query("BEGIN; LOCK TABLE locked; SELECT pg_sleep(15); COMMIT", "datahub"),
    ]);
    assert.equal(waiting, 2);
  });

  it("reaches no keys but its own in Redis, and may do with them only what it does", async () => {
    const commands = [
      ["GET", "feature-commodity_ml"],
      ["FLUSHALL"],
      ["KEYS", "*"],
      ["CONFIG", "GET", "dir"],
      ["ACL", "LIST"],
    ];
    assert.deepEqual(
      await python(web, REFUSED, commands),
      commands.map(() => "NoPermissionError"),
    );
    assert.deepEqual(
      await python(web, REFUSED, [
        ["PUBLISH", "somebody-elses", ""],
        ["GET", "superset:own"],
      ]),
      ["NoPermissionError", "OK"],
    );
    for (const pod of ["superset-0.superset", "superset-worker-0.superset-worker", "superset-beat-0.superset-beat"]) {
      const log = fs.readFileSync(path.join(OUT, "logs", `${pod}.log`), "utf8");
      assert.doesNotMatch(log, /NoPermission|NOPERM|no permissions|falling back/, pod);
    }
  });

  it("is reached through the gateway, where cookies, redirects and forms are those of the public host", async () => {
    const { username = "", password = "" } = cluster.program.data("Secret", "gateway-people");
    const open = { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` };
    const [, front = ""] = site.split("//");
    await eventually(60, async () => {
      assert.equal((await gateway.ask({ url: `${front}/health`, headers: open })).status, 200);
    });
    assert.equal((await gateway.ask({ url: `${front}/login/` })).status, 401);
    const browser = new Browser(gateway.places(site), open);
    const login = await browser.open(`${site}/`);
    assert.equal(login.url.href, `${site}/login/?next=%2Fsuperset%2Fwelcome%2F`);
    const [, csrf_token = ""] = /name="csrf_token"[^>]*value="([^"]+)"/.exec(login.body) ?? [];
    const form = (own: string) => ({ csrf_token, username: admin().user, password: own });
    assert.equal((await browser.open(login.url, form("wrong"))).url.pathname, "/login/");
    const welcome = await browser.open(login.url, form(admin().password));
    assert.deepEqual([welcome.url.href, welcome.status], [`${site}/superset/welcome/`, 200]);
  });

  it("is an API behind the gateway, for its key and one's own token", async () => {
    const [, api = ""] = String(cluster.program.outputs.gateway.apis.superset).split("//");
    const { superset: key = "" } = cluster.program.data("Secret", "api-key-superset");
    const { user: username, password } = admin();
    const login = await gateway.ask({
      url: `${api}/api/v1/security/login`,
      method: "POST",
      headers: { "x-api-key": key, "content-type": "application/json" },
      body: JSON.stringify({ username, password, provider: "db" }),
    });
    const own = { authorization: `Bearer ${JSON.parse(login.body).access_token}` };
    const sources = async (headers: Readonly<Record<string, string>>) =>
      (await gateway.ask({ url: `${api}/api/v1/database/`, headers })).status;
    const answers = [
      await sources({ ...own, "x-api-key": key }),
      await sources({ "x-api-key": key }),
      await sources({ ...own, "x-api-key": "wrong" }),
      await sources(own),
    ];
    assert.deepEqual(answers, [200, 401, 401, 401]);
    const { status, headers } = await gateway.ask({ url: `${api}/`, headers: { "x-api-key": key } });
    assert.deepEqual([status, headers["location"]], [302, "/api/superset/superset/welcome/"]);
  });

  it("sets no feature flag that Superset does not know", async () => {
    assert.deepEqual(await python(web, FLAGS), []);
  });

  it("encrypts anew with another key, by the command of docs/superset.md, and back", async () => {
    const [, script = ""] = /-- python (\S+) < new-key/.exec(read("docs/superset.md")) ?? [];
    const { SUPERSET_SECRET_KEY: old = "" } = cluster.program.data("Secret", "superset-logins");
    const postgres = await cluster.postgres();
    const encrypted = () => postgres.query("SELECT password FROM dbs", "superset");
    const before = await encrypted();
    await web.exec(["python", script], { input: "another-key\n", timeoutSeconds: 120 });
    assert.notDeepEqual(await encrypted(), before);
    // As from a pod that has the new key.
    await web.exec(["env", "SUPERSET_SECRET_KEY=another-key", "python", script], { input: old, timeoutSeconds: 120 });
    const query = { ...admin(), source: "PostgreSQL datahub", sql: "SELECT answer FROM live" };
    assert.deepEqual((await person(QUERY, query)).rows, [{ answer: 42 }]);
  });

  it("lets the Job run again, which gives the administrator its password back", async () => {
    const vendors = await web.exec([
      "python",
      "-c",
      "from werkzeug.security import generate_password_hash as h; print(h('admin'))",
    ]);
    const postgres = await cluster.postgres();
    await postgres.query(`UPDATE ab_user SET password = '${vendors.trim()}' WHERE username = 'admin'`, "superset");
    assert.equal(await login("admin", "admin"), 200);
    await cluster.job("superset-setup", { again: true });
    const { user, password } = admin();
    assert.deepEqual([await login(user, password), await login("admin", "admin")], [200, 401]);
    assert.deepEqual(await person(SOURCES, admin()), declared());
  });

  describe("with single sign-on, mail, and certificates of one's own", () => {
    const certificate = outsideCertificate(new URL(ISSUER).hostname, MAIL.server);
    let provider: IdentityProvider;
    let mail: MailServer;
    before(async () => {
      const { gateway: rest } = stackConfig("dev");
      assert.ok(rest !== undefined, "dev has no gateway");
      await cluster.reconfigure("dev", {
        gateway: { ...rest, people: { kind: "oidc", issuer: ISSUER, clientId: "gateway", cidrs: [] } },
        egress: { certificates: certificate.cert.toString() },
        mail: { ...MAIL, username: "carbon", from: "carbon@example.com", cidrs: [] },
        singleSignOn: {
          issuer: ISSUER,
          cidrs: [],
          scopes: ["openid", "profile", "email"],
          groupsClaim: "groups",
          superset: { clientId: "superset", roles: { Alpha: ["analysts"], sql_lab: ["analysts"], Gamma: ["board"] } },
        },
      });
      const { SUPERSET_CLIENT_SECRET: secret = "", SUPERSET_MAIL_PASSWORD: password = "" } = cluster.program.data(
        "Secret",
        "superset-logins",
      );
      const { gatewayClientSecret = "" } = cluster.program.credentials;
      const clients = [
        { id: "superset", secret, redirects: [`${site}/oauth-authorized/oidc`] },
        { id: "gateway", secret: gatewayClientSecret, redirects: [`${site}/oauth2/callback`] },
      ];
      provider = await IdentityProvider.start(cluster, clients, certificate);
      gateway.trust(certificate.cert);
      gateway.follow(cluster);
      mail = await MailServer.start(cluster, { ...certificate, username: "carbon", password });
      ({ web, worker, beat } = await superset(cluster));
    });
    after(async () => {
      provider.close();
      mail.close();
      await cluster.reconfigure("dev", {});
      gateway.follow(cluster);
      ({ web, worker, beat } = await superset(cluster));
    });

    /** The roles with which somebody comes back from the provider; none where he is not let in. */
    const rolesOf = async (name: string, ...groups: string[]): Promise<string[]> => {
      provider.groups[name] = groups;
      const browser = new Browser({
        [new URL(site).hostname]: { host: web.address, port: 8088 },
        ...provider.places,
      });
      await browser.logIn(`${site}/login/oidc`, name);
      const { status, body } = await browser.open(`${site}/api/v1/me/roles/`);
      return status === 200 ? Object.keys(JSON.parse(body).result.roles).sort() : [];
    };

    it("is behind the gateway's login at the provider, after which its own asks nobody again", async () => {
      provider.groups["ada"] = ["analysts"];
      const [, front = ""] = site.split("//");
      let cookies = "";
      await eventually(60, async () => {
        const { status, headers } = await gateway.ask({ url: `${front}/` });
        assert.deepEqual([status, new URL(String(headers["location"])).origin], [302, ISSUER]);
        cookies = String(headers["set-cookie"]);
      });
      const [, suffix = ""] = /OauthNonce(-\w+)=/.exec(cookies) ?? [];
      const invented = ["AccessToken", "IdToken", "OauthHMAC", "OauthExpires"].map(
        (one) => `${one}${suffix}=9999999999`,
      );
      const { status } = await gateway.ask({ url: `${front}/`, headers: { cookie: invented.join("; ") } });
      assert.equal(status, 302, "invented cookies open a site");
      const browser = new Browser({ ...gateway.places(site), ...provider.places });
      const login = await browser.logIn(`${site}/superset/welcome/`, "ada");
      assert.equal(login.url.href, `${site}/login/?next=%2Fsuperset%2Fwelcome%2F`);
      const welcome = await browser.logIn(`${site}/login/oidc?next=%2Fsuperset%2Fwelcome%2F`, "nobody");
      assert.deepEqual([welcome.url.href, welcome.status], [`${site}/superset/welcome/`, 200]);
      const { body } = await browser.open(`${site}/api/v1/me/`);
      assert.equal(JSON.parse(body).result.username, "ada");
    });

    it("lets people in with the roles of their groups, which each login brings up to date", async () => {
      assert.deepEqual(await rolesOf("ada", "analysts", "chess"), ["Alpha", "sql_lab"]);
      assert.deepEqual(await rolesOf("ada", "board"), ["Gamma"]);
    });

    it("lets nobody in who is in none of the groups, or bears the administrator's name", async () => {
      assert.deepEqual(await rolesOf("eve", "chess"), []);
      assert.deepEqual(await rolesOf("ada"), []);
      for (const name of [admin().user, admin().user.toUpperCase()]) {
        assert.deepEqual(await rolesOf(name, "analysts"), [], name);
      }
    });

    it("mails a chart as CSV each minute, over TLS, with data that its owner may see", async () => {
      const postgres = await cluster.postgres();
      await postgres.query(
        "CREATE TABLE mailed AS SELECT 42 AS answer; GRANT SELECT ON mailed TO superset_reader",
        "datahub",
      );
      await person(REPORT, { ...admin(), source: "PostgreSQL datahub", table: "mailed", to: "board@example.com" });
      await eventually(180, () => {
        assert.notEqual(mail.mails.length, 0, fs.readFileSync(path.join(OUT, "logs", WORKER_LOG), "utf8").slice(-3000));
        return Promise.resolve();
      });
      const [letter = ""] = mail.mails;
      assert.match(letter, /^From: carbon@example\.com\r?$/m);
      assert.match(letter, /^To: board@example\.com\r?$/m);
      assert.ok(letter.includes(`${site}/explore/`), "the mail has no link to the chart");
      const [, csv = ""] = /filename="?[^\n]*\.csv"?\r?\n(?:[^\n]+\n)*\r?\n([A-Za-z0-9+/=\r\n]+)/.exec(letter) ?? [];
      assert.match(Buffer.from(csv, "base64").toString(), /answer\s+42/);
    });

    it("still knows the administrator's password, and no form by which people register", async () => {
      const { user, password } = admin();
      assert.equal(await login(user, password), 200);
      assert.equal(await person(`print(ask("/register/form")[0])`), 404);
    });
  });
});
