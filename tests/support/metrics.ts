import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";

/** Where the names and labels of metrics lie, one file for each exporter: as it exported them, or else by its documents or sources. */
export const METRIC_FIXTURES = path.join(ROOT, "tests/fixtures/metrics");

/** What an exporter says about itself: per metric the labels that it may have. */
export type Exported = ReadonlyMap<string, ReadonlySet<string>>;

/** The metrics of what `/metrics` answered: their names and labels, without values. */
export function exported(text: string): Exported {
  const metrics = new Map<string, Set<string>>();
  for (const line of text.split("\n")) {
    const [, name, labels = ""] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?/.exec(line) ?? [];
    if (name === undefined) continue;
    const known = metrics.get(name) ?? new Set();
    // A label's value may hold anything but an unescaped quotation mark; a fixture has none.
    for (const [, label = ""] of labels.matchAll(/(\w+)(?:="(?:[^"\\]|\\.)*")?(?:,|$)/g)) known.add(label);
    metrics.set(name, known);
  }
  return metrics;
}

/** Metrics as a fixture has them: one line for each, sorted. */
export function fixtureOf(metrics: Exported): string {
  const lines = [...metrics].map(([name, labels]) =>
    labels.size === 0 ? name : `${name}{${[...labels].sort().join()}}`,
  );
  return `${lines.sort().join("\n")}\n`;
}

/** What a fixture holds. */
export function fixture(name: string): Exported {
  return exported(fs.readFileSync(path.join(METRIC_FIXTURES, `${name}.txt`), "utf8"));
}
