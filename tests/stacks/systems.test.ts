import assert from "node:assert/strict";
import * as path from "node:path";
import { parse } from "yaml";
import { parseConfig, type PlatformConfig } from "../../stacks/config/schema";
import { NEEDS } from "../../stacks/config/needs";
import { SYSTEMS, type SystemName } from "../../stacks/config/systems";
import { only, type Registered } from "../support/mocks";
import { configOf, run, shaped } from "../support/program";
import { read, sources } from "../support/sources";

/** The systems that a set of them takes along: those that need one of it, and so on. */
function without(systems: readonly SystemName[]): SystemName[] {
  const needing = NEEDS.filter(([, needs]) => systems.some((system) => needs.includes(system))).map(([name]) => name);
  const all = [...new Set([...systems, ...needing])];
  return all.length === systems.length ? all : without(all);
}

/** The program without some systems, and who its objects belong to: the component on top. */
async function owners(systems: readonly SystemName[]): Promise<string[]> {
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
    for (const [system, needs] of NEEDS) {
      for (const need of needs) {
        const config = parse(read("Pulumi.prod.yaml")).config["carbon:platform"];
        assert.throws(
          () => parseConfig({ ...config, [need]: undefined }, "FILE"),
          ({ message }: Error) =>
            message.includes(
              `${system}: needs ${need}, which is not configured; configure ${need}, or remove ${system} in FILE`,
            ),
        );
      }
    }
  });

  // What everything else stands on, and what stands alone.
  for (const system of ["objectStore", "redis", "monitoring", "kafka"] as const) {
    it(`takes along what needs ${system} alone`, async () => {
      const off = without([system]);
      const left = await owners(off);
      for (const key of NAMES) {
        const token = tokenOf(key);
        assert.equal(left.includes(token), !off.includes(key), `${key} (${token})`);
      }
    });
  }

  it("is no RayService where there is no application: KubeRay would never call it ready", async () => {
    const config = shaped("prod with Ray by KubeRay and S3 from elsewhere");
    const { seen } = await run({ ...config, serve: { ...config.serve, applications: {} } });
    const kinds = seen.map(({ type }) => type).filter((type) => type.startsWith("kubernetes:ray.io/"));
    assert.deepEqual(kinds, ["kubernetes:ray.io/v1:RayCluster"]);
  });

  it("is nowhere in what Grafana was a part of: its logins, its host, its policies and its dashboard", async () => {
    const monitoring = { ...configOf("prod").monitoring, grafana: undefined };
    const { seen, outputs } = await run({ ...configOf("prod"), monitoring });
    const named = seen.flatMap(({ type, name, inputs }) => {
      // Of the release, its values say that there is none.
      if (type.endsWith(":Release") || !/grafana/i.test(`${name} ${JSON.stringify(inputs)}`)) return [];
      return [`${type} ${name}`];
    });
    assert.deepEqual(named, []);
    assert.doesNotMatch(JSON.stringify(outputs), /grafana/i);
  });

  it("has no alert that only kube-state-metrics could end, where nobody counts pods", async () => {
    const monitoring = { ...configOf("prod").monitoring, kubeStateMetrics: undefined };
    const { seen } = await run({ ...configOf("prod"), monitoring });
    const { groups } = only(seen, "kubernetes:monitoring.coreos.com/v1:PrometheusRule", "ml-platform-alerts").inputs
      .spec;
    assert.deepEqual(
      groups.flatMap(({ rules }: any) => rules.filter(({ expr }: any) => /\bkube_/.test(expr))),
      [],
    );
    const alerts: string[] = groups.flatMap(({ rules }: any) => rules.map(({ alert }: any) => alert));
    assert.ok(alerts.includes("FeastServerDown") && !alerts.includes("Neo4jDown"), alerts.join());
  });

  it("leaves a platform without any system to its ground", async () => {
    const left = await owners(NAMES);
    assert.ok(left.includes("carbon:ground:CertManager"), "the ground stays whatever is left out");
    const all = await owners([]);
    for (const token of NAMES.map(tokenOf)) {
      assert.ok(all.includes(token), `${token} is no component`);
      assert.ok(!left.includes(token), token);
    }
  });
});

const NAMES = Object.keys(SYSTEMS) as SystemName[];

// Components that are not called like their system.
const TOKENS: Partial<Record<SystemName, string>> = {
  gateway: "carbon:edge:EnvoyGateway",
  serve: "carbon:ml:ServeApplications",
  monitoring: "carbon:observability:KubePrometheusStack",
};

/** The component of a system. */
function tokenOf(system: SystemName): string {
  const file = sources("components").find(
    (one) => path.basename(one, ".ts").replaceAll("-", "") === system.toLowerCase(),
  );
  const [, token] = /super\("(carbon:[^"]+)"/.exec(file === undefined ? "" : read(file)) ?? [];
  return TOKENS[system] ?? token ?? `the component of ${system}`;
}
