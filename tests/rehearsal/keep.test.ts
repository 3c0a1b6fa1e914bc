import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";
import { end, endWithTests, ML_STACK_FLAGS, ownCache, start } from "./command";

describe("a kept rehearsal", () => {
  it("can be used by hand with npx pulumi and kubectl, is not made twice, and is taken down", async () => {
    const cache = ownCache();
    endWithTests(path.join(cache, "runs"));
    const command = (...args: string[]) =>
      end(start("commands/rehearse.ts", ["--stack", "dev", ...args], { CARBON_CACHE: cache }));
    const stackFile = fs.readFileSync(path.join(ROOT, "Pulumi.dev.yaml"), "utf8");

    const kept = await command("--keep", ...ML_STACK_FLAGS);
    assert.equal(kept.code, 0, kept.output);
    const [, env = ""] = /source (\S+)/.exec(kept.output) ?? [];
    const byHand = (line: string) =>
      execFileSync("bash", ["-c", `source '${env}' && ${line}`], { cwd: ROOT, encoding: "utf8" });
    assert.match(byHand("npx pulumi preview -s dev --non-interactive"), /\d+ unchanged/);
    assert.match(byHand("npx pulumi up -s dev --yes --non-interactive"), /\d+ unchanged/);
    assert.match(byHand("kubectl get pods --namespace data-platform"), /mlflow-.*Running/);
    assert.match(byHand("npm run --silent volumes -- --stack dev"), /data-platform\/data-minio-0/);
    // What is done by hand leaves the user's own stack file alone.
    assert.equal(fs.readFileSync(path.join(ROOT, "Pulumi.dev.yaml"), "utf8"), stackFile);

    const again = await command("--keep");
    assert.equal(again.code, 2);
    assert.match(again.output, /--keep: a rehearsal of dev is kept already/);

    assert.equal((await command("--down")).code, 0);
    assert.deepEqual(fs.readdirSync(path.join(cache, "runs")), []);
    fs.rmSync(cache, { recursive: true });
  });
});
