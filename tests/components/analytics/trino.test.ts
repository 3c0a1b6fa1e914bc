import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type ChartKeys, KEY_FIXTURES } from "../../../commands/charts-keys";
import { Trino } from "../../../components/analytics/trino";
import { type Sources, trinoKafkaAccess } from "../../../components/analytics/trino/catalogs";
import { CHART_CATALOGS, memory } from "../../../components/analytics/trino/values";
import { makeChartDirectory } from "../../support/chart-directory";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled } from "../../support/mocks";
import { bucket, database, endpoint, metrics, onCluster, SIZE } from "../../support/stubs";

const HOSTILE = `canary"\\#=`;

async function trino(pick: (sources: Required<Sources>) => Sources, replicas = 2): Promise<Registered[]> {
  const seen = await mockEngine();
  const { store } = bucket();
  const login = (name: string) => ({ username: pulumi.output(name), password: pulumi.secret(HOSTILE) });
  const trust = (secretName: string) => ({
    volume: { secret: { secretName, items: [{ key: "ca.crt", path: "ca.crt" }] } },
  });
  new Trino(
    "trino",
    {
      namespace: "data",
      chartDirectory: makeChartDirectory(),
      coordinator: SIZE,
      workers: { ...SIZE, replicas },
      sharedSecret: pulumi.secret("shared-canary"),
      sources: pick({
        iceberg: {
          catalog: {
            server: endpoint("polaris", "http", 8181),
            path: "/api/catalog",
            name: "lake",
            login: login("trino"),
            tokens: pulumi.output("key-1"),
          },
          store,
        },
        postgres: database("canary-password", "datahub"),
        elasticsearch: {
          server: { ...endpoint("search", "http", 9200), tls: true },
          login: login("finder"),
          trust: trust("search-tls"),
        },
        kafka: {
          cluster: { bootstrap: endpoint("kafka", "kafka", 9092), login: login("reader"), trust: trust("kafka-tls") },
          topics: ["data-quality", "audit-api-calls"],
        },
        others: {},
      }),
      snapshots: { schedule: "0 3 * * *", retentionDays: 30 },
      metrics: metrics(),
    },
    onCluster(),
  );
  await settled();
  return seen;
}

const everything = (sources: Required<Sources>): Sources => sources;

function values(seen: readonly Registered[]): any {
  return only(seen, "kubernetes:helm.sh/v3:Release", "trino").inputs.values;
}

function secret(seen: readonly Registered[], name: string): any {
  return only(seen, "kubernetes:core/v1:Secret", name).inputs.stringData;
}

