import type * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import { caOf } from "../../components/base/certificate";
import { type Endpoint, fullyQualified, schemeOf, url } from "../../components/base/endpoint";
import type { Offer } from "../../components/base/offer";
import { clientVersions } from "../../components/base/versions";
import type { SystemName } from "../config/systems";
import { CONTRACT, OUTPUTS, type PlatformOutputs, SECRETS } from "./outputs";
import type { auth, CaReference } from "./shapes";

/** The offers of the deployed systems. */
export type Offers = Readonly<Partial<Record<SystemName, Offer>>>;

/** T, any part of which may be an Output. */
export type Lifted<T> = pulumi.Input<T extends object ? { [K in keyof T]: Lifted<T[K]> } : T>;
export type PublishedOutputs = { [K in keyof PlatformOutputs]: Lifted<PlatformOutputs[K]> };

/** The outputs of a stack: those of each deployed system. */
export function publish(
  offers: Offers,
  tenants: NonNullable<PublishedOutputs["tenants"]>,
  clusterDomain: string,
): PublishedOutputs {
  const systems = (Object.keys(OUTPUTS) as (keyof typeof OUTPUTS)[]).flatMap((name) => {
    const offer = offers[name];
    return offer === undefined ? [] : [[name, published(offer, offers.gateway, clusterDomain)] as const];
  });
  const secrets = (Object.keys(SECRETS) as (keyof typeof SECRETS)[]).flatMap((name) =>
    Object.entries<string>(SECRETS[name]).flatMap(([key, credential]) => {
      const location = offers[name]?.credentials?.[credential];
      return location === undefined ? [] : [[key, location] as const];
    }),
  );
  return {
    contract: CONTRACT,
    ...Object.fromEntries(systems),
    secrets: Object.fromEntries(secrets),
    ...(Object.keys(tenants).length > 0 && { tenants }),
    versions: clientVersions,
  };
}

/** A single endpoint is published as the system itself, several by their names. */
function published(offer: Offer, gateway: Offer | undefined, clusterDomain: string): object {
  const services = Object.entries(offer.endpoints ?? {}).map(
    ([name, endpoint]) =>
      [name, serviceOf(fullyQualified(endpoint, clusterDomain), publicUrl(endpoint, offer, gateway))] as const,
  );
  const [first, ...more] = services;
  return { ...(first && more.length === 0 ? first[1] : Object.fromEntries(services)), ...offer.facts };
}

function serviceOf(endpoint: Endpoint, atGateway: pulumi.Input<string> | undefined) {
  const { host, port, tls, trust, server } = endpoint;
  const login: z.output<typeof auth> = endpoint.auth;
  const ca: Lifted<CaReference> | undefined = trust && caOf(trust, server.namespace);
  return {
    protocol: schemeOf(endpoint),
    host,
    port,
    url: url(endpoint),
    tls,
    auth: login,
    ...(ca && { ca }),
    ...(atGateway !== undefined && { publicUrl: atGateway }),
  };
}

/** Where the gateway lets programs reach an endpoint. */
function publicUrl(endpoint: Endpoint, { entries = [] }: Offer, gateway: Offer | undefined) {
  const api = entries.find((entry) => entry.kind === "api" && entry.endpoint === endpoint);
  const apis = gateway?.facts?.["apis"] as Readonly<Record<string, string>> | undefined;
  return api?.kind === "api" ? apis?.[api.name] : undefined;
}
