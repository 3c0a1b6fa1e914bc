import assert from "node:assert/strict";
import { ourPods } from "../../support/manifests";
import { only, type Registered } from "../../support/mocks";
import { configOf, type Program, run } from "../../support/program";

/** A PostgreSQL of somebody else, as a stack file says it. */
const EXTERNAL_POSTGRES = {
  kind: "external" as const,
  host: "postgres.example.com",
  port: 5432,
  cidrs: ["203.0.113.5/32"],
  ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
  database: "postgres",
  setup: { cpu: { request: 0.1, limit: 0.5 }, memoryMiB: { request: 64, limit: 256 } },
};

describe("a PostgreSQL outside the cluster", () => {
  let program: Program;
  let seen: readonly Registered[];
  before(async () => {
    program = await run({ ...configOf("prod"), postgres: EXTERNAL_POSTGRES });
    ({ seen } = program);
  });

  it("needs nothing of one inside", () => {
    const left = seen.filter(({ type, name }) => type.includes("cnpg.io") || name === "cnpg");
    assert.deepEqual(
      left.map(({ name }) => name),
      [],
    );
  });

  it("is reached by its clients at its addresses alone", () => {
    const rows: any[] = only(seen, "carbon:base:Wires").inputs.wires;
    const ways = rows.filter(({ to }) => to.name === "postgres");
    assert.ok(ways.length > 8, `only ${ways.length} clients: does the test still see them?`);
    for (const { to, ports } of ways) assert.deepEqual([to.cidrs, ports], [EXTERNAL_POSTGRES.cidrs, ["5432"]]);
  });

  it("is verified by each client, with the CA of the stack file", () => {
    const clients = only(seen, "carbon:base:Wires")
      .inputs.wires.filter(({ to }: any) => to.name === "postgres")
      .map(({ from }: any) => from.name as string);
    const pods = ourPods(seen).filter(({ template }) => clients.includes(template.metadata.labels.app));
    assert.ok(pods.length > 5, `only ${pods.length} pods: does the test still see them?`);
    for (const { owner, template } of pods) {
      const { secret } =
        template.spec.volumes.find(({ secret: one }: any) => one?.secretName === "postgres-external-ca") ?? {};
      assert.deepEqual(secret?.items, [{ key: "ca.crt", path: "ca.crt" }], owner);
    }
    assert.equal(
      only(seen, "kubernetes:core/v1:Secret", "postgres-external-ca").inputs.stringData["ca.crt"],
      EXTERNAL_POSTGRES.ca,
    );
  });

  it("has its databases and roles before anybody calls it", () => {
    const { spec } = only(seen, "kubernetes:batch/v1:Job", "postgres-setup").inputs;
    const [{ command, env }] = spec.template.spec.containers;
    for (const name of ["mlflow", "feast", "superset", "datahub", "dolphinscheduler", "polaris"]) {
      assert.ok(command[2].includes(`CREATE DATABASE "${name}" OWNER "${name}"`), name);
    }
    assert.equal(env.find(({ name }: any) => name === "PGHOST")?.value, "postgres.example.com");
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "postgres-setup").inputs;
    assert.equal(stringData.PGPASSWORD, "canary-postgresAdministratorPassword");
  });

  it("is in the outputs as it is, with the Secrets of its databases", () => {
    const { postgres, secrets } = program.outputs as any;
    assert.deepEqual(postgres, {
      ...{ protocol: "postgresql", host: "postgres.example.com", port: 5432 },
      ...{ url: "postgresql://postgres.example.com:5432", tls: true, sslmode: "verify-full", auth: "password" },
      ca: { kind: "Secret", namespace: "data-platform", name: "postgres-external-ca", key: "ca.crt" },
    });
    assert.deepEqual(secrets.postgresMlflow, { namespace: "data-platform", name: "postgres-mlflow" });
  });
});
