import assert from "node:assert/strict";
import { once } from "node:events";
import type * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import { buffer, json } from "node:stream/consumers";
import * as tls from "node:tls";
import { issuedAs } from "./harness/certificates";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";

const NAME = "neo4j.data-platform.svc";

describe("Neo4j", () => {
  let cluster: Cluster;
  let server: Pod;
  before(async () => {
    cluster = await theCluster();
    server = await cluster.pod("neo4j");
  });

  const login = () => cluster.program.data("Secret", "neo4j-login") as { username: string; password: string };

  /** What a client verifies the server by. */
  const verified = () => ({
    host: server.address,
    servername: NAME,
    ca: issuedAs("neo4j-tls", cluster.program)?.["ca.crt"] ?? "",
  });

  /** What the server answers to statements over HTTPS. */
  const post = async (
    statements: readonly string[],
    auth?: string,
  ): Promise<{ status: number | undefined; body: any }> => {
    const request = https.request({
      ...{ ...verified(), port: 7473, path: "/db/neo4j/tx/commit", method: "POST", agent: false },
      headers: { "content-type": "application/json" },
      ...(auth && { auth }),
    });
    request.end(JSON.stringify({ statements: statements.map((statement) => ({ statement })) }));
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    return { status: response.statusCode, body: await json(response) };
  };

  /** What a query answers to the user of the program. */
  const query = async (statement: string): Promise<unknown[]> => {
    const { username, password } = login();
    const { results, errors } = (await post([statement], `${username}:${password}`)).body as {
      results: any[];
      errors: unknown[];
    };
    assert.deepEqual(errors, []);
    return results[0].data.map(({ row }: any) => row[0]);
  };

  it("answers every probe", async () => {
    assert.deepEqual(await server.faults(), []);
  });

  it("lets in who knows the password of its Secret, and neither the vendor's nor nobody", async () => {
    assert.equal(await boltLogin(verified(), login()), "SUCCESS");
    assert.equal(await boltLogin(verified(), { username: "neo4j", password: "neo4j" }), "FAILURE");
    assert.equal(await boltLogin(verified(), { username: "", password: "" }), "FAILURE");
    assert.equal((await post([])).status, 401);
  });

  it("speaks with nobody who does not speak TLS", async () => {
    const socket = net.connect({ host: server.address, port: 7687 });
    socket.write(HANDSHAKE);
    assert.doesNotMatch((await buffer(socket)).toString("hex"), /00000404/);
    await assert.rejects(once(net.connect({ host: server.address, port: 7474 }), "connect"), /ECONNREFUSED/);
  });

  it("takes the memory and the silence that it was told", async () => {
    const rendered = cluster.program.data("ConfigMap", "neo4j-config")["neo4j.conf"] ?? "";
    const [, heap = ""] = /heap\.max_size=(\d+)m/.exec(rendered) ?? [];
    const setting = (name: string) => query(`SHOW SETTINGS '${name}' YIELD value`);
    const [, size = "", unit = ""] =
      /^([\d.]+)(MiB|GiB)$/.exec(String(await setting("server.memory.heap.max_size"))) ?? [];
    assert.equal(Number(size) * (unit === "GiB" ? 1024 : 1), Number(heap));
    assert.deepEqual(await setting("dbms.usage_report.enabled"), ["false"]);
  });

  it("keeps its graph and its password when its pod is lost", async () => {
    assert.deepEqual(await query("CREATE (n:Live {price: 42}) RETURN n.price"), [42]);
    await cluster.stop(server, { atOnce: true });
    server = await cluster.pod("neo4j");
    assert.deepEqual(await query("MATCH (n:Live) RETURN n.price"), [42]);
    assert.deepEqual(await query("MATCH (n:Live) DELETE n RETURN count(n)"), [1]);
  });
});

// Bolt 4.4, and no other.
const HANDSHAKE = Buffer.from("6060b01700000404000000000000000000000000", "hex");

/** The name of the answer to a login over Bolt 4.4, where the first message carries it. */
async function boltLogin(
  verified: tls.ConnectionOptions,
  login: { username: string; password: string },
): Promise<string | undefined> {
  const socket = tls.connect({ ...verified, port: 7687 });
  try {
    socket.write(HANDSHAKE);
    const [version] = (await once(socket, "data")) as [Buffer];
    assert.equal(version.toString("hex"), "00000404");
    const { username: principal, password } = login;
    const fields = Object.entries({ user_agent: "live/1", scheme: "basic", principal, credentials: password });
    const hello = Buffer.concat([Buffer.from([0xb1, 0x01, 0xa0 + fields.length]), ...fields.flat().map(text)]);
    const size = Buffer.alloc(2);
    size.writeUInt16BE(hello.length);
    socket.write(Buffer.concat([size, hello, Buffer.alloc(2)]));
    const [answer] = (await once(socket, "data")) as [Buffer];
    // After the size of the chunk and the number of fields stands the kind of the message.
    return { 0x70: "SUCCESS", 0x7f: "FAILURE" }[answer.readUInt8(3)];
  } finally {
    socket.destroy();
  }
}

/** A string as Bolt writes it. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([0xd0, bytes.length]), bytes]);
}
