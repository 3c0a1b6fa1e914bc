import { z } from "zod";
import { cidr, httpsUrl, identityProvider, outside, size, Size } from "./shapes";

const nodePort = z.int().min(30000).max(32767);

const issuer = {
  issuer: httpsUrl.meta({ description: "Who signs the tokens" }),
  jwks: httpsUrl.meta({ description: "Where the keys lie with which tokens are checked" }),
  audiences: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .meta({ description: "For whom a token must be; without it, any token of the issuer will do" }),
  ...outside,
};

const Exposure = z
  .discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("nodePort"),
      http: nodePort,
      https: nodePort.meta({ description: "The router before the nodes sends port 443 here, and port 80 to `http`" }),
    }),
    z.strictObject({ kind: z.literal("loadBalancer") }),
    z.strictObject({
      kind: z.literal("cloudflareTunnel"),
      replicas: z.int().min(1),
      ...size,
      cidrs: z
        .array(cidr)
        .min(1)
        .default(["198.41.192.0/24", "198.41.200.0/24"])
        .meta({ description: "Addresses of Cloudflare's edge" }),
    }),
  ])
  .meta({ description: "How the world reaches the gateway; a tunnel's token is carbon:cloudflareTunnelToken" });

const Acme = z.strictObject({
  kind: z.literal("acme"),
  server: httpsUrl.default("https://acme-v02.api.letsencrypt.org/directory"),
  email: z.email().meta({ description: "Who hears of certificates that expire" }),
  challenge: z.enum(["http01", "dns01"]).meta({
    description: "http01: by the gateway's port 80. dns01: at Cloudflare, with the token carbon:cloudflareDnsToken",
  }),
  cidrs: z
    .array(cidr)
    .min(1)
    .default(["0.0.0.0/0"])
    .meta({ description: "Addresses of the ACME server, and of the DNS provider or the public hosts" }),
});

const Certificates = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("selfSigned") }),
    z.strictObject({ kind: z.literal("ownAuthority") }),
    Acme,
  ])
  .meta({ description: "Who issues the certificate of the public hosts" });

const People = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("basic") }),
    z.strictObject({
      kind: z.literal("oidc"),
      ...identityProvider,
      clientId: z.string().min(1),
    }),
    z.strictObject({
      kind: z.literal("accessProxy"),
      header: z.string().min(1).meta({ description: "Header in which it sends its token, as Cf-Access-Jwt-Assertion" }),
      ...issuer,
    }),
  ])
  .meta({
    description:
      "How people prove who they are: by the user `admin` and carbon:gatewayPassword, at an identity provider with " +
      "carbon:gatewayClientSecret, or at an access proxy that stands before the gateway",
  });

const Programs = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("keys") }),
    z.strictObject({ kind: z.literal("jwt"), ...issuer }),
  ])
  .default({ kind: "keys" })
  .meta({ description: "How programs prove who they are: by a key for each system, or by a token of an issuer" });

/** The one way in from outside. */
export const Gateway = z.strictObject({
  replicas: z.int().min(1).meta({ description: "Proxies" }),
  ...size,
  controller: Size,
  exposure: Exposure,
  certificates: Certificates,
  people: People,
  programs: Programs,
});
