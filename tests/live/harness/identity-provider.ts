import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import * as http from "node:http";
import * as https from "node:https";
import { text } from "node:stream/consumers";
import Provider from "oidc-provider";
import type { Cluster } from "./cluster";

const HOST = "login.example.com";
const PORT = 8443;
// As browsers have it.
const MOST_HOPS = 20;

const KEY_ID = "live";

/** Whose tokens it signs. */
export const ISSUER = `https://${HOST}:${PORT}`;

/** A client, as an identity provider knows it. */
export interface Client {
  readonly id: string;
  readonly secret: string;
  /** The URLs to which it may send people back. */
  readonly redirects: readonly string[];
}

/** An OpenID Connect provider that believes everybody's name, with the groups of each. */
export class IdentityProvider {
  private constructor(
    private readonly server: https.Server,
    private readonly key: KeyObject,
    /** Where a browser finds it. */
    readonly places: Readonly<Record<string, Place>>,
    /** Groups by the name of a person. */
    readonly groups: Record<string, readonly string[]>,
  ) {}

  /** Starts it at the address of the tests, with a certificate of its name, and has its name lead there. */
  static async start(
    cluster: Cluster,
    clients: readonly Client[],
    certificate: { readonly key: Buffer; readonly cert: Buffer },
  ): Promise<IdentityProvider> {
    const groups: Record<string, readonly string[]> = {};
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const provider = new Provider(ISSUER, {
      clients: clients.map(({ id, secret, redirects }) => ({
        client_id: id,
        client_secret: secret,
        redirect_uris: [...redirects],
      })),
      // Groups come with the profile.
      claims: { openid: ["sub"], profile: ["preferred_username", "given_name", "groups"], email: ["email"] },
      findAccount: (_, name) => ({
        accountId: name,
        claims: () => ({
          sub: name,
          preferred_username: name,
          given_name: name,
          email: `${name}@example.com`,
          groups: groups[name] ?? [],
        }),
      }),
      features: { devInteractions: { enabled: true } },
      pkce: { required: () => true },
      jwks: { keys: [{ ...(privateKey.export({ format: "jwk" }) as { kty: string }), kid: KEY_ID, use: "sig" }] },
    });
    const server = https.createServer(certificate, (request, response) => {
      void provider.callback()(request, response);
    });
    await new Promise<void>((resolve) => server.listen(PORT, cluster.own, resolve));
    cluster.publishHosts(cluster.own, [HOST]);
    const places = { [HOST]: { host: cluster.own, port: PORT, ca: certificate.cert } };
    return new IdentityProvider(server, privateKey, places, groups);
  }

  /** A token that it signs, for an audience and some seconds. */
  token(audience: string, seconds = 60): string {
    const part = (content: object): string => Buffer.from(JSON.stringify(content)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: ISSUER, sub: "ada", aud: audience, iat: now - 60, exp: now + seconds };
    const text = `${part({ alg: "RS256", kid: KEY_ID })}.${part(claims)}`;
    return `${text}.${sign("sha256", Buffer.from(text), this.key).toString("base64url")}`;
  }

  close(): void {
    this.server.close();
  }
}

/** A page, and where it came from. */
export interface Page {
  readonly url: URL;
  readonly status: number | undefined;
  readonly body: string;
}

/** Where a host is found: with a CA if it ends TLS itself, and else by what the gateway would say of it. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly ca?: Buffer | undefined;
}

/** A browser: it keeps cookies, follows redirects, and finds hosts where it is told. */
export class Browser {
  private readonly cookies = new Map<string, Map<string, string>>();

  constructor(
    private readonly places: Readonly<Record<string, Place>>,
    /** What it sends along everywhere. */
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {}

  /** Opens a URL, or sends a form to it, and goes wherever it leads. */
  async open(address: string | URL, form?: Readonly<Record<string, string>>, hops = 0): Promise<Page> {
    const url = new URL(address);
    if (hops > MOST_HOPS) throw new Error(`led on and on, in the end to ${url.href}`);
    const place = this.places[url.hostname];
    if (place === undefined) throw new Error(`nobody is at ${url.href}`);
    const { host, port, ca } = place;
    const own = this.cookies.get(url.hostname) ?? new Map<string, string>();
    this.cookies.set(url.hostname, own);
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const request = (ca ? https : http).request({
        host,
        port,
        ...(ca && { ca, servername: url.hostname }),
        path: `${url.pathname}${url.search}`,
        method: form === undefined ? "GET" : "POST",
        headers: {
          ...this.headers,
          host: url.host,
          ...(ca === undefined && { "x-forwarded-proto": url.protocol.replace(":", "") }),
          cookie: [...own].map(([name, value]) => `${name}=${value}`).join("; "),
          ...(form && { "content-type": "application/x-www-form-urlencoded", referer: url.href }),
        },
      });
      request.on("response", resolve).on("error", reject);
      request.end(form && new URLSearchParams(form).toString());
    });
    for (const cookie of response.headers["set-cookie"] ?? []) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      own.set(name, value);
    }
    const body = await text(response);
    const { location } = response.headers;
    if (location === undefined) return { url, status: response.statusCode, body };
    return this.open(new URL(location, url), undefined, hops + 1);
  }

  /** Opens a URL that leads to the identity provider, logs in there as somebody if asked, and agrees to everything. */
  async logIn(address: string, name: string): Promise<Page> {
    let page = await this.open(address);
    for (;;) {
      const [, prompt] = /name="prompt" value="(\w+)"/.exec(page.body) ?? [];
      if (prompt === undefined) return page;
      page = await this.open(page.url, { prompt, ...(prompt === "login" && { login: name, password: "any" }) });
    }
  }
}
