import assert from "node:assert/strict";
import { rootCertificates } from "node:tls";
import { CustomObjectsApi, KubeConfig } from "@kubernetes/client-node";
import type { EngineResult, StackValues } from "../../rehearsal/simulation/engine";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { assertUnchanged, SMALL_STACK } from "./command";

const CLUSTER = {
  group: "postgresql.cnpg.io",
  version: "v1",
  namespace: "data-platform",
  plural: "clusters",
  name: "postgres",
};

/** The ways back of docs/backups.md. No database runs here: what they show is the order, and that nothing else is touched. */
describe("a restore", () => {
  let rehearsal: Rehearsal;
  let clusters: CustomObjectsApi;

  // A cluster and a state that know nothing of the lost ones: only the archive is left.
  before(async () => {
    const overrides = {
      ...SMALL_STACK,
      // Certificates come from what the cluster has, as well.
      certManager: "existing",
      "postgres.restoreFrom": '{"archive":"postgres"}',
      "postgres.backups.archive": "postgres-2",
    };
    rehearsal = await openRehearsal({ stack: "dev", overrides, progress: () => undefined });
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
    clusters = kubeconfig.makeApiClient(CustomObjectsApi);
  });
  after(() => rehearsal.cluster.stop());

  async function up(...args: string[]): Promise<EngineResult> {
    const result = await rehearsal.engine.run("up", { saveOnce: true, args });
    assert.deepEqual(result.errors, []);
    return result;
  }

  type Own = Exclude<NonNullable<StackValues["postgres"]>, { kind: "external" }>;

  function setPostgres(change: (postgres: Own) => Own): void {
    rehearsal.engine.setValues((values) => {
      assert.ok(
        values.postgres && values.postgres.kind !== "external",
        "the stack has no PostgreSQL of its own: take another one for this test",
      );
      return { ...values, postgres: change(values.postgres) };
    });
  }

  async function cluster(): Promise<any> {
    return clusters.getNamespacedCustomObject(CLUSTER);
  }

  function source({ spec }: any): string {
    return spec.externalClusters[0].plugin.parameters.serverName as string;
  }

  it("brings an empty cluster up from the archive of the lost one, and writes to a new archive", async () => {
    await up();
    const { spec, status } = await cluster();
    assert.deepEqual(spec.bootstrap.recovery, { source: "postgres" });
    assert.equal(source({ spec }), "postgres");
    assert.equal(spec.plugins[0].parameters.serverName, "postgres-2");
    assert.equal(status.readyInstances, spec.instances);
    assertUnchanged(await up());
  });

  it("leaves the server alone when the config no longer says where it came from", async () => {
    const before = await cluster();
    setPostgres(({ restoreFrom, ...postgres }) => {
      assert.ok(restoreFrom, "the example of a restore is gone from the docs");
      return postgres;
    });
    await up();
    const { metadata, spec } = await cluster();
    assert.equal(metadata.uid, before.metadata.uid);
    assert.deepEqual([spec.bootstrap, spec.externalClusters], [undefined, undefined]);
  });

  it("brings a server that is lost alone back to a moment, and finds everything else as it was", async () => {
    const { metadata: lost } = await cluster();
    await clusters.deleteNamespacedCustomObject(CLUSTER);
    const archive = "postgres-3";
    setPostgres(({ backups, ...postgres }) => ({
      ...postgres,
      ...(backups && { backups: { ...backups, archive } }),
      restoreFrom: { archive: "postgres-2", time: "2026-11-20T14:30:00Z" },
    }));
    const result = await up("--refresh");
    const { metadata, spec, status } = await cluster();
    assert.notEqual(metadata.uid, lost.uid);
    assert.deepEqual(spec.bootstrap.recovery.recoveryTarget, { targetTime: "2026-11-20T14:30:00Z" });
    assert.deepEqual([source({ spec }), spec.plugins[0].parameters.serverName], ["postgres-2", archive]);
    assert.equal(status.readyInstances, spec.instances);
    // The server and the schedule of its new archive, and the old schedule gone.
    assert.deepEqual([result.changes["create"], result.changes["replace"] ?? 0], [2, 0]);
    assertUnchanged(await up());
  });

  it("moves to a server outside the cluster as docs/external-postgres.md has it, and keeps the Secrets of its clients", async () => {
    rehearsal.engine.setValues((values) => ({ ...values, protection: { lifted: ["postgres"] } }));
    await up();
    rehearsal.engine.setValues((values) => ({
      ...values,
      postgres: {
        kind: "external",
        host: "postgres.example.com",
        cidrs: ["203.0.113.5/32"],
        ca: rootCertificates[0] ?? "",
        setup: { cpu: { request: 0.1, limit: 0.5 }, memoryMiB: { request: 64, limit: 256 } },
      },
    }));
    const { output } = await up();
    await assert.rejects(cluster(), /404/);
    assert.doesNotMatch(output, /:Secret postgres-mlflow (creat|delet|replac)/);
    assertUnchanged(await up());
  });
});
