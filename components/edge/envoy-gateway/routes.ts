import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type ExternalPeer, serviceReference } from "../../base/endpoint";
import { API_HOST, type Api, type Entry } from "../../base/offer";
import { ENVOY_GATEWAY_API, GATEWAY_API, TENANTS } from "./proxies";

const GROUP = "gateway.networking.k8s.io";
const API_KEY_HEADER = "x-api-key";
/** Envoy takes a key out of `Bearer <key>`, which many clients can send, and no other header. */
const TOKEN_HEADER = "authorization";
/** The user of all people, where the gateway itself asks for a password. */
const USER = "admin";

/** Who signs tokens, and where the keys to check them are found. */
export interface Issuer {
  readonly issuer: string;
  readonly jwks: string;
  /** For whom tokens must be; absent if for anybody. */
  readonly audiences?: readonly string[] | undefined;
  readonly provider: ExternalPeer;
}

/** How people prove who they are. */
export type People =
  | { readonly kind: "basic"; readonly password: pulumi.Output<string> }
  | {
      readonly kind: "oidc";
      readonly issuer: string;
      readonly clientId: string;
      readonly clientSecret: pulumi.Output<string>;
      readonly provider: ExternalPeer;
    }
  /** A proxy before this one asks them, and sends a signed token along in this header. */
  | ({ readonly kind: "accessProxy"; readonly header: string } & Issuer);

/** How programs prove who they are. */
export type Programs = { readonly kind: "keys" } | ({ readonly kind: "jwt" } & Issuer);

/** The public host name of an entry. */
export function hostOf(entry: Entry, domain: string): string {
  if (entry.kind === "site") return `${entry.host}.${domain}`;
  return `${entry.signed ? entry.name : API_HOST}.${domain}`;
}

/** The path of an entry, without a slash at the end. */
export function pathOf(entry: Entry): string {
  return entry.kind === "site" || entry.signed ? "" : `/api/${entry.name}`;
}

/** The public URL of an entry. */
export function urlOf(entry: Entry, domain: string): string {
  return `https://${hostOf(entry, domain)}${pathOf(entry)}`;
}

/** Name of the route of an entry. */
export function routeName(entry: Entry): string {
  return entry.kind === "site" ? entry.host : `api-${entry.name}`;
}

/** What the gateway must know to ask people; undefined where others ask them. */
export function peopleSecret(people: People): Record<string, pulumi.Output<string>> | undefined {
  switch (people.kind) {
    case "basic":
      return { username: pulumi.output(USER), password: people.password, ".htpasswd": passwordFile(people.password) };
    case "oidc":
      // Envoy sends it as it is, where the standard (RFC 6749, 2.3.1) wants it encoded.
      return { "client-secret": people.clientSecret.apply(encodeURIComponent) };
    case "accessProxy":
      return undefined;
  }
}

function passwordFile(password: pulumi.Output<string>): pulumi.Output<string> {
  // Envoy knows no other hash; of a long random password it tells nothing.
  return password.apply((text) => `${USER}:{SHA}${createHash("sha1").update(text).digest("base64")}`);
}

/** The rule for the sites; `secret` has the password or the client's secret. */
export function peopleRule(people: People, secret: string): object {
  switch (people.kind) {
    case "basic":
      return { basicAuth: { users: { name: secret } } };
    case "oidc":
      return {
        oidc: {
          provider: { issuer: people.issuer },
          clientID: people.clientId,
          clientSecret: { name: secret },
          // The default is a path of several sites.
          logoutPath: "/oauth2/logout",
        },
      };
    case "accessProxy":
      return { jwt: { providers: [tokens("people", people, { headers: [{ name: people.header }] })] } };
  }
}

/** The rule for an API; `secret` has its key. */
export function programsRule(programs: Programs, api: Api, secret: string): object {
  if (programs.kind === "keys") return keysRule(api, secret);
  const headers = proofHeaders(api).map((name) => ({ name, ...(name === TOKEN_HEADER && { valuePrefix: "Bearer " }) }));
  return { jwt: { providers: [tokens("programs", programs, { headers })] } };
}

