import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import {
  ChartRelease,
  type DeclaredHook,
  ManifestFile,
  manifestFileName,
} from "../../../components/base/chart-release";
import { type Endpoint, serviceHost, url } from "../../../components/base/endpoint";
import { objectName } from "../../../components/base/names";
import { resources } from "../../../components/base/pod";
import { envSecret, slowHash } from "../../../components/base/secret";
import { charts, manifests } from "../../../components/base/versions";
import { makeChartDirectory } from "../../support/chart-directory";
import { mockEngine, only, settled, valueOf } from "../../support/mocks";
import { endpoint, onCluster } from "../../support/stubs";

describe("objectName", () => {
  it("joins parts with dashes", () => {
    assert.equal(objectName("mlflow", "to", "postgres"), "mlflow-to-postgres");
  });

  it("keeps long names apart within the 52 of a CronJob", () => {
    const long = "a-name-of-one-system-that-somebody-thought-of".repeat(2);
    const names = [objectName(long, "one"), objectName(long, "two")];
    for (const name of names) assert.match(name, /^[a-z0-9][-a-z0-9]{0,50}[a-z0-9]$/);
    assert.notEqual(names[0], names[1]);
    assert.equal(objectName("x".repeat(52)), "x".repeat(52));
  });
});

describe("url", () => {
  const at = (tls: boolean): Endpoint => ({ ...endpoint("api", "http", 8080), host: serviceHost("api", "ns"), tls });

  it("is where clients reach an endpoint, encrypted where it is", async () => {
    await mockEngine();
    assert.equal(await valueOf(url(at(false))), "http://api.ns.svc:8080");
    assert.equal(await valueOf(url(at(true), "/v1")), "https://api.ns.svc:8080/v1");
  });
});

describe("resources", () => {
  it("writes sizes as Kubernetes takes them, without rounding errors", () => {
    const size = { cpu: { request: 0.1 + 0.2, limit: 2 }, memoryMiB: { request: 128, limit: 256 } };
    assert.deepEqual(resources(size), {
      requests: { cpu: "300m", memory: "128Mi" },
      limits: { cpu: "2", memory: "256Mi" },
    });
  });
});

describe("envSecret", () => {
  const checksum = async (data: Record<string, string>) => {
    const seen = await mockEngine();
    const secret = envSecret("login", { namespace: "ns", data }, {});
    await settled();
    assert.equal(await pulumi.isSecret(secret.checksum), false, "pods show it");
    assert.deepEqual(only(seen, "kubernetes:core/v1:Secret").inputs.stringData, data);
    return valueOf(secret.checksum);
  };

  it("has a checksum that changes with its values, and not with their order", async () => {
    const first = await checksum({ user: "a", password: "b" });
    assert.equal(await checksum({ password: "b", user: "a" }), first);
    assert.notEqual(await checksum({ user: "a", password: "c" }), first);
  });

  it("has a checksum of its own, so that a table of guesses serves for one Secret alone", async () => {
    const checksums = await Promise.all([slowHash("b", "login"), slowHash("b", "other"), slowHash("c", "login")]);
    assert.equal(new Set(checksums).size, 3);
    for (const one of checksums) assert.match(one, /^[0-9a-f]{32}$/);
  });
});

describe("the chart directory", () => {
  const release = (directory: string, hooks: readonly DeclaredHook[] = []) =>
    new ChartRelease(
      "release",
      charts.certManager,
      {
        namespace: "ns",
        directory,
        values: {},
        declares: { workloads: [], services: [], crds: [], hooks },
        talksTo: {},
      },
      onCluster(),
    );

  it("is named, with the command that fills it, when a chart or a manifest file is missing", async () => {
    await mockEngine();
    const missing = /: (chart )?[\w./-]+ v[\d.]+ is not there; run `npm run charts:pull`/;
    assert.throws(() => release("/nowhere"), missing);
    assert.throws(() => new ManifestFile("file", manifests.gatewayApi, "/nowhere", {}), missing);
  });

  it("is refused when it holds another version than the pinned one", async () => {
    await mockEngine();
    const directory = makeChartDirectory();
    const file = path.join(directory, charts.certManager.chart, "Chart.yaml");
    fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(charts.certManager.version, "v0.0.1"));
    assert.throws(() => release(directory), /version v0\.0\.1, but v[\d.]+ is pinned; run `npm run charts:pull`/);
  });

  it("yields manifests without the empty maps that the API server drops, and with those that say something", async () => {
    const seen = await mockEngine();
    const directory = makeChartDirectory();
    const manifest = {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "examples.test", labels: {} },
      spec: {
        schema: { properties: { labels: {}, free: { properties: {}, default: { labels: {} } } }, anyOf: [{}] },
        subresources: { status: {} },
      },
    };
    fs.writeFileSync(path.join(directory, manifestFileName(manifests.gatewayApi)), stringify(manifest));
    new ManifestFile("file", manifests.gatewayApi, directory, {});
    await settled();
    const { metadata, spec } = only(seen, "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition").inputs;
    assert.deepEqual(metadata, { name: "examples.test" });
    assert.deepEqual(spec, {
      schema: { properties: { labels: {}, free: { default: { labels: {} } } }, anyOf: [{}] },
      subresources: { status: {} },
    });
  });

  it("yields a release of a fixed name that is taken back when an install or upgrade fails", async () => {
    const seen = await mockEngine();
    release(makeChartDirectory());
    await settled();
    const { name, atomic, skipCrds } = only(seen, "kubernetes:helm.sh/v3:Release").inputs;
    assert.deepEqual({ name, atomic, skipCrds }, { name: "release", atomic: true, skipCrds: true });
  });

  it("yields a release that is never rolled back behind what its hooks have written", async () => {
    const seen = await mockEngine();
    const size = { cpu: { request: 1, limit: 1 }, memoryMiB: { request: 1, limit: 1 } };
    release(makeChartDirectory(), [{ name: "migrate", when: "before", serviceAccount: "migrate", size }]);
    await settled();
    assert.equal(only(seen, "kubernetes:helm.sh/v3:Release").inputs["atomic"], false);
  });
});
