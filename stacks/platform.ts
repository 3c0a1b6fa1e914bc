import { bi } from "./bi";
import type { PlatformConfig } from "./config";
import { catalog } from "./catalog";
import { data } from "./data";
import { foundation } from "./foundation";
import { legacyNames } from "./legacy-names";
import { ml } from "./ml";
import { observability } from "./observability";
import type { PlatformOutputs } from "./outputs";
import { publish } from "./publish";
import { search } from "./search";
import { Secrets } from "./secrets";
import { streams } from "./streams";
import { sql } from "./sql";
import { verification } from "./verification";
import { workflows } from "./workflows";

/** The whole platform: layer after layer, each given what the ones below hand over. */
export function platform(config: PlatformConfig): PlatformOutputs {
  const secrets = new Secrets("secrets", config.secrets.required);
  const ground = foundation(config);
  const stores = data(config, secrets, ground);
  const kafka = streams(config, secrets, ground);
  const { elasticsearch, neo4j } = search(config, secrets, ground);
  const models = ml(config, secrets, stores, ground);
  const { polaris, trino } = sql(config, secrets, stores, { kafka, elasticsearch }, ground);
  const datahub = catalog(
    config.datahub,
    secrets,
    { ...stores, kafka, elasticsearch, neo4j, trino: trino?.endpoint, iceberg: polaris?.catalog("ingestion") },
    ground,
  );
  const superset = bi(config, secrets, stores, { trino: trino?.endpoint }, ground);
  const dolphinscheduler = workflows(
    config,
    secrets,
    stores,
    { mlflow: models.mlflow?.tracking, feast: models.feast?.http, trino: trino?.endpoint },
    ground,
  );
  const watch = observability(config, secrets, models, ground);
  verification(config, models, watch, ground);
  legacyNames(config, { ...stores, kafka, elasticsearch, neo4j, polaris }, ground);
  return publish({
    ...stores,
    ...models,
    ...watch,
    kafka,
    elasticsearch,
    neo4j,
    polaris,
    trino,
    datahub,
    superset,
    dolphinscheduler,
    namespaces: ground.namespaces,
  });
}
