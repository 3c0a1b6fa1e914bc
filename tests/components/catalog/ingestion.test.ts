import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import {
  Ingestion,
  type IngestionSettings,
  type IngestionSources,
  kafkaAccess,
} from "../../../components/catalog/ingestion";
import { accessToken, accountOf, groupsOf } from "../../../components/catalog/ingestion/account";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, waitsFor } from "../../support/mocks";
import { database, endpoint, icebergCatalog, onCluster, SIZE, streams } from "../../support/stubs";

const INGESTION: IngestionSettings = {
  postgres: { schedule: "0 4 * * *", ignoredTables: ["tmp_", "staging_"] },
  kafka: { schedule: "30 */4 * * *", ignoredTopics: ["_", "connect-"] },
  trino: { schedule: "0 */6 * * *", schemas: ["data_", "analytics_"] },
  iceberg: { schedule: "0 */2 * * *", platformInstance: "lake", tags: ["iceberg"] },
  cleanup: { schedule: "30 1 * * *", retentionDays: 14 },
};
const EXPIRES = new Date("2028-01-01");
const INFO = (displayName: string) => ({ displayName, admins: [], members: [], groups: [] });
const PASSWORDS = ["sql-password", "kafka-password", "lake-secret", "system-key", "signing-key"];

async function ingestion(sources: () => IngestionSources = everything): Promise<Registered[]> {
  const seen = await mockEngine();
  new Ingestion(
    "ingest",
    {
      namespace: "data",
      gms: endpoint("gms", "http", 8080),
      keys: { tokenSigning: pulumi.secret("signing-key"), systemClient: pulumi.secret("system-key") },
      tokenExpires: EXPIRES,
      sources: sources(),
      settings: INGESTION,
      size: SIZE,
    },
    onCluster(),
  );
  await settled();
  return seen;
}

function everything(): IngestionSources {
  return {
    postgres: database("sql-password", "metadata"),
    kafka: streams("kafka-password"),
    trino: endpoint("sql", "http", 8080),
    iceberg: icebergCatalog("lake-secret"),
  };
}

const cronJobs = (seen: readonly Registered[]): string[] =>
  all(seen, "kubernetes:batch/v1:CronJob").map(({ name }) => name);
// The clean-up is no source, and works with the rights of the system.
const isSource = ({ name }: Registered): boolean => name !== "ingest-cleanup";
const recipeOf = (seen: readonly Registered[], name: string): any =>
  parse(only(seen, "kubernetes:core/v1:ConfigMap", name).inputs.data["recipe.yaml"]);

