import assert from "node:assert/strict";
import { charts, clientVersions, images } from "../components/base/versions";
import { expanded } from "./live/harness/environment";
import { releases as nodeReleases } from "../rehearsal/node/tools";
import { envoyGatewayRelease, releases } from "../rehearsal/software/tools";
import { locks } from "../rehearsal/software/venvs";
import { read } from "./support/sources";
import * as path from "node:path";

/** The versions that a lock file pins, by package. */
function pins(lock: string): Record<string, string> {
  const lines = read(path.relative(path.join(__dirname, ".."), lock)).matchAll(/^([\w.-]+)==([^\s;]+)/gm);
  return Object.fromEntries([...lines].map(([, name, version]) => [name, version]));
}

describe("the live tests, and those on a node", () => {
  it("install the versions that we deploy", () => {
    assert.equal(pins(locks.mlflow)["mlflow"], clientVersions.mlflow);
    assert.equal(pins(locks.ray)["mlflow-skinny"], clientVersions.mlflow);
    assert.equal(pins(locks.ray)["ray"], clientVersions.ray);
    assert.equal(pins(locks.feast)["feast"], clientVersions.feast);
    assert.equal(`v${pins(locks.datahub)["acryl-datahub"] ?? ""}`, images.datahubIngestion.split(":")[1]);
    assert.equal(`:${pins(locks.superset)["apache-superset"] ?? ""}-`, /:[\d.]+-/.exec(images.superset)?.[0]);
  });

  it("build the releases of MinIO, of the provisioner of volumes and of Redis' exporter that we deploy", () => {
    for (const [image, release] of Object.entries({ ...releases, ...nodeReleases }))
      assert.equal(image.split(":")[1], release);
  });

  it("build the release of Envoy Gateway that we deploy", () => {
    assert.equal(envoyGatewayRelease, charts.envoyGateway.version);
  });

  it("replace variables in commands as the kubelet does", () => {
    const env = { HOST: "ray-head", PORT: "6379" };
    assert.equal(expanded("$(HOST):$(PORT)", env), "ray-head:6379");
    assert.equal(expanded("$$(HOST) $(seq 60) $(UNKNOWN) $HOST", env), "$(HOST) $(seq 60) $(UNKNOWN) $HOST");
  });
});
