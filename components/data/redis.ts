import { createHash } from "node:crypto";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, serverCertificate } from "../base/certificate";
import {
  type Endpoint,
  type RedisAccess,
  type RedisLogin,
  serviceEndpoint,
  serviceNames,
  type Trust,
  url,
} from "../base/endpoint";
import { exporter } from "../base/exporter";
import { configFiles, secretFiles } from "../base/files";
import { objectName } from "../base/names";
import { REDIS_CA } from "../base/redis-client";
import type { Offer } from "../base/offer";
import type { ContainerSize } from "../base/pod";
import type { Metrics } from "../base/scrape";
import { envSecret } from "../base/secret";
import { statefulPod } from "../base/stateful-pod";
import { images } from "../base/versions";
import type { Volume } from "../base/volume";

const REDIS_PORT = 6379;
// The user `valkey` of the image.
const VALKEY_UID = 999;
const CONFIG_FILE = "valkey.conf";
const ACL_FILE = "users.acl";
const CERTIFICATE = "/etc/valkey-tls";
// The server's old name, which clients may still use.
const LEGACY_NAME = "redis-service";
const PROBE_USER = "probe";
const EXPORTER_USER = "exporter";
const EXPORTER_PORT = 9121;
// The user of the image.
const EXPORTER_UID = 59000;

/** A client of the server, and the name of its user. */
export interface RedisClient extends RedisAccess {
  readonly password: pulumi.Output<string>;
}

/** Inputs of {@link Redis}. */
export interface RedisArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Signs the server's certificate. */
  readonly authority: Authority;
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  readonly size: ContainerSize;
  readonly volume: Volume;
  readonly clients: Readonly<Record<string, RedisClient>>;
  /** The pod that asks the server for its metrics, and the password of its user. */
  readonly exporter: { readonly size: ContainerSize; readonly password: pulumi.Output<string> };
  readonly metrics: Metrics;
  /** Refuses to delete or replace the server. */
  readonly protect: boolean;
}

/** Valkey, which is compatible with Redis: one pod with a volume, and a user and Secret per client. */
export class Redis<Client extends string = string> extends pulumi.ComponentResource {
  readonly endpoint: Endpoint<"redis">;
  readonly offers: Offer;
  private readonly logins: ReadonlyMap<string, RedisLogin>;

  constructor(
    name: string,
    args: RedisArgs & { readonly clients: Readonly<Partial<Record<Client, RedisClient>>> },
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:Redis", name, {}, opts);
    const { namespace, size, volume, clients, protect }: RedisArgs = args;
    const certificate = serverCertificate(
      name,
      {
        namespace,
        authority: args.authority,
        dnsNames: [name, LEGACY_NAME].flatMap((service) => serviceNames(service, namespace, args.clusterDomain)),
      },
      { parent: this },
    );
    const config = configFiles(
      `${name}-config`,
      { namespace, files: { [CONFIG_FILE]: configuration(size) } },
      { parent: this },
    );
    const users = secretFiles(
      `${name}-users`,
      { namespace, files: { [ACL_FILE]: accessList(args) } },
      { parent: this },
    );
    const pod = statefulPod(
      name,
      {
        namespace,
        size,
        volume,
        protect,
        image: images.valkey,
        command: ["sh", "-c", START, "sh", "valkey-server", `/etc/valkey/${CONFIG_FILE}`],
        ports: { redis: REDIS_PORT },
        // A server that is loading its data answers every command with an error; this may take ten minutes.
        probe: { kind: "command", command: PROBE, startupSeconds: 600 },
        uid: VALKEY_UID,
        files: { config, users },
        certificate,
        volumes: [{ name: "certificate", secret: { secretName: certificate.secretName } }],
        mounts: { "/etc/valkey": "config", "/etc/valkey-users": "users", [CERTIFICATE]: "certificate" },
      },
      this,
    );
    this.endpoint = serviceEndpoint("redis", REDIS_PORT, { ...pod, auth: "password" });
    this.logins = new Map(
      Object.entries(clients).map(([client, { password }]) => [
        client,
        { server: this.endpoint, login: { username: pulumi.output(client), password }, trust: certificate.trust },
      ]),
    );
    const secrets = Object.entries(clients).map(([client, { password }]) => {
      const { name: secret } = envSecret(
        objectName(name, client),
        { namespace, type: "kubernetes.io/basic-auth", data: { username: client, password } },
        { parent: this },
      );
      return [client, { namespace, name: secret }] as const;
    });
    this.watch(objectName(name, "exporter"), args, certificate.trust);
    this.offers = {
      endpoints: { redis: this.endpoint },
      credentials: Object.fromEntries(secrets),
      legacyNames: { [LEGACY_NAME]: [this.endpoint] },
      alerts: [path.join(__dirname, "redis.alerts.yaml")],
    };
    this.registerOutputs();
  }