describe("Ingestion", () => {
  it("looks at each source by the clock", async () => {
    const seen = await ingestion();
    const schedules = all(seen, "kubernetes:batch/v1:CronJob").map(({ name, inputs }) => [name, inputs.spec.schedule]);
    assert.deepEqual(Object.fromEntries(schedules), {
      "ingest-postgres": "0 4 * * *",
      "ingest-kafka": "30 */4 * * *",
      "ingest-trino": "0 */6 * * *",
      "ingest-iceberg": "0 */2 * * *",
      "ingest-cleanup": "30 1 * * *",
    });
  });

  it("has no recipe for a source that is not there", async () => {
    const seen = await ingestion(() => ({ kafka: streams("kafka-password") }));
    assert.deepEqual(cronJobs(seen), ["ingest-cleanup", "ingest-kafka"]);
    assert.deepEqual(wires(seen), [
      "ingest-account -> gms 8080",
      "ingest-cleanup -> gms 8080",
      "ingest-kafka -> gms 8080",
      "ingest-kafka -> streams 9093",
    ]);
  });

  it("names credentials in recipes as variables that the pod has", async () => {
    const seen = await ingestion();
    for (const { inputs, name } of all(seen, "kubernetes:batch/v1:CronJob").filter(isSource)) {
      const [container] = inputs.spec.jobTemplate.spec.template.spec.containers;
      const variables = container.envFrom.flatMap(({ secretRef }: any) =>
        Object.keys(only(seen, "kubernetes:core/v1:Secret", secretRef.name).inputs.stringData),
      );
      const named = [...JSON.stringify(recipeOf(seen, name)).matchAll(/\$\{(\w+)\}/g)].map(([, variable]) => variable);
      assert.deepEqual(named.sort(), variables.sort(), name);
    }
    const outside = seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret").map(({ inputs }) => inputs);
    for (const secret of PASSWORDS) assert.ok(!JSON.stringify(outside).includes(secret), secret);
  });

  it("profiles tables of PostgreSQL and Trino, and fields of none", async () => {
    const seen = await ingestion();
    for (const source of ["postgres", "trino"]) {
      const { profiling } = recipeOf(seen, `ingest-${source}`).source.config;
      assert.deepEqual(profiling, { enabled: true, profile_table_level_only: true, max_workers: 5 });
    }
    assert.ok(
      !("include_table_lineage" in recipeOf(seen, "ingest-postgres").source.config),
      "lineage needs rights that the reader does not have: leave it out",
    );
    const { table_pattern: pattern } = recipeOf(seen, "ingest-postgres").source.config;
    const ignores = (table: string) => pattern.deny.some((one: string) => new RegExp(one).test(table));
    assert.ok(
      ignores("metadata.public.tmp_x") && ignores("metadata.public.staging_x"),
      "temporary tables would fill the catalog: ignore them",
    );
    assert.ok(!ignores("metadata.public.prices_tmp_x"), "only a name that begins like a temporary table's is ignored");
  });

  it("trusts the certificate of a source where the recipe says that it lies", async () => {
    const seen = await ingestion();
    const files = {
      kafka: (config: any) => config.connection.consumer_config["ssl.ca.location"],
      postgres: (config: any) => config.options.connect_args.sslrootcert,
    };
    for (const [source, server] of [
      ["kafka", "streams"],
      ["postgres", "db"],
    ] as const) {
      const { containers, volumes } = only(seen, "kubernetes:batch/v1:CronJob", `ingest-${source}`).inputs.spec
        .jobTemplate.spec.template.spec;
      const file: string = files[source](recipeOf(seen, `ingest-${source}`).source.config);
      const mount = containers[0].volumeMounts.find(({ mountPath }: any) => file.startsWith(mountPath));
      assert.equal(volumes.find(({ name }: any) => name === mount.name).secret.secretName, `${server}-tls`);
    }
  });

  it("writes as a user of its own, which stands before the first recipe", async () => {
    const seen = await ingestion();
    const account = only(seen, "kubernetes:batch/v1:Job", "ingest-account");
    const sources = all(seen, "kubernetes:batch/v1:CronJob").filter(isSource);
    for (const job of sources) assert.ok(waitsFor(seen, job, account), job.name);
    for (const { inputs, name } of sources) {
      const secrets = inputs.spec.jobTemplate.spec.template.spec.containers[0].envFrom;
      assert.ok(!JSON.stringify(secrets).includes("ingest-system"), `${name} is not the system`);
    }
  });

  it("lets that user record the runs of its recipes, which DataHub counts as running them", () => {
    const { json } = accountOf("robot").find(({ aspectName }) => aspectName === "dataHubPolicyInfo")?.aspect as any;
    assert.ok(json.privileges.includes("EXECUTE_ENTITY"), "the account may not run ingestion sources");
    assert.ok(
      json.resources.filter.criteria[0].values.includes("dataHubIngestionSource"),
      "the account may do this with more than ingestion sources",
    );
  });

  it("gives the identity provider's groups their roles, under the names that a login gives them", () => {
    assert.deepEqual(
      groupsOf({ Admin: ["cn=data team,ou=x"], Reader: ["everybody"] }).map(({ entityUrn, aspect }) => [
        entityUrn,
        aspect.json,
      ]),
      [
        ["urn:li:corpGroup:cn%3Ddata+team%2Cou%3Dx", INFO("cn=data team,ou=x")],
        ["urn:li:corpGroup:cn%3Ddata+team%2Cou%3Dx", { roles: ["urn:li:dataHubRole:Admin"] }],
        ["urn:li:corpGroup:everybody", INFO("everybody")],
        ["urn:li:corpGroup:everybody", { roles: ["urn:li:dataHubRole:Reader"] }],
      ],
    );
  });

  it("asks the Iceberg catalog for no credentials of the store, which it grants to nobody", async () => {
    const { catalog } = recipeOf(await ingestion(), "ingest-iceberg").source.config;
    assert.equal(catalog.warehouse["header.X-Iceberg-Access-Delegation"], "");
  });

  it("lets that user edit what describes data, and no policy, user or token", () => {
    const { json } = accountOf("robot").find(({ aspectName }) => aspectName === "dataHubPolicyInfo")?.aspect as any;
    assert.deepEqual(json.actors.users, ["urn:li:corpuser:robot"]);
    const [{ field, values }] = json.resources.filter.criteria;
    assert.equal(field, "TYPE");
    for (const kind of [
      "dataHubPolicy",
      "corpuser",
      "corpGroup",
      "dataHubRole",
      "dataHubAccessToken",
      "dataHubSecret",
    ]) {
      assert.ok(!values.includes(kind), kind);
    }
  });

  it("deletes what DataHub keeps beyond its retention, every kind of it", async () => {
    const { type, config } = recipeOf(await ingestion(), "ingest-cleanup").source;
    assert.equal(type, "datahub-gc");
    assert.deepEqual(config, {
      truncate_index_older_than_days: 14,
      dataprocess_cleanup: { retention_days: 14 },
      soft_deleted_entities_cleanup: { retention_days: 14 },
      execution_request_cleanup: { keep_history_max_days: 14 },
    });
  });

  it("signs a token that expires, in the form that DataHub checks without a record of it", () => {
    const [head = "", claims = "", signature] = accessToken("robot", "signing-key", EXPIRES).split(".");
    const read = (part: string): any => JSON.parse(Buffer.from(part, "base64url").toString());
    assert.deepEqual(read(head), { alg: "HS256" });
    const { version, type, actorType, actorId, exp } = read(claims);
    assert.deepEqual(
      [version, type, actorType, actorId, exp],
      ["1", "PERSONAL", "USER", "robot", EXPIRES.getTime() / 1000],
    );
    assert.equal(signature, createHmac("sha256", "signing-key").update(`${head}.${claims}`).digest("base64url"));
  });

  it("looks at every topic of Kafka and reads none", () => {
    assert.deepEqual(kafkaAccess(), { topics: { "*": ["Describe", "DescribeConfigs"] } });
  });
});
