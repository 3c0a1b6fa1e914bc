import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import * as tls from "node:tls";
import { stringify } from "yaml";
import { RENDERED, type RenderedChart } from "../../../commands/charts/rendered";
import { ensureEnvoyGateway } from "../../../rehearsal/software/tools";
import { ensurePackaged } from "../../../rehearsal/software/venvs";
import { certificate, issuedAs } from "./certificates";
import type { Cluster } from "./cluster";
import { eventually } from "./eventually";
import type { Place } from "./identity-provider";
import type { Scraped } from "./prometheus";
import type { Rendered } from "./rendered";
import { Sandbox } from "./sandbox";

const NAME = "gateway";
const CONTROLLER = "envoy-gateway";
const HOME = "/gateway";
const UID = 65532;
const CERTGEN = `envoy-gateway certgen --local --config-home ${HOME}/config`;
// Another it would download.
const ENVOY = "1.39.1";
// In a cluster 19001 and 19000, which are the controller's here.
const STATS_PORT = 19011;
const ADMIN = { address: "127.0.0.1", port_value: 19010 };
// Whom Envoy and its controller trust outside: in the image, the public authorities.
const AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";
const READ = ["BackendTrafficPolicy", "ClientTrafficPolicy", "Gateway", "GatewayClass", "SecurityPolicy"];
const EXTENSIONS = "type.googleapis.com/envoy.extensions";
const BACKEND = { group: "gateway.envoyproxy.io", kind: "Backend" };

/** A request as a client outside the cluster sends it. */
export interface Asked {
  /** Host and path. */
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** What the client trusts. @default the certificate of the public hosts */
  readonly ca?: Buffer;
}

/** What came back. */
export interface Answered {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Envoy Gateway in its stand-alone mode, with the program's Gateway, routes and policies, and the Envoy that it starts. */
export class Gateway {
  private constructor(
    /** Its address among the pods. */
    readonly address: string,
    /** The certificate that its clients trust. */
    readonly ca: Buffer,
    private readonly sandbox: Sandbox,
    /** Where its files lie outside. */
    private readonly home: string,
  ) {}

  /** The one of a cluster, once Envoy answers. */
  static of(cluster: Cluster): Promise<Gateway> {
    running ??= Gateway.start(cluster);
    return running;
  }

  private static async start(cluster: Cluster): Promise<Gateway> {
    const address = cluster.join(NAME);
    cluster.serve(NAME, NAME, address);
    const issued = certificate(cluster.program.object("gateway-tls", "Certificate"));
    const home = path.join(cluster.scratch, "volumes", NAME);
    const scratch = path.join(cluster.scratch, "containers", NAME);
    for (const directory of [home, scratch]) fs.mkdirSync(directory, { recursive: true });
    fs.chownSync(home, UID, UID);
    write(home, "envoy-gateway.yaml", [CONFIG]);
    write(home, RESOURCES, resources(cluster));
    const authorities = path.join(home, "authorities.crt");
    fs.copyFileSync(AUTHORITIES, authorities);
    const bin = await ensureEnvoyGateway(() => undefined);
    // The stand-alone mode binds the listeners' own ports. Runtimes of containers let everybody.
    const everybody = "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start";
    execFileSync("ip", ["netns", "exec", NAME, "sh", "-c", everybody]);
    const sandbox = Sandbox.start({
      name: NAME,
      pod: NAME,
      // With the certificates by which the two know each other, as a hook of the chart makes them.
      command: ["sh", "-c", `${CERTGEN} && exec envoy-gateway server --config-path ${HOME}/envoy-gateway.yaml`],
      env: { PATH: `${bin}:/usr/bin:/bin`, HOME, ENVOY_GATEWAY_NAMESPACE: NAME },
      uid: UID,
      user: NAME,
      pieces: [
        { kind: "rw", source: home, target: HOME },
        { kind: "ro", source: bin, target: bin },
        {
          kind: "ro",
          source: await ensurePackaged("envoy", "envoy/_bin/envoy", () => undefined),
          target: `${HOME}/data/envoy-versions/${ENVOY}/bin/envoy`,
        },
        { kind: "ro", source: authorities, target: AUTHORITIES },
        { kind: "tmpfs", target: "/tmp", options: "mode=1777" },
      ],
      scratch,
      log: path.join(cluster.logs, `${NAME}.log`),
      hosts: cluster.hosts,
    });
    const { "tls.crt": ca } = issued;
    if (ca === undefined) throw new Error("the certificate of the gateway has no tls.crt");
    const gateway = new Gateway(address, ca, sandbox, home);
    await eventually(
      60,
      async () => {
        await gateway.ask({ url: "api.dev.254carbon.com/" });
      },
      () => {
        sandbox.assertRunning();
      },
    );
    return gateway;
  }

