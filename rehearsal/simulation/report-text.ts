import { bytes, cores } from "../program/quantity";
import { isBytes, written } from "../program/units";
import { bad, faint, verdict } from "./colours";
import { chartSummary, type Report } from "./report";
import { bar, table } from "./tables";

const NOT_SHOWN = [
  "containers do not run: no images are pulled, no probes are called, and Jobs do no work",
  "operators are simulated from the specs of their custom resources; webhooks are not called",
  "network policies are stored but not enforced; there is no traffic, DNS or certificates",
  "volumes are objects without a disk",
];

/** Formats the report for people: faults, what it took, what is left, and the verdict; volumes and endpoints with `all`. */
export function render(report: Report, all: boolean, width?: number): string {
  const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]) => `${table(head, rows, width)}\n`;
  const { charts, volumes, outputs } = report;
  const upstream = charts.filter(({ source }) => source === "upstream").length;
  const standIns = `${charts.length - upstream} stand-ins${all ? "" : " (--all)"}`;
  const endpoints = endpointRows(outputs);
  return [
    tableOf(
      [`rehearsal of ${report.stack}`, ""],
      resultRows(report, all ? chartSummary(charts) : `${upstream} of upstream, ${standIns}`),
    ),
    tableOf(
      ["quota", "used", "of", ""],
      report.quotas
        .filter(({ share }) => share > 0)
        .map(({ name, resource, used, hard, share }) => [
          `${name}, ${resource}`,
          ...[used, hard].map((quantity) => written(resource, (isBytes(resource) ? bytes : cores)(quantity))),
          bar(share),
        ]),
    ),
    tableOf(
      ["node", "pods", "CPU requested", "memory requested", "GPUs"],
      report.nodes.map((n) => [n.name, `${n.pods}`, share(n.cpu, "cores"), share(n.memoryGiB, "GiB"), gpus(n.gpus)]),
    ),
    tableOf(
      ["if lost now", "fit nowhere else", "wait for its volumes", "lose their quorum"],
      report.lostNodes.map((n) => [n.name, list(n.homeless, all), list(n.stranded, all), list(n.brokenQuorums, all)]),
    ),
    ...(all
      ? [
          tableOf(
            ["volume", "size", "on node"],
            volumes.map((v) => [v.claim, `${v.sizeGiB} GiB`, v.node || "–"]),
          ),
          tableOf(["endpoint", "inside the cluster"], endpoints),
          `What a rehearsal cannot show:\n${NOT_SHOWN.map((line) => `  - ${line}`).join("\n")}\n`,
        ]
      : [
          faint(
            `… and ${volumes.length} volumes, ${endpoints.length} endpoints, and what a rehearsal cannot show (--all)\n`,
          ),
        ]),
    ...report.faults.map((fault) => bad(`✗ ${fault}`)),
    ...(report.envFile === undefined ? [] : [kept(report.envFile, report.stack)]),
    conclusion(report),
  ].join("\n");
}

function resultRows(report: Report, charts: string): string[][] {
  const { pods, claims, seconds, secondUp, kubernetes } = report;
  return [
    ["resources", `${report.resources} in ${seconds.up} s (${seconds.perResource} s each)`],
    ["pods, claims", `${pods.ready} of ${pods.total} Ready or done, ${claims.bound} of ${claims.total} bound`],
    ["second up", secondUp === null ? "not run" : `${secondUp.changes} changes in ${seconds.secondUp} s`],
    ["time, memory", `${seconds.total} s (tools ${seconds.tools} s), ${report.peakMemoryMiB ?? "unknown"} MiB at most`],
    ["Kubernetes", `${kubernetes.simulated} simulated, ${kubernetes.declared} declared; plugin: ${report.plugin}`],
    ["cert-manager", report.certManager],
    ["charts", charts],
  ];
}

function conclusion({ stack, ok, faults, resources, pods }: Report): string {
  if (!ok)
    return verdict("failed", `${stack} has ${faults.length} fault(s). Next: correct the first, and rehearse again`);
  const found = `${resources} resources, ${pods.ready} pods ready, nothing left to change`;
  return verdict("ok", `${stack} works: ${found}. Next: npx pulumi preview -s ${stack}`);
}

function kept(envFile: string, stack: string): string {
  return [
    "The rehearsal is still running. To use it, run in this directory:",
    `  source ${envFile}`,
    `  npx pulumi preview -s ${stack}    # reads Pulumi.${stack}.yaml anew each time`,
    `To end it: npm run rehearse -- --stack ${stack} --down`,
    "",
  ].join("\n");
}

function endpointRows(outputs: unknown, prefix = ""): string[][] {
  if (typeof outputs !== "object" || outputs === null) return [];
  return Object.entries(outputs).flatMap(([key, value]) => {
    const name = prefix === "" ? key : `${prefix}.${key}`;
    const { url } = (value ?? {}) as { url?: unknown };
    return typeof url === "string" ? [[name, url]] : endpointRows(value, name);
  });
}

function share({ requested, allocatable }: { requested: number; allocatable: number }, unit: string): string {
  return `${bar(requested / Math.max(allocatable, 1e-9))}, ${requested} of ${allocatable} ${unit}`;
}

function gpus({ requested, allocatable }: { requested: number; allocatable: number }): string {
  return allocatable === 0 ? "–" : `${requested} of ${allocatable}`;
}

const LISTED = 8;

function list(names: readonly string[], all: boolean): string {
  if (names.length === 0) return "–";
  const more = all ? 0 : names.length - LISTED;
  return more > 1 ? `${names.slice(0, LISTED).join(", ")} and ${more} more` : names.join(", ");
}