/** The rule for an API that opens to the keys in a Secret. */
export function keysRule(api: Api, secret: string): object {
  const extractFrom = [{ headers: proofHeaders(api) }];
  // A client signs the key, too.
  return { apiKeyAuth: { credentialRefs: [{ name: secret }], extractFrom, sanitize: api.signed !== true } };
}

/** Where a program may say who it is: the server's own `Authorization` is not the gateway's. */
function proofHeaders({ authorizes = false }: Api): string[] {
  return authorizes ? [API_KEY_HEADER] : [API_KEY_HEADER, TOKEN_HEADER];
}

/** What a server is not told: it would take the proof for one of its own. Of keys Envoy keeps it itself. */
export function keptFrom(entry: Entry, people: People, programs: Programs): string[] {
  if (entry.kind === "site") return people.kind === "basic" ? [TOKEN_HEADER] : [];
  return programs.kind === "jwt" && entry.signed !== true ? proofHeaders(entry) : [];
}

function tokens(name: string, { issuer, jwks, audiences }: Issuer, extractFrom?: object): object {
  return {
    name,
    issuer,
    ...(audiences && { audiences }),
    // Each route asks for itself, by default every second after a failure: an issuer that is busy would be kept so, and might
    // refuse us for it (envoyproxy/gateway#4791).
    remoteJWKS: { uri: jwks, failedRefetchDuration: "15s" },
    ...(extractFrom && { extractFrom }),
  };
}

/** The rule for pages of other origins: those of the platform alone may call an API. */
export function originsRule(domain: string): object {
  return {
    cors: {
      allowOrigins: [`https://${domain}`, `https://*.${domain}`],
      allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
      allowHeaders: [API_KEY_HEADER, TOKEN_HEADER, "content-type"],
      maxAge: "10m",
    },
  };
}

/** Inputs of {@link policy} and {@link route}. */
export interface RouteArgs {
  /** Name of the gateway. */
  readonly gateway: string;
  readonly namespace: pulumi.Input<string>;
  readonly domain: string;
}

/** Makes a policy for routes, which may come later. */
export function policy(
  parent: pulumi.Resource,
  kind: "SecurityPolicy" | "BackendTrafficPolicy",
  name: string,
  { namespace, routes, spec }: { namespace: pulumi.Input<string>; routes: readonly string[]; spec: object },
  dependsOn: readonly pulumi.Resource[],
): pulumi.Resource {
  const targetRefs = routes.map((route) => ({ group: GROUP, kind: "HTTPRoute", name: route }));
  return new k8s.apiextensions.CustomResource(
    `${name}-${kind.toLowerCase()}`,
    { apiVersion: ENVOY_GATEWAY_API, kind, metadata: { name, namespace }, spec: { targetRefs, ...spec } },
    { parent, dependsOn: [...dependsOn] },
  );
}

/**
 * How long the server of an entry may be silent. The time of a route itself (`timeouts.request`) would cut off large answers
 * (envoyproxy/gateway#1169).
 */
export function patience({ timeoutSeconds }: Entry): object {
  return {
    timeout: {
      http: {
        streamIdleTimeout: `${timeoutSeconds}s`,
        // Shorter than any server's own, which is 2 s for gunicorn: else a request may meet the end of its connection, and is
        // answered 503 (envoyproxy/envoy#14981).
        connectionIdleTimeout: "1s",
      },
    },
  };
}

/** How much of an API each of several proxies lets through, and what it does when a server cannot be reached. */
export function limits(api: Api, proxies: number): object {
  const { rate, retries } = api;
  // Each proxy counts for itself. A rule that selects nobody would be the only one of its kind.
  const rule = (requests: number, unit: string) => ({
    clientSelectors: [{ path: { type: "PathPrefix", value: "/" } }],
    limit: { requests: Math.ceil(requests / proxies), unit },
  });
  return {
    ...patience(api),
    rateLimit: { local: { rules: [rule(rate.perMinute, "Minute"), rule(rate.perHour, "Hour")] } },
    ...(retries > 0 && {
      retry: {
        numRetries: retries,
        // The server has not seen any of these requests: no order is placed twice.
        retryOn: { triggers: ["connect-failure", "refused-stream", "reset-before-request"] },
      },
    }),
  };
}

