import assert from "node:assert/strict";
import { all, only } from "../../support/mocks";
import { configOf, program, run } from "../../support/program";

const RELEASE = "kubernetes:helm.sh/v3:Release";

describe("the GPU operator", () => {
  it("runs nothing that the driver of a K80 does not serve", async () => {
    const { seen } = await program("prod");
    const { values } = only(seen, RELEASE, "gpu-operator").inputs;
    const on = ["toolkit", "devicePlugin", "gfd", "validator"];
    const off = Object.entries<any>(values).flatMap(([part, { enabled }]) => (enabled === false ? [part] : []));
    for (const part of ["driver", "cdi", "dcgmExporter", "migManager", "vgpuDeviceManager", "vfioManager"]) {
      assert.ok(off.includes(part), `${part} is on`);
    }
    for (const part of on) assert.ok(values[part].resources.limits.memory, `${part} has no size`);
    assert.deepEqual(values.validator.cuda.env, [{ name: "WITH_WORKLOAD", value: "false" }]);
  });

  it("comes with its CRDs and those of Node Feature Discovery, which Helm would not upgrade", async () => {
    const { seen } = await program("prod");
    const names = all(seen, "carbon:base:ChartCrds").map(({ name }) => name);
    for (const name of ["gpu-operator", "node-feature-discovery"]) {
      assert.ok(names.includes(name), `${name} has no CRDs`);
      assert.equal(only(seen, RELEASE, name).inputs.skipCrds, true);
    }
  });

  it("is left out where the cluster has one", async () => {
    const { seen } = await run({ ...configOf("prod"), gpuOperator: undefined });
    assert.deepEqual(
      all(seen, RELEASE).filter(({ name }) => /gpu|node-feature/.test(name)),
      [],
    );
  });
});
