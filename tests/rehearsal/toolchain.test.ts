import * as assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identify } from "../../rehearsal/simulation/processes";
import {
  BUILD_SECONDS,
  ensureTools,
  installPulumi,
  REHEARSAL,
  type ToolSet,
  versions,
} from "../../rehearsal/simulation/toolchain";
import { build, type Buildable, faults, secondsLeft } from "../../rehearsal/simulation/toolchain/build";
import { withLock } from "../../rehearsal/simulation/toolchain/lock";
import { officialReleases, PUBLISHERS, type Release } from "../../rehearsal/simulation/toolchain/releases";

const ROOT = path.resolve(__dirname, "../..");
const GIB = 2 ** 30;

describe("the toolchain", function () {
  this.timeout(120_000);
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
      assert.equal(lines[0], "building tool 1 of 3, first, about 5 minutes left");
      assert.match(lines[2] ?? "", /^building tool 3 of 3, third, about 1 minute left$/);
    });

    it("says honestly what is left when the machine is slower than the table", () => {
      const first = { before: 0, done: 0, tool: 180, rest: 420 };
      assert.equal(secondsLeft({ ...first, spent: 0 }), 600);
      assert.equal(secondsLeft({ ...first, spent: 60 }), 540);
      // It took eight minutes instead of three, and so will the rest.
      assert.ok(secondsLeft({ ...first, spent: 480 }) >= (420 * 480) / 180, "grows while a tool is overdue");
      const second = { before: 480, done: 180, tool: 50, rest: 370 };
      assert.equal(Math.round(secondsLeft({ ...second, spent: 0 })), Math.round((420 * 480) / 180));
      assert.ok(secondsLeft({ ...second, rest: 0, spent: 1000 }) > 300, "not about a minute for a quarter of an hour");
      assert.ok(secondsLeft({ ...second, spent: 400 }) > (370 * 480) / 180, "never less than the rest at this pace");
    });

    it("takes as long as the README says", () => {
      const readme = fs.readFileSync(path.join(ROOT, "README.md"), "utf8");
      assert.match(readme, new RegExp(`builds its tools: ${BUILD_SECONDS} s`), "put the table's total into README.md");
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
      const code =
        'const { ensureTools, REHEARSAL } = require("./rehearsal/simulation/toolchain");' +
        "ensureTools({ ...REHEARSAL, releases: [] }, console.log);";
      const owner = spawn(process.execPath, ["-r", "ts-node/register/transpile-only", "-e", code], {
        cwd: ROOT,
        env: {
          ...{ HOME: home, PATH: `${bin}${path.delimiter}${process.env["PATH"] ?? ""}` },
          SWC_NATIVE_BINDING_CACHE: path.join(directory, "transpiler"), // not the toolchain's
        },
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

  describe("a download", () => {
    let server: http.Server;
    let base: string;
    let files: Map<string, Buffer | "cut">;
    let lines: string[];
    let refusedAfter: number;
    const environment = { ...process.env };
    const go = (): string => path.join(directory, "go.called");
    const releasesAt = (publisher: string): Release[] => {
      const publishers = Object.keys(PUBLISHERS).map((name) => [name, publisher]);
      return officialReleases(versions, "linux", "x64", Object.fromEntries(publishers) as typeof PUBLISHERS);
    };
    const installed = async (releases: Release[]): Promise<Record<string, string>> => {
      const set: ToolSet = { ...REHEARSAL, releases };
      const started = Date.now();
      const bin = await ensureTools(set, (line) => {
        lines.push(line);
        if (line.startsWith("not downloaded: ")) refusedAfter = Date.now() - started;
      });
      const names = fs.readdirSync(bin).filter((name) => !name.endsWith(".built"));
      assert.deepEqual(names.sort(), set.tools.map(({ name }) => name).sort(), "and nothing else");
      return Object.fromEntries(
        set.tools.map(({ name }) => [name, execFileSync(path.join(bin, name), { encoding: "utf8" }).trim()]),
      );
    };
    const all = (word: string): Record<string, string> =>
      Object.fromEntries(REHEARSAL.tools.map(({ name }) => [name, word]));

    beforeEach(async () => {
      lines = [];
      const bin = path.join(directory, "bin");
      fs.mkdirSync(bin);
      const script = `#!/bin/sh
[ "$1" = version ] && { echo go version go1.26.8 linux/amd64; exit; }
[ "$1" = mod ] && { echo '{"Dir":"/module"}'; exit; }
echo "$@" >>${go()}
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho built\\n' >"$2" && chmod +x "$2"
`;
      fs.writeFileSync(path.join(bin, "go"), script, { mode: 0o755 });
      process.env["PATH"] = `${bin}${path.delimiter}${environment["PATH"] ?? ""}`;
      process.env["CARBON_CACHE"] = path.join(directory, "cache");
      server = http.createServer((request, response) => {
        const content = files.get(request.url ?? "");
        if (content === undefined) response.writeHead(404).end();
        else if (content !== "cut") response.end(content);
        else response.writeHead(200, { "Content-Length": 1000 }).write("half", () => response.destroy());
      });
      server.on("connect", (_, socket) => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      files = publish(releasesAt(""), directory);
    });
    afterEach(async () => {
      process.env = { ...environment };
      await new Promise((resolve) => server.close(resolve));
    });

    it("brings every tool by its published checksum, and asks for no Go", async () => {
      assert.deepEqual(await installed(releasesAt(base)), all("official"));
      assert.ok(!fs.existsSync(go()), "nothing is built");
      assert.match(lines.join("\n"), /^downloaded pulumi, pulumi-language-nodejs: \d+ MiB, SHA-256 as published$/m);
    });

    it("refuses a file that is not what was published, names it, and builds that tool", async () => {
      const kubectl = `/release/${versions.kubernetes}/bin/linux/amd64/kubectl`;
      files.set(kubectl, Buffer.from("something else"));
      assert.deepEqual(await installed(releasesAt(base)), { ...all("official"), kubectl: "built" });
      const refusal = new RegExp(
        `^not downloaded: kubectl: ${base}${kubectl} has SHA-256 \\w+, but .*sha256 says \\w+;`,
        "m",
      );
      assert.match(lines.join("\n"), refusal);
    });

    it("builds what a release lacks, and what arrives by half", async () => {
      files.delete(`/helm-${versions.helm}-linux-amd64.tar.gz.sha256sum`);
      files.delete(`/repos/kubernetes-sigs/kwok/releases/tags/${versions.kwok}`);
      files.set(`/etcd-io/etcd/releases/download/${versions.etcd}/etcd-${versions.etcd}-linux-amd64.tar.gz`, "cut");
      const built = { helm: "built", kwok: "built", etcd: "built" };
      assert.deepEqual(await installed(releasesAt(base)), { ...all("official"), ...built });
      assert.match(lines.join("\n"), /^not downloaded: (kwok, helm|helm, kwok): .* 404$/m);
      assert.match(lines.join("\n"), /^not downloaded: etcd: /m);
    });

    const networks: Record<string, () => [publisher: string, proxy?: string]> = {
      "closes the port": () => ["http://127.0.0.1:1"],
      "knows no names": () => ["https://releases.invalid"],
      "speaks no TLS": () => [base.replace("http:", "https:")],
      "has a proxy that refuses": () => ["https://releases.invalid", base],
    };
    for (const [what, network] of Object.entries(networks)) {
      it(`gives way to a build within seconds where the network ${what}`, async () => {
        const [publisher, proxy = ""] = network();
        process.env["https_proxy"] = proxy;
        assert.deepEqual(await installed(releasesAt(publisher)), all("built"));
        assert.ok(refusedAfter < 20_000, "no attempt is waited for long");
        const refusals = lines.filter((line) => line.startsWith("not downloaded: "));
        assert.equal(refusals.length, 1, "one cause is named once");
      });
    }

    it("that is refused where there is no Go either says both", async () => {
      fs.writeFileSync(path.join(directory, "bin/go"), "#!/bin/sh\necho go version go1.1\n");
      const refused = ensureTools({ ...REHEARSAL, releases: releasesAt("http://127.0.0.1:1") }, () => undefined);
      await assert.rejects(
        refused,
        /neither downloaded nor built here:\n.*kubectl.*127\.0\.0\.1:1.*\nGo: found go version go1\.1,/,
      );
    });

    it("is tried for what upstream publishes for a system, and for no other", () => {
      const files = officialReleases(versions, "darwin", "arm64").map(({ url }) => path.basename(url));
      assert.deepEqual(files, [
        "kubectl",
        `etcd-${versions.etcd}-darwin-arm64.zip`,
        "kwok-darwin-arm64",
        `helm-${versions.helm}-darwin-arm64.tar.gz`,
        `pulumi-${versions.pulumi}-darwin-arm64.tar.gz`,
        `pulumi-resource-kubernetes-${versions.kubernetesPlugin}-darwin-arm64.tar.gz`,
      ]);
      assert.deepEqual(officialReleases(versions, "freebsd", "x64"), []);
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
      const third = withLock(lock(), () => undefined, work("third")); // two of one process wait
      await Promise.all([first, second, third]);
      assert.deepEqual(order.slice(0, 2), ["first begins", "first ends"]);
      assert.match(order.slice(2).join(), /^(\w+) begins,\1 ends,(\w+) begins,\2 ends$/);
      assert.deepEqual(lines, [`waiting for process ${process.pid}, which is installing the tools`]);
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

/** What a server would answer that has these releases, each with its checksum in the form that its publisher uses. */
function publish(releases: readonly Release[], directory: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const script = "#!/bin/sh\necho official\n";
  for (const { url, checksum, tools } of releases) {
    const work = fs.mkdtempSync(path.join(directory, "release-"));
    const members = Object.values(tools).filter((member) => member !== null);
    for (const member of members) {
      fs.mkdirSync(path.join(work, path.dirname(member)), { recursive: true });
      fs.writeFileSync(path.join(work, member), script, { mode: 0o755 });
    }
    const content = members.length === 0 ? Buffer.from(script) : execFileSync("tar", ["-czC", work, ...members]);
    const [name, digest] = [path.basename(url), crypto.createHash("sha256").update(content).digest("hex")];
    const said = JSON.stringify({ assets: [{ name, digest: `sha256:${digest}` }] });
    const list = `${"0".repeat(64)}  other\n${digest}  ${name}\n`;
    const text = checksum.includes("/repos/") ? said : checksum.endsWith(".sha256") ? digest : list;
    files.set(url, content).set(checksum, Buffer.from(text));
  }
  return files;
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 50) {
    assert.ok(waited < 60_000, `still waiting for ${condition.toString()}`);
    await sleep(50);
  }
}
