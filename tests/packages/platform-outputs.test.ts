import assert from "node:assert/strict";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parsePlatform, parseTenant, platform, readPlatform } from "../../packages/platform-outputs/index";
import { mockEngine, only, settled, valueOf } from "../support/mocks";
import { installExample } from "../support/packed";
import { program } from "../support/program";
import { temporaryDirectory } from "../support/temporary";

const STACK = "organization/carbon/prod";
const REFERENCE = "pulumi:pulumi:StackReference";

async function document(): Promise<Record<string, unknown>> {
  return (await program("prod")).outputs as Record<string, unknown>;
}

/** Those of a stack with tenants. */
async function withTenants(): Promise<Record<string, unknown>> {
  return (await program("prod with SeaweedFS")).outputs as Record<string, unknown>;
}

/** A Pulumi program's view of a stack with these outputs. */
async function referred(outputs: object): Promise<pulumi.StackReference> {
  await mockEngine({ [REFERENCE]: { outputs, secretOutputNames: [] } });
  return new pulumi.StackReference(STACK);
}

describe("@254carbon/platform-outputs", () => {
  it("reads the same from a stack, a file, a mounted ConfigMap and the ConfigMap itself", async () => {
    const outputs = await document();
    const directory = temporaryDirectory();
    const file = path.join(directory, "outputs.json");
    fs.writeFileSync(file, JSON.stringify(outputs));
    const configMap = { kind: "ConfigMap", data: { "outputs.json": JSON.stringify(outputs) } };
    const configMapFile = path.join(directory, "configmap.json");
    fs.writeFileSync(configMapFile, JSON.stringify(configMap));
    const read = [
      await valueOf(platform(await referred(outputs), ["kafka"])),
      readPlatform(file, ["kafka"]),
      readPlatform(directory, ["kafka"]),
      readPlatform(configMapFile, ["kafka"]),
      parsePlatform(configMap, "the ConfigMap", ["kafka"]),
    ];
    for (const one of read) assert.deepEqual(one, outputs);
    assert.equal(await pulumi.isSecret(platform(await referred(outputs))), false, "a consumer needs no passphrase");
  });

  it("names stack, key and contract of every fault at once", async () => {
    const { feast, ...outputs } = await document();
    const kafka = { ...(outputs["kafka"] as object), tls: "yes", port: undefined };
    assert.throws(() => parsePlatform({ ...outputs, kafka }, STACK), {
      message:
        `${STACK}: kafka.port: Invalid input: expected number, received undefined (contract 2)\n` +
        `${STACK}: kafka.tls: Invalid input: expected boolean, received string (contract 2)`,
    });
    assert.throws(() => parsePlatform(outputs, STACK, ["feast", "kafka"]), {
      message: `${STACK}: feast: is absent; the stack does not deploy it (contract 2)`,
    });
    assert.ok(feast, "prod deploys Feast, which this test takes away");
  });

  it("says what to do about another contract, and about what is no document", async () => {
    const outputs = await document();
    const fault = (other: unknown) => {
      assert.throws(() => parsePlatform(other, STACK));
      try {
        parsePlatform(other, STACK);
      } catch (error) {
        return (error as Error).message;
      }
      return "";
    };
    assert.match(
      fault({ ...outputs, contract: 1 }),
      /prod: contract: is 1, and this package reads 2; bring the stack up/,
    );
    assert.match(fault({ ...outputs, contract: 3 }), /is 3, and this package reads 2; install major version 3/);
    for (const other of [{}, undefined, "text", { kind: "ConfigMap", data: {} }]) {
      assert.match(fault(other), /prod: contract: is absent: these are no outputs of a 254Carbon stack/);
    }
    assert.match(fault({ kind: "ConfigMap", data: { "outputs.json": "{" } }), /prod: is no JSON: /);
  });

  it("ignores what a later release added", async () => {
    const outputs = await document();
    const later = { ...outputs, novelty: 1, mlflow: { ...(outputs["mlflow"] as object), novelty: 1 } };
    assert.deepEqual(parsePlatform(later, STACK), outputs);
  });
});

describe("the package as it is published", () => {
  const directory = temporaryDirectory();
  let files: readonly string[];
  before(function () {
    this.timeout(120000); // it is built
    files = installExample(directory);
  });

  it("holds what was built and nothing else", () => {
    const built = ["packages/platform-outputs/index", "stacks/contract/outputs", "stacks/contract/shapes"];
    assert.deepEqual(files, [
      "README.md",
      ...built.flatMap((file) => [`dist/${file}.d.ts`, `dist/${file}.js`]),
      "package.json",
    ]);
  });

  it("connects examples/pricing, which has nothing else: by the Secrets of its tenant, in its namespace", async () => {
    const outputs = await withTenants();
    const seen = await mockEngine({ [REFERENCE]: { outputs, secretOutputNames: [] } });
    createRequire(path.join(directory, "index.ts"))("./index.ts");
    await settled();
    const { metadata, spec } = only(seen, "kubernetes:apps/v1:Deployment").inputs;
    assert.equal(metadata.namespace, "pricing");
    assert.deepEqual(
      spec.template.spec.volumes.map(({ secret }: any) => secret.secretName),
      ["database-pricing", "topic-data-ingestion", "mlflow"],
    );
    const [{ env }] = spec.template.spec.containers;
    const password = env.find(({ name }: any) => name === "PGPASSWORD").valueFrom.secretKeyRef;
    assert.deepEqual(password, { name: "database-pricing", key: "password" });
  });

  it("tells a consumer that it is no tenant, or was not granted what it uses, by stack and key", async () => {
    const grants = ["database-pricing", "search-rates"] as const;
    const [without, outputs] = [await document(), await withTenants()];
    assert.throws(() => parseTenant(without, STACK, "pricing", grants), {
      message: `${STACK}: tenants.pricing: is absent; add it to the stack file of the platform (contract 2)`,
    });
    assert.throws(() => parseTenant(outputs, STACK, "pricing", grants), {
      message: `${STACK}: tenants.pricing.secrets.search-rates: is absent; it was not granted (contract 2)`,
    });
  });
});
