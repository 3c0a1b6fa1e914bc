import type { Manifest } from "../../operators/operator";
import type { FilledChart } from "../../program/charts";
import { RenderError, renderRelease } from "../helm-template";
import { type Field, leaves } from "./changes";
import type { Description } from "./describe";

/** What a program installs, and the directory of its charts. */
export interface Installed {
  readonly description: Description;
  readonly charts: string;
}

/** A chart in another version, or another chart. */
export interface ChartChange {
  readonly name: string;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  /** What its objects become; undefined where there are only stand-ins. */
  readonly objects?: readonly ObjectChange[] | undefined;
  /** Why the objects are not compared. */
  readonly notChecked?: string;
}

/** An object of a chart. */
export interface ObjectChange {
  readonly title: string;
  readonly what: "created" | "updated" | "deleted";
  readonly fields: readonly Field[];
}

/** The charts of which a stack installs another version. */
export async function chartChanges(before: Installed, after: Installed, helm: string): Promise<ChartChange[]> {
  const of = ({ description }: Installed, name: string) => description.charts.find((chart) => chart.name === name);
  const names = [...before.description.charts, ...after.description.charts].map(({ name }) => name);
  const changed = [...new Set(names)].filter((name) => of(before, name)?.version !== of(after, name)?.version);
  return Promise.all(
    changed.map(async (name) => {
      const [old, now] = [of(before, name), of(after, name)];
      const versions = { name, before: old?.version, after: now?.version };
      const standIn = standInOf(old, "before") ?? standInOf(now, "after");
      if (standIn !== undefined) return { ...versions, notChecked: standIn };
      try {
        const [was, is] = await Promise.all([rendered(before, name, helm), rendered(after, name, helm)]);
        return { ...versions, objects: compared(was, is) };
      } catch (error) {
        if (!(error instanceof RenderError)) throw error;
        return { ...versions, notChecked: `helm says: ${error.message}` };
      }
    }),
  );
}

function standInOf(chart: FilledChart | undefined, when: string): string | undefined {
  return chart?.source === "stand-in" ? `only a stand-in for the chart ${when} is at hand` : undefined;
}

async function rendered(
  { description, charts }: Installed,
  chart: string,
  helm: string,
): Promise<Map<string, Manifest>> {
  const { releases, kubernetesVersion } = description;
  const own = releases.filter((release) => release.chart === chart);
  const objects = await Promise.all(
    own.map(async (release) => {
      const made = await renderRelease(release, { helm, charts, kubernetesVersion, apiVersions: [] });
      return made.map(
        (one) => [`${one.kind} ${one.metadata.namespace ?? release.namespace}/${one.metadata.name}`, one] as const,
      );
    }),
  );
  return new Map(objects.flat());
}

function compared(before: ReadonlyMap<string, Manifest>, after: ReadonlyMap<string, Manifest>): ObjectChange[] {
  return [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((title): ObjectChange[] => {
    const [was, is] = [before.get(title), after.get(title)];
    if (was === undefined) return [{ title, what: "created", fields: [] }];
    if (is === undefined) return [{ title, what: "deleted", fields: [] }];
    const fields = leaves("", was, is).filter(({ field }) => !VERSION_LABELS.test(field));
    return fields.length === 0 ? [] : [{ title, what: "updated", fields }];
  });
}

// Each object has them, and they say what the version says.
const VERSION_LABELS = /labels\["?(helm\.sh\/chart|app\.kubernetes\.io\/version)"?\]|labels\.chart$/;
