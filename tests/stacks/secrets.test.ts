import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import type { PlatformConfig } from "../../stacks/config/schema";
import { platform } from "../../stacks/platform";
import { Secrets, wantedCredentials } from "../../stacks/config/secrets";
import { SECRET_KEYS, type SecretForm, type SecretName, SYSTEMS } from "../../stacks/config/systems";
import { secretReferences } from "../../rehearsal/program/secret-references";
import { objects } from "../support/manifests";
import { all, mockEngine, only, type Registered, settled, valueOf } from "../support/mocks";
import type { FullConfig } from "../support/full";
import { configOf, run, shaped, SHAPES } from "../support/program";

// Characters that URLs, shells and YAML each read their own way; user names may not have any.
const HOSTILE = `:/@?#%&+'"$\\`;
const FORMS: Record<SecretForm, (canary: string) => string> = {
  user: (canary) => canary,
  key: (canary) => canary + "-".repeat(32),
  password: (canary) => canary + HOSTILE,
  token: (canary) => canary + HOSTILE,
  logins: (canary) => `{"auths":{"${canary}":{}}}`,
};
const CANARIES = Object.fromEntries(
  Object.entries(SECRET_KEYS).map(([key, { form }]) => [key, FORMS[form](`Canary-${key}`)]),
);

describe("credentials that somebody set", () => {
  for (const shape of SHAPES.filter((one) => one.startsWith("prod"))) {
    it(`stand in the Secrets of those who need them, and nowhere else: ${shape}`, async () => {
      const config = shaped(shape);
      const { seen, outputs } = await run(config, CANARIES);
      const made = all(seen, "kubernetes:core/v1:Secret").filter(({ read }) => !read);
      const inside = made.map(({ inputs }) => JSON.stringify(inputs.stringData));
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
        const chosen = byConfig(config)[key] ?? (server === undefined || config.objectStore.kind === server);
        assert.equal(isUsed, chosen, key);
      }
      // Nobody sets those of tenants.
      const generated = all(seen, "random:index/randomPassword:RandomPassword").map(({ name }) => name);
      const ours = generated.filter((name) => !name.startsWith("tenant-"));
      assert.deepEqual(ours, [], "nothing is generated as well");
      assert.deepEqual(unnamedReaders(seen), [], "mend `usedBy` in stacks/config/systems.ts");
    });
  }
});

