/**
 * Runs in a checkout with its own code, which may be older than this: fills a directory with the charts that it pins, and writes
 * what its program makes of a stack. Arguments: the stack, overrides, the directory, that of the real charts, and the file to write.
 */
import * as fs from "node:fs";
import { createRequire } from "node:module";
import * as path from "node:path";
import type { Capacity } from "../../program/capacity";
import type { DeclaredRelease, FilledChart } from "../../program/charts";
import type { StackValues } from "../engine";

/** What a checkout's program makes of a stack. */
export interface Description {
  /** The value of `carbon:platform`. */
  readonly values: StackValues;
  readonly acknowledged: readonly string[];
  readonly kubernetesVersion: string;
  /** Number of resources, about. */
  readonly resources: number;
  readonly charts: readonly FilledChart[];
  readonly releases: readonly DeclaredRelease[];
  readonly capacity: Capacity;
  /** The system to which workloads belong, by their names. */
  readonly systems: Readonly<Record<string, string>>;
  /** Which system calls which; what only observes is left out. */
  readonly calls: readonly { readonly from: string; readonly to: string }[];
}

/** A description, or what is wrong with the stack's config. */
export type Described = { readonly description: Description } | { readonly fault: string };

async function describe(stack: string, overrides: string, directory: string, real: string): Promise<Described> {
  const load = createRequire(path.join(process.cwd(), "package.json"));
  const { overridden, readStackFile, evaluate } = load(
    "./rehearsal/program/evaluate",
  ) as typeof import("../../program/evaluate");
  const { releasesOf } = load("./rehearsal/program/charts") as typeof import("../../program/charts");
  const { capacity } = load("./rehearsal/program/capacity") as typeof import("../../program/capacity");
  const { demandOf } = load("./rehearsal/program/demand") as typeof import("../../program/demand");
  const { wiringOf } = load("./rehearsal/program/wiring") as typeof import("../../program/wiring");
  const { fillChartDirectory } = load("./rehearsal/simulation/charts") as typeof import("../charts");
  const { parseConfig } = load("./stacks/config/schema") as typeof import("../../../stacks/config/schema");

  const given = overridden(
    readStackFile(stack)["carbon:platform"],
    JSON.parse(overrides) as Record<string, string>,
  ) as StackValues;
  const values = { ...given, charts: { directory } };
  try {
    const config = parseConfig(values, `Pulumi.${stack}.yaml`);
    const charts = await fillChartDirectory(directory, stack, {
      ...config,
      charts: { directory: real === "" ? given.charts.directory : real },
    });
    const evaluation = await evaluate(stack, config);
    return {
      description: {
        values,
        charts,
        acknowledged: given.protection?.acknowledged ?? [],
        kubernetesVersion: config.cluster.kubernetesVersion,
        resources: evaluation.registrations.length,
        releases: releasesOf(evaluation),
        capacity: capacity(evaluation, config),
        systems: Object.fromEntries(demandOf(evaluation).groups.map(({ name, system }) => [name, system])),
        calls: wiringOf(evaluation).arrows.flatMap(({ from, to, observes }) => (observes ? [] : [{ from, to }])),
      },
    };
  } catch (error) {
    return { fault: (error as Error).message };
  }
}

if (require.main === module) {
  const [stack = "", overrides = "{}", directory = "", real = "", file = ""] = process.argv.slice(2);
  void describe(stack, overrides, directory, real).then((described) => {
    fs.writeFileSync(file, JSON.stringify(described));
    process.exit();
  });
}
