import type { Offer } from "../../components/base/offer";
import { LegacyNames } from "../../components/data/legacy-names";
import type { PlatformConfig } from "../config/schema";
import type { Foundation } from "../layers/foundation";
import type { Offers } from "./publish";

/** The old platform's service names, for the deployed systems. */
export function legacyNames(
  config: PlatformConfig,
  offers: Offers,
  { opts, namespaces, clusterDomain }: Foundation,
): void {
  if (!config.legacyNames) return;
  const aliases = Object.assign({}, ...Object.values(offers).map((offer) => offer.legacyNames)) as NonNullable<
    Offer["legacyNames"]
  >;
  new LegacyNames("legacy-names", { namespace: namespaces["data-platform"], aliases, clusterDomain }, opts);
}