/** Where a route is taken. */
export interface Way {
  /** Name of the route. */
  readonly name: string;
  /** The listener. */
  readonly listener: "https" | typeof TENANTS;
  readonly host: pulumi.Input<string>;
}

/** The way to an entry for the world. */
export function publicWay(entry: Entry, domain: string): Way {
  return { name: routeName(entry), listener: "https", host: hostOf(entry, domain) };
}

/** The way to an API for pods of tenants. */
export function tenantWay(api: Api, host: pulumi.Input<string>): Way {
  return { name: `${TENANTS}-${api.name}`, listener: TENANTS, host };
}

/** Makes the route of an entry, lets it lead to the Service in another namespace, and has the gateway verify a server with TLS. */
export function route(
  parent: pulumi.Resource,
  entry: Entry,
  { name, listener, host: asked }: Way,
  { gateway, namespace, domain, without }: RouteArgs & { readonly without: readonly string[] },
  dependsOn: readonly pulumi.Resource[],
): pulumi.Resource {
  const path = pathOf(entry);
  const service = serviceReference(entry.endpoint);
  const { trust, host } = entry.endpoint;
  const grant = new k8s.apiextensions.CustomResource(
    `${name}-grant`,
    {
      apiVersion: `${GROUP}/v1beta1`,
      kind: "ReferenceGrant",
      metadata: { name: `${gateway}-${name}`, namespace: service.namespace },
      spec: {
        from: [{ group: GROUP, kind: "HTTPRoute", namespace }],
        to: [{ group: "", kind: "Service", name: service.name }],
      },
    },
    { parent },
  );
  const verified =
    trust &&
    new k8s.apiextensions.CustomResource(
      `${name}-backendtls`,
      {
        apiVersion: GATEWAY_API,
        kind: "BackendTLSPolicy",
        metadata: { name: `${gateway}-${name}`, namespace: service.namespace },
        spec: {
          targetRefs: [{ group: "", kind: "Service", name: service.name }],
          validation: {
            caCertificateRefs: [{ group: "", kind: "Secret", name: trust.volume.secret.secretName }],
            hostname: host,
          },
        },
      },
      { parent },
    );
  return new k8s.apiextensions.CustomResource(
    name,
    {
      apiVersion: GATEWAY_API,
      kind: "HTTPRoute",
      metadata: { name, namespace },
      spec: {
        parentRefs: [{ name: gateway, sectionName: listener }],
        hostnames: [asked],
        rules: [
          {
            matches: [{ path: { type: "PathPrefix", value: path || "/" } }],
            filters: [
              ...headers(path, without),
              ...rewrite(path, listener === TENANTS ? hostOf(entry, domain) : undefined),
            ],
            backendRefs: [service],
            // None: a policy says how long it waits.
            timeouts: { request: "0s" },
          },
        ],
      },
    },
    { parent, dependsOn: [grant, ...(verified ? [verified] : []), ...dependsOn] },
  );
}

/** Keeps the path from the server, and names it the host that it knows. */
function rewrite(path: string, hostname: string | undefined): object[] {
  if (path === "") return [];
  const cut = { type: "ReplacePrefixMatch", replacePrefixMatch: "/" };
  return [{ type: "URLRewrite", urlRewrite: { path: cut, ...(hostname !== undefined && { hostname }) } }];
}

/** Tells the server the path that it does not see, and keeps from it what was meant for the gateway. */
function headers(path: string, remove: readonly string[]): object[] {
  if (path === "" && remove.length === 0) return [];
  return [
    {
      type: "RequestHeaderModifier",
      requestHeaderModifier: {
        ...(path !== "" && { set: [{ name: "x-forwarded-prefix", value: path }] }),
        ...(remove.length > 0 && { remove }),
      },
    },
  ];
}