  /** Takes over what the program renders now, soon. */
  follow(cluster: Cluster): void {
    write(this.home, RESOURCES, resources(cluster));
  }

  /** Has it believe another authority, as if the public knew it: before it first asks anybody outside. */
  trust(certificate: Buffer): void {
    fs.appendFileSync(path.join(this.home, "authorities.crt"), certificate);
  }

  /** The pods that it would be in a cluster, of which Prometheus scrapes each. */
  pods({ program }: Cluster): Scraped[] {
    const proxy = program.object(NAME, "EnvoyProxy");
    const { namespace } = proxy.metadata;
    const { labels } = proxy["spec"].provider.kubernetes.envoyDeployment.pod;
    const { metadata, spec } = controllerPod();
    const at = { namespace, address: this.address };
    const ports = [{ name: "metrics", containerPort: STATS_PORT }];
    return [
      { ...at, name: NAME, labels, containers: [{ name: "envoy", ports }] },
      { ...at, name: CONTROLLER, labels: metadata.labels, containers: spec.containers },
    ];
  }

  /** Where a browser finds a public URL. */
  places(site: string): Readonly<Record<string, Place>> {
    return { [new URL(site).hostname]: { host: this.address, port: 443, ca: this.ca } };
  }

  /** Asks over TLS, as a client that resolves the host name to the gateway. */
  async ask({ url, method = "GET", headers = {}, body, ca = this.ca }: Asked): Promise<Answered> {
    const [, host = "", route = ""] = /^([^/]+)(\/.*)$/.exec(url) ?? [];
    return new Promise((resolve, reject) => {
      const request = https.request(
        {
          host: this.address,
          port: 443,
          servername: host,
          path: route,
          method,
          headers: { host, ...headers },
          ca,
          agent: false,
        },
        (response) => {
          text(response).then((answer) => {
            resolve({ status: response.statusCode, headers: response.headers, body: answer });
          }, reject);
        },
      );
      request.on("error", (error: NodeJS.ErrnoException) => {
        // Nobody listens: what the two say last tells why.
        reject(error.code === "ECONNREFUSED" ? new Error(`${error.message}\n${this.sandbox.tail(4)}`) : error);
      });
      request.end(body);
    });
  }

