import * as assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identify } from "../../rehearsal/simulation/processes";
import { build, type Buildable, faults, installPulumi, versions, withLock } from "../../rehearsal/simulation/toolchain";

const ROOT = path.resolve(__dirname, "../..");
const GIB = 2 ** 30;

describe("the toolchain", function () {
  this.timeout(30_000);
  let directory: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-toolchain-"));
  });
  afterEach(() => {
    fs.rmSync(directory, { recursive: true, force: true });
  });

  describe("before a build", () => {
    const good = {
      go: "go version go1.26.8 linux/amd64",
      cache: "/cache",
      freeDiskBytes: 9 * GIB,
      freeMemoryBytes: 5 * GIB,
    };

    it("finds nothing wrong with a machine that can build", () => {
      assert.deepEqual(faults(good), []);
      assert.deepEqual(faults({ ...good, go: "go version go1.27rc1 darwin/arm64" }), []);
    });

    it("names every fault at once, with what was found, what is needed and the next step", () => {
      const found = faults({ go: undefined, cache: "/cache", freeDiskBytes: 2 * GIB, freeMemoryBytes: GIB });
      assert.equal(found.length, 3);
      assert.match(found[0] ?? "", /^Go: found none in PATH, needed 1\.26 .*; install it/);
      assert.match(found[1] ?? "", /^disk: 2\.0 GiB free at \/cache, needed 8\.0 GiB .*; free some/);
      assert.match(found[2] ?? "", /^memory: 1\.0 GiB available, needed 4\.0 GiB; close something/);
    });

    it("refuses a Go that is too old, and a next major version", () => {
      assert.equal(faults({ ...good, go: "go version go1.25.9 linux/amd64" }).length, 1);
      assert.equal(faults({ ...good, go: "go version go2.26 linux/amd64" }).length, 1);
    });
  });

  describe("a build", () => {
    const tools: Buildable[] = [
      { name: "first", seconds: 60 },
      { name: "second", seconds: 180 },
      { name: "third", seconds: 60 },
    ];
    const compileTo = (tool: Buildable, output: string): Promise<void> => fs.promises.writeFile(output, tool.name);

    it("tells which tool of how many it builds, and how many minutes are left", async () => {
      const lines: string[] = [];
      await build(tools, tools, directory, compileTo, (line) => lines.push(line));
      assert.equal(lines[0], "tool 1 of 3, first, about 5 minutes left");
      assert.match(lines[2] ?? "", /^tool 3 of 3, third, about 1 minute left$/);
    });

    it("goes on after an interruption with the tool that it was at", async () => {
      const interrupted = build(
        tools,
        tools,
        directory,
        async (tool, output) => {
          await compileTo(tool, output); // the file of an interrupted link is there, and not whole
          if (tool.name === "second") throw new Error("interrupted");
        },
        () => undefined,
      );
      await assert.rejects(interrupted, /interrupted/);
      const missing = tools.filter(({ name }) => !fs.existsSync(path.join(directory, name)));
      assert.deepEqual(
        missing.map(({ name }) => name),
        ["second", "third"],
      );
      await build(missing, tools, directory, compileTo, () => undefined);
      assert.equal(fs.readFileSync(path.join(directory, "second"), "utf8"), "second");
    });

    it("writes into its cache alone, and leaves no compiler behind when it is killed", async () => {
      const bin = path.join(directory, "bin");
      const pidFile = path.join(directory, "go.pid");
      fs.mkdirSync(bin);
      const script = `#!/bin/sh
[ "$1" = version ] && { echo go version go1.26.8 linux/amd64; exit; }
mkdir -p "$GOCACHE" "$GOMODCACHE" "$XDG_CONFIG_HOME"
echo $$ >${pidFile}
exec sleep 60
`;
      fs.writeFileSync(path.join(bin, "go"), script, { mode: 0o755 });
      const home = path.join(directory, "home");
      fs.mkdirSync(home);
      const code = 'require("./rehearsal/simulation/toolchain").ensureToolchain(console.log)';
      const owner = spawn(process.execPath, ["-r", "ts-node/register/transpile-only", "-e", code], {
        cwd: ROOT,
        env: { HOME: home, PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}` },
        stdio: "ignore",
      });
      await until(() => fs.existsSync(pidFile) && fs.readFileSync(pidFile, "utf8").endsWith("\n"));
      assert.ok(owner.pid, "the lock does not say whose it is");
      process.kill(owner.pid, "SIGKILL");
      const go = Number(fs.readFileSync(pidFile, "utf8"));
      await until(() => identify(go) === undefined);
      assert.deepEqual(fs.readdirSync(home), [".cache"]);
      assert.deepEqual(fs.readdirSync(path.join(home, ".cache")), ["254carbon"]);
    });
  });

  describe("the lock", () => {
    const lock = (): string => path.join(directory, "tools.lock");

    it("makes a second run wait, and say for whom", async () => {
      const order: string[] = [];
      const lines: string[] = [];
      const work = (name: string) => async (): Promise<void> => {
        order.push(`${name} begins`);
        await sleep(700);
        order.push(`${name} ends`);
      };
      const first = withLock(lock(), () => undefined, work("first"));
      const second = withLock(lock(), (line) => lines.push(line), work("second"));
      await Promise.all([first, second]);
      assert.deepEqual(order, ["first begins", "first ends", "second begins", "second ends"]);
      assert.deepEqual(lines, [`waiting for process ${process.pid}, which is building the tools`]);
    });

    it("of a dead process is taken over, also when its pid has gone to another", async () => {
      for (const owner of [
        { pid: 2 ** 22 + 1, started: "1" },
        { pid: process.pid, started: "an hour before" },
      ]) {
        fs.writeFileSync(lock(), JSON.stringify(owner));
        assert.equal(
          await withLock(
            lock(),
            () => undefined,
            () => Promise.resolve("done"),
          ),
          "done",
        );
      }
      assert.deepEqual(fs.readdirSync(directory), []);
    });

    it("is released when the work fails", async () => {
      const work = withLock(
        lock(),
        () => undefined,
        () => Promise.reject(new Error("no")),
      );
      await assert.rejects(work, /no/);
      assert.deepEqual(fs.readdirSync(directory), []);
    });
  });

  describe("Pulumi", () => {
    it("is what `npx pulumi` runs, without a download", () => {
      const cli = path.join(directory, "pulumi");
      fs.writeFileSync(cli, '#!/bin/sh\necho "ours $1"\n', { mode: 0o755 });
      const host = path.join(directory, "pulumi-language-nodejs");
      fs.writeFileSync(host, "#!/bin/sh\n", { mode: 0o755 });
      const home = path.join(directory, "home");
      const toolchain = { bin: directory, pulumi: cli, pulumiLanguageNodejs: host, cache: directory };
      installPulumi(toolchain, home);
      installPulumi(toolchain, home);
      const wrapper = path.join(ROOT, "node_modules/pulumi/run.js");
      const env = { ...process.env, PULUMI_HOME: home, PULUMI_VERSION: "" };
      assert.equal(execFileSync(process.execPath, [wrapper, "about"], { env, encoding: "utf8" }), "ours about\n");
    });

    it("has one version, in go.mod and in package.json", () => {
      const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
      assert.equal(versions.pulumi, `v${manifest.devDependencies.pulumi}`);
    });
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 50) {
    assert.ok(waited < 20_000, `still waiting for ${condition.toString()}`);
    await sleep(50);
  }
}
