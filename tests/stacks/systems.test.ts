import assert from "node:assert/strict";
import { parse } from "yaml";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { NEEDS } from "../../stacks/config/needs";
import { type Registered } from "../support/mocks";
import { configOf, run, shaped } from "../support/program";
import { read } from "../support/sources";

// What a stack file may leave out.
type System = {
  [Key in keyof PlatformConfig]-?: undefined extends PlatformConfig[Key] ? Key : never;
}[keyof PlatformConfig];

/** The systems that a set of them takes along: those that need one of it, and so on. */
function without(systems: readonly System[]): System[] {
  const needing = Object.entries(NEEDS)
    .filter(([, needs]) => needs.some((need) => systems.includes(need)))
    .map(([system]) => system as System);
  const all = [...new Set([...systems, ...needing])];
  return all.length === systems.length ? all : without(all);
}

/** The program without some systems, and who its objects belong to: the component on top. */
async function owners(systems: readonly System[]): Promise<string[]> {
  const off = new Set<string>(systems);
  const { postgres: all, ...others } = configOf("prod");
  const { backups, ...postgres } = all;
  // Backups go to the object store, where there is one.
  const prod = { ...others, postgres: off.has("objectStore") ? postgres : { ...postgres, backups } };
  const config = Object.fromEntries(Object.entries(prod).filter(([key]) => !off.has(key)));
  const { seen } = await run(config as PlatformConfig);
  return [...new Set(seen.map(topComponent))].sort();
}

function topComponent({ urn }: Registered): string {
  return urn.split("::")[2]?.split("$")[0] ?? "";
}

describe("a system that is off", () => {
  it("is refused by name where another one needs it", () => {
    for (const [system, needs] of Object.entries(NEEDS)) {
      for (const need of needs) {
        const config = parse(read("Pulumi.prod.yaml")).config["carbon:platform"];
        assert.throws(
          () => parseConfig({ ...config, [need]: undefined }, "FILE"),
          ({ message }: Error) =>
            message.includes(`${system}: needs ${need}, which is off; describe ${need}, or remove ${system} in FILE`),
        );
      }
    }
  });

  // What everything else stands on, and what stands alone.
  for (const system of ["objectStore", "redis", "monitoring", "kafka"] as const) {
    it(`takes along what needs ${system} alone`, async () => {
      const off = without([system]);
      const left = await owners(off);
      for (const [key, token] of Object.entries(TOKENS)) {
        assert.equal(left.includes(token), !off.includes(key as System), `${key} (${token})`);
      }
    });
  }

  it("is no RayService where there is no application: KubeRay would never call it ready", async () => {
    const config = shaped("prod with Ray by KubeRay and S3 from elsewhere");
    const { seen } = await run({ ...config, serve: { ...config.serve, applications: {} } });
    const kinds = seen.map(({ type }) => type).filter((type) => type.startsWith("kubernetes:ray.io/"));
    assert.deepEqual(kinds, ["kubernetes:ray.io/v1:RayCluster"]);
  });

  it("leaves a platform without any system to its ground", async () => {
    const left = await owners(Object.keys(TOKENS) as System[]);
    assert.ok(left.includes("carbon:ground:CertManager"), "the ground stays whatever is left out");
    for (const token of Object.values(TOKENS)) assert.ok(!left.includes(token), token);
  });
});

// The component of each system.
const TOKENS = {
  postgres: "carbon:data:Postgres",
  objectStore: "carbon:data:ObjectStore",
  redis: "carbon:data:Redis",
  kafka: "carbon:data:Kafka",
  mlflow: "carbon:ml:Mlflow",
  feast: "carbon:ml:Feast",
  ray: "carbon:ml:Ray",
  serve: "carbon:ml:ServeApplications",
  monitoring: "carbon:observability:KubePrometheusStack",
  elasticsearch: "carbon:data:Elasticsearch",
  neo4j: "carbon:data:Neo4j",
  superset: "carbon:analytics:Superset",
  polaris: "carbon:analytics:Polaris",
  trino: "carbon:analytics:Trino",
  dolphinscheduler: "carbon:analytics:DolphinScheduler",
  datahub: "carbon:catalog:Datahub",
  verify: "carbon:observability:Verify",
} as const satisfies Record<System, string>;
