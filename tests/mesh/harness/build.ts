import * as path from "node:path";
import { ensureTools, pinned, type ToolSet } from "../../../rehearsal/simulation/toolchain";
import { moduleFolder } from "../../../rehearsal/simulation/toolchain/build";

const ISTIO = "istio.io/istio";
const DIRECTORY = path.resolve(__dirname, "..");

/** The commit that is built: the module proxy serves no release of Istio, whose tags are none for Go. */
export const builtIstiod = pinned(ISTIO, DIRECTORY);

const ISTIOD: ToolSet = {
  owner: "the mesh's tests",
  directory: DIRECTORY,
  tools: [
    // Seconds on two cores.
    { name: "pilot-discovery", package: `${ISTIO}/pilot/cmd/pilot-discovery`, ldflags: "-s -w", seconds: 270 },
  ],
};

/** The real istiod, and its chart of the same commit. */
export interface Built {
  readonly binary: string;
  /** Directory with one folder for each chart. */
  readonly charts: string;
}

/** Builds istiod, and takes its chart from the same module. */
export async function ensureIstiod(progress: (line: string) => void): Promise<Built> {
  const bin = await ensureTools(ISTIOD, progress);
  const charts = await moduleFolder(bin, DIRECTORY, ISTIO, "manifests/charts/istio-control");
  return { binary: path.join(bin, "pilot-discovery"), charts };
}
