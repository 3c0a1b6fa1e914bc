import * as fs from "node:fs";
import * as path from "node:path";
import { type AlertRule, alertFiles, type Placeholders } from "../../components/observability/ml-monitoring";
import { ROOT } from "../../rehearsal/program/evaluate";
import { Monitoring } from "../../stacks/config/observability";

/** Every file of alerts: each lies beside the component that it watches. */
export const ALERTS = fs
  .readdirSync(path.join(ROOT, "components"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".alerts.yaml"))
  .map((file) => path.join(ROOT, "components", file));

/** What rules and panels are filled with in tests, with the objectives that a stack has by default. */
export const PLACEHOLDERS: Placeholders = {
  namespace: "data-platform",
  rayWorkersMin: [{ cluster: "ray", component: "worker", min: 2 }],
  applications: ["commodity"],
  objectives: Monitoring.shape.objectives.parse({}),
};

/** Every rule, filled. */
export const RULES = alertFiles(PLACEHOLDERS, ALERTS).flatMap(({ groups }) => groups.flatMap(({ rules }) => rules));

/** Those that are alerts. */
export const ALERT_RULES = RULES.filter((rule): rule is AlertRule => "alert" in rule);