  /** The ports that others can reach. */
  async ports(): Promise<number[]> {
    const table = await this.sandbox.exec(["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
    const listening = [...table.matchAll(/^ *\d+: (\w+):(\w{4}) \w+:\w+ 0A /gm)];
    const loopback = /^(0100007F|0{24}01000000)$/;
    return listening.flatMap(([, address = "", port = ""]) => (loopback.test(address) ? [] : parseInt(port, 16)));
  }

  /** Sends these lines over TLS, and returns all that is said until the gateway hangs up. */
  async say(lines: readonly string[], options: tls.ConnectionOptions = {}): Promise<string> {
    const names = { servername: "api.dev.254carbon.com", ca: this.ca };
    const socket = tls.connect({ host: this.address, port: 443, ...names, ...options });
    socket.write(lines.join("\r\n"));
    return text(socket);
  }
}

let running: Promise<Gateway> | undefined;

function write(home: string, file: string, objects: readonly object[]): void {
  // Whole or not at all: who reads an empty file forgets all objects. The directory is watched.
  const beside = `${home}-${file}`;
  fs.writeFileSync(beside, objects.map((one) => stringify(one)).join("---\n"));
  fs.renameSync(beside, path.join(home, file));
}

const RESOURCES = "resources.yaml";

const CONFIG = {
  apiVersion: "gateway.envoyproxy.io/v1alpha1",
  kind: "EnvoyGateway",
  gateway: { controllerName: "gateway.envoyproxy.io/gatewayclass-controller" },
  extensionApis: { enableBackend: true },
  provider: {
    type: "Custom",
    custom: {
      resource: { type: "File", file: { paths: [`${HOME}/${RESOURCES}`] } },
      infrastructure: {
        type: "Host",
        host: {
          configHome: `${HOME}/config`,
          dataHome: `${HOME}/data`,
          stateHome: `${HOME}/state`,
          runtimeDir: `${HOME}/run`,
        },
      },
    },
  },
};

// What Envoy's bootstrap has where it runs in a pod (internal/xds/bootstrap/bootstrap.yaml.tpl), and not in the stand-alone mode.
const STATS = {
  listener: {
    name: "stats",
    address: { socket_address: { address: "0.0.0.0", port_value: STATS_PORT } },
    filter_chains: [
      {
        filters: [
          filter("envoy.filters.network.http_connection_manager", {
            "@type": `${EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
            stat_prefix: "eg-stats-http",
            route_config: {
              virtual_hosts: [
                {
                  name: "prometheus_stats",
                  domains: ["*"],
                  routes: [{ match: { path: "/stats/prometheus" }, route: { cluster: "prometheus_stats" } }],
                },
              ],
            },
            http_filters: [
              filter("envoy.filters.http.router", { "@type": `${EXTENSIONS}.filters.http.router.v3.Router` }),
            ],
          }),
        ],
      },
    ],
  },
  cluster: {
    name: "prometheus_stats",
    type: "STATIC",
    load_assignment: {
      cluster_name: "prometheus_stats",
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: ADMIN } } }] }],
    },
  },
};

const HOST = { type: "Host", host: { envoyVersion: ENVOY } };
const BOOTSTRAP = {
  type: "JSONPatch",
  jsonPatches: [
    { op: "replace", path: "/admin/address/socket_address", value: ADMIN },
    { op: "add", path: "/static_resources/listeners", value: [STATS.listener] },
    { op: "add", path: "/static_resources/clusters/-", value: STATS.cluster },
  ],
};
const HMAC = randomBytes(32);

/** The pod of the controller, as its chart has it. */
function controllerPod(): any {
  const { objects } = JSON.parse(fs.readFileSync(path.join(RENDERED, `${CONTROLLER}.json`), "utf8")) as RenderedChart;
  const found: any = objects.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === CONTROLLER);
  return found.spec.template;
}

/**
 * The program's objects, but for what only a cluster has: pods for proxies, and Services, for which the stand-alone mode has
 * Backends.
 */
function resources(cluster: Cluster): object[] {
  const { program } = cluster;
  const { metadata, spec: ways } = program.object(NAME, "Gateway");
  const certificates = ways.listeners.flatMap(({ tls: own }: any) => own?.certificateRefs ?? []);
  const inNamespace = program.all("Secret").filter((one) => one.metadata.namespace === metadata.namespace);
  const routes = program.all("HTTPRoute");
  const services = routes.flatMap(({ spec }) => spec.rules).flatMap(({ backendRefs = [] }: any) => backendRefs);
  const { group, kind } = BACKEND;
  return [
    ...READ.flatMap((one) => program.all(one)).map(renamed),
    { ...program.object(NAME, "EnvoyProxy"), spec: { provider: HOST, bootstrap: BOOTSTRAP } },
    // By which it knows its own cookies; another a hook of the chart makes.
    secret("Opaque", { name: "envoy-oidc-hmac", namespace: metadata.namespace }, { "hmac-secret": HMAC }),
    ...certificates.map(({ name }: any) =>
      secret("kubernetes.io/tls", { ...metadata, name }, issuedAs(name, program) ?? {}),
    ),
    ...inNamespace.map((one) => secret("Opaque", one.metadata, program.data("Secret", one.metadata.name))),
    ...routes.map(({ spec, ...route }) => ({
      ...route,
      spec: {
        ...spec,
        rules: spec.rules.map(({ backendRefs, ...rule }: any) => ({
          ...rule,
          ...(backendRefs && { backendRefs: backendRefs.map((one: any) => ({ ...one, group, kind })) }),
        })),
      },
    })),
    ...program
      .all("BackendTLSPolicy")
      .flatMap(({ spec, ...one }) => [
        { ...one, spec: { ...spec, targetRefs: spec.targetRefs.map((ref: any) => ({ ...ref, group, kind })) } },
        ...spec.validation.caCertificateRefs.map((ref: any) =>
          secret("kubernetes.io/tls", { ...one.metadata, name: ref.name }, issuedAs(ref.name, program) ?? {}),
        ),
      ]),
    ...program.all("ReferenceGrant").map(({ spec, ...grant }) => ({
      ...grant,
      spec: { ...spec, to: spec.to.map((one: any) => ({ ...one, group, kind })) },
    })),
    ...services.map(({ name, namespace, port }: any) => ({
      apiVersion: `${group}/v1alpha1`,
      kind,
      metadata: { name, namespace },
      spec: { endpoints: [{ ip: { address: cluster.addressOf(name, namespace), port } }] },
    })),
  ];
}

/**
 * A policy under another name for each content: the stand-alone mode merges an object into the one that it has of this name, and
 * would go on asking for a password besides.
 */
function renamed(object: Rendered): Rendered {
  if (!object.kind.endsWith("Policy")) return object;
  const { metadata, spec } = object;
  const hash = createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 8);
  return { ...object, metadata: { ...metadata, name: `${metadata.name}-${hash}` } };
}

function filter(name: string, config: object): object {
  return { name, typed_config: config };
}

function secret(
  type: string,
  { name, namespace }: Rendered["metadata"],
  contents: Readonly<Record<string, string | Buffer>>,
): object {
  const encoded = Object.entries(contents).map(([key, value]) => [key, Buffer.from(value).toString("base64")]);
  return { apiVersion: "v1", kind: "Secret", type, metadata: { name, namespace }, data: Object.fromEntries(encoded) };
}
