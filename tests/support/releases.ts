import * as fs from "node:fs";
import * as path from "node:path";
import { gunzipSync } from "node:zlib";

/** Directory with what each release left: the schema of its outputs, and the state of dev under the official plugin. */
export const RELEASES = path.join(__dirname, "..", "fixtures", "releases");

/** A resource of a state. */
export interface ReleasedResource {
  readonly urn: string;
  readonly type: string;
  readonly custom: boolean;
  readonly id?: string;
  readonly parent?: string;
  /** `<urn>::<id>` of its provider. */
  readonly provider?: string;
  readonly dependencies?: readonly string[];
  readonly protect?: boolean;
  readonly retainOnDelete?: boolean;
  readonly customTimeouts?: { readonly create?: string; readonly update?: string; readonly delete?: string };
  /** Only looked up, so that another one is looked up instead. */
  readonly external?: boolean;
  readonly inputs?: object;
}

/** The state of dev under a release, in which canaries stand for the secrets. */
export function releasedState(release: string): readonly ReleasedResource[] {
  const state = gunzipSync(fs.readFileSync(path.join(RELEASES, release, "state.dev.json.gz"))).toString();
  return (JSON.parse(state) as { deployment: { resources: ReleasedResource[] } }).deployment.resources;
}
