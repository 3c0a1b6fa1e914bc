import { externalPeer } from "../../components/base/endpoint";
import type { SignOn } from "../../components/base/sign-on";
import type { PlatformConfig } from "../config/schema";
import type { Secrets } from "../config/secrets";
import type { SignOnSystem } from "../config/sign-on";
import type { SecretName } from "../config/systems";

type Config = NonNullable<PlatformConfig["singleSignOn"]>;
type Client<System extends SignOnSystem> = NonNullable<Config[System]>;

const CLIENT_SECRETS = {
  superset: "supersetClientSecret",
  datahub: "datahubClientSecret",
  grafana: "grafanaClientSecret",
} as const satisfies Record<SignOnSystem, SecretName>;

/** How people log in to a system at the identity provider; nothing where they do not. */
export function signOn<System extends SignOnSystem>(
  { singleSignOn: config }: PlatformConfig,
  system: System,
  secrets: Secrets,
): { readonly signOn?: Client<System> & Omit<SignOn, "clientId" | "roles"> } {
  const client = config?.[system];
  if (config === undefined || client === undefined) return {};
  const { issuer, cidrs, scopes, groupsClaim } = config;
  const urls = "tokenUrl" in client ? [client.tokenUrl, client.userInfoUrl] : [issuer];
  const provider = urls.map((url) => externalPeer("identity-provider", url, cidrs));
  return {
    signOn: { ...client, issuer, scopes, groupsClaim, clientSecret: secrets.get(CLIENT_SECRETS[system]), provider },
  };
}
