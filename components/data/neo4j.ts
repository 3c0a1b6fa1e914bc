import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, serverCertificate } from "../base/certificate";
import { type GraphLogin, serviceEndpoint, serviceNames } from "../base/endpoint";
import { configFiles } from "../base/files";
import type { Offer } from "../base/offer";
import type { ContainerSize } from "../base/pod";
import { envSecret } from "../base/secret";
import { statefulPod } from "../base/stateful-pod";
import { images } from "../base/versions";
import type { Volume } from "../base/volume";

const BOLT_PORT = 7687;
const HTTPS_PORT = 7473;
// The user `neo4j` of the image.
const NEO4J_UID = 7474;
const DATA = "/data";
const CONFIG = "/conf";
const LOGS = "/logs";
const RUN = "/tmp";
const CERTIFICATE = "/certificate";
// The server's old name, which clients may still use.
const LEGACY_NAME = "graphdb-service";
/** The server's initial user; the community edition has no roles for others. */
const USER = "neo4j";

/** Inputs of {@link Neo4j}. */
export interface Neo4jArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Signs the server's certificate. */
  readonly authority: Authority;
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  readonly size: ContainerSize;
  readonly volume: Volume;
  /** Password of the user, set only on an empty volume; change it in Neo4j first (docs/adr/0021-search-and-graph.md). */
  readonly password: pulumi.Output<string>;
  /** Refuses to delete or replace the server. */
  readonly protect: boolean;
}

/** Neo4j, community edition: one pod with a volume. */
export class Neo4j extends pulumi.ComponentResource {
  readonly offers: Offer;
  private readonly graph: GraphLogin;

  constructor(name: string, args: Neo4jArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:Neo4j", name, {}, opts);
    const { namespace, authority, clusterDomain, size, volume, password, protect } = args;
    const dnsNames = [name, LEGACY_NAME].flatMap((service) => serviceNames(service, namespace, clusterDomain));
    const certificate = serverCertificate(name, { namespace, authority, dnsNames }, { parent: this });
    const config = configFiles(
      `${name}-config`,
      { namespace, files: { "neo4j.conf": configuration(size) } },
      { parent: this },
    );
    const login = envSecret(
      `${name}-login`,
      { namespace, type: "kubernetes.io/basic-auth", data: { username: USER, password } },
      { parent: this },
    );
    const pod = statefulPod(
      name,
      {
        namespace,
        size,
        volume,
        protect,
        image: images.neo4j,
        command: ["bash", "-c", START],
        ports: { bolt: BOLT_PORT },
        probePorts: { https: HTTPS_PORT },
        env: { NEO4J_CONF: CONFIG },
        secretEnv: [login],
        // After a crash it first replays the transactions since the last checkpoint, up to 15 minutes of them.
        probe: { kind: "http", path: "/", port: "https", scheme: "HTTPS", startupSeconds: 900 },
        uid: NEO4J_UID,
        files: { config },
        certificate,
        volumes: [{ name: "certificate", secret: { secretName: certificate.secretName } }],
        // Its logs rotate at 160 MB each.
        scratch: { logs: { sizeMiB: 1024 }, tmp: { sizeMiB: 256 } },
        mounts: { [CONFIG]: "config", [LOGS]: "logs", [RUN]: "tmp", [CERTIFICATE]: "certificate" },
        // It writes a checkpoint before it stops.
        terminationGracePeriodSeconds: 300,
      },
      this,
    );
    const bolt = serviceEndpoint("bolt", BOLT_PORT, { ...pod, auth: "basic" });
    this.graph = { server: bolt, login: { username: pulumi.output(USER), password }, trust: certificate.trust };
    this.offers = {
      endpoints: { bolt },
      credentials: { login: { namespace, name: login.name } },
      legacyNames: { [LEGACY_NAME]: [bolt] },
      alerts: [path.join(__dirname, "neo4j.alerts.yaml")],
    };
    this.registerOutputs();
  }

  /** The server and its user. */
  login(): GraphLogin {
    return this.graph;
  }
}

// Instead of the image's own script, which writes into the configuration. A server that was killed left the number of its
// process, which is the next one's as well: it would not start. The password of an empty volume is told before the first
// start; a server with data keeps the one that it has. It is told in a file in memory, since everybody on the node sees
// arguments: there quotes and backslashes have one before them, and two @ mean one. It reads its certificate once: after a
// renewal it is ended, in its own way, and Kubernetes starts it again.
const PASSWORD = "/dev/shm/password";
const START = String.raw`set -eu
rm -f ${RUN}/neo4j.pid
if [ ! -d ${DATA}/databases ]; then
  (umask 077 && printf '%s\n' "$password" | sed 's/["\\]/\\&/g; s/^@/@@/; s/.*/"&"/' > ${PASSWORD})
  neo4j-admin dbms set-initial-password -- @${PASSWORD}
  rm ${PASSWORD}
fi
touch ${RUN}/started
while sleep 3600; do
  if [ ${CERTIFICATE}/tls.crt -nt ${RUN}/started ]; then kill $$; fi
done &
server=$(neo4j console --dry-run)
eval exec "$server"
`;

function configuration({ memoryMiB }: ContainerSize): string {
  const share = (part: number) => `${Math.floor(memoryMiB.limit * part)}m`;
  const settings = {
    "server.default_listen_address": "0.0.0.0",
    // Nothing without TLS; HTTPS is for probes.
    "server.http.enabled": "false",
    "server.https.enabled": "true",
    "server.bolt.tls_level": "REQUIRED",
    ...Object.fromEntries(["bolt", "https"].flatMap(tlsPolicy)),
    "server.directories.data": DATA,
    "server.directories.logs": LOGS,
    "server.directories.run": RUN,
    // The last quarter is for Java's off-heap memory.
    "server.memory.heap.initial_size": share(1 / 2),
    "server.memory.heap.max_size": share(1 / 2),
    "server.memory.pagecache.size": share(1 / 4),
    "dbms.usage_report.enabled": "false",
    // Queries must not read the server's files.
    "dbms.security.allow_csv_import_from_file_urls": "false",
  };
  return [...Object.entries(settings), ...JVM_OPTIONS.map((option) => ["server.jvm.additional", option])]
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}

function tlsPolicy(connector: string): [string, string][] {
  const policy = `dbms.ssl.policy.${connector}`;
  return [
    [`${policy}.enabled`, "true"],
    [`${policy}.base_directory`, CERTIFICATE],
    [`${policy}.private_key`, "tls.key"],
    [`${policy}.public_certificate`, "tls.crt"],
  ];
}

// Those of the configuration that the image brings, which ours replaces, as far as they are no preset for debugging; and a server
// out of memory ends, to be started again.
const JVM_OPTIONS = [
  "-XX:+UseG1GC",
  "-XX:-OmitStackTraceInFastThrow",
  "-XX:+AlwaysPreTouch",
  "-XX:+UnlockExperimentalVMOptions",
  "-XX:+TrustFinalNonStaticFields",
  "-XX:+DisableExplicitGC",
  "-XX:+ExitOnOutOfMemoryError",
  "-Djdk.nio.maxCachedBufferSize=1024",
  "-Dio.netty.tryReflectionSetAccessible=true",
  "--add-opens=java.base/java.nio=ALL-UNNAMED",
  "--add-opens=java.base/java.io=ALL-UNNAMED",
  "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
  "-Dlog4j2.disable.jmx=true",
];
