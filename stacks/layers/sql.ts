import * as pulumi from "@pulumi/pulumi";
import { Polaris } from "../../components/analytics/polaris";
import { Trino } from "../../components/analytics/trino";
import type { OtherSource, Sources } from "../../components/analytics/trino/catalogs";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import { WAREHOUSE } from "../config/own-names";
import { tenantGrants } from "../config/tenants";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Search } from "./search";
import type { Secrets } from "../config/secrets";
import type { Streams } from "./streams";

/** The SQL engine, and the catalog of Iceberg tables. */
export interface Sql {
  readonly polaris: Polaris<"trino" | "ingestion"> | undefined;
  readonly trino: Trino | undefined;
}

/** Polaris, and Trino with a catalog for each deployed system. */
export function sql(
  config: PlatformConfig,
  secrets: Secrets,
  stores: Data & Streams & Pick<Search, "elasticsearch">,
  ground: Foundation,
): Sql {
  const polaris = polarisOf(config, secrets, stores, ground);
  return { polaris, trino: config.trino && trinoOf(config.trino, secrets, sources(config.trino), ground) };

  function sources({ catalogs }: NonNullable<PlatformConfig["trino"]>): Sources {
    const { kafka, elasticsearch } = stores;
    return {
      ...(polaris && {
        iceberg: {
          catalog: polaris.catalog("trino"),
          store: needed(stores.objectStore).bucket(WAREHOUSE, "trino").store,
        },
      }),
      ...(stores.postgres && { postgres: stores.postgres.reader("trino") }),
      ...(elasticsearch && { elasticsearch: elasticsearch.login("trino") }),
      others: Object.fromEntries(
        Object.entries(catalogs).map(([name, catalog]) => [name, otherSource(name, catalog, secrets)]),
      ),
      ...(kafka && { kafka: { cluster: kafka.login("trino"), topics: Object.keys(config.kafka?.topics ?? {}) } }),
    };
  }
}

type OtherCatalog = NonNullable<PlatformConfig["trino"]>["catalogs"][string];

function otherSource(
  name: string,
  { properties, secrets: names, reaches }: OtherCatalog,
  secrets: Secrets,
): OtherSource {
  const value = (property: string) =>
    secrets.get("trinoCatalogPassword").apply((text) => {
      if (!text.startsWith("{")) return text;
      const found = passwords(text)[name]?.[property];
      if (typeof found === "string") return found;
      throw new pulumi.RunError(
        `carbon:trinoCatalogPassword: has no text at ${name}.${property}, which trino.catalogs names; add it`,
      );
    });
  return { properties, secrets: Object.fromEntries(names.map((property) => [property, value(property)])), reaches };
}

function passwords(text: string): Record<string, Record<string, unknown> | undefined> {
  try {
    return JSON.parse(text) as Record<string, Record<string, unknown>>;
  } catch {
    throw new pulumi.RunError("carbon:trinoCatalogPassword: begins with { and is no JSON; correct it");
  }
}

function polarisOf(
  platform: PlatformConfig,
  secrets: Secrets,
  stores: Data,
  { at, namespaces, chartDirectory, metrics }: Foundation,
): Sql["polaris"] {
  if (platform.polaris === undefined) return undefined;
  const { replicas, setup, ...size } = platform.polaris;
  return new Polaris(
    "polaris",
    {
      namespace: namespaces["data-platform"],
      chartDirectory,
      store: needed(stores.postgres).database("polaris"),
      warehouse: needed(stores.objectStore).bucket(WAREHOUSE, "polaris"),
      replicas,
      size,
      setupSize: setup,
      rootSecret: secrets.get("polarisRootSecret"),
      tokenKey: secrets.get("polarisTokenKey"),
      clients: {
        trino: { secret: secrets.get("polarisTrinoSecret"), access: "write" },
        ingestion: { secret: secrets.get("polarisIngestionSecret"), access: "read" },
        ...Object.fromEntries(
          tenantGrants(platform, "catalog").map(({ user, name: schema }) => [
            user,
            { secret: secrets.ofTenant(user), access: { schema } },
          ]),
        ),
      },
      metrics,
    },
    at("polaris"),
  );
}

function trinoOf(
  config: NonNullable<PlatformConfig["trino"]>,
  secrets: Secrets,
  sources: Sources,
  { at, namespaces, chartDirectory, metrics }: Foundation,
): Trino {
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
    at("trino"),
  );
}
