import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { type Lock, pullCharts, type PullOptions, writeLock } from "../../commands/charts-pull";
import { ensureToolchain } from "../../rehearsal/simulation/toolchain";

const CHART = "example";
const VERSION = "v1.2.3";
const MANIFEST = { repository: "someone/crds", asset: "install.yaml", version: "v1.0.0" };
const FILES = [`${CHART}-${VERSION}.tgz`, "crds-v1.0.0.yaml"];
/** Where the OCI registry of these tests has its charts. */
const REGISTRY_PATH = "mirror/charts";

describe("charts:pull", function () {
  this.timeout(60_000);
  let directory: string;
  let files: string;
  let server: http.Server;
  let base: string;
  let helm: string;
  let requests: string[];
  let lines: string[];

  before(async function () {
    this.timeout(0); // the first time, the tools are built
    const toolchain = await ensureToolchain((line) => {
      console.log(line);
    });
    helm = path.join(toolchain.bin, "helm");
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-pull-"));
    files = path.join(directory, "server");
    server = http.createServer((request, response) => {
      const url = request.url ?? "";
      requests.push(url);
      // Who takes this server for a proxy asks by the whole address.
      const file = path.join(files, new URL(url, "http://here").pathname);
      if (url.startsWith("/v2/")) serveRegistry(files, url, response);
      else if (fs.existsSync(file)) response.end(fs.readFileSync(file));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    publish(helm, files, base);
  });
  beforeEach(() => {
    requests = [];
    lines = [];
  });
  after(() => {
    server.close();
    fs.rmSync(directory, { recursive: true });
  });

  function options(more: Partial<PullOptions>): PullOptions {
    return {
      directory: path.join(directory, "charts"),
      charts: [{ repo: base, chart: CHART, version: VERSION }],
      manifests: [MANIFEST],
      lock: {},
      update: false,
      helm,
      releases: base,
      progress: (line) => lines.push(line),
      ...more,
    };
  }

  it("pulls nothing that the lock file does not know, and says how to add it", async () => {
    await assert.rejects(pullCharts(options({})), (error: Error) => {
      const missing = FILES.map(
        (file) => `${file}: charts.lock.json has no digest of it; run \`npm run charts:pull -- --update\``,
      );
      assert.deepEqual(error.message.split("\n"), missing);
      return true;
    });
    assert.deepEqual(requests, []);
  });

  let lock: Lock;

  it("fills the directory and returns the digests with --update", async () => {
    lock = await pullCharts(options({ update: true }));
    assert.deepEqual(Object.keys(lock), FILES);
    const pulled = path.join(directory, "charts");
    assert.deepEqual(fs.readdirSync(pulled).sort(), [CHART, ...FILES].sort(), "and leaves nothing else behind");
    assert.match(fs.readFileSync(path.join(pulled, CHART, "Chart.yaml"), "utf8"), /version: v1\.2\.3/);
    assert.match(lines.join("\n"), /^1\/2 example-v1\.2\.3\.tgz: pulled, sha256:[0-9a-f]{64}\n2\/2 crds-/);
  });

  it("writes a lock file that it reads again, sorted, and leaves no other", () => {
    const file = path.join(directory, "charts.lock.json");
    writeLock(file, { z: "sha256:2", a: "sha256:1" });
    assert.equal(fs.readFileSync(file, "utf8"), '{\n  "a": "sha256:1",\n  "z": "sha256:2"\n}\n');
    assert.ok(!fs.existsSync(`${file}.new`), "a half-written file is left behind");
  });

  it("asks nobody for what is there and matches the lock", async () => {
    assert.deepEqual(await pullCharts(options({ lock })), lock);
    assert.deepEqual(requests, []);
  });

  it("puts back what somebody changed on the disk, in files and in the folder of a chart", async () => {
    const pulled = path.join(directory, "charts");
    fs.appendFileSync(path.join(pulled, FILES[1] ?? ""), "# changed\n");
    fs.writeFileSync(path.join(pulled, CHART, "values.yaml"), "changed: true\n");
    assert.deepEqual(await pullCharts(options({ lock })), lock);
    assert.equal(requests.length, 1);
    assert.equal(fs.readFileSync(path.join(pulled, CHART, "values.yaml"), "utf8"), "real: true\n");
  });

  it("takes the same archives from an OCI registry", async () => {
    const other = path.join(directory, "from-oci");
    const registry = `oci://${base.replace("http://", "")}/${REGISTRY_PATH}`;
    const charts = [{ repo: registry, chart: CHART, version: VERSION }];
    assert.deepEqual(await pullCharts(options({ lock, directory: other, charts, plainHttp: true })), lock);
    assert.ok(
      requests.some((url) => url === `/v2/${REGISTRY_PATH}/${CHART}/manifests/${VERSION}`),
      `the registry was not asked for the manifest: ${requests.join(", ")}`,
    );
  });

  for (const [kind, mirrorOf] of Object.entries({
    "an HTTP repository": (url: string) => `${url}/`,
    "an OCI registry": (url: string) => `${url.replace("http:", "oci:")}/${REGISTRY_PATH}`,
  })) {
    it(`takes everything from a mirror that is ${kind}`, async () => {
      const other = path.join(directory, `mirror-${kind.replaceAll(" ", "-")}`);
      const charts = ["https://charts.invalid", "oci://registry.invalid/charts"].map((repo) => ({
        repo,
        chart: CHART,
        version: VERSION,
      }));
      const mirror = mirrorOf(base);
      const pulled = await pullCharts(options({ lock, directory: other, charts, mirror, plainHttp: true }));
      assert.deepEqual(pulled, lock);
    });
  }

  it("asks the proxy of its environment for charts and manifest files", async () => {
    const before = process.env["http_proxy"];
    process.env["http_proxy"] = base;
    try {
      const elsewhere = { mirror: "http://mirror.invalid", releases: "http://mirror.invalid" };
      const pulled = await pullCharts(options({ lock, directory: path.join(directory, "by-proxy"), ...elsewhere }));
      assert.deepEqual(pulled, lock);
    } finally {
      if (before === undefined) delete process.env["http_proxy"];
      else process.env["http_proxy"] = before;
    }
    for (const file of ["index.yaml", MANIFEST.asset])
      assert.ok(
        requests.some((url) => url.startsWith("http://mirror.invalid/") && url.endsWith(file)),
        file,
      );
  });

  it("refuses what upstream changed under the same version, all at once, and keeps nothing of it", async () => {
    const other = path.join(directory, "other");
    const wrong = Object.fromEntries(FILES.map((file) => [file, `sha256:${"0".repeat(64)}`]));
    await assert.rejects(pullCharts(options({ lock: wrong, directory: other })), (error: Error) => {
      for (const file of FILES) assert.match(error.message, new RegExp(`${file}: upstream's digest is sha256:`));
      return true;
    });
    assert.deepEqual(fs.readdirSync(other), []);
  });

  it("says what cannot be had, and from where, each on a line, and keeps what was there", async () => {
    const pulled = path.join(directory, "charts");
    const before = fs.readdirSync(pulled);
    const faults = pullCharts(
      options({
        update: true,
        charts: [
          { repo: base, chart: "absent", version: VERSION },
          { repo: "oci://127.0.0.1:1/charts", chart: "absent", version: VERSION },
        ],
        manifests: [{ ...MANIFEST, version: "v9.9.9" }],
      }),
    );
    await assert.rejects(faults, (error: Error) => {
      const [first = "", second = "", third = "", ...more] = error.message.split("\n");
      assert.match(first, /^absent v1\.2\.3: helm cannot pull it from http/);
      assert.match(second, /^absent v1\.2\.3: helm cannot pull it from oci:.*connection refused/);
      assert.match(third, /download\/v9\.9\.9\/install\.yaml: curl cannot fetch it: .*404/);
      assert.deepEqual(more, []);
      return true;
    });
    assert.deepEqual(fs.readdirSync(pulled), before);
  });

  it("refuses an archive of another version than its name says", async () => {
    const faults = pullCharts(
      options({ update: true, charts: [{ repo: `${base}/lying`, chart: CHART, version: VERSION }] }),
    );
    await assert.rejects(faults, /has version v9\.9\.9 of example, but v1\.2\.3 is pinned/);
    const pulled = path.join(directory, "charts");
    assert.match(fs.readFileSync(path.join(pulled, CHART, "Chart.yaml"), "utf8"), /version: v1\.2\.3/);
  });

  it("says what to do when there is no helm", async () => {
    const faults = pullCharts(
      options({ directory: path.join(directory, "x"), update: true, helm: "/nonexistent/helm" }),
    );
    await assert.rejects(faults, /helm: not found; install Helm 3, or pass one with --helm FILE/);
  });
});

/** Lays out a chart repository, one whose archive is not what its index says, and a release with a manifest file. */
function publish(helm: string, files: string, url: string): void {
  const run = (...args: string[]) => execFileSync(helm, args, { stdio: "ignore" });
  pack(run, files, VERSION);
  run("repo", "index", files, "--url", url);
  const lying = path.join(files, "lying");
  pack(run, lying, "v9.9.9");
  fs.renameSync(path.join(lying, `${CHART}-v9.9.9.tgz`), path.join(lying, `${CHART}-${VERSION}.tgz`));
  const index = fs.readFileSync(path.join(files, "index.yaml"), "utf8").replaceAll(url, `${url}/lying`);
  fs.writeFileSync(path.join(lying, "index.yaml"), index);

  const { repository, version, asset } = MANIFEST;
  const release = path.join(files, repository, "releases/download", version);
  fs.mkdirSync(release, { recursive: true });
  fs.writeFileSync(path.join(release, asset), "kind: Example\n");
}

function pack(run: (...args: string[]) => unknown, into: string, version: string): void {
  const chart = path.join(into, CHART);
  fs.mkdirSync(chart, { recursive: true });
  fs.writeFileSync(path.join(chart, "Chart.yaml"), `apiVersion: v2\nname: ${CHART}\nversion: ${version}\n`);
  fs.writeFileSync(path.join(chart, "values.yaml"), "real: true\n");
  run("package", chart, "--destination", into);
}

/** The part of the OCI distribution protocol that a pull needs: a manifest by tag or digest, and the blobs that it names. */
function serveRegistry(files: string, url: string, response: http.ServerResponse): void {
  const archive = fs.readFileSync(path.join(files, `${CHART}-${VERSION}.tgz`));
  const config = Buffer.from(JSON.stringify({ name: CHART, version: VERSION, apiVersion: "v2" }));
  const descriptor = (mediaType: string, blob: Buffer) => ({ mediaType, digest: digest(blob), size: blob.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      config: descriptor("application/vnd.cncf.helm.config.v1+json", config),
      layers: [descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive)],
    }),
  );
  const name = `/v2/${REGISTRY_PATH}/${CHART}`;
  const known: Record<string, [string, Buffer]> = {
    "/v2/": ["application/json", Buffer.from("{}")],
    [`${name}/tags/list`]: ["application/json", Buffer.from(JSON.stringify({ name: CHART, tags: [VERSION] }))],
    ...Object.fromEntries(
      [VERSION, digest(manifest)].map((reference) => [
        `${name}/manifests/${reference}`,
        ["application/vnd.oci.image.manifest.v1+json", manifest],
      ]),
    ),
    ...Object.fromEntries(
      [config, archive].map((blob) => [`${name}/blobs/${digest(blob)}`, ["application/octet-stream", blob]]),
    ),
  };
  const found = known[url.replace(/\?.*/, "")];
  if (found === undefined) {
    response.writeHead(404, { "content-type": "application/json" }).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
    return;
  }
  const [type, body] = found;
  const headers = { "content-type": type, "content-length": body.length, "docker-content-digest": digest(body) };
  response.writeHead(200, headers).end(body);
}

function digest(blob: Buffer): string {
  return `sha256:${crypto.createHash("sha256").update(blob).digest("hex")}`;
}
