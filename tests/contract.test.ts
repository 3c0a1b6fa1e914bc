import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import { images } from "../components/base/versions";
import { PlatformOutputs } from "../stacks/contract/outputs";
import { platform } from "../stacks/platform";
import { all, mockEngine, settled, valueOf } from "./support/mocks";
import type { Full } from "./support/full";
import { configOf, ISSUED, program, run, SHAPES } from "./support/program";

for (const shape of SHAPES) {
  describe(`the outputs of ${shape}`, () => {
    it("keep the contract", async () => {
      PlatformOutputs.parse((await program(shape)).outputs);
    });

    it("name Services, ports and Secrets that exist", async () => {
      const { seen, outputs: raw } = await program(shape);
      const outputs = parse(raw);
      const services = new Map(
        [
          ...all(seen, "kubernetes:core/v1:Service").map(({ inputs: { metadata, spec } }) => ({ metadata, spec })),
          // CloudNativePG makes the Services of its clusters.
          ...all(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster").map(({ inputs: { metadata } }) => ({
            metadata: { ...metadata, name: `${String(metadata.name)}-rw` },
            spec: { ports: [{ port: 5432 }] },
          })),
          // As ECK does of its own.
          ...all(seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch").map(({ inputs: { metadata } }) => ({
            metadata: { ...metadata, name: `${String(metadata.name)}-es-http` },
            spec: { ports: [{ port: 9200 }] },
          })),
        ].map(({ metadata, spec }) => [
          `${String(metadata.name)}.${String(metadata.namespace)}.svc.cluster.local`,
          spec.ports.map(({ port }: { port: number }) => port) as number[],
        ]),
      );
      for (const { host, port, url, protocol } of addresses(outputs)) {
        assert.ok(services.get(host)?.includes(port), `${host}:${port}`);
        assert.equal(url, `${host.includes("-es-http.") ? "https" : protocol}://${host}:${port}`);
      }
      const secrets = all(seen, "kubernetes:core/v1:Secret").map(({ inputs: { metadata } }) => ({
        namespace: metadata.namespace,
        name: metadata.name,
      }));
      for (const reference of Object.values(outputs.secrets)) {
        assert.ok(
          secrets.some((one) => one.namespace === reference.namespace && one.name === reference.name),
          `outputs name Secret ${reference.namespace}/${reference.name}, which nothing makes`,
        );
      }
    });
  });
}

describe("the names of before", () => {
  const ALIASES = {
    "postgres-shared-service": "postgres-rw:5432",
    "postgres-workflow-service": "postgres-rw:5432",
    "kafka-service": "kafka-kafka-bootstrap:9092",
    "minio-service": "minio:9000",
    "redis-service": "redis:6379",
    "elasticsearch-service": "elasticsearch-es-http:9200",
    "graphdb-service": "neo4j:7687",
    "iceberg-rest-catalog": "polaris:8181",
  };
  // These are the names that they still have.
  const KEPT = {
    "trino-coordinator": 8080,
    "datahub-gms": 8080,
    "datahub-frontend": 9002,
    superset: 8088,
    "dolphinscheduler-api": 12345,
  };
  const services = async () => {
    const { seen } = await program("prod");
    const charts = all(seen, "carbon:base:ChartRelease").flatMap(({ inputs }) =>
      inputs.declares.services.map(({ name, port }: any) => ({ metadata: { name }, spec: { ports: [{ port }] } })),
    );
    return [...all(seen, "kubernetes:core/v1:Service").map(({ inputs }) => inputs), ...charts];
  };

  it("lead to the services that had them, on their ports", async () => {
    const aliases = (await services()).filter(({ spec }) => spec.type === "ExternalName");
    const found = aliases.map(({ metadata, spec }) => [
      metadata.name,
      `${spec.externalName.split(".")[0]}:${spec.ports[0].port}`,
    ]);
    assert.deepEqual(Object.fromEntries(found), ALIASES);
  });

  it("are kept where a service still has its own", async () => {
    for (const [name, port] of Object.entries(KEPT)) {
      const found = (await services()).find(({ metadata }) => metadata.name === name);
      assert.ok(
        found?.spec.ports.some((one: any) => one.port === port),
        name,
      );
    }
  });

  it("are not made where the config does not want them", async () => {
    const { seen } = await run({ ...configOf("prod"), legacyNames: false });
    assert.ok(
      !all(seen, "kubernetes:core/v1:Service").some(({ inputs }) => inputs.spec.type === "ExternalName"),
      "old names are made although the config does not want them",
    );
  });
});

describe("the outputs", () => {
  it("hold no secret, so that nothing needs a passphrase to be read", async () => {
    await mockEngine({}, Object.fromEntries(Object.entries(ISSUED).map(([key, value]) => [`carbon:${key}`, value])));
    const outputs = pulumi.output(platform(configOf("prod")));
    await valueOf(outputs);
    await settled();
    assert.equal(await pulumi.isSecret(outputs), false);
  });

  it("keep the addresses that people use today", async () => {
    const { mlflow, ray, feast, redis, secrets } = parse((await program("prod")).outputs);
    assert.deepEqual(
      [mlflow, ray.dashboard, ray.gcs, ray.client, ray.serve, feast.http, feast.grpc, redis].map(
        ({ host, port }) => `${host.split(".")[0] ?? ""}:${port}`,
      ),
      [
        "mlflow:5000",
        "ray-head:8265",
        "ray-head:6379",
        "ray-head:10001",
        "ray-serve:8000",
        "feast-server:6566",
        "feast-server:6567",
        "redis:6379",
      ],
    );
    assert.deepEqual(secrets.objectStore, { namespace: "data-platform", name: "minio-credentials" });
  });

  it("tell clients the versions that the servers run", async () => {
    const { versions } = parse((await program("prod")).outputs);
    assert.ok(
      images.ray.includes(`:${versions.ray}-py${versions.python.replace(".", "")}-`),
      "clients are told another version of Ray or Python than the image has",
    );
    assert.ok(
      images.mlflow.endsWith(`:v${versions.mlflow}-full`),
      "clients are told another version of MLflow than the image has",
    );
  });
});

type Outputs = Full<z.output<typeof PlatformOutputs>>;
type FullOutputs = Outputs & { readonly ray: Full<Outputs["ray"]>; readonly secrets: Full<Outputs["secrets"]> };

/** Outputs of a stack that has every system. */
function parse(raw: unknown): FullOutputs {
  return PlatformOutputs.parse(raw) as FullOutputs;
}

function addresses({ mlflow, ray, feast, redis, postgres, elasticsearch, neo4j }: FullOutputs) {
  return [mlflow, ...Object.values(ray), ...Object.values(feast), redis, postgres, elasticsearch, neo4j];
}
