import * as path from "node:path";

/** The feature store's only project, and the directory with its definitions, to which teams add views. */
export const FEATURES = {
  project: "commodity_ml",
  repository: path.join(__dirname, "../..", "workloads", "commodity", "features"),
};
