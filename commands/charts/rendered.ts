import * as fs from "node:fs";
import * as path from "node:path";
import type { Manifest } from "../../rehearsal/operators/operator";
import type { DeclaredRelease } from "../../rehearsal/program/charts";
import { ROOT } from "../../rehearsal/program/evaluate";

/** What a real chart rendered, as far as the program depends on it: names, labels, ports, service accounts, images. */
export interface RenderedChart {
  readonly chart: string;
  readonly version: string;
  readonly objects: readonly Manifest[];
}

/** One file for each release: what `npm run charts:check -- --write` saw. */
export const RENDERED = path.join(ROOT, "tests", "fixtures", "charts");

/** Writes the fixture of a release. */
export function writeRendered({ release, chart, version }: DeclaredRelease, objects: readonly Manifest[]): void {
  const kept = objects.filter(({ kind }) => KINDS.includes(kind)).map((object) => reduced(object) as Manifest);
  // An object in each line: whoever reviews a new version sees what moved.
  const lines = kept.map((object) => JSON.stringify(object)).join(",\n");
  fs.mkdirSync(RENDERED, { recursive: true });
  const text = `{"chart":"${chart}","version":"${version}","objects":[\n${lines}\n]}\n`;
  fs.writeFileSync(path.join(RENDERED, `${release}.json`), text);
}

const WORKLOADS = [
  "Deployment",
  "StatefulSet",
  "DaemonSet",
  "Job",
  "CronJob",
  "Prometheus",
  "Alertmanager",
  "ClusterPolicy",
];
const KINDS = [...WORKLOADS, "Service", "ServiceAccount", "PersistentVolumeClaim", "CustomResourceDefinition"];

const OBJECT = [
  "apiVersion",
  "kind",
  "metadata",
  "name",
  "annotations",
  "helm.sh/hook",
  "helm.sh/resource-policy",
  "spec",
];
const PODS = ["template", "jobTemplate", "podMetadata", "serviceAccountName", "containers", "initContainers", "image"];
const PORTS = ["ports", "containerPort", "port", "targetPort", "type"];
/** Maps whose keys are the chart's own. */
const OPEN = ["labels", "selector", "matchLabels"];
const KEYS = [...OBJECT, ...PODS, ...PORTS, ...OPEN];

function reduced(value: unknown, isOpen = false): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => reduced(item));
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => isOpen || KEYS.includes(key));
  return Object.fromEntries(kept.map(([key, inner]) => [key, reduced(inner, OPEN.includes(key))]));
}
