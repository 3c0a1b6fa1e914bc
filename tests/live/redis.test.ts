import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";

describe("Valkey", () => {
  let cluster: Cluster;
  let server: Pod;
  before(async () => {
    cluster = await theCluster();
    server = await cluster.pod("redis");
  });

  /** What the server answers to somebody with this login; the password stands on no command line. */
  const answer = async (login: { user?: string; password?: string }, ...command: string[]): Promise<string> => {
    const { user, password } = login;
    const lines = [...(user === undefined ? [] : [`AUTH ${user} ${quoted(password ?? "")}`]), command.join(" ")];
    const output = await server.exec(["valkey-cli", "--tls", "--cacert", "/etc/valkey-tls/ca.crt"], {
      input: `${lines.join("\n")}\n`,
    });
    return output.trimEnd().split("\n").at(-1) ?? "";
  };
  const feast = () => ({ user: "feast", password: cluster.program.data("Secret", "redis-feast")["password"] ?? "" });

  it("answers every probe", async () => {
    assert.deepEqual(await server.faults(), []);
  });

  it("answers nobody who does not speak TLS", async () => {
    await assert.rejects(server.exec(["valkey-cli", "PING"]), /reset by peer|closed the connection/);
  });

  it("answers nobody who has not logged in", async () => {
    assert.match(await answer({}, "PING"), /^NOAUTH/);
    assert.match(await answer({ user: "default", password: "" }, "PING"), /NOAUTH|WRONGPASS/);
  });

  it("lets Feast do what it does, and nothing else", async () => {
    assert.equal(await answer(feast(), "HSET", "live-commodity_ml", "field", "1"), "1");
    assert.equal(await answer(feast(), "DEL", "live-commodity_ml"), "1");
    assert.match(await answer(feast(), "HSET", "somebody-elses", "field", "1"), /^NOPERM/);
    for (const command of [["FLUSHALL"], ["CONFIG", "GET", "dir"], ["KEYS", "*"], ["ACL", "LIST"]]) {
      assert.match(await answer(feast(), ...command), /^NOPERM/, command.join(" "));
    }
  });

  it("lets the probe's user do nothing but ask whether it lives", async () => {
    assert.match(await answer({ user: "probe", password: "none" }, "DBSIZE"), /^\d+$/);
    assert.match(await answer({ user: "probe", password: "none" }, "HGETALL", "live-commodity_ml"), /^NOPERM/);
  });

  it("refuses writes when it is full, keeps what it holds, and takes writes again", async () => {
    const text = "x".repeat(4 * 1024 * 1024);
    await answer(feast(), "HSET", "kept-commodity_ml", "field", "1");
    const filled: string[] = [];
    let said = "";
    while (/^1?$/.test(said)) {
      assert.ok(filled.length < 256, "a gigabyte fits");
      filled.push(`full${filled.length}-commodity_ml`);
      said = await answer(feast(), "HSET", filled.at(-1) ?? "", "field", text);
    }
    assert.match(said, /^OOM/);
    assert.equal(await answer(feast(), "HMGET", "kept-commodity_ml", "field"), "1");
    assert.equal(await answer(feast(), "DEL", "kept-commodity_ml", ...filled), `${filled.length}`);
    assert.equal(await answer(feast(), "HSET", "kept-commodity_ml", "field", "2"), "1");
    await answer(feast(), "DEL", "kept-commodity_ml");
  });

  it("keeps what it was told when its pod is lost", async () => {
    assert.equal(await answer(feast(), "HSET", "kept-commodity_ml", "field", "42"), "1");
    await new Promise((resolve) => setTimeout(resolve, 1500)); // its log of writes is synchronised each second
    await cluster.stop(server, { atOnce: true });
    server = await cluster.pod("redis");
    assert.equal(await answer(feast(), "HMGET", "kept-commodity_ml", "field"), "42");
    await answer(feast(), "DEL", "kept-commodity_ml");
  });

  for (const [what, tail] of Object.entries({
    zeros: "\0".repeat(5000),
    "half a command and zeros": `*4\r\n$4\r\nHSET\r\n$17\r\nkept-comm${"\0".repeat(5000)}`,
  })) {
    it(`keeps what it was told before a loss of power, after which its log ends in ${what}`, async () => {
      assert.equal(await answer(feast(), "HSET", "kept-commodity_ml", "field", "43"), "1");
      await server.exec(["sh", "-c", "tee --append /data/appendonlydir/*.incr.aof"], { input: tail });
      await cluster.stop(server, { atOnce: true });
      server = await cluster.pod("redis");
      assert.equal(await answer(feast(), "HMGET", "kept-commodity_ml", "field"), "43");
      await answer(feast(), "DEL", "kept-commodity_ml");
    });
  }
});

/** As the client of Redis reads a word of a line. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}
