import { Polaris } from "../components/analytics/polaris";
import { Trino } from "../components/analytics/trino";
import type { Sources } from "../components/analytics/trino/catalogs";
import type { PlatformConfig } from "./config";
import { needed } from "./config/needs";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** SQL over what the platform keeps, and the catalog of the tables that are files. */
export interface Sql {
  readonly polaris: Polaris | undefined;
  readonly trino: Trino | undefined;
}

/** What Trino queries besides the tables of the catalog. */
export type OtherSources = Pick<Sources, "postgres" | "elasticsearch" | "kafka">;

/** Polaris, and Trino with a catalog for each system that is there. */
export function sql(
  config: PlatformConfig,
  secrets: Secrets,
  stores: Data,
  others: OtherSources,
  ground: Foundation,
): Sql {
  const polaris = polarisOf(config.polaris, secrets, stores, ground);
  return { polaris, trino: trinoOf(config.trino, secrets, { ...others, ...icebergOf(polaris, stores) }, ground) };
}

function polarisOf(
  config: PlatformConfig["polaris"],
  secrets: Secrets,
  stores: Data,
  { opts, namespaces, chartDirectory, metrics }: Foundation,
): Polaris | undefined {
  if (config === undefined) return undefined;
  const { replicas, setup, ...size } = config;
  return new Polaris(
    "polaris",
    {
      namespace: namespaces["data-platform"],
      chartDirectory,
      store: needed(stores.postgres).database("polaris"),
      warehouse: needed(stores.objectStore).bucket("iceberg-warehouse"),
      replicas,
      size,
      setupSize: setup,
      rootSecret: secrets.get("polarisRootSecret"),
      tokenKey: secrets.get("polarisTokenKey"),
      clients: {
        trino: { secret: secrets.get("polarisTrinoSecret"), access: "write" },
        ingestion: { secret: secrets.get("polarisIngestionSecret"), access: "read" },
      },
      metrics,
    },
    opts,
  );
}

function icebergOf(polaris: Polaris | undefined, { objectStore }: Data): Pick<Sources, "iceberg"> {
  if (polaris === undefined) return {};
  return { iceberg: { catalog: polaris.catalog("trino"), store: needed(objectStore).store } };
}

function trinoOf(
  config: PlatformConfig["trino"],
  secrets: Secrets,
  sources: Sources,
  { opts, namespaces, chartDirectory, metrics }: Foundation,
): Trino | undefined {
  if (config === undefined) return undefined;
  return new Trino(
    "trino",
    {
      namespace: namespaces["data-platform"],
      chartDirectory,
      ...config,
      sources,
      sharedSecret: secrets.get("trinoSharedSecret"),
      metrics,
    },
    opts,
  );
}
