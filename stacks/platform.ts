import { bi } from "./bi";
import type { PlatformConfig } from "./config";
import { data } from "./data";
import { foundation } from "./foundation";
import { ml } from "./ml";
import { observability } from "./observability";
import type { PlatformOutputs } from "./outputs";
import { publish } from "./publish";
import { search } from "./search";
import { Secrets } from "./secrets";
import { streams } from "./streams";
import { verification } from "./verification";
import { workflows } from "./workflows";

/** The whole platform: layer after layer, each given what the ones below hand over. */
export function platform(config: PlatformConfig): PlatformOutputs {
  const secrets = new Secrets("secrets", config.secrets.required);
  const ground = foundation(config);
  const stores = data(config, secrets, ground);
  const kafka = streams(config, secrets, ground);
  const found = search(config, secrets, ground);
  const models = ml(config, secrets, stores, ground);
  const superset = bi(config, secrets, stores, { trino: undefined }, ground);
  const reachable = { mlflow: models.mlflow?.tracking, feast: models.feast?.http, trino: undefined };
  const dolphinscheduler = workflows(config, secrets, stores, reachable, ground);
  const watch = observability(config, secrets, models, ground);
  verification(config, models, watch, ground);
  return publish({ ground, stores, kafka, found, models, superset, dolphinscheduler, watch });
}