  private watch(name: string, { namespace, exporter: own, metrics }: RedisArgs, trust: Trust): void {
    const login = envSecret(
      objectName(name, "login"),
      { namespace, data: { REDIS_USER: EXPORTER_USER, REDIS_PASSWORD: own.password } },
      { parent: this },
    );
    exporter(this, name, {
      namespace,
      image: images.redisExporter,
      size: own.size,
      uid: EXPORTER_UID,
      env: {
        REDIS_ADDR: url(this.endpoint),
        REDIS_EXPORTER_TLS_CA_CERT_FILE: REDIS_CA.file,
        REDIS_EXPORTER_WEB_LISTEN_ADDRESS: `:${EXPORTER_PORT}`,
        // What its user may not ask.
        REDIS_EXPORTER_CONFIG_COMMAND: "-",
        REDIS_EXPORTER_SET_CLIENT_NAME: "false",
        REDIS_EXPORTER_EXCLUDE_LATENCY_HISTOGRAM_METRICS: "true",
      },
      secretEnv: [login],
      mounts: REDIS_CA.mounts,
      volumes: [REDIS_CA.volume(trust)],
      port: EXPORTER_PORT,
      healthPath: "/health",
      talksTo: [this.endpoint],
      by: metrics,
    });
  }

  /** The server and the user of a client, if it is one. */
  find(client: Client): RedisLogin | undefined {
    return this.logins.get(client);
  }

  /** The server and the user of a client. */
  login(client: Client): RedisLogin {
    const login = this.find(client);
    if (login === undefined) throw new Error(`Redis has no user ${client}`);
    return login;
  }
}

// After a loss of power a file may end in zeros, where it had grown and nothing was written yet. The server loads a log that ends in
// the middle of a command, but not such a one (valkey#1148). Since commands end in a line break, they go with the line that they follow.
const START = String.raw`for log in /data/appendonlydir/*.incr.aof; do
  if [ -s "$log" ] && [ "$(tail -c 1 "$log" | tr -d '\0' | wc -c)" -eq 0 ]; then
    truncate -s "-$(tail -n 1 "$log" | wc -c)" "$log"
  fi
done
exec "$@"
`;

// Fails if the answer is an error, as while data is loaded. PING would also fail while the disk is full, when the server still
// answers reads, and a restart helps nobody. Its user needs no password and may do nothing else. It does not verify the server,
// since the name is another and a certificate that expired is no reason to restart.
const PROBE = [
  ...["valkey-cli", "-e", "--tls", "--insecure", "--no-auth-warning"],
  ...["--user", PROBE_USER, "--pass", "none", "dbsize"],
];

function configuration({ memoryMiB }: ContainerSize): string {
  const settings = {
    // No port without TLS.
    port: 0,
    "tls-port": REDIS_PORT,
    "tls-cert-file": `${CERTIFICATE}/tls.crt`,
    "tls-key-file": `${CERTIFICATE}/tls.key`,
    // Clients have passwords, and no certificates.
    "tls-auth-clients": "no",
    // Renewed certificates, within an hour.
    "tls-auto-reload-interval": 3600,
    dir: "/data",
    aclfile: `/etc/valkey-users/${ACL_FILE}`,
    // Every write goes to a log that is synchronized each second; additional snapshots would be useless.
    appendonly: "yes",
    save: '""',
    // Half of the memory: rewriting the log forks, which copies every page in the worst case.
    maxmemory: `${Math.floor(memoryMiB.limit / 2)}mb`,
    // When full, it evicts keys with an expiry, which caches have. It rejects writes rather than evict features and queues.
    "maxmemory-policy": "volatile-lru",
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key} ${value}\n`)
    .join("");
}

// Each user starts without keys and commands, and the default user is off. The list contains hashes, so that special
// characters in passwords and readers of this file can do no harm.
function accessList({ clients, exporter: { password: exporterPassword } }: RedisArgs): pulumi.Output<string> {
  const users = Object.entries(clients).map(([client, { password, keys, channels, commands }]) => {
    const reached = [...keys.map((pattern) => `~${pattern}`), ...(channels === undefined ? [] : [`&${channels}`])];
    return user(client, password, [...reached, ...commands.map((command) => `+${command}`)]);
  });
  return pulumi
    .all([
      "user default off",
      `user ${PROBE_USER} on nopass +dbsize`,
      user(EXPORTER_USER, exporterPassword, EXPORTER_RULES),
      ...users,
    ])
    .apply((lines) => lines.map((line) => `${line}\n`).join(""));
}

// It also asks for the slowest command, which would show it keys and values; refused, it goes on.
const EXPORTER_RULES = ["+info", "+latency|latest", "+slowlog|len"];

function user(name: string, password: pulumi.Output<string>, rules: readonly string[]): pulumi.Output<string> {
  return password.apply(
    (text) => `user ${name} on #${createHash("sha256").update(text).digest("hex")} ${rules.join(" ")}`,
  );
}
