import * as fs from "node:fs";
import * as path from "node:path";
import { manifestFileName } from "../../components/base/chart-release";
import { type ChartPin, charts, manifests } from "../../components/base/versions";
import { temporaryDirectory } from "./temporary";

/** A chart directory, in JSON, which is YAML, with the least that the program reads: each chart's version, and one CRD in each manifest file. */
export function makeChartDirectory(): string {
  const directory = temporaryDirectory();
  for (const { chart, version, crds = [], crdFolder = "crds" } of Object.values<ChartPin>(charts)) {
    fs.mkdirSync(path.join(directory, chart));
    fs.writeFileSync(
      path.join(directory, chart, "Chart.yaml"),
      JSON.stringify({ apiVersion: "v2", name: chart, version }),
    );
    for (const name of crds) {
      fs.mkdirSync(path.join(directory, chart, crdFolder), { recursive: true });
      fs.writeFileSync(path.join(directory, chart, crdFolder, `${name}.yaml`), definition(name));
    }
  }
  for (const pin of Object.values(manifests)) {
    const group = `${path.posix.basename(pin.repository)}.test`;
    fs.writeFileSync(path.join(directory, manifestFileName(pin)), definition(`examples.${group}`));
  }
  return directory;
}

function definition(name: string): string {
  const crd = { apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition" };
  return JSON.stringify({ ...crd, metadata: { name }, spec: { group: name.replace(/^[^.]*\./, "") } });
}
