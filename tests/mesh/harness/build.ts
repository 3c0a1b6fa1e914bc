import * as fs from "node:fs";
import * as path from "node:path";
import { ensureTools, pinned, type ToolSet } from "../../../rehearsal/simulation/toolchain";
import { moduleSource } from "../../../rehearsal/simulation/toolchain/build";

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
  const charts = path.join(bin, "charts");
  if (!fs.existsSync(charts)) {
    const work = fs.mkdtempSync(path.join(bin, ".charts-"));
    const copied = path.join(work, "charts");
    const source = await moduleSource(DIRECTORY, ISTIO, work);
    fs.cpSync(path.join(source, "manifests", "charts", "istio-control"), copied, { recursive: true });
    fs.renameSync(copied, charts);
    fs.rmSync(work, { recursive: true });
  }
  return { binary: path.join(bin, "pilot-discovery"), charts };
}
