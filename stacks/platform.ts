import type { PlatformConfig } from "./config";
import { data } from "./data";
import { foundation } from "./foundation";
import { ml } from "./ml";
import { observability } from "./observability";
import type { PlatformOutputs } from "./outputs";
import { publish } from "./publish";
import { Secrets } from "./secrets";
import { verification } from "./verification";

/** The whole platform: layer after layer, each given what the ones below hand over. */
export function platform(config: PlatformConfig): PlatformOutputs {
  const secrets = new Secrets("secrets", config.secrets.required);
  const ground = foundation(config);
  const stores = data(config, secrets, ground);
  const models = ml(config, secrets, stores, ground);
  const watch = observability(config, secrets, models, ground);
  verification(config, models, watch, ground);
  return publish({ ground, stores, models, watch });
}
