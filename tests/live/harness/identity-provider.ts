import * as http from "node:http";
import * as https from "node:https";
import { text } from "node:stream/consumers";
import Provider from "oidc-provider";
import type { Cluster } from "./cluster";

const HOST = "login.example.com";
const PORT = 8443;

/** Whose tokens it signs. */
export const ISSUER = `https://${HOST}:${PORT}`;

/** A client, as an identity provider knows it. */
export interface Client {
  readonly id: string;
  readonly secret: string;
  /** The one URL to which it may send people back. */
  readonly redirect: string;
}

/** An OpenID Connect provider that believes everybody's name, with the groups of each. */
export class IdentityProvider {
  private constructor(
    private readonly server: https.Server,
    /** Groups by the name of a person. */
    readonly groups: Record<string, readonly string[]>,
  ) {}

  /** Starts it at the address of the tests, with a certificate of its name, and has its name lead there. */
  static async start(
    cluster: Cluster,
    { id, secret, redirect }: Client,
    certificate: https.ServerOptions,
  ): Promise<IdentityProvider> {
    const groups: Record<string, readonly string[]> = {};
    const provider = new Provider(ISSUER, {
      clients: [{ client_id: id, client_secret: secret, redirect_uris: [redirect] }],
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
    });
    const server = https.createServer(certificate, (request, response) => {
      void provider.callback()(request, response);
    });
    await new Promise<void>((resolve) => server.listen(PORT, cluster.own, resolve));
    cluster.publishHosts(cluster.own, [HOST]);
    return new IdentityProvider(server, groups);
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

  constructor(private readonly places: Readonly<Record<string, Place>>) {}

  /** Opens a URL, or sends a form to it, and goes wherever it leads. */
  async open(address: string | URL, form?: Readonly<Record<string, string>>): Promise<Page> {
    const url = new URL(address);
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
          host: url.host,
          "x-forwarded-proto": url.protocol.replace(":", ""),
          cookie: [...own].map(([name, value]) => `${name}=${value}`).join("; "),
          ...(form && { "content-type": "application/x-www-form-urlencoded" }),
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
    return location === undefined ? { url, status: response.statusCode, body } : this.open(new URL(location, url));
  }

  /** Opens a URL that leads to the identity provider, logs in there as somebody, and agrees to everything. */
  async logIn(address: string, name: string): Promise<Page> {
    const login = await this.open(address);
    const consent = await this.open(login.url, { prompt: "login", login: name, password: "any" });
    return this.open(consent.url, { prompt: "consent" });
  }
}
