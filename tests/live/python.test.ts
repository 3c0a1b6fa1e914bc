import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { ROOT } from "../../rehearsal/program/evaluate";
import { ensureTool } from "../../rehearsal/software/venvs";

describe("the Python of the platform", () => {
  for (const args of [["check"], ["format", "--check"]]) {
    it(`passes ruff ${args.join(" ")}`, async () => {
      const ruff = await ensureTool("ruff", console.log);
      const { status, stdout, stderr } = spawnSync(ruff, [...args, "--no-cache"], { cwd: ROOT, encoding: "utf8" });
      assert.equal(status, 0, `${stdout}${stderr}`);
    });
  }
});
