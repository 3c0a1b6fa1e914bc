import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { wantedCredentials } from "../../rehearsal/program/evaluate";
import { platform } from "../../stacks/platform";
import { SECRET_KEYS, type SecretForm, type SecretName, Secrets } from "../../stacks/config/secrets";
import { all, mockEngine, only, settled, valueOf } from "../support/mocks";
import { configOf, ISSUED, run, shaped } from "../support/program";

// Characters that URLs, shells and YAML each read their own way; user names may not have any.
const HOSTILE = `:/@?#%&+'"$\\`;
const SUFFIXES: Record<SecretForm, string> = { user: "", key: "-".repeat(32), password: HOSTILE, token: HOSTILE };
const CANARIES = Object.fromEntries(
  Object.entries(SECRET_KEYS).map(([key, { form }]) => [key, `Canary-${key}${SUFFIXES[form]}`]),
);

describe("credentials that somebody set", () => {
  for (const shape of ["prod", "prod with Ray by KubeRay and S3 from elsewhere"] as const) {
    it(`stand in the Secrets of those who need them, and nowhere else: ${shape}`, async () => {
      const config = shaped(shape);
      const { seen, outputs } = await run(config, CANARIES);
      const inside = all(seen, "kubernetes:core/v1:Secret").map(({ inputs }) => JSON.stringify(inputs.stringData));
      const outside = JSON.stringify([
        outputs,
        seen.map(({ type, name, inputs: { stringData, data, ...inputs } }) => {
          const isSecret = type === "kubernetes:core/v1:Secret";
          return [name, inputs, ...(isSecret ? [] : [stringData, data])];
        }),
      ]);
      for (const [key, canary] of Object.entries(CANARIES)) {
        for (const [form, text] of Object.entries(forms(canary))) {
          assert.ok(!outside.includes(text), `carbon:${key} shows as ${form} outside of Secrets`);
        }
        const { plain = "", "URL-encoded": encoded = "" } = forms(canary);
        const isUsed = inside.some((data) => data.includes(plain) || data.includes(encoded));
        const [server] = /^(minio|seaweedfs)/.exec(key) ?? [];
        assert.equal(isUsed, server === undefined || config.objectStore.kind === server, key);
      }
      assert.deepEqual(all(seen, "random:index/randomPassword:RandomPassword"), [], "nothing is generated as well");
    });
  }
});

describe("Secrets", () => {
  it("generates what is not set, and hands it out as a secret", async () => {
    const seen = await mockEngine();
    const password = new Secrets("secrets", []).get("minioRootPassword");
    await settled();
    assert.equal(await pulumi.isSecret(password), true);
    const { inputs } = only(seen, "random:index/randomPassword:RandomPassword", "minioRootPassword");
    assert.ok(inputs.length >= 32, "too few inputs found: does the test still see them?");
  });

  it("stops for every required credential that is not set, with the command that sets it", async () => {
    await mockEngine({}, { "carbon:minioRootUser": "admin" });
    const required: SecretName[] = ["minioRootUser", "minioRootPassword", "postgresFeastPassword"];
    assert.throws(
      () => new Secrets("secrets", required),
      (error: Error) => {
        assert.ok(pulumi.RunError.isInstance(error), "a fault of the config is a RunError: others show a stack trace");
        assert.deepEqual(error.message.split("\n"), [
          "secrets.required: minioRootPassword is not set; run `npx pulumi config set --secret carbon:minioRootPassword -s test`",
          "secrets.required: postgresFeastPassword is not set; run `npx pulumi config set --secret carbon:postgresFeastPassword -s test`",
        ]);
        return true;
      },
    );
  });

  for (const [objectStore, target, wanted] of [
    ["minio", "object-store", []],
    ["minio", "external", ["backupAccessKey", "backupSecretKey"]],
    [
      "external",
      "object-store",
      ["objectStoreAccessKey", "objectStoreSecretKey", "backupAccessKey", "backupSecretKey"],
    ],
  ] as const) {
    it(`generates no login of a store outside: objectStore ${objectStore}, backups to ${target}`, async () => {
      const prod = configOf("prod");
      const { backups } = prod.postgres;
      assert.ok(backups, "the stack has no backups: take another one for this test");
      const outside = { url: "https://s3.example.com", cidrs: ["203.0.113.0/24"], region: "x" };
      const config = {
        ...prod,
        ...(objectStore === "external" && {
          objectStore: { kind: objectStore, ...outside, setup: prod.objectStore.setup },
        }),
        ...(target === "external" && {
          postgres: {
            ...prod.postgres,
            backups: { ...backups, target: { kind: target, ...outside, bucket: "backups" } },
          },
        }),
        secrets: { required: [] },
      };
      assert.deepEqual(wantedCredentials(config), wanted);
      const set = (without?: string) =>
        Object.fromEntries(
          Object.entries({ ...ISSUED, ...Object.fromEntries(wanted.map((key) => [key, `issued-${key}`])) })
            .filter(([key]) => key !== without)
            .map(([key, value]) => [`carbon:${key}`, value]),
        );
      for (const key of wanted) {
        await mockEngine({}, set(key));
        assert.throws(
          () => platform(config),
          (error: Error) => {
            assert.ok(
              pulumi.RunError.isInstance(error),
              "a fault of the config is a RunError: others show a stack trace",
            );
            assert.ok(
              error.message.startsWith(`carbon:${key} is not set, and nobody can generate it; run `),
              `${key}: ${String(error)} does not say what to run`,
            );
            return true;
          },
        );
        await settled();
      }
      await mockEngine({}, set());
      assert.doesNotThrow(() => platform(config));
      await settled();
    });
  }

  for (const [key, value] of [
    ["minioRootUser", "ab"],
    ["minioRootUser", "with space"],
    ["minioRootPassword", "short"],
    ["minioRootPassword", "tab\tinside-it"],
    ["postgresPolarisPassword", "names-${another}"],
    ["elasticsearchTrinoPassword", "x".repeat(73)],
  ] as const) {
    it(`refuses ${JSON.stringify(value).slice(0, 20)} for ${key} without showing it`, async () => {
      await mockEngine({}, { [`carbon:${key}`]: value });
      void valueOf(new Secrets("secrets", []).get(key));
      await assert.rejects(settled(), (error: Error) => {
        assert.match(
          error.message,
          new RegExp(`carbon:${key}: .*allowed are .*npx pulumi config set --secret carbon:${key}`),
        );
        assert.ok(!error.message.includes(value), "the error shows the credential");
        return true;
      });
    });
  }
});

/** The shapes in which a value may turn up in JSON: as it is, encoded for URLs, and in base64 wherever it starts. */
function forms(value: string): Record<string, string> {
  const base64 = [0, 1, 2].map((offset): [string, string] => {
    const text = Buffer.concat([Buffer.alloc(offset), Buffer.from(value)]).toString("base64");
    // The first and last characters also depend on what stands around the value.
    return [`base64 at ${offset}`, text.slice(4, -4)];
  });
  return {
    plain: JSON.stringify(value).slice(1, -1),
    "URL-encoded": encodeURIComponent(value),
    ...Object.fromEntries(base64),
  };
}
