import * as assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { promisify } from "node:util";
import { installPlugins, type InstallOptions } from "../../../rehearsal/simulation/plugins/install";

describe("installing the plugins", () => {
  let directory: string;
  let lines: string[];
  const { KUBERNETES_PLUGIN: given } = process.env;
  before(() => {
    delete process.env["KUBERNETES_PLUGIN"];
  });
  after(() => {
    if (given !== undefined) {
      process.env["KUBERNETES_PLUGIN"] = given;
    }
  });
  beforeEach(async () => {
    directory = await fs.mkdtemp(path.join(os.tmpdir(), "carbon-install-"));
    lines = [];
  });
  afterEach(() => fs.rm(directory, { recursive: true }));

  /** A pulumi whose downloads go as a shell script says, and the options to use it. */
  const options = async (download: string): Promise<InstallOptions> => {
    const pulumi = path.join(directory, "pulumi");
    await fs.writeFile(pulumi, `#!/bin/sh\necho called >>'${directory}/calls'\n${download}\n`, { mode: 0o755 });
    return {
      pulumiHome: path.join(directory, "home"),
      helm: "/usr/bin/helm",
      pulumi,
      progress: (line) => lines.push(line),
    };
  };
  const binary = async (name: string): Promise<string> => {
    const plugins = path.join(directory, "home", "plugins");
    const found = (await fs.readdir(plugins)).find((entry) => entry.startsWith(`resource-${name}-v`));
    return path.join(plugins, found ?? "", `pulumi-resource-${name}`);
  };

  it("takes the official plugins where they can be downloaded", async () => {
    const download = `d="$PULUMI_HOME/plugins/resource-$4-v$5"; mkdir -p "$d"; echo official >"$d/pulumi-resource-$4"; chmod +x "$d/pulumi-resource-$4"`;
    const official = { kubernetes: "official", random: "official" };
    assert.deepEqual(await installPlugins(await options(download)), official);
    assert.equal(await fs.readFile(await binary("kubernetes"), "utf8"), "official\n");
    assert.deepEqual(await installPlugins(await options("exit 1")), official);
  });

  it("takes the stand-ins where not, and does not try again the same day", async () => {
    const standIns = { kubernetes: "stand-in", random: "stand-in" };
    assert.deepEqual(await installPlugins(await options("exit 1")), standIns);
    const { mtimeMs } = await fs.stat(await binary("kubernetes"));
    assert.deepEqual(await installPlugins(await options("exit 1")), standIns);
    assert.equal((await fs.readFile(path.join(directory, "calls"), "utf8")).trim().split("\n").length, 2);
    assert.equal((await fs.stat(await binary("kubernetes"))).mtimeMs, mtimeMs);
    assert.match(lines.join("\n"), /stand-in, because the official one could not be downloaded/);
  });

  it("leaves the same behind when several runs install at once", async () => {
    const chosen = await options("exit 1");
    await Promise.all([1, 2, 3].map(() => installPlugins(chosen)));
    const plugin = path.dirname(await binary("random"));
    assert.deepEqual(
      (await fs.readdir(plugin)).filter((entry) => !entry.startsWith("stand-in-")),
      ["pulumi-resource-random"],
    );
    assert.equal((await fs.readdir(plugin)).length, 2);
  });

  it("writes a stand-in that starts and says its port", async () => {
    await installPlugins(await options("exit 1"));
    const run = promisify(execFile)(await binary("random"), []);
    const port = await new Promise<string>((resolve) =>
      run.child.stdout?.once("data", (data) => {
        resolve(String(data));
      }),
    );
    run.child.kill("SIGINT");
    await run;
    assert.match(port, /^\d+\n$/);
  });

  it("links the official plugin that a variable names, for as long as it does", async () => {
    const official = path.join(directory, "official");
    await fs.writeFile(official, "", { mode: 0o755 });
    process.env["RANDOM_PLUGIN"] = official;
    try {
      const chosen = await options("exit 1");
      assert.equal((await installPlugins(chosen)).random, "official");
      assert.equal(await fs.readlink(await binary("random")), official);
      process.env["RANDOM_PLUGIN"] = path.join(directory, "missing");
      await assert.rejects(installPlugins(chosen), /RANDOM_PLUGIN: .* is not an executable file/);
      delete process.env["RANDOM_PLUGIN"];
      assert.equal((await installPlugins(chosen)).random, "stand-in");
    } finally {
      delete process.env["RANDOM_PLUGIN"];
    }
  });
});
