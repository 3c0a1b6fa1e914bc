import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import * as path from "node:path";
import { parseAllDocuments } from "yaml";
import type { Definition } from "../operators/crds";
import type { Manifest } from "../operators/operator";
import type { DeclaredRelease } from "../program/charts";
import { plain } from "../program/values";

/** How to render charts, and for which cluster. */
export interface Renderer {
  readonly helm: string;
  /** Directory with one folder for each chart. */
  readonly charts: string;
  readonly kubernetesVersion: string;
  /** What the cluster serves besides Kubernetes' own APIs, from {@link apiVersions}. */
  readonly apiVersions: readonly string[];
}

/** Helm's error when it cannot render a chart. */
export class RenderError extends Error {}

/** Every object that an installation makes, including hooks but not the CRDs in `crds/`; throws a {@link RenderError}. */
export async function renderRelease(release: DeclaredRelease, renderer: Renderer): Promise<Manifest[]> {
  const { helm, charts, kubernetesVersion, apiVersions } = renderer;
  const child = spawn(helm, [
    ...["template", release.release, path.join(charts, release.chart), "--values", "-", "--skip-tests"],
    ...["--namespace", release.namespace, "--kube-version", kubernetesVersion],
    ...apiVersions.flatMap((version) => ["--api-versions", version]),
  ]);
  const closed = new Promise<number | null>((resolve, reject) => child.once("close", resolve).once("error", reject));
  child.stdin.end(JSON.stringify(release.values));
  const [output, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  if (code !== 0) throw new RenderError(reason(errors));
  return manifestsOf(output);
}

/** Helm's error without warnings and hints. */
function reason(errors: string): string {
  const [, ...said] = errors.split(/^Error: /m);
  const text = said.join("").replace("Use --debug flag to render out invalid YAML", "");
  return (text || errors).trim().replaceAll(/\s*\n\s*/g, " ");
}

/** Parses YAML documents: flattens lists and drops empty documents. */
function manifestsOf(yaml: string): Manifest[] {
  const documents = parseAllDocuments(yaml).map((document) => document.toJS() as Manifest | null);
  return documents.flatMap((object) => {
    if (object === null) return [];
    const set = plain(object) as Manifest;
    return set.kind.endsWith("List") && Array.isArray(set["items"]) ? (set["items"] as Manifest[]) : [set];
  });
}

/** The API versions of CRDs, as charts test for them: `<group>/<version>` and `<group>/<version>/<Kind>`. */
export function apiVersions(definitions: readonly Manifest[]): string[] {
  const all = (definitions as readonly Definition[]).flatMap(({ spec: { group, names, versions } }) => {
    const served = versions.filter((version) => version.served).map(({ name }) => `${group}/${name}`);
    return served.flatMap((version) => [version, `${version}/${names.kind}`]);
  });
  return [...new Set(all)].sort();
}
