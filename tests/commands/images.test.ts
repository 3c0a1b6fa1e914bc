import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { changes, lockImages } from "../../commands/images-lock";
import { missing } from "../../commands/images";
import { digestOf, location } from "../../commands/images/registry";
import { temporaryDirectory } from "../support/temporary";

const DIGEST = `sha256:${"1a".repeat(32)}`;
const LOGIN = Buffer.from("somebody:secret").toString("base64");

describe("what a registry says of an image", () => {
  let server: http.Server;
  let host: string;
  let answers: Record<string, number>;

  before(async () => {
    server = http.createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? "", `http://${host}`);
      if (pathname === "/token") {
        const scope = searchParams.get("scope") ?? "";
        const isPrivate = scope.includes("private/");
        if (isPrivate && request.headers.authorization !== `Basic ${LOGIN}`) response.writeHead(401).end();
        else response.end(JSON.stringify({ token: scope }));
        return;
      }
      const [, repository = "", tag = ""] = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(pathname) ?? [];
      const scope = `repository:${repository}:pull`;
      if (request.headers.authorization !== `Bearer ${scope}`) {
        const challenge = `Bearer realm="http://${host}/token",service="here",scope="${scope}"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
        return;
      }
      const knowsIndex = request.headers.accept?.includes("application/vnd.oci.image.index.v1+json") ?? false;
      const digest = knowsIndex ? DIGEST : `sha256:${"00".repeat(32)}`;
      const status = answers[`${repository}:${tag}`] ?? 404;
      response.writeHead(status, status === 200 ? { "docker-content-digest": digest } : {}).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    answers = {};
    process.env["DOCKER_CONFIG"] = temporaryDirectory();
  });
  after(() => {
    delete process.env["DOCKER_CONFIG"];
    server.close();
  });

  const refused = (text: RegExp) => (error: unknown) => {
    assert.ok(pulumi.RunError.isInstance(error), String(error));
    assert.match(error.message, text);
    return true;
  };

  it("is the digest of all its platforms", async () => {
    answers = { "own/ray:1": 200 };
    assert.equal(await digestOf(`${host}/own/ray:1`), DIGEST);
    assert.equal(await digestOf(`${host}/own/ray:1@${DIGEST}`), DIGEST);
  });

  it("is asked with the login of docker", async () => {
    answers = { "private/ray:1": 200 };
    await assert.rejects(digestOf(`${host}/private/ray:1`), refused(/answers 401; run `docker login/));
    const config = path.join(process.env["DOCKER_CONFIG"] ?? "", "config.json");
    fs.writeFileSync(config, JSON.stringify({ auths: { [host]: { auth: LOGIN } } }));
    assert.equal(await digestOf(`${host}/private/ray:1`), DIGEST);
  });

  it("lets an image be built only where it says that there is none", async () => {
    answers = { "own/there:1": 200, "own/gone:1": 404 };
    const images = ["there", "gone"].map((name) => ({ image: `${host}/own/${name}:1` }));
    assert.deepEqual(await missing(images), [{ image: `${host}/own/gone:1` }]);
    for (const status of [403, 429, 500, 503]) {
      answers["own/gone:1"] = status;
      await assert.rejects(missing(images), refused(new RegExp(`own/gone:1: .* answers ${status}`)));
    }
    await assert.rejects(missing([{ image: "127.0.0.1:1/own/ray:1" }]), refused(/does not answer/));
  });

  it("is locked for all images or none, with all that is wrong", async () => {
    answers = { "own/ray:1": 200, "own/feast:1": 200, "own/superset:1": 503 };
    const image = (name: string) => `${host}/own/${name}:1`;
    assert.deepEqual(await lockImages([image("ray"), `${image("feast")}@${DIGEST}`, image("ray")]), {
      [image("feast")]: DIGEST,
      [image("ray")]: DIGEST,
    });
    await assert.rejects(
      lockImages([image("ray"), image("gone"), image("superset")]),
      refused(/own\/gone:1: its registry has no such image; build or copy it.*\n.*own\/superset:1: .* answers 503/),
    );
  });

  it("that another run of the lock found is told apart from a new version", () => {
    assert.deepEqual(changes({ "a:1": "x", "b:1": "x", "c:1": "x" }, { "a:1": "x", "b:1": "y", "d:1": "z" }), [
      "! b:1: y, and it was x: its tag was moved",
      "- c:1",
      "+ d:1: z",
    ]);
  });

  it("is asked where the runtime of a node would pull the image", () => {
    const hub = "registry-1.docker.io";
    assert.deepEqual(location("valkey/valkey:9"), { registry: hub, repository: "valkey/valkey", tag: "9" });
    assert.deepEqual(location("docker.io/library/neo4j:5"), { registry: hub, repository: "library/neo4j", tag: "5" });
    assert.deepEqual(location("quay.io/minio/mc:R"), { registry: "quay.io", repository: "minio/mc", tag: "R" });
  });
});
