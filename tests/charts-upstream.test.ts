import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import type { DeclaredWorkload } from "../components/base/chart-release";
import { charts } from "../components/base/versions";
import {
  chartVersion,
  type DeclaredRelease,
  evaluateStack,
  releasesOf,
  type StackEvaluation,
} from "../rehearsal/charts";
import { ROOT, stackConfig } from "../rehearsal/evaluate";
import { builtHelm } from "../rehearsal/toolchain";
import { podFaults, quantity } from "./support/pod-rules";

// Where the charts lie that `npm run charts:pull` fetched; CARBON_CHARTS names another directory.
const directory = path.resolve(ROOT, process.env["CARBON_CHARTS"] ?? stackConfig("prod").charts.directory);

for (const { chart, version } of Object.values(charts)) {
  describe(`the chart ${chart} as upstream published it`, function () {
    this.timeout(60_000);
    let release: DeclaredRelease;
    let objects: any[];

    before(async function () {
      const helm = builtHelm();
      if (helm === undefined || chartVersion(path.join(directory, chart)) !== version) {
        const missing = helm === undefined ? "no helm was built" : `${directory} does not hold ${version}`;
        console.log(`      pending: ${missing}`);
        return this.skip();
      }
      const evaluation = await evaluateStack("prod", { charts: directory });
      const found = releasesOf(evaluation).find((one) => one.chart === chart);
      if (found === undefined) {
        console.log("      pending: prod does not install it");
        return this.skip();
      }
      release = found;
      objects = rendered(helm, evaluation, found);
    });

    it("runs what the program declares, and nothing else", () => {
      const kinds = ["Deployment", "StatefulSet", "DaemonSet"];
      const real = objects.filter(({ kind }) => kinds.includes(kind)).map(asDeclared);
      const custom = objects.filter(({ kind }) => kind in OPERATED).map((one) => OPERATED[one.kind]?.(one));
      const declared = release.declares.workloads.map(({ kind, name, serviceAccount }) => ({
        kind,
        name,
        serviceAccount,
      }));
      const names = [...real, ...custom].map(({ kind, name, serviceAccount }: any) => ({ kind, name, serviceAccount }));
      assert.deepEqual(names.sort(byName), declared.sort(byName));
      for (const { name, labels, selector, size, replicas } of real) {
        const own = release.declares.workloads.find((one) => one.name === name);
        assert.ok(own);
        for (const [key, value] of Object.entries(own.labels)) assert.equal(labels[key], value, `${name}: ${key}`);
        for (const key of Object.keys(own.labels)) assert.ok(key in selector, `${name} is not selected by ${key}`);
        assert.equal(replicas ?? own.replicas, own.replicas, name);
        assert.deepEqual(size, sizeOf(own), name);
      }
    });

    it("has the Services that the program declares, on their ports", () => {
      for (const { name, port } of release.declares.services) {
        const service = objects.find(({ kind, metadata }) => kind === "Service" && metadata.name === name);
        assert.ok(
          service?.spec.ports.some((one: any) => one.port === port),
          `${name}:${port}`,
        );
      }
    });

    it("brings no Secret, no hook and only the CRDs that were asked for", () => {
      const hooks = objects.filter(({ metadata }) => metadata.annotations?.["helm.sh/hook"] !== undefined);
      const secrets = objects.filter(({ kind }) => kind === "Secret");
      assert.deepEqual(
        [...hooks, ...secrets].map(({ kind, metadata }) => `${String(kind)} ${String(metadata.name)}`),
        [],
      );
      const crds = objects.filter(({ kind }) => kind === "CustomResourceDefinition");
      assert.deepEqual(crds.map(({ metadata }) => metadata.name).sort(), [...release.declares.crds].sort());
    });

    it("runs pods that Pod Security restricted admits: only the node exporter looks at its node", () => {
      const faults = objects
        .filter(({ spec }) => spec?.template?.spec?.containers !== undefined)
        .flatMap(({ metadata, spec }) =>
          podFaults(spec.template, { longRunning: false })
            // A chart's pods may talk to the API server, and not every chart takes a priority.
            .filter((fault) => fault !== "mounts a token" && fault !== "has no priority")
            .map((fault) => `${String(metadata.name)}: ${fault}`),
        );
      assert.deepEqual(faults, NOT_RESTRICTED[chart] ?? []);
    });
  });
}

const EXPORTER = "kube-prometheus-stack-prometheus-node-exporter";
const NOT_RESTRICTED: Readonly<Record<string, readonly string[]>> = {
  "kube-prometheus-stack": [
    `${EXPORTER}: shares a namespace of the host`,
    ...["proc", "sys", "root"].map((volume) => `${EXPORTER}: volume ${volume} is a hostPath`),
    `${EXPORTER}: node-exporter has no seccomp profile`,
  ],
};

/** The StatefulSets that the prometheus-operator makes of its custom resources. */
const OPERATED: Readonly<Record<string, (object: any) => object>> = Object.fromEntries(
  ["Prometheus", "Alertmanager"].map((kind) => [
    kind,
    ({ metadata, spec }: any) => ({
      kind: "StatefulSet",
      name: `${kind.toLowerCase()}-${String(metadata.name)}`,
      serviceAccount: spec.serviceAccountName,
    }),
  ]),
);

function rendered(
  helm: string,
  { registrations, config }: StackEvaluation,
  { release, chart }: DeclaredRelease,
): any[] {
  const found = registrations.find(({ type, name }) => type === "kubernetes:helm.sh/v3:Release" && name === release);
  assert.ok(found);
  const { namespace, values } = found.inputs as { namespace: string; values: object };
  const target = ["--namespace", namespace, "--kube-version", config.cluster.kubernetesVersion];
  const text = execFileSync(helm, ["template", release, path.join(directory, chart), "--values", "-", ...target], {
    input: JSON.stringify(values),
    encoding: "utf8",
    maxBuffer: 64 * 1024 ** 2,
  });
  return parseAllDocuments(text).flatMap((document) => document.toJS() ?? []);
}

function asDeclared({ kind, metadata, spec }: any) {
  const { metadata: pod, spec: podSpec } = spec.template;
  const sum = (part: string, resource: string): number =>
    podSpec.containers.reduce((all: number, one: any) => all + quantity(one.resources?.[part]?.[resource]), 0);
  return {
    kind: kind as string,
    name: metadata.name as string,
    labels: pod.labels as Record<string, string>,
    selector: spec.selector.matchLabels as Record<string, string>,
    serviceAccount: podSpec.serviceAccountName as string,
    replicas: spec.replicas as number | undefined,
    size: ["requests", "limits"].map((part) => [rounded(sum(part, "cpu")), sum(part, "memory")]),
  };
}

function sizeOf({ size: { cpu, memoryMiB } }: DeclaredWorkload): number[][] {
  return [
    [rounded(cpu.request), memoryMiB.request * 2 ** 20],
    [rounded(cpu.limit), memoryMiB.limit * 2 ** 20],
  ];
}

// Sums in binary come to 0.12000000000000001.
function rounded(cores: number): number {
  return Math.round(cores * 1000) / 1000;
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name.localeCompare(b.name);
}
