import { Datahub, type DatahubKeys } from "../../components/catalog/datahub";
import { Ingestion } from "../../components/catalog/ingestion";
import type { PlatformConfig } from "../config/schema";
import { needed } from "../config/needs";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Search } from "./search";
import type { Secrets } from "../config/secrets";
import { signOn } from "./sign-on";
import type { Sql } from "./sql";
import type { Streams } from "./streams";

/** DataHub and its ingestion. */
export function catalog(
  platform: PlatformConfig,
  secrets: Secrets,
  { postgres, kafka, elasticsearch, neo4j, trino, polaris }: Data & Streams & Search & Sql,
  { at, namespaces, chartDirectory, metrics, publicHost }: Foundation,
): { readonly datahub: Datahub | undefined } {
  const { datahub: config } = platform;
  if (config === undefined) return { datahub: undefined };
  const people = signOn(platform, "datahub", secrets);
  const { ingestion, ...sizes } = config;
  const namespace = namespaces["data-platform"];
  const keys: DatahubKeys = {
    administrator: secrets.get("datahubAdminPassword"),
    systemClient: secrets.get("datahubSystemClientSecret"),
    tokenSigning: secrets.get("datahubTokenSigningKey"),
    tokenSalt: secrets.get("datahubTokenSalt"),
    encryption: secrets.get("datahubEncryptionKey"),
    session: secrets.get("datahubSessionKey"),
  };
  const datahub = new Datahub(
    "datahub",
    {
      namespace,
      chartDirectory,
      store: needed(postgres).database("datahub"),
      streams: needed(kafka).login("datahub"),
      search: needed(elasticsearch).login("datahub"),
      ...(neo4j && { graph: neo4j.login() }),
      keys,
      publicHost: publicHost("datahub"),
      metrics,
      ...sizes,
      ...people,
    },
    at("datahub"),
  );
  if (ingestion !== undefined) {
    const { cpu, memoryMiB, ...settings } = ingestion;
    new Ingestion(
      "datahub-ingestion",
      {
        namespace,
        gms: datahub.gms,
        keys,
        // An `up` renews it each year. Never the time of an `up` itself, which would change the token every time.
        tokenExpires: new Date(Date.UTC(new Date().getUTCFullYear() + 2, 0)),
        sources: {
          postgres: needed(postgres).reader("ingestion"),
          kafka: needed(kafka).login("ingestion"),
          ...(trino && { trino: trino.endpoint }),
          ...(polaris && { iceberg: polaris.catalog("ingestion") }),
        },
        settings,
        ...(people.signOn && { groupRoles: people.signOn.roles }),
        size: { cpu, memoryMiB },
      },
      at("datahub"),
    );
  }
  return { datahub };
}
