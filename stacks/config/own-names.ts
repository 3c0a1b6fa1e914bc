import type { PodSecurityLevel } from "../../components/base/pod";

// What the platform itself has, and tenants may not take.

/** The namespaces, with the Pod Security level of each. */
export const NAMESPACES = {
  "data-platform": "restricted",
  "ray-system": "restricted",
  monitoring: "restricted",
  // Reads the node's own file systems and network.
  "node-exporter": "privileged",
  gateway: "restricted",
  // The mesh's agents set up the network of a node's pods.
  "istio-system": "privileged",
  // Loads drivers into the node's kernel.
  "gpu-operator": "privileged",
  "cert-manager": "restricted",
  "metrics-server": "restricted",
  // Makes directories of nodes, for volumes.
  "local-path-storage": "privileged",
  "cnpg-system": "restricted",
  "strimzi-system": "restricted",
  "elastic-system": "restricted",
} as const satisfies Record<string, PodSecurityLevel>;

/** The bucket of the Iceberg tables. */
export const WAREHOUSE = "iceberg-warehouse";

/** The buckets of systems, regardless of what is deployed: a system that is switched off finds its data again. */
export const BUCKETS = [
  "mlflow-artifacts",
  "ray-applications",
  "feast-offline",
  WAREHOUSE,
  "dolphinscheduler",
] as const;

/** The bucket that only PostgreSQL uses, and its user. */
export const BACKUPS = "postgres-backups";

/** The databases of systems, regardless of what is deployed. */
export const DATABASES = ["mlflow", "feast", "superset", "datahub", "dolphinscheduler", "polaris"] as const;
