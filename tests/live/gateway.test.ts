import assert from "node:assert/strict";
import * as http from "node:http";
import { setTimeout } from "node:timers/promises";
import * as tls from "node:tls";
import { type Cluster, theCluster } from "./harness/cluster";
import { type Asked, Gateway } from "./harness/gateway";
import type { Pod } from "./harness/pod";
import { python } from "./harness/python";
import { application, trackingServer } from "./harness/systems";

const DOMAIN = "dev.254carbon.com";
const API = `api.${DOMAIN}`;
// Grafana's and Prometheus' servers are played: they tell what reached them.
const PLAYED = [80, 9090];

const WITH_S3 = `
import boto3
with open("/tmp/gateway.crt", "w") as file:
    file.write(input["ca"])
client = boto3.client("s3", endpoint_url=input["url"], verify="/tmp/gateway.crt")
client.meta.events.register("before-sign.s3", lambda request, **_: request.headers.add_header("x-api-key", input["key"]))
client.put_object(Bucket=input["bucket"], Key="gateway/a b+c", Body=b"x" * 1000)
print(json.dumps(len(client.get_object(Bucket=input["bucket"], Key="gateway/a b+c")["Body"].read())))
`;

describe("the gateway", () => {
  let cluster: Cluster;
  let gateway: Gateway;
  let tracking: Pod;
  let slow: Promise<{ readonly status: number | undefined; readonly seconds: number }>;
  let long: Promise<{ readonly bytes: number; readonly seconds: number }>;
  const servers: http.Server[] = [];
  before(async () => {
    cluster = await theCluster();
    await application(cluster);
    tracking = await trackingServer(cluster);
    for (const port of PLAYED) servers.push(played().listen(port, cluster.own));
    gateway = await Gateway.of(cluster);
    const started = Date.now();
    slow = gateway.ask({ url: `${API}/api/prometheus/slow`, headers: withKey("monitoring") }).then(({ status }) => ({
      status,
      seconds: (Date.now() - started) / 1000,
    }));
    long = gateway.ask({ url: `${API}/api/prometheus/drops`, headers: withKey("monitoring") }).then(({ body }) => ({
      bytes: body.length,
      seconds: (Date.now() - started) / 1000,
    }));
  });
  after(() => {
    for (const server of servers) server.close();
  });

  const secret = (name: string, key: string) => cluster.program.data("Secret", name)[key] ?? "";
  const keyOf = (system: string) => secret(`api-key-${system.toLowerCase()}`, system);
  const withKey = (system: string) => ({ "x-api-key": keyOf(system) });
  const asPerson = (password = secret("gateway-people", "password")) => ({
    authorization: `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`,
  });
  const status = async (asked: Asked) => (await gateway.ask(asked)).status;
  /** What a played server was asked. */
  const arrived = async (asked: Asked) =>
    JSON.parse((await gateway.ask(asked)).body) as { url: string; headers: Record<string, string>; port: number };

  /** A question to each server of the live world that has an API. */
  const apis = (): Readonly<Record<string, Asked>> => ({
    mlflow: {
      url: `${API}/api/mlflow/api/2.0/mlflow/experiments/search`,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ max_results: 1 }),
    },
    feast: { url: `${API}/api/feast/health` },
    ray: { url: `${API}/api/ray/healthz` },
    objectStore: { url: `s3.${DOMAIN}/minio/health/live` },
    monitoring: { url: `${API}/api/prometheus/` },
  });

  it("lets programs in with the key of the system, and with no other", async () => {
    for (const [system, asked] of Object.entries(apis())) {
      const ask = (headers: Readonly<Record<string, string>>) =>
        status({ ...asked, headers: { ...asked.headers, ...headers } });
      const other = system === "feast" ? "mlflow" : "feast";
      const answers = [
        await ask(withKey(system)),
        await ask({}),
        await ask({ "x-api-key": "wrong" }),
        await ask(withKey(other)),
      ];
      assert.deepEqual(answers, [200, 401, 401, 401], system);
    }
    const bearer = { authorization: `Bearer ${keyOf("mlflow")}` };
    assert.equal(await status({ ...apis()["feast"], url: `${API}/api/mlflow/health`, headers: bearer }), 200);
  });

  it("has clients of S3 sign host, path and key as the object store sees them", async () => {
    const url = cluster.program.outputs.gateway.apis.s3;
    cluster.publishHosts(gateway.address, [new URL(url).host]);
    const input = { url, ca: gateway.ca.toString(), key: keyOf("objectStore"), bucket: "mlflow-artifacts" };
    assert.equal(await python(tracking, WITH_S3, input), 1000);
  });

  it("lets people in with their password, which servers never see", async () => {
    for (const url of [`mlflow.${DOMAIN}/`, `grafana.${DOMAIN}/`]) {
      const answers = [
        await status({ url, headers: asPerson() }),
        await status({ url }),
        await status({ url, headers: asPerson("wrong") }),
      ];
      assert.deepEqual(answers, [200, 401, 401], url);
    }
    const { headers } = await arrived({ url: `grafana.${DOMAIN}/`, headers: asPerson() });
    assert.equal(headers["authorization"], undefined);
  });

  it("cuts off the path of an API, keeps the key from its server, and says itself how a client came", async () => {
    const lies = {
      forwarded: "for=192.0.2.1;host=evil.example",
      "x-forwarded-host": "evil.example",
      "x-forwarded-port": "1234",
      "x-forwarded-prefix": "/evil",
      "x-forwarded-proto": "http",
      "x-forwarded-server": "evil.example",
      "x-real-ip": "192.0.2.1",
    };
    const { url, headers } = await arrived({
      url: `${API}/api/prometheus/api/v1/query?query=up`,
      headers: { ...withKey("monitoring"), ...lies },
    });
    assert.equal(url, "/api/v1/query?query=up");
    const told = ["host", "x-api-key", ...Object.keys(lies)].flatMap((name) => headers[name] ?? []);
    assert.deepEqual(told, [API, "/api/prometheus", "https"]);
    const site = await arrived({ url: `grafana.${DOMAIN}/`, headers: { ...asPerson(), ...lies } });
    assert.equal(site.headers["x-forwarded-prefix"], undefined);
  });

  it("lets pages of the platform call an API, and no others", async () => {
    const allowed = async (origin: string, method = "GET") => {
      const headers = { origin, "access-control-request-method": "POST" };
      const asked = { url: `${API}/api/prometheus/`, method, headers: { ...headers, ...withKey("monitoring") } };
      return (await gateway.ask(asked)).headers["access-control-allow-origin"];
    };
    const own = `https://superset.${DOMAIN}`;
    assert.deepEqual([await allowed(own), await allowed(own, "OPTIONS")], [own, own]);
    for (const origin of [
      "https://evil.example",
      `https://evil${DOMAIN}`,
      `https://a.${DOMAIN}.evil.example`,
      "null",
    ]) {
      assert.deepEqual([await allowed(origin), await allowed(origin, "OPTIONS")], [undefined, undefined], origin);
    }
  });

  it("refuses what is beyond the rate of an API, of a system with its key alone", async () => {
    const url = `${API}/api/trino/v1/info`;
    const refused = await Promise.all(Array.from({ length: 60 }, () => status({ url })));
    assert.deepEqual([...new Set(refused)], [401], "who has no key uses up nothing");
    const answers = await Promise.all(Array.from({ length: 60 }, () => status({ url, headers: withKey("trino") })));
    assert.equal(answers.filter((one) => one === 429).length, 10);
  });

  it("answers 404 for hosts and paths without a route", async () => {
    const asked = [
      { url: `${API}/` },
      { url: `${API}/api/unknown/`, headers: withKey("mlflow") },
      { url: `${API}/api/mlflowx/health`, headers: withKey("mlflow") },
      { url: `${API}/api/MLflow/health`, headers: withKey("mlflow") },
      { url: `${API}/`, headers: { host: `unknown.${DOMAIN}` } },
      { url: `${API}/`, headers: { host: "example.com" } },
    ];
    for (const one of asked) assert.equal(await status(one), 404, JSON.stringify(one));
  });

  it("leads from http to https", async () => {
    const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const headers = { host: `grafana.${DOMAIN}` };
      http.get({ host: gateway.address, path: "/d/1?a=b", headers }, resolve).on("error", reject);
    });
    answer.resume();
    assert.deepEqual([answer.statusCode, answer.headers.location], [301, `https://grafana.${DOMAIN}/d/1?a=b`]);
  });

  it("passes WebSockets and long downloads", async () => {
    const upgrade = [`GET /socket HTTP/1.1`, `Host: grafana.${DOMAIN}`, `Authorization: ${asPerson().authorization}`];
    const answer = await gateway.say([...upgrade, "Upgrade: websocket", "Connection: Upgrade", "", "ping"]);
    assert.match(answer, /^HTTP\/1.1 101 [^]*\r\n\r\nping$/);
    const { body } = await gateway.ask({ url: `${API}/api/prometheus/long`, headers: withKey("monitoring") });
    assert.equal(body.length, LONG);
  });

  it("is not led astray by paths", async () => {
    const paths = [
      "/../feast/health",
      "/%2e%2e/feast/health",
      "/..%2ffeast/health",
      "/..%5cfeast/health",
      "/..;/feast/health",
    ];
    for (const one of paths) {
      const { status: code = 0, body } = await gateway.ask({
        url: `${API}/api/prometheus${one}`,
        headers: withKey("monitoring"),
      });
      // The server that the key is for may get a strange path: no other one.
      assert.ok(
        [400, 401, 404].includes(code) || JSON.parse(body).headers["x-forwarded-prefix"] === "/api/prometheus",
        `${one}: ${code} ${body}`,
      );
    }
    for (const one of [
      "//api/mlflow/health",
      "/api//mlflow/health",
      "/api/%6dlflow/health",
      "/api/prometheus/../mlflow/health",
    ]) {
      assert.equal(await status({ url: `${API}${one}`, headers: withKey("monitoring") }), 401, one);
    }
  });

  it("asks for the credentials of the host that is asked for, whatever else is named", async () => {
    const key = `X-API-Key: ${keyOf("monitoring")}`;
    const grafana = `Host: grafana.${DOMAIN}`;
    const requests = {
      "another name in TLS": [`GET / HTTP/1.1`, grafana, key],
      "a whole URL": [`GET https://grafana.${DOMAIN}/ HTTP/1.1`, `Host: ${API}`, key],
      "two hosts": [`GET /api/prometheus/ HTTP/1.1`, `Host: ${API}`, grafana, key],
      "no host": [`GET /api/prometheus/ HTTP/1.1`, key],
      tunnel: [`CONNECT ${API}:443 HTTP/1.1`, `Host: ${API}`, key],
    };
    for (const [trick, lines] of Object.entries(requests)) {
      assert.match(await gateway.say([...lines, "Connection: close", "", ""]), /^HTTP\/1.1 40[014] /, trick);
    }
  });

  it("refuses requests in which servers may see two", async () => {
    const start = [`POST /api/prometheus/ HTTP/1.1`, `Host: ${API}`, `X-API-Key: ${keyOf("monitoring")}`];
    const hidden = ["", "0", "", `GET /hidden HTTP/1.1`, `Host: ${API}`, "", ""];
    const tricks = [
      ["Content-Length: 5", "Transfer-Encoding: chunked"],
      ["Content-Length: 5", "Content-Length: 6"],
      ["Transfer-Encoding: xchunked"],
      ["Transfer-Encoding : chunked"],
    ];
    for (const trick of tricks) {
      const answer = await gateway.say([...start, ...trick, ...hidden]);
      assert.match(answer, /^HTTP\/1.1 (400|501) /, trick.join());
      assert.equal(answer.match(/HTTP\/1.1/g)?.length, 1, trick.join());
    }
  });

  it("refuses headers that are too many, too large or ambiguous, and bodies of strangers before their end", async () => {
    const ask = (headers: Readonly<Record<string, string>>) =>
      status({ url: `${API}/api/prometheus/`, headers: { ...withKey("monitoring"), ...headers } });
    const many = Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`x-${index}`, "a"]));
    assert.deepEqual(
      [await ask({ "x-large": "a".repeat(70_000) }), await ask(many), await ask({ x_api_key: "a" })],
      [431, 431, 400],
    );
    const stranger = [
      `POST /api/mlflow/ HTTP/1.1`,
      `Host: ${API}`,
      "Content-Length: 1000000000",
      "Connection: close",
      "",
      "",
    ];
    assert.match(await gateway.say(stranger), /^HTTP\/1.1 401 /);
  });

  it("speaks to nobody who names no host of ours, or an old version of TLS", async () => {
    const request = [`GET /api/prometheus/ HTTP/1.1`, `Host: ${API}`, "", ""];
    for (const options of [{ servername: "" }, { servername: "example.com" }, OLD_TLS]) {
      await assert.rejects(gateway.say(request, options), /ECONNRESET|protocol version/, JSON.stringify(options));
    }
  });

  it("has no port on which others could administer Envoy", async () => {
    const ports = await gateway.ports();
    for (const port of [80, 443]) assert.ok(ports.includes(port), `it listens on ${ports.join()}`);
    for (const port of ports) {
      const answer = await fetch(`http://${gateway.address}:${port}/config_dump`, { redirect: "manual" }).catch(String);
      assert.ok(typeof answer === "string" || answer.status !== 200, `port ${port} shows Envoy's configuration`);
    }
  });

  it("ends a request that its server does not answer in time", async () => {
    const { status: code, seconds } = await slow;
    assert.equal(code, 504);
    assert.ok(seconds > 29 && seconds < 35, `it took ${seconds} s`);
  });

  it("passes an answer to its end that takes longer than that", async () => {
    const { bytes, seconds } = await long;
    assert.deepEqual([bytes, seconds > 39], [DROPS, true], `it took ${seconds} s`);
  });

  it("opens new connections to a server after a pause, in which the server may end the old ones", async () => {
    const ports = async () => {
      const asked = { url: `${API}/api/prometheus/`, headers: withKey("monitoring") };
      return Promise.all(Array.from({ length: 8 }, async () => (await arrived(asked)).port));
    };
    const before = await ports();
    await setTimeout(1800);
    const again = (await ports()).filter((port) => before.includes(port));
    assert.deepEqual(again, [], `these were taken again, of ${before.join()}`);
  });
});

const LONG = 50_000_000;
// One byte every eight seconds.
const DROPS = 6;
const OLD_TLS: tls.ConnectionOptions = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" };

async function drop(response: http.ServerResponse): Promise<void> {
  for (let sent = 1; sent < DROPS; sent++) {
    response.write("a");
    await setTimeout(8000);
  }
  response.end("a");
}

/** Answers with what it was asked, with much, slowly, never, or by a WebSocket that repeats what it hears. */
function played(): http.Server {
  const server = http.createServer(({ url, headers, socket: { remotePort: port } }, response) => {
    if (url === "/slow") return;
    if (url === "/drops") {
      void drop(response);
      return;
    }
    response.end(url === "/long" ? Buffer.alloc(LONG, "a") : JSON.stringify({ url, headers, port }));
  });
  server.on("upgrade", (_request, socket, head) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    if (head.length > 0) socket.end(head);
    else socket.once("data", (heard) => socket.end(heard));
  });
  return server;
}
