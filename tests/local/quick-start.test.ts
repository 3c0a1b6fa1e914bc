import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { checkMachine } from "../../rehearsal/node/machine";
import { ROOT } from "../../rehearsal/program/evaluate";
import { ensureVenv } from "../../rehearsal/software/venvs";
import { Checkout } from "../support/checkout";
import { Shell } from "./shell";

const PAGE = "docs/ml-quick-start.md";

/** The code of the page, block by block, under the headings of its sections. */
function sections(): { readonly title: string; readonly blocks: { language: string; code: string }[] }[] {
  const [, ...parts] = fs.readFileSync(path.join(ROOT, PAGE), "utf8").split(/^## /m);
  return parts.map((part) => ({
    title: part.slice(0, part.indexOf("\n")),
    blocks: [...part.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = "", code = ""]) => ({ language, code })),
  }));
}

describe(PAGE, () => {
  let checkout: Checkout;
  let shell: Shell;

  before(async () => {
    checkMachine();
    const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-quick-start-"));
    checkout = new Checkout(path.join(scratch, "carbon"));
    const { directory: venv } = await ensureVenv("ray", console.log);
    const env = { ...process.env, PATH: `${path.join(venv, "bin")}${path.delimiter}${process.env["PATH"] ?? ""}` };
    shell = new Shell(spawn("/bin/bash", ["-s"], { cwd: checkout.directory, env, stdio: ["pipe", "pipe", "pipe"] }));
  });

  after(() => {
    shell.close();
    execFileSync("npm", ["run", "local", "--", "--down"], { cwd: checkout.directory, stdio: "ignore" });
    fs.rmSync(path.dirname(checkout.directory), { recursive: true });
  });

  for (const { title, blocks } of sections()) {
    it(title, async () => {
      for (const { language, code } of blocks) {
        if (language === "python") {
          // The first line of a file says where it belongs.
          const file = /^# (\S+\.py)$/m.exec(code)?.[1];
          assert.ok(file, `a file without a name:\n${code}`);
          checkout.write(file, code);
        } else if (language === "sh") {
          await shell.run(code);
        } else {
          assert.equal(language, "text", "a block that is neither run nor plain text");
        }
      }
    });
  }

  it("leaves a model that predicts from the new view, and a stack that passes every check", async () => {
    const answer = await shell.run(
      `curl --silent --fail -H 'Content-Type: application/json' --data '{"commodity_code": "WTI"}' ` +
        "http://localhost:8000/predict/price-by-stocks",
    );
    const { features } = JSON.parse(answer);
    assert.equal(features["storage_features:crude_stocks"], 440);
    await shell.run("npm run verify -- --stack local");
  });

  it("is up already when it is started again, and is gone when it is ended", async () => {
    assert.match(
      await shell.run("npm run --silent local"),
      /MLflow +http:\/\/localhost:5000\n[^]*the stack local runs/,
    );
    assert.match(await shell.run("npm run --silent local -- --down"), /Ended the stack local/);
    assert.match(await shell.run("npm run --silent local -- --down"), /does not run on this machine/);
    await assert.rejects(fetch("http://localhost:5000"), "MLflow's port is closed");
  });
});
