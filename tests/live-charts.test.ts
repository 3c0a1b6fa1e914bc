import assert from "node:assert/strict";
import * as path from "node:path";
import { evaluateStack } from "../rehearsal/program/charts";
import { ROOT, stackConfig } from "../rehearsal/program/evaluate";
import { chartVersion, releasesOf } from "../rehearsal/program/charts";
import { builtHelm } from "../rehearsal/simulation/toolchain";
import { renderRelease } from "../rehearsal/simulation/helm-template";
import { charts } from "../components/base/versions";
import { TRINO } from "../rehearsal/software/images";
import { objectsOf } from "./live/harness/charts";

// Where the charts lie that `npm run charts:pull` fetched; CARBON_CHARTS names another directory.
const directory = path.resolve(ROOT, process.env["CARBON_CHARTS"] ?? stackConfig("prod").charts.directory);

describe("the live tests' reading of Trino's chart", function () {
  this.timeout(60_000);
  let real: any[];
  let played: any[];

  before(async function () {
    const helm = builtHelm();
    if (helm === undefined || chartVersion(path.join(directory, "trino")) !== charts.trino.version) {
      console.log(`      pending: no helm was built, or ${directory} does not hold trino ${charts.trino.version}`);
      return this.skip();
    }
    const evaluation = await evaluateStack("prod", { charts: directory });
    const release = releasesOf(evaluation).find(({ chart }) => chart === "trino") ?? assert.fail();
    const { kubernetesVersion } = evaluation.config.cluster;
    real = await renderRelease(release, { helm, charts: directory, kubernetesVersion, apiVersions: [] });
    played = objectsOf({ ...release, name: release.release });
  });

  it("makes the same objects", () => {
    assert.deepEqual(played.map(title).sort(), real.map(title).sort());
  });

  it("writes the same files", () => {
    for (const { metadata, data = {} } of played.filter(({ kind }) => kind === "ConfigMap")) {
      const upstream = real.find((one) => title(one) === `ConfigMap ${metadata.name}`);
      for (const [file, text] of Object.entries<string>(data)) {
        if (/^tpc/.test(file)) continue;
        assert.deepEqual(settings(text), settings(upstream.data[file]), `${metadata.name}: ${file}`);
      }
      assert.deepEqual(Object.keys(data).sort(), Object.keys(upstream.data ?? {}).sort());
    }
  });

  it("runs the same pods", () => {
    for (const { metadata, spec } of played.filter(({ kind }) => kind === "Deployment")) {
      const upstream = real.find((one) => title(one) === `Deployment ${metadata.name}`).spec;
      assert.deepEqual(upstream.selector, spec.selector);
      assert.equal(upstream.replicas, spec.replicas);
      for (const [label, value] of Object.entries(spec.template.metadata.labels)) {
        assert.equal(upstream.template.metadata.labels[label], value);
      }
      const [container, wanted] = [spec.template.spec, upstream.template.spec].map((pod) => pod.containers[0]);
      assert.match(wanted.image, new RegExp(`^${TRINO}:\\d+$`));
      for (const key of ["envFrom", "volumeMounts", "securityContext", "lifecycle", "resources"]) {
        assert.deepEqual(container[key] ?? {}, wanted[key] ?? {}, key);
      }
      for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
        assert.deepEqual({ successThreshold: 1, ...container[probe] }, wanted[probe], probe);
      }
      for (const key of ["volumes", "securityContext", "terminationGracePeriodSeconds", "serviceAccountName"]) {
        assert.deepEqual(spec.template.spec[key], upstream.template.spec[key], key);
      }
    }
  });
});

function title({ kind, metadata }: any): string {
  return `${String(kind)} ${String(metadata.name)}`;
}

/** The lines that mean something, without the agent that only the image has. */
function settings(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const setting = line.trim();
    return setting === "" || setting.startsWith("#") || setting.startsWith("-agentpath:") ? [] : [setting];
  });
}
