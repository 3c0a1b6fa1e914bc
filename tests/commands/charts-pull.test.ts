import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { type Lock, pullCharts, type PullOptions } from "../../commands/charts-pull";

const HELM = "helm";
const CHART = "example";
const VERSION = "1.2.3";
const MANIFEST = { repository: "someone/crds", asset: "install.yaml", version: "v1.0.0" };
const FILES = [`${CHART}-${VERSION}.tgz`, "crds-v1.0.0.yaml"];

describe("charts:pull", function () {
  let directory = "";
  let server: http.Server | undefined;
  let base: string;
  let requests: string[];
  let lines: string[];

  before(async function () {
    if (!hasHelm()) {
      console.log("    skipped: there is no helm on PATH to pull charts with");
      this.skip();
    }
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-pull-"));
    const files = path.join(directory, "server");
    const listening = http.createServer((request, response) => {
      requests.push(request.url ?? "");
      const file = path.join(files, request.url ?? "");
      if (fs.existsSync(file)) response.end(fs.readFileSync(file));
      else response.writeHead(404).end();
    });
    server = listening;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
    publish(files, base);
  });
  beforeEach(() => {
    requests = [];
    lines = [];
  });
  after(() => {
    server?.close();
    if (directory !== "") fs.rmSync(directory, { recursive: true });
  });

  function options(more: Partial<PullOptions>): PullOptions {
    return {
      directory: path.join(directory, "charts"),
      charts: [{ repo: base, chart: CHART, version: VERSION }],
      manifests: [MANIFEST],
      lock: {},
      update: false,
      releases: base,
      progress: (line) => lines.push(line),
      ...more,
    };
  }

  it("pulls nothing that the lock file does not know", async () => {
    await assert.rejects(pullCharts(options({})), /example-1\.2\.3\.tgz: charts\.lock\.json has no digest of it/);
    assert.deepEqual(requests, []);
  });

  let lock: Lock;

  it("fills the directory and returns the digests with --update", async () => {
    lock = await pullCharts(options({ update: true }));
    assert.deepEqual(Object.keys(lock), FILES);
    const pulled = path.join(directory, "charts");
    assert.deepEqual(fs.readdirSync(pulled).sort(), [CHART, ...FILES].sort(), "and leaves nothing else behind");
    assert.match(fs.readFileSync(path.join(pulled, CHART, "Chart.yaml"), "utf8"), /version: 1\.2\.3/);
    assert.match(lines.join("\n"), /example-1\.2\.3\.tgz: pulled, sha256:[0-9a-f]{64}/);
  });

  it("asks nobody for what is there and matches the lock", async () => {
    assert.deepEqual(await pullCharts(options({ lock })), lock);
    assert.deepEqual(requests, []);
  });

  it("pulls anew what somebody changed on the disk", async () => {
    fs.appendFileSync(path.join(directory, "charts", FILES[1] ?? ""), "# changed\n");
    assert.deepEqual(await pullCharts(options({ lock })), lock);
    assert.equal(requests.length, 1);
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

  it("says what cannot be had, and from where", async () => {
    const faults = pullCharts(
      options({
        update: true,
        charts: [{ repo: base, chart: "absent", version: VERSION }],
        manifests: [{ ...MANIFEST, version: "v9.9.9" }],
      }),
    );
    await assert.rejects(faults, (error: Error) => {
      assert.match(error.message, /absent 1\.2\.3: helm cannot pull it from http/);
      assert.match(error.message, /download\/v9\.9\.9\/install\.yaml: answers 404/);
      return true;
    });
  });

  it("says what to do when there is no helm", async () => {
    const faults = pullCharts(options({ update: true, helm: path.join(directory, "no-helm") }));
    await assert.rejects(faults, /no-helm: is not there; install Helm 3, or name one with --helm FILE/);
  });
});

function hasHelm(): boolean {
  try {
    execFileSync(HELM, ["version", "--short"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Lays out a chart repository and a release with a manifest file. */
function publish(files: string, url: string): void {
  const chart = path.join(files, CHART);
  fs.mkdirSync(chart, { recursive: true });
  fs.writeFileSync(path.join(chart, "Chart.yaml"), `apiVersion: v2\nname: ${CHART}\nversion: ${VERSION}\n`);
  execFileSync(HELM, ["package", chart, "--destination", files], { stdio: "ignore" });
  execFileSync(HELM, ["repo", "index", files, "--url", url], { stdio: "ignore" });
  const { repository, version, asset } = MANIFEST;
  const release = path.join(files, repository, "releases/download", version);
  fs.mkdirSync(release, { recursive: true });
  fs.writeFileSync(path.join(release, asset), "kind: Example\n");
}
