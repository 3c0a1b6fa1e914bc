import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { images } from "../components/base/versions";
import { canary } from "../rehearsal/program/evaluate";
import { wantedCredentials } from "../stacks/config/secrets";
import { PlatformOutputs } from "../stacks/contract/outputs";
import type { CaReference } from "../stacks/contract/shapes";
import { platform } from "../stacks/platform";
import { all, mockEngine, only, type Registered, settled, valueOf } from "./support/mocks";
import type { Full } from "./support/full";
import { configOf, program, run, SHAPES } from "./support/program";

for (const shape of SHAPES) {
  describe(`the outputs of ${shape}`, () => {
    it("keep the contract, and hold nothing that it does not have", async () => {
      const { outputs } = await program(shape);
      assert.deepEqual(parse(outputs), outputs, "declare the rest in stacks/contract/outputs.ts");
    });

    it("name Services, ports and Secrets that exist", async () => {
      const { seen, outputs: raw } = await program(shape);
      const outputs = parse(raw);
      // What operators make for a resource of theirs.
      const operated = Object.entries(OPERATED).flatMap(([type, { suffix, port }]) =>
        all(seen, type).map(({ inputs: { metadata } }) => ({
          metadata: { ...metadata, name: `${String(metadata.name)}${suffix}` },
          spec: { ports: [{ port }] },
        })),
      );
      const services = new Map(
        [...operated, ...servicesOf(seen)].map(({ metadata, spec }) => [
          `${String(metadata.name)}.${String(metadata.namespace)}.svc.cluster.local`,
          spec.ports.map(({ port }: { port: number }) => port) as number[],
        ]),
      );
      const found = addresses(outputs);
      assert.ok(found.length > 20, "every system is looked at");
      for (const { host, port, url, protocol } of found) {
        if (!host.endsWith(".svc.cluster.local")) continue; // outside the cluster
        assert.ok(
          services.get(host)?.includes(port),
          `${host}:${port} is in the outputs, but no Service answers there`,
        );
        assert.equal(url, `${protocol}://${host}:${port}`, "the scheme of a URL is the service's protocol");
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

    it("say of TLS, CAs and logins what the servers are told", async () => {
      const { seen, outputs } = await program(shape);
      const { postgres, kafka, elasticsearch } = parse(outputs);
      const [listener] = only(seen, "kubernetes:kafka.strimzi.io/v1:Kafka").inputs.spec.kafka.listeners;
      assert.deepEqual(
        told(kafka),
        {
          tls: listener.tls,
          auth: listener.authentication.type,
          ca: listener.configuration.brokerCertChainAndKey.secretName,
        },
        "kafka: publish what the listener says",
      );
      const { spec: search } = only(seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch").inputs;
      assert.deepEqual(
        told(elasticsearch),
        { tls: true, auth: "basic", ca: search.http.tls.certificate.secretName },
        "elasticsearch: publish what the server says",
      );
      const { spec: cluster } = only(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster").inputs;
      const [rule] = cluster.postgresql.pg_hba as string[];
      assert.match(rule ?? "", new RegExp(`^hostssl .* ${postgres.auth}$`), "postgres.auth: publish what pg_hba says");
      assert.deepEqual(told(postgres), { tls: true, auth: postgres.auth, ca: cluster.certificates.serverCASecret });
      const certificates = all(seen, "kubernetes:cert-manager.io/v1:Certificate").map(
        ({ inputs: { metadata, spec } }) => `${String(metadata.namespace)}/${String(spec.secretName)}`,
      );
      for (const { url, tls, ca } of addresses(parse(outputs))) {
        const isOutside = !url.includes(".svc.");
        assert.equal(
          ca !== undefined,
          tls && !isOutside,
          `${url}: a server with TLS has a CA in the outputs, others none`,
        );
        if (ca)
          assert.ok(certificates.includes(`${ca.namespace}/${ca.name}`), `${url}: no certificate is in ${ca.name}`);
      }
    });

    it("have each public API at the service behind it", async () => {
      const outputs = parse((await program(shape)).outputs);
      assert.deepEqual(
        addresses(outputs)
          .flatMap(({ publicUrl }) => publicUrl ?? [])
          .sort(),
        Object.values(outputs.gateway.apis).sort(),
        "give the endpoint of each API in `entries` of an offer to its `endpoints`, too",
      );
    });
  });
}

describe("a cluster with a DNS domain of its own", () => {
  it("is named by it in the outputs, in certificates and by old names, and nowhere by another", async () => {
    const prod = configOf("prod");
    const { seen, outputs } = await run({ ...prod, cluster: { ...prod.cluster, dnsDomain: "cluster.test" } });
    for (const { host } of addresses(parse(outputs))) assert.match(host, /\.svc\.cluster\.test$/);
    for (const { metadata, spec } of servicesOf(seen).filter((one) => one.spec.type === "ExternalName")) {
      assert.match(spec.externalName, /\.svc\.cluster\.test$/, metadata.name);
    }
    const elsewhere = seen.filter(({ inputs }) => JSON.stringify(inputs).includes("cluster.local"));
    assert.deepEqual(
      elsewhere.map(({ urn }) => urn),
      [],
      "hand these the cluster's domain, or the short name of the Service",
    );
  });
});

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
  const services = async () => servicesOf((await program("prod")).seen);

  it("lead to the services that had them, on their ports", async () => {
    const aliases = (await services()).filter(({ spec }) => spec.type === "ExternalName");
    const found = aliases.map(({ metadata, spec }) => [
      metadata.name,
      `${spec.externalName.split(".")[0]}:${spec.ports.map(({ port }: any) => port)}`,
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
    const config = configOf("prod");
    await mockEngine({}, Object.fromEntries(wantedCredentials(config).map((key) => [`carbon:${key}`, canary(key)])));
    const outputs = pulumi.output(platform(config));
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

  it("tell clients of public hosts whom they must trust, and how programs log in", async () => {
    const gatewayOf = async (shape: string) => parse((await program(shape)).outputs).gateway;
    const dev = await gatewayOf("dev");
    assert.deepEqual([dev.auth, dev.ca?.name], ["api-key", "gateway-tls"], "the platform's own authority signed");
    const prod = await gatewayOf("prod");
    assert.deepEqual([prod.auth, prod.ca], ["api-key", undefined], "Cloudflare's certificate stands before it");
    const acme = await gatewayOf("prod with Ray by KubeRay and S3 from elsewhere");
    assert.deepEqual([acme.auth, acme.ca], ["bearer", undefined], "a public CA signed");
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

/** What a service says of TLS and logins. */
function told({ tls, auth, ca }: Pick<Address, "tls" | "auth" | "ca">) {
  return { tls, auth, ca: ca?.name };
}

/** Outputs of a stack that has every system. */
function parse(raw: unknown): FullOutputs {
  const { data, error } = PlatformOutputs.safeParse(raw);
  assert.ok(
    data,
    `publish what stacks/contract/outputs.ts declares, or change it there: ${error && z.prettifyError(error)}`,
  );
  return data as FullOutputs;
}

interface Address {
  readonly protocol: string;
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly tls: boolean;
  readonly auth: string;
  readonly ca?: CaReference | undefined;
  readonly publicUrl?: string | undefined;
}

/** Every service in a document. */
function addresses(node: unknown): Address[] {
  if (typeof node !== "object" || node === null) return [];
  return "host" in node ? [node as Address] : Object.values(node).flatMap(addresses);
}

// The Services that operators make, by the resource that they make them for.
const OPERATED = {
  "kubernetes:postgresql.cnpg.io/v1:Cluster": { suffix: "-rw", port: 5432 },
  "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch": { suffix: "-es-http", port: 9200 },
  "kubernetes:kafka.strimzi.io/v1:Kafka": { suffix: "-kafka-bootstrap", port: 9092 },
};

/** The Services of the program and of its charts. */
function servicesOf(seen: readonly Registered[]): any[] {
  const charts = all(seen, "carbon:base:ChartRelease").flatMap(({ name: release, inputs }) => {
    const { namespace } = only(seen, "kubernetes:helm.sh/v3:Release", release).inputs;
    return inputs.declares.services.map(({ name, port }: any) => ({
      metadata: { name, namespace },
      spec: { ports: [{ port }] },
    }));
  });
  return [...all(seen, "kubernetes:core/v1:Service").map(({ inputs }) => inputs), ...charts];
}
