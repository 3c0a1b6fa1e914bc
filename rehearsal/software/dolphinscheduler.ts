import * as fs from "node:fs";
import * as path from "node:path";

/**
 * The unpacked binary distribution of DolphinScheduler, where somebody has one: no registry that the tests install from
 * carries its servers.
 */
export function dolphinschedulerHome(): string | undefined {
  const home = process.env["CARBON_DOLPHINSCHEDULER"];
  return home !== undefined && fs.existsSync(path.join(home, "api-server")) ? home : undefined;
}
