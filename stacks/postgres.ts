import { Postgres, type PostgresReader } from "../components/data/postgres";
import type { PlatformConfig } from "./config";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** PostgreSQL with the databases of all services, whatever is deployed: a system that is switched off finds its data again. */
export function postgresOf(
  { postgres: config, ...systems }: PlatformConfig,
  secrets: Secrets,
  { opts, namespaces, kubeApi, chartDirectory, storageClass, isProtected }: Foundation,
): Postgres | undefined {
  if (config === undefined) return undefined;
  const { operator, setup, volume, ...server } = config;
  return new Postgres(
    "postgres",
    {
      namespace: namespaces["data-platform"],
      operatorNamespace: namespaces["cnpg-system"],
      chartDirectory,
      kubeApi,
      instances: server.instances,
      size: server,
      operatorSize: operator,
      volume: { storageClass, ...volume },
      passwords: {
        mlflow: secrets.get("postgresMlflowPassword"),
        feast: secrets.get("postgresFeastPassword"),
        superset: secrets.get("postgresSupersetPassword"),
        datahub: secrets.get("postgresDatahubPassword"),
        dolphinscheduler: secrets.get("postgresDolphinschedulerPassword"),
        polaris: secrets.get("postgresPolarisPassword"),
      },
      readers: readersOf(systems, secrets),
      setupSize: setup,
      protect: isProtected("postgres"),
    },
    opts,
  );
}

/** Who reads DataHub's database besides DataHub. */
function readersOf(systems: Omit<PlatformConfig, "postgres">, secrets: Secrets): Record<string, PostgresReader> {
  const database = "datahub";
  return {
    ...("trino" in systems && { trino: { database, password: secrets.get("postgresTrinoReaderPassword") } }),
    ...("datahub" in systems && { ingestion: { database, password: secrets.get("postgresIngestionReaderPassword") } }),
    ...("superset" in systems && { superset: { database, password: secrets.get("postgresSupersetReaderPassword") } }),
  };
}
