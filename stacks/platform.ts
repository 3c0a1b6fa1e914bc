import { bi } from "./layers/bi";
import type { PlatformConfig } from "./config/schema";
import { catalog } from "./layers/catalog";
import { data } from "./layers/data";
import { foundation } from "./layers/foundation";
import { legacyNames } from "./contract/legacy-names";
import { ml } from "./layers/ml";
import { observability } from "./layers/observability";
import type { PlatformOutputs } from "./contract/outputs";
import { publish } from "./contract/publish";
import { search } from "./layers/search";
import { Secrets } from "./config/secrets";
import { streams } from "./layers/streams";
import { sql } from "./layers/sql";
import { verification } from "./layers/verification";
import { workflows } from "./layers/workflows";

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
  ground.wiring.complete();
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
