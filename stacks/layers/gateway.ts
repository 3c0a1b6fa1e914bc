import type { Authority } from "../../components/base/certificate";
import { type ExternalPeer, externalPeer } from "../../components/base/endpoint";
import { EnvoyGateway, type EnvoyGatewayArgs } from "../../components/edge/envoy-gateway";
import { AuthorityCertificate } from "../../components/ground/authority-certificate";
import { CertificateAuthority } from "../../components/ground/certificate-authority";
import { type AcmeArgs, PublicIssuer } from "../../components/ground/public-issuer";
import type { PlatformConfig } from "../config/schema";
import type { Secrets } from "../config/secrets";
import type { SecretName, SystemName } from "../config/systems";
import { tenantGrants } from "../config/tenants";
import type { Offers } from "../contract/publish";
import type { Foundation } from "./foundation";

type Config = NonNullable<PlatformConfig["gateway"]>;

const NAME = "gateway";

/** The credential that opens the APIs of a system. */
const API_KEYS = {
  objectStore: "objectStoreApiKey",
  mlflow: "mlflowApiKey",
  feast: "feastApiKey",
  ray: "rayApiKey",
  polaris: "polarisApiKey",
  trino: "trinoApiKey",
  datahub: "datahubApiKey",
  superset: "supersetApiKey",
  dolphinscheduler: "dolphinschedulerApiKey",
  monitoring: "monitoringApiKey",
} as const satisfies Partial<Record<SystemName, SecretName>>;

/** The way in. */
export interface Entrance {
  readonly gateway: EnvoyGateway | undefined;
}

/** The gateway, with what the deployed systems offer. */
export function gateway(config: PlatformConfig, secrets: Secrets, offers: Offers, ground: Foundation): Entrance {
  if (config.gateway === undefined) return { gateway: undefined };
  const { at, namespaces, kubeApi, clusterDomain, chartDirectory, metrics } = ground;
  const { replicas, controller, certificates, cpu, memoryMiB } = config.gateway;
  return {
    gateway: new EnvoyGateway(
      NAME,
      {
        namespace: namespaces.gateway,
        serverNamespaces: [namespaces["data-platform"], namespaces.monitoring],
        chartDirectory,
        kubeApi,
        clusterDomain,
        domain: ground.domain,
        systems: published(config.gateway, offers, secrets),
        exposure: exposureOf(config.gateway, secrets),
        people: peopleOf(config.gateway, secrets),
        programs: programsOf(config.gateway),
        tenants: tenantsOf(config, secrets, ground),
        authority: authorityOf(config.gateway, secrets, ground),
        // Behind the tunnel clients see Cloudflare's certificate.
        ownCa: certificates.kind !== "acme" && config.gateway.exposure.kind !== "cloudflareTunnel",
        provesByHttp: certificates.kind === "acme" && certificates.challenge === "http01",
        replicas,
        size: { cpu, memoryMiB },
        controllerSize: controller,
        metrics,
      },
      { ...at("gateway"), dependsOn: ground.gatewayApi },
    ),
  };
}

/** The API behind what tenants are granted. */
export const TENANT_APIS = { mlflow: "mlflow", features: "feast", serve: "ray" } as const;

function tenantsOf(config: PlatformConfig, secrets: Secrets, { opts, namespaces, certManager }: Foundation) {
  const kinds = Object.keys(TENANT_APIS) as (keyof typeof TENANT_APIS)[];
  const keys = kinds.flatMap((kind) => {
    const grants = tenantGrants(config, kind);
    const own = Object.fromEntries(grants.map(({ user }) => [user, secrets.ofTenant(user)]));
    return grants.length > 0 ? [[TENANT_APIS[kind], own] as const] : [];
  });
  if (keys.length === 0) return undefined;
  const { gateway: namespace } = namespaces;
  const name = `${NAME}-tenants-ca`;
  const { authority } = new CertificateAuthority(name, { namespace }, { ...opts, dependsOn: certManager });
  const { pem: ca } = new AuthorityCertificate(`${name}-certificate`, { namespace, authority }, opts);
  return { authority, ca, keys: Object.fromEntries(keys) };
}

