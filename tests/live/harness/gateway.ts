import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as https from "node:https";
import * as path from "node:path";
import { text } from "node:stream/consumers";
import * as tls from "node:tls";
import { stringify } from "yaml";
import { ensureEnvoyGateway } from "../../../rehearsal/software/tools";
import { ensurePackaged } from "../../../rehearsal/software/venvs";
import { certificate, issuedAs } from "./certificates";
import type { Cluster } from "./cluster";
import { eventually } from "./eventually";
import type { Rendered } from "./rendered";
import { Sandbox } from "./sandbox";

const NAME = "gateway";
const HOME = "/gateway";
const UID = 65532;
const CERTGEN = `envoy-gateway certgen --local --config-home ${HOME}/config`;
// Another it would download.
const ENVOY = "1.39.1";
const READ = ["BackendTrafficPolicy", "ClientTrafficPolicy", "Gateway", "GatewayClass", "SecurityPolicy"];
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
    const bin = await ensureEnvoyGateway(() => undefined);
    // The stand-alone mode binds the listeners' own ports. Runtimes of containers let everybody.
    const everybody = "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start";
    execFileSync("ip", ["netns", "exec", NAME, "sh", "-c", everybody]);
    const sandbox = Sandbox.start({
      name: NAME,
      pod: NAME,
      // With the certificates by which the two know each other, as a hook of the chart makes them.
      command: ["sh", "-c", `${CERTGEN} && exec envoy-gateway server --config-path ${HOME}/envoy-gateway.yaml`],
      env: { PATH: `${bin}:/usr/bin:/bin`, HOME },
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
      request.on("error", reject);
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
  fs.writeFileSync(path.join(home, file), objects.map((one) => stringify(one)).join("---\n"));
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
    ...READ.flatMap((one) => program.all(one)),
    { ...program.object(NAME, "EnvoyProxy"), spec: { provider: { type: "Host", host: { envoyVersion: ENVOY } } } },
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

function secret(
  type: string,
  { name, namespace }: Rendered["metadata"],
  contents: Readonly<Record<string, string | Buffer>>,
): object {
  const encoded = Object.entries(contents).map(([key, value]) => [key, Buffer.from(value).toString("base64")]);
  return { apiVersion: "v1", kind: "Secret", type, metadata: { name, namespace }, data: Object.fromEntries(encoded) };
}
