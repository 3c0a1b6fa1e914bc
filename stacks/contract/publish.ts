import { type Endpoint, fullyQualified, url } from "../../components/base/endpoint";
import type { Offer } from "../../components/base/offer";
import { clientVersions } from "../../components/base/versions";
import { partsOf, type SystemName } from "../config/systems";
import type { PlatformOutputs } from "./outputs";

/** The offers of the deployed systems. */
export type Offers = Readonly<Partial<Record<SystemName, Offer>>>;

/** The outputs of a stack: those of each deployed system. */
export function publish(offers: Offers, clusterDomain: string): PlatformOutputs {
  const systems = partsOf("outputs").flatMap(([name]) => {
    const offer = offers[name];
    return offer === undefined ? [] : [[name, published(offer, clusterDomain)] as const];
  });
  const secrets = partsOf("secrets").flatMap(([name, keys]) =>
    Object.entries(keys).flatMap(([key, credential]) => {
      const location = offers[name]?.credentials?.[credential];
      return location === undefined ? [] : [[key, location] as const];
    }),
  );
  return {
    contract: 1,
    ...Object.fromEntries(systems),
    secrets: Object.fromEntries(secrets),
    versions: clientVersions,
  };
}

/** A single endpoint is published as the system itself, several by their names. */
function published({ endpoints = {}, facts }: Offer, clusterDomain: string): object {
  const services = Object.entries(endpoints).map(
    ([name, endpoint]) => [name, serviceOf(fullyQualified(endpoint, clusterDomain))] as const,
  );
  const [first, ...more] = services;
  return first !== undefined && more.length === 0 && facts === undefined
    ? first[1]
    : { ...Object.fromEntries(services), ...facts };
}

function serviceOf(endpoint: Endpoint) {
  const { protocol, host, port } = endpoint;
  return { protocol, host, port, url: url(endpoint) };
}