function published({ programs }: Config, offers: Offers, secrets: Secrets): EnvoyGatewayArgs["systems"] {
  const systems = Object.entries(offers).flatMap(([system, { entries = [] }]) => {
    if (entries.length === 0) return [];
    const hasKey = programs.kind === "keys" && entries.some(({ kind }) => kind === "api");
    return [[system, { entries, ...(hasKey && { apiKey: secrets.get(keyOf(system)) }) }] as const];
  });
  return Object.fromEntries(systems);
}

function keyOf(system: string): SecretName {
  const key = (API_KEYS as Readonly<Record<string, SecretName>>)[system];
  if (key === undefined) throw new Error(`${system} offers an API: give it a credential in API_KEYS`);
  return key;
}

function exposureOf({ exposure }: Config, secrets: Secrets): EnvoyGatewayArgs["exposure"] {
  if (exposure.kind !== "cloudflareTunnel") return exposure;
  const { kind, replicas, cidrs, cpu, memoryMiB } = exposure;
  return { kind, replicas, cidrs, size: { cpu, memoryMiB }, token: secrets.get("cloudflareTunnelToken") };
}

function peopleOf({ people }: Config, secrets: Secrets): EnvoyGatewayArgs["people"] {
  switch (people.kind) {
    case "basic":
      return { kind: "basic", password: secrets.get("gatewayPassword") };
    case "oidc": {
      const { cidrs, ...client } = people;
      const provider = externalPeer("identity-provider", people.issuer, cidrs);
      return { ...client, clientSecret: secrets.get("gatewayClientSecret"), provider };
    }
    case "accessProxy": {
      const { cidrs, ...issuer } = people;
      return { ...issuer, provider: externalPeer("access-proxy", people.jwks, cidrs) };
    }
  }
}

function programsOf({ programs }: Config): EnvoyGatewayArgs["programs"] {
  if (programs.kind === "keys") return programs;
  const { cidrs, ...issuer } = programs;
  return { ...issuer, provider: externalPeer("token-issuer", programs.jwks, cidrs) };
}

// The platform's own, as the world reaches them: no server outside.
function publicHosts(cidrs: readonly string[]): ExternalPeer {
  return { kind: "external", name: "public-hosts", cidrs, port: 80, why: "http" };
}

/** Who signs the certificate of the public hosts. */
function authorityOf(
  { certificates }: Config,
  secrets: Secrets,
  { at, namespaces, certManager }: Foundation,
): Authority {
  const namespace = namespaces.gateway;
  const after = { ...at("gateway"), dependsOn: certManager };
  switch (certificates.kind) {
    case "ownAuthority":
      return new CertificateAuthority(`${NAME}-ca`, { namespace }, after).authority;
    case "selfSigned":
      return new PublicIssuer(NAME, { namespace, by: { kind: "selfSigned" } }, after).authority;
    case "acme": {
      const { kind, server, email, challenge, cidrs } = certificates;
      const by: AcmeArgs = {
        kind,
        server,
        email,
        challenge:
          challenge === "http01"
            ? { kind: "http01", gateway: NAME }
            : { kind: "dns01", token: secrets.get("cloudflareDnsToken") },
        destinations: [
          { ...externalPeer("acme", server, cidrs), why: "certificates" },
          // It tries a challenge itself before the server does.
          ...(challenge === "http01"
            ? [publicHosts(cidrs)]
            : [{ ...externalPeer("acme-dns", "https://api.cloudflare.com", cidrs), why: "certificates" }]),
        ],
        asker: certManager.controller,
      };
      return new PublicIssuer(NAME, { namespace, by }, after).authority;
    }
  }
}
