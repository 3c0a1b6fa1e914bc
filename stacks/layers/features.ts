import * as path from "node:path";

/** The feature store's one project, and the folder that defines it: a team adds a view by adding to a file there. */
export const FEATURES = {
  project: "commodity_ml",
  repository: path.join(__dirname, "../..", "workloads", "commodity", "features"),
};
