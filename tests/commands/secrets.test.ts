import assert from "node:assert/strict";
import { secretsOf } from "../../commands/secrets";
import { SECRET_KEYS } from "../../stacks/config/systems";

const SECURE = { secure: "v1:AAAA:BBBB" };

describe("secrets", () => {
  it("lists every credential with its form and who uses it", () => {
    const secrets = secretsOf("dev", {}, []);
    assert.deepEqual(
      secrets.map(({ key }) => key),
      Object.keys(SECRET_KEYS),
    );
    assert.ok(
      secrets.every(({ state, form, usedBy }) => state === "generated" && form && usedBy),
      "each credential needs its state, its form and who uses it",
    );
  });

  it("knows what is set, and never shows it", () => {
    const secrets = secretsOf("dev", { "carbon:minioRootPassword": SECURE }, ["minioRootPassword"]);
    assert.equal(secrets.find(({ key }) => key === "minioRootPassword")?.state, "set");
    assert.doesNotMatch(JSON.stringify(secrets), /AAAA/);
  });

  it("gives the command for each that is required and not set", () => {
    const [missing, ...more] = secretsOf("prod", {}, ["minioRootPassword"]).filter(
      ({ command }) => command !== undefined,
    );
    assert.equal(missing?.state, "missing");
    assert.equal(missing.command, "npx pulumi config set --secret carbon:minioRootPassword -s prod");
    assert.deepEqual(more, []);
  });

  it("says which login an external object store is used with, where it issued none for a system", () => {
    const keys = ["objectStoreRayAccessKey", "objectStoreRaySecretKey"];
    const secrets = secretsOf("prod", { "carbon:objectStoreRayAccessKey": SECURE }, [], keys);
    assert.deepEqual(
      keys.map((one) => secrets.find(({ key }) => key === one)?.state),
      ["set", "shared login"],
    );
  });

  it("finds a credential in plain text without repeating it", () => {
    const secrets = secretsOf("dev", { "carbon:minioRootPassword": "hunter2!" }, []);
    assert.equal(secrets.find(({ key }) => key === "minioRootPassword")?.state, "plain text");
    assert.doesNotMatch(JSON.stringify(secrets), /hunter2/);
  });

  it("finds a key that nobody reads, such as a mistyped one", () => {
    const file = { "carbon:minioRootPasword": SECURE, "carbon:platform": {}, "aws:region": "x" };
    const unknown = secretsOf("dev", file, []).filter(({ state }) => state === "unknown key");
    assert.deepEqual(
      unknown.map(({ key }) => key),
      ["minioRootPasword"],
    );
  });
});
