import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";

/** Every file of alerts: each lies beside the component that it watches. */
export const ALERTS = fs
  .readdirSync(path.join(ROOT, "components"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".alerts.yaml"))
  .map((file) => path.join(ROOT, "components", file));