describe("an external object store", () => {
  const config = shaped("prod with Ray by KubeRay and S3 from elsewhere");
  const required = Object.fromEntries(
    ["objectStoreAccessKey", "objectStoreSecretKey", "backupAccessKey", "backupSecretKey"].map((key) => [
      key,
      `one-${key}`,
    ]),
  );

  it("is used with the login that it issued to a system, and with the shared one by systems without", async () => {
    const issued = { objectStoreRayAccessKey: "ray-issued", objectStoreRaySecretKey: "ray-issued-secret" };
    const { seen } = await run({ ...config, secrets: { required: [] } }, { ...required, ...issued });
    const login = (name: string): string =>
      only(seen, "kubernetes:core/v1:Secret", `${name}-object-store`).inputs.stringData.AWS_ACCESS_KEY_ID;
    assert.deepEqual(["ray", "mlflow", "feast", "serve", "polaris"].map(login), [
      "ray-issued",
      ...Array<string>(4).fill("one-objectStoreAccessKey"),
    ]);
  });

  it("stops where only half of a login is set", async () => {
    const half = { ...required, objectStoreRaySecretKey: "ray-issued-secret" };
    await assert.rejects(
      run({ ...config, secrets: { required: [] } }, half),
      /carbon:objectStoreRayAccessKey is not set, but carbon:objectStoreRaySecretKey is; run `npx pulumi config set --secret/,
    );
  });
});

/** The credentials that depend on what a stack chooses, and whether they are used. */
function byConfig(config: FullConfig): Readonly<Record<string, boolean>> {
  const { gateway, objectStore, images, postgres, ray, trino } = config;
  const signsOn = "singleSignOn" in config;
  const { people, programs, exposure, certificates } = gateway;
  const keys = Object.keys(SECRET_KEYS).filter((key) => key.endsWith("ApiKey"));
  const open = (key: string) => key !== "objectStoreApiKey" || objectStore.kind !== "external";
  return {
    ...Object.fromEntries(keys.map((key) => [key, programs.kind === "keys" && open(key)])),
    registryLogins: images.pullSecret,
    postgresAdministrator: postgres.kind === "external",
    postgresAdministratorPassword: postgres.kind === "external",
    redisRayPassword: ray.faultTolerance,
    trinoCatalogPassword: Object.keys(trino.catalogs).length > 0,
    supersetClientSecret: signsOn,
    datahubClientSecret: signsOn,
    grafanaClientSecret: signsOn,
    mailPassword: "mail" in config,
    gatewayPassword: people.kind === "basic",
    gatewayClientSecret: people.kind === "oidc",
    cloudflareTunnelToken: exposure.kind === "cloudflareTunnel",
    cloudflareDnsToken: certificates.kind === "acme" && certificates.challenge === "dns01",
  };
}

describe("the passwords of Trino's catalogs", () => {
  const { trino, ...others } = configOf("prod");
  const ground = Object.fromEntries(Object.entries(others).filter(([key]) => !(key in SYSTEMS))) as PlatformConfig;
  const catalog = { properties: { "connector.name": "mysql" }, secrets: ["connection-password"], reaches: [] };
  const config = { ...ground, trino: { ...trino, catalogs: { prices: catalog, weather: catalog } } };
  const passwords = async (trinoCatalogPassword: string) => {
    const { seen } = await run(config, { trinoCatalogPassword });
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "trino-env").inputs;
    return ["PRICES", "WEATHER"].map((name) => stringData[`CATALOG_${name}_0`]);
  };

  it("are one for all, or one for each", async () => {
    assert.deepEqual(await passwords("same-for-all"), ["same-for-all", "same-for-all"]);
    const each = { prices: { "connection-password": "a" }, weather: { "connection-password": "b" } };
    assert.deepEqual(await passwords(JSON.stringify(each)), ["a", "b"]);
  });

  it("are named where they are missing", async () => {
    await assert.rejects(
      passwords(JSON.stringify({ prices: { "connection-password": "a" } })),
      /carbon:trinoCatalogPassword: has no text at weather\.connection-password, which trino\.catalogs names; add it/,
    );
    await assert.rejects(passwords('{"prices":'), /carbon:trinoCatalogPassword: begins with \{ and is no JSON/);
  });
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
          "carbon:minioRootPassword is not set and must not be generated; run `npx pulumi config set --secret carbon:minioRootPassword -s test`",
          "carbon:postgresFeastPassword is not set and must not be generated; run `npx pulumi config set --secret carbon:postgresFeastPassword -s test`",
        ]);
        return true;
      },
    );
  });

  for (const [objectStore, target, wanted] of [
    ["minio", "object-store", ["pagingCredential", "cloudflareTunnelToken"]],
    ["minio", "external", ["backupAccessKey", "backupSecretKey", "pagingCredential", "cloudflareTunnelToken"]],
    [
      "external",
      "object-store",
      [
        "backupAccessKey",
        "backupSecretKey",
        "objectStoreAccessKey",
        "objectStoreSecretKey",
        "pagingCredential",
        "cloudflareTunnelToken",
      ],
    ],
  ] as const) {
    it(`generates nothing that only somebody else can issue: objectStore ${objectStore}, backups to ${target}`, async () => {
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
          wanted.filter((key) => key !== without).map((key) => [`carbon:${key}`, `issued-${key}`] as const),
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
              error.message.startsWith(`carbon:${key} is not set and must not be generated; run `),
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

/** The systems that read a Secret with a credential whose `usedBy` does not name them. */
function unnamedReaders(seen: readonly Registered[]): string[] {
  const systemOf = (one: Registered): string => {
    const parent = seen.find(({ urn }) => urn === one.parent);
    return parent === undefined ? one.name : systemOf(parent);
  };
  const releases = all(seen, "kubernetes:helm.sh/v3:Release");
  const reads = [...objects(seen), ...releases].flatMap((one) => {
    const { namespace, values } = one.inputs;
    const release = { kind: "Release", metadata: { name: one.name, namespace }, values };
    return secretReferences(releases.includes(one) ? release : one.inputs).map((reference) => ({
      system: systemOf(one),
      secret: `${reference.namespace}/${reference.secret}`,
    }));
  });
  const made = all(seen, "kubernetes:core/v1:Secret").filter(({ read }) => !read);
  const faults = made.flatMap(({ inputs: { metadata, stringData } }) => {
    const text = JSON.stringify(stringData);
    return Object.entries(SECRET_KEYS).flatMap(([key, { usedBy }]) => {
      const { plain = "", "URL-encoded": encoded = "" } = forms(CANARIES[key] ?? "");
      if (!text.includes(plain) && !text.includes(encoded)) return [];
      return reads
        .filter(({ system, secret }) => secret === `${metadata.namespace}/${metadata.name}` && !names(usedBy, system))
        .map(({ system }) => `${key}: ${system}`);
    });
  });
  return [...new Set(faults)].sort();
}

/** Whether a text for people names a component: `DataHub's ingestion` is `datahub-ingestion`. */
function names(text: string, component: string): boolean {
  const letters = (name: string) => name.toLowerCase().replaceAll(/'s\b|[^a-z0-9]/g, "");
  return letters(text).includes(letters(component));
}

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
