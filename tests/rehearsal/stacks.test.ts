import * as assert from "node:assert/strict";
import { STACKS } from "../../rehearsal/program/evaluate";
import { PlatformOutputs } from "../../stacks/contract/outputs";
import { shaped } from "../support/program";
import { end, rehearsed, start } from "./command";

// What a rehearsal may take on two cores, in seconds and MiB. The full CRDs weigh a gigabyte more, in the API server and the engine.
const LIMITS = { seconds: 180, memoryMiB: process.env["CARBON_CRDS"] === undefined ? 3072 : 4096 };

for (const stack of STACKS) {
  describe(`npm run rehearse -- --stack ${stack}`, () => {
    it("brings everything up, changes nothing the second time, and keeps its promises on time and memory", async () => {
      const { report, code, output } = await rehearsed(stack);
      assert.equal(code, 0, output);
      assert.deepEqual(report.faults, []);
      assert.equal(report.ok, true);
      assert.ok(report.resources > 100, `${report.resources} resources`);
      assert.deepEqual(report.secondUp, { changes: 0 });
      assert.ok(report.pods.total > 8 && report.pods.ready === report.pods.total, JSON.stringify(report.pods));
      assert.ok(report.claims.total > 2 && report.claims.bound === report.claims.total, JSON.stringify(report.claims));
      // Each part of the report exists for each part of the stack.
      assert.ok(
        report.nodes.length > 0 && report.lostNodes.length === report.nodes.length,
        "the report lacks a node, or what its loss would mean",
      );
      assert.ok(
        report.quotas.some(({ name, used }) => name === "data-platform-quota" && used !== "0"),
        "the report does not say what the quota has left",
      );
      PlatformOutputs.parse(report.outputs);
      const seconds = report.seconds.total - report.seconds.tools;
      assert.ok(seconds < LIMITS.seconds, `${seconds} s`);
      assert.ok((report.peakMemoryMiB ?? 0) < LIMITS.memoryMiB, `${report.peakMemoryMiB} MiB`);
    });
  });
}

describe("prod with Ray by KubeRay, GPU workers and SeaweedFS", () => {
  it("is brought up, fits, and changes nothing the second time", async () => {
    const { ray } = shaped("prod with Ray by KubeRay and S3 from elsewhere");
    const { objectStore } = shaped("prod with SeaweedFS");
    const { report, code, output } = await rehearsed(
      "prod",
      ...["--config", `ray=${JSON.stringify(ray)}`, "--config", `objectStore=${JSON.stringify(objectStore)}`],
    );
    assert.equal(code, 0, output);
    assert.deepEqual([report.faults, report.secondUp], [[], { changes: 0 }]);
    assert.equal(report.pods.ready, report.pods.total);
    assert.match(output, /2 of 16/, "a GPU worker has the GPUs that it asked for");
  });
});

describe("npm run rehearse -- --config", () => {
  it("names every fault of a bad value and starts nothing", async () => {
    const { code, output } = await end(
      start("commands/rehearse.ts", [
        "--stack",
        "dev",
        "--config",
        "ray.workers.max=0",
        "--config",
        "mlfow.replicas=1",
      ]),
    );
    assert.equal(code, 2);
    assert.match(output, /ray\.workers\.max: 0 is below min \(1\)/);
    assert.match(output, /mlfow: unknown key/);
    assert.doesNotMatch(output, /control plane/);
  });

  it("refuses a quota that the stack does not fit, with both numbers, and starts nothing", async () => {
    const { code, output } = await end(
      start("commands/rehearse.ts", [
        "--stack",
        "dev",
        "--config",
        "quota.cpu.limit=5",
        "--config",
        "quota.cpu.request=1",
      ]),
    );
    assert.equal(code, 2);
    assert.match(output, /quota\.cpu\.limit: .* cores needed of limits\.cpu .* data-platform-quota allows 5 cores/);
    assert.doesNotMatch(output, /control plane/);
  });
});
