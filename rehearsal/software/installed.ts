import * as fs from "node:fs";
import * as path from "node:path";

/** The directory of PostgreSQL's programs, the newest version that is installed. */
export function postgresBin(): string | undefined {
  const root = "/usr/lib/postgresql";
  if (!fs.existsSync(root)) return undefined;
  const versions = fs.readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions
    .map((version) => path.join(root, version, "bin"))
    .find((bin) => fs.existsSync(path.join(bin, "initdb")));
}

/**
 * The unpacked binary distribution of DolphinScheduler, where somebody has one: no registry that the tests install from
 * carries its servers.
 */
export function dolphinschedulerHome(): string | undefined {
  const home = process.env["CARBON_DOLPHINSCHEDULER"];
  return home !== undefined && fs.existsSync(path.join(home, "api-server")) ? home : undefined;
}