describe("Trino", () => {
  it("trusts the CA of the object store, wherever its server runs", async () => {
    const { values } = only(await trino((sources) => sources), "kubernetes:helm.sh/v3:Release").inputs;
    for (const kind of ["coordinator", "worker"]) {
      const { additionalJVMConfig, additionalVolumes } = values[kind];
      const [{ command, image, volumeMounts }] = values.initContainers[kind];
      assert.equal(image, '{{ include "trino.image" . }}', "the chart fills in its own");
      const ca = additionalVolumes.find(({ secret }: any) => secret?.secretName === "s3-tls").name;
      const directory = (volume: string) => String(volumeMounts.find(({ name }: any) => name === volume).mountPath);
      const store = `${directory("trust")}/cacerts`;
      assert.match(
        command.at(-1),
        new RegExp(`keytool -importcert .*-file ${directory(ca)}/ca.crt -keystore ${store} `),
      );
      assert.equal(additionalJVMConfig[0], `-Djavax.net.ssl.trustStore=${store}`);
    }
  });

  it("ends what Iceberg tables keep of long ago, where there are such tables", async () => {
    const jobs = (seen: readonly Registered[]) => all(seen, "kubernetes:batch/v1:CronJob").map(({ inputs }) => inputs);
    const [job, ...others] = jobs(await trino(everything));
    const [{ env, command }] = job.spec.jobTemplate.spec.template.spec.containers;
    assert.deepEqual([job.spec.schedule, others], ["0 3 * * *", []]);
    assert.deepEqual(Object.fromEntries(env.map(({ name, value }: any) => [name, value])), {
      TRINO_URL: "http://trino-coordinator.data.svc:8080",
      RETENTION_DAYS: "30",
    });
    for (const procedure of ["expire_snapshots", "remove_orphan_files"])
      assert.match(command[2], new RegExp(procedure));
    assert.deepEqual(jobs(await trino(({ postgres }) => ({ postgres }))), []);
  });

  it("answers what a gateway passes on with X-Forwarded headers", async () => {
    const { additionalConfigProperties: lines } = values(await trino(everything));
    const set = lines.filter((line: string) => line.startsWith("http-server.process-forwarded="));
    assert.deepEqual(set, ["http-server.process-forwarded=true"]);
  });

  it("starts anew when the catalog's tokens get another key, with which its own is refused for good", async () => {
    const { coordinator, worker } = values(await trino(everything));
    for (const { annotations } of [coordinator, worker])
      assert.equal(annotations["checksum.254carbon.com/iceberg-tokens"], "key-1");
  });

  it("has a catalog for each store that is there, and none for another", async () => {
    assert.deepEqual(Object.keys(values(await trino(everything)).additionalCatalogs).sort(), [
      "elasticsearch",
      "iceberg",
      "kafka",
      "postgres",
    ]);
    const alone = await trino(({ postgres }) => ({ postgres }));
    assert.deepEqual(Object.keys(values(alone).additionalCatalogs), ["postgres"]);
    assert.deepEqual(
      all(alone, "kubernetes:core/v1:Secret").map(({ name }) => name),
      ["trino-env"],
    );
  });

  it("switches every catalog off that the chart brings", async () => {
    const { keys } = JSON.parse(fs.readFileSync(path.join(KEY_FIXTURES, "trino.json"), "utf8")) as ChartKeys;
    assert.deepEqual(Object.keys((keys as any).catalogs).sort(), CHART_CATALOGS);
    const { additionalConfigProperties } = values(await trino(everything));
    assert.ok(
      additionalConfigProperties.includes("catalog.disabled-catalogs=tpcds,tpch"),
      "the chart's example catalogs are on: anybody could fill the disks with them",
    );
  });

  it("names variables in its catalogs and never a credential", async () => {
    const seen = await trino(everything);
    assert.doesNotMatch(JSON.stringify(values(seen)), /canary|bucket-(user|password)/);
    const env = secret(seen, "trino-env");
    assert.equal(env.ICEBERG_CREDENTIAL, `trino:${HOSTILE}`);
    assert.equal(env.POSTGRES_PASSWORD, "canary-password");
    const named = JSON.stringify(values(seen)).matchAll(/\$\{ENV:(\w+)\}/g);
    assert.deepEqual([...new Set([...named].map(([, name]) => name))].sort(), Object.keys(env).sort());
  });

  it("has catalogs of sources outside, with their passwords in variables", async () => {
    const prices = {
      properties: { "connector.name": "mysql", "connection-user": "reader" },
      secrets: { "connection-password": pulumi.secret(HOSTILE) },
      reaches: ["203.0.113.7/32", "203.0.113.8/32"].map((cidr) => ({ cidrs: [cidr], port: 3306 })),
    };
    const seen = await trino(() => ({ others: { prices } }));
    const { prices: text } = values(seen).additionalCatalogs;
    assert.equal(text, "connector.name=mysql\nconnection-user=reader\nconnection-password=${ENV:CATALOG_PRICES_0}\n");
    assert.equal(secret(seen, "trino-env").CATALOG_PRICES_0, HOSTILE);
    for (const node of ["trino-coordinator", "trino-worker"]) {
      const { spec } = only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", `${node}-egress`).inputs;
      for (const cidr of ["203.0.113.7/32", "203.0.113.8/32"])
        assert.match(JSON.stringify(spec), new RegExp(cidr), node);
    }
  });

  it("logs in to Kafka by a file, in which a password may hold any character", async () => {
    const seen = await trino(everything);
    const { "kafka.properties": text } = secret(seen, "trino-kafka");
    // What java.util.Properties makes of it, and of that JAAS.
    const login = /^sasl\.jaas\.config=(.*)$/m.exec(text)?.[1]?.replaceAll("\\\\", "\\") ?? "";
    const [, password = ""] = /password="((?:[^"\\]|\\.)*)";$/.exec(login) ?? [];
    assert.equal(password.replace(/\\(.)/g, "$1"), HOSTILE);
    for (const part of [values(seen).coordinator, values(seen).worker]) {
      const { mountPath } = part.additionalVolumeMounts.find(({ name }: any) => name === "kafka-secret");
      const file = `kafka.config.resources=${String(mountPath)}/kafka.properties\n`;
      assert.ok(values(seen).additionalCatalogs.kafka.includes(file), "the Kafka catalog does not name the file");
    }
  });

  it("mounts of a server's certificate only what clients are to see", async () => {
    const { worker } = values(await trino(everything));
    const volume = worker.additionalVolumes.find(({ name }: any) => name === "elasticsearch-trust");
    assert.deepEqual(volume.secret, { secretName: "search-tls", items: [{ key: "ca.crt", path: "ca.crt" }] });
  });

  it("leaves the coordinator to coordinate where there are workers, and only there", async () => {
    const together = values(await trino(everything, 3));
    assert.equal(together.coordinator.config.nodeScheduler.includeCoordinator, false);
    assert.deepEqual([together.server.workers, together.server.config.query.maxMemory], [3, "1536MB"]);
    const alone = values(await trino(everything, 0));
    assert.equal(alone.coordinator.config.nodeScheduler.includeCoordinator, true);
    assert.deepEqual([alone.server.workers, alone.server.config.query.maxMemory], [0, "512MB"]);
  });

  it("keeps heap, headroom and queries within what a pod may have", () => {
    for (const [limit, heap] of [
      [2048, 1024],
      [4096, 3072],
      [65536, 49152],
    ] as const) {
      const size = { ...SIZE, memoryMiB: { request: limit, limit } };
      const divided = memory(size);
      assert.equal(divided.heap, heap);
      assert.ok(
        divided.headroom + divided.query <= divided.heap,
        "headroom and the memory of queries exceed the heap: Trino would not start",
      );
      assert.ok(limit - divided.heap >= 1024, "less than 1 GiB is left beside the heap: the pod would be killed");
    }
  });

  it("lets workers reach the coordinator and each other, and all of them their stores", async () => {
    const seen = await trino(everything);
    const made = wires(seen).map((wire) => wire.replace(/ [\d,]+$/, ""));
    for (const [from, to] of [
      ["trino-coordinator", "trino-worker"],
      ["trino-worker", "trino-coordinator"],
      ["trino-worker", "trino-worker"],
      ...["trino-coordinator", "trino-worker"].flatMap((node) =>
        ["polaris", "s3", "db", "search", "kafka"].map((to) => [node, to]),
      ),
    ]) {
      assert.ok(made.includes(`${from} -> ${to}`), `${from} to ${to}`);
    }
    assert.ok(
      !made.includes("trino-coordinator -> trino-coordinator"),
      "one coordinator has nobody to talk to of its kind: leave the wire out",
    );
  });

  it("may read topics, and nothing else in Kafka", () => {
    assert.deepEqual(trinoKafkaAccess(["a"]), { topics: { a: ["Read", "Describe", "DescribeConfigs"] } });
  });
});
