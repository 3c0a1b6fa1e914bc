import type { Offer } from "../components/base/offer";
import type { PlatformConfig } from "./config/schema";
import { Secrets, wantedCredentials } from "./config/secrets";
import { legacyNames } from "./contract/legacy-names";
import { type Offers, publish, type PublishedOutputs } from "./contract/publish";
import { bi } from "./layers/bi";
import { catalog } from "./layers/catalog";
import { data } from "./layers/data";
import { foundation } from "./layers/foundation";
import { gateway } from "./layers/gateway";
import { ml } from "./layers/ml";
import { observability, watch } from "./layers/observability";
import { search } from "./layers/search";
import { sql } from "./layers/sql";
import { streams } from "./layers/streams";
import { inform, tenants } from "./layers/tenants";
import { verification } from "./layers/verification";
import { workflows } from "./layers/workflows";

/** The whole platform: each layer uses the outputs of those below. */
export function platform(config: PlatformConfig): PublishedOutputs {
  const secrets = new Secrets("secrets", wantedCredentials(config));
  const ground = foundation(config, secrets);
  const stores = data(config, secrets, ground);
  const streaming = streams(config, secrets, ground);
  const finding = search(config, secrets, ground);
  const models = ml(config, secrets, stores, ground);
  const querying = sql(config, secrets, { ...stores, ...streaming, ...finding }, ground);
  const systems = {
    mesh: ground.mesh,
    ...stores,
    ...streaming,
    ...finding,
    ...models,
    ...querying,
    ...catalog(config, secrets, { ...stores, ...streaming, ...finding, ...querying }, ground),
    ...bi(config, secrets, { ...stores, ...querying }, ground),
    ...workflows(config, secrets, { ...stores, ...models, ...querying }, ground),
  };
  const monitors = observability(config, secrets, ground);
  verification(config, models, monitors, ground);
  const inside = offersOf({ ...systems, ...monitors });
  legacyNames(config, inside, ground);
  const entrance = gateway(config, secrets, inside, ground);
  const offers = { ...inside, ...offersOf({ ...entrance }) };
  watch(config, monitors, models, offers, ground);
  const guests = tenants(config, secrets, { ...systems, ...entrance }, ground);
  ground.wiring.complete();
  const outputs = publish(offers, guests, ground.clusterDomain);
  inform(guests, outputs, ground);
  return outputs;
}

function offersOf(systems: Readonly<Record<string, { readonly offers: Offer } | undefined>>): Offers {
  return Object.fromEntries(
    Object.entries(systems).flatMap(([name, system]) => (system === undefined ? [] : [[name, system.offers]])),
  );
}
