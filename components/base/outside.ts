import { createHash } from "node:crypto";
import * as tls from "node:tls";

/** Name of the ConfigMap with the certificates that pods trust outside, in each namespace from which some go there. */
export const TRUSTED = "outside-ca";
/** Its key. */
export const TRUSTED_FILE = "ca-bundle.crt";
const DIRECTORY = "/etc/outside-ca";

/** How pods reach servers outside the cluster. */
export interface Outside {
  /** Through which they ask for what speaks HTTP. @default directly */
  readonly proxy?: Proxy;
  /** Certificates that they trust besides those of the public authorities, in PEM. @default none */
  readonly certificates?: string;
}

/** An HTTP proxy that passes on TLS as it is, or with certificates of a CA that pods trust. */
export interface Proxy {
  readonly url: string;
  /** Its addresses. */
  readonly cidrs: readonly string[];
  /** Hosts that are asked directly, with those below them, and networks. */
  readonly direct: readonly string[];
}

/** What a server outside is asked by. */
export interface OutsideServer {
  /** Its name; unknown if only a credential has it. */
  readonly host?: string;
  /** Whether it speaks HTTP, for which alone there are proxies. */
  readonly http: boolean;
}

/** Whether pods ask a server through the proxy. */
export function isProxied(
  { host, http }: OutsideServer,
  outside: Outside,
): outside is Outside & { readonly proxy: Proxy } {
  const { proxy } = outside;
  if (proxy === undefined || !http) return false;
  return host === undefined || !isDirect(proxy.direct, host);
}

/** Whether a proxy's exceptions have a host, or a domain above it. */
export function isDirect(exceptions: readonly string[], host: string): boolean {
  return exceptions.some((one) => {
    const domain = one.replace(/^\./, "");
    return host === domain || host.endsWith(`.${domain}`);
  });
}

/** The network destination of a proxy. */
export function proxyEnd({ url, cidrs }: Proxy) {
  const { port } = new URL(url);
  return {
    to: { kind: "networks", name: "proxy", cidrs },
    ports: [{ port: Number(port || 80) }],
    why: "http outside",
  } as const;
}

/** The certificates of the public authorities, which Node has from Mozilla, and those of the stack. */
export function bundle(certificates: string): string {
  return [...tls.rootCertificates, certificates.trim(), ""].join("\n");
}

/** What a pod is given that goes outside. */
export interface Outward {
  readonly env: Readonly<Record<string, string>>;
  /** Of the pod: they roll it. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly volumes: readonly { readonly name: string; readonly configMap: { readonly name: string } }[];
  /** Of each container. */
  readonly mounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly: boolean }[];
}

/** What pods are given that ask these servers outside; `names` are hosts inside that they know by one word. */
export function outward(outside: Outside, servers: readonly OutsideServer[], ...names: readonly string[]): Outward {
  const { certificates } = outside;
  const proxy = servers.some((server) => isProxied(server, outside)) ? outside.proxy : undefined;
  const isTrusting = certificates !== undefined && servers.length > 0;
  return {
    env: { ...(proxy && proxyEnv(proxy, names)), ...(isTrusting && TRUST_ENV) },
    annotations: isTrusting ? { [`checksum.254carbon.com/${TRUSTED}`]: checksum(certificates) } : {},
    volumes: isTrusting ? [{ name: TRUSTED, configMap: { name: TRUSTED } }] : [],
    mounts: isTrusting ? [{ name: TRUSTED, mountPath: DIRECTORY, readOnly: true }] : [],
  };
}

function proxyEnv({ url, direct }: Proxy, names: readonly string[]): Record<string, string> {
  // Pods know the API server by an address of the Service network, which the kubelet tells them.
  const exceptions = [...direct, ...names, "$(KUBERNETES_SERVICE_HOST)"].join(",");
  const variables = { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: exceptions };
  // Some programs read only these, some only those.
  const pairs = Object.entries(variables).flatMap(([name, value]) => [
    [name, value],
    [name.toLowerCase(), value],
  ]);
  return Object.fromEntries(pairs) as Record<string, string>;
}

// OpenSSL and Go, Python's requests, AWS' clients, curl and Node.
const TRUST_ENV = Object.fromEntries(
  ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"].map((name) => [
    name,
    `${DIRECTORY}/${TRUSTED_FILE}`,
  ]),
);

function checksum(certificates: string): string {
  return createHash("sha256").update(bundle(certificates)).digest("hex").slice(0, 32);
}
