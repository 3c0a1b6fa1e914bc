import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { stopClusterAt } from "../../rehearsal/simulation/cluster/guardian";
import { ROOT, STACKS } from "../../rehearsal/program/evaluate";
import { PlatformOutputs } from "../../stacks/contract/outputs";
import { shaped } from "../support/program";
import { end, endWithTests, ownCache, rehearsed, start } from "./command";

// What a rehearsal may take on two cores, in seconds and MiB: on an idle machine two minutes, beside other work three times that.
// A third of the memory is node's, a quarter the API server's.
const LIMITS = { seconds: 360, memoryMiB: 4096 };

// The stack that is kept, and used by hand.
const KEPT = "dev";

for (const stack of STACKS) {
  describe(`npm run rehearse -- --stack ${stack}`, () => {
    let cache: string;
    let env: { readonly CARBON_CACHE: string };
    let runs: string;
    let printed = "";
    before(() => {
      cache = ownCache();
      env = { CARBON_CACHE: cache };
      runs = path.join(cache, "runs");
      endWithTests(runs);
    });
    after(async () => {
      // A test that failed may have left the one that is kept.
      for (const run of fs.readdirSync(runs)) await stopClusterAt(path.join(runs, run));
      fs.rmSync(cache, { recursive: true });
    });

    it("brings everything up, changes nothing the second time, and keeps its promises on time and memory", async () => {
      const { report, code, output } = await rehearsed(stack, stack === KEPT ? ["--keep"] : [], env);
      printed = output;
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

    if (stack !== KEPT) return;

    it("is kept if asked, can be used by hand, is not made twice, and is taken down", async () => {
      const command = (...args: string[]) => end(start("commands/rehearse.ts", ["--stack", stack, ...args], env));
      const ownFile = path.join(ROOT, `Pulumi.${stack}.yaml`);
      const stackFile = fs.readFileSync(ownFile, "utf8");
      const [, file = ""] = /source (\S+)/.exec(printed) ?? [];
      const byHand = (line: string) =>
        execFileSync("bash", ["-c", `source '${file}' && ${line}`], { cwd: ROOT, encoding: "utf8" });
      assert.match(byHand(`npx pulumi preview -s ${stack} --non-interactive`), /\d+ unchanged/);
      assert.match(byHand("kubectl get pods --namespace data-platform"), /mlflow-.*Running/);
      assert.match(byHand(`npm run --silent volumes -- --stack ${stack}`), /data-platform\/data-minio-0/);
      // What is done by hand leaves the user's own stack file alone.
      assert.equal(fs.readFileSync(ownFile, "utf8"), stackFile);

      // What its user edits there is what the next `up` deploys; till then, a check goes by what the last one did.
      const verified = () => byHand(`npm run --silent verify -- --stack ${stack} 2>&1 || true`);
      try {
        fs.writeFileSync(ownFile, stackFile.replace("pods: 80\n", "pods: 81\n"));
        assert.match(verified(), /not deployed, .* Pulumi\.dev\.yaml:\n {4}quota\.pods\n/);
        const up = byHand(`npx pulumi up -s ${stack} --yes --skip-preview --non-interactive 2>&1`);
        assert.match(up, /rehearsal: the config is that of Pulumi\.dev\.yaml as it is now/);
        assert.match(up, /1 updated\n.*\d+ unchanged/);
        const quota = "kubectl get resourcequota data-platform-quota --namespace data-platform";
        assert.equal(byHand(`${quota} --output jsonpath={.spec.hard.pods}`), "81");
      } finally {
        fs.writeFileSync(ownFile, stackFile);
      }

      const again = await command("--keep");
      assert.equal(again.code, 2);
      assert.match(again.output, /--keep: a rehearsal of dev is kept already/);

      assert.equal((await command("--down")).code, 0);
      assert.deepEqual(fs.readdirSync(path.join(cache, "runs")), []);
    });
  });
}

describe("npm run rehearse -- --stack prod, with Ray by KubeRay, GPU workers, SeaweedFS and a Prometheus operator that is there", () => {
  it("is brought up, fits, and changes nothing the second time", async () => {
    const { ray } = shaped("prod with Ray by KubeRay and S3 from elsewhere");
    const { objectStore } = shaped("prod with SeaweedFS");
    const { report, code, output } = await rehearsed("prod", [
      "--config",
      `ray=${JSON.stringify(ray)}`,
      "--config",
      `objectStore=${JSON.stringify(objectStore)}`,
      "--config",
      "storage.provisioner=local-path",
      "--config",
      "monitoring.operator=existing",
    ]);
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
