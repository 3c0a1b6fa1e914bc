import * as pulumi from "@pulumi/pulumi";
import type { OutsideServer } from "./outside";

export type Protocol = "http" | "grpc" | "postgresql" | "ray" | "redis" | "kafka" | "bolt";

/** How a client shows a server who it is. */
export type Auth =
  | "none"
  | "password"
  | "basic"
  | "bearer"
  | "oauth2"
  | "session"
  | "scram-sha-256"
  | "scram-sha-512"
  | "api-key"
  | "aws-sigv4";

/** The identity of pods in policies: namespace, labels and service account. */
export interface PodIdentity {
  /** Short name for policies and diagrams: the workload's. */
  readonly name: string;
  readonly namespace: pulumi.Input<string>;
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  /** The accounts of some of them, where not all have the same. @default none */
  readonly otherAccounts?: readonly string[];
  /** Why they are not in the mesh. @default they are */
  readonly outsideMesh?: string;
  /** Whether somebody else runs them, and the policies that select them. @default false */
  readonly foreign?: boolean;
}

/** The pods of a workload of ours, whose labels and service account follow from its name. */
export function podsNamed(
  name: string,
  namespace: pulumi.Input<string>,
  matchLabels: PodIdentity["matchLabels"] = { app: name },
): PodIdentity {
  return { name, namespace, matchLabels, serviceAccount: name };
}

/** A service that pods reach inside the cluster. */
export interface Endpoint<P extends Protocol = Protocol> {
  readonly kind: "endpoint";
  readonly protocol: P;
  /** DNS name, without scheme or port. */
  readonly host: pulumi.Output<string>;
  readonly port: number;
  readonly tls: boolean;
  /** The CA of its certificate; absent without TLS. */
  readonly trust?: Trust;
  readonly auth: Auth;
  /** The pods behind it, and the port that they listen on: what policies are made of. */
  readonly server: PodIdentity;
  readonly podPort: number;
  /** What must exist and be ready before a client starts. */
  readonly ready: readonly pulumi.Resource[];
}

/** Ports of pods for flows inside a system, without a Service. */
export interface PodPorts {
  readonly kind: "pods";
  readonly server: PodIdentity;
  readonly ports: readonly PortRange[];
  /** What is done there, in a word or two. */
  readonly why: string;
}

/** One TCP port, or all from `port` to `endPort`. */
export interface PortRange {
  readonly port: number;
  readonly endPort?: number;
}

/** A peer that is not a pod: the API server, or something outside the cluster. */
export interface ExternalPeer {
  readonly kind: "external";
  readonly name: string;
  readonly cidrs: readonly string[];
  readonly port: number;
  /** What is done there, in a word or two. */
  readonly why: string;
  /** What must be done there before a client starts. @default nothing */
  readonly ready?: readonly pulumi.Resource[];
  /** What it is outside the cluster. @default a part of the cluster, or none of its clients' concern */
  readonly outside?: OutsideServer;
}

/** The peer of a URL outside the cluster, in one of these networks. */
export function externalPeer(name: string, address: string, cidrs: readonly string[]): ExternalPeer {
  const { hostname, port, protocol } = new URL(address);
  return {
    kind: "external",
    name,
    cidrs,
    outside: { host: hostname, http: true },
    port: Number(port || (protocol === "https:" ? 443 : 80)),
    why: protocol.replace(":", ""),
  };
}

export interface Credential {
  readonly username: pulumi.Output<string>;
  readonly password: pulumi.Output<string>;
}

/** The API server: the addresses at which pods reach it, and from which it calls webhooks. */
export interface ApiServer extends ExternalPeer {
  /** Its own addresses and, if it reaches pods of other nodes through an overlay, the pod network. */
  readonly callsFrom: readonly string[];
}

/** A server outside the cluster. */
export type ExternalServer = ExternalPeer & Pick<Endpoint, "host" | "ready">;

/** A database of one service, over TLS, with the role that owns it. */
export interface PostgresDatabase {
  readonly server: Endpoint<"postgresql"> | ExternalServer;
  readonly database: string;
  readonly login: Credential;
  readonly trust: Trust;
}

/** The rights of one client in Redis. */
export interface RedisAccess {
  /** Keys that it may read and write, as glob patterns. */
  readonly keys: readonly string[];
  /** Channels that it may publish and subscribe to, as a glob pattern. @default none */
  readonly channels?: string;
  /** Commands that it may send, by name. */
  readonly commands: readonly string[];
}

/** A Redis server, over TLS, and the user of one client. */
export interface RedisLogin {
  readonly server: Endpoint<"redis">;
  readonly login: Credential;
  readonly trust: Trust;
}

/** The CA that a TLS client trusts: a volume with `ca.crt` (PEM) and `truststore.p12` (PKCS 12, without keys). */
export interface Trust {
  /** The source of the volume, as a pod names it. */
  readonly volume: {
    readonly secret: { readonly secretName: string; readonly items: { readonly key: string; readonly path: string }[] };
  };
  /** The CA itself, in PEM. @default the platform's, which cert-manager makes */
  readonly pem?: string;
}

/** Operations on a topic, as in Kafka's ACLs. */
export type TopicOperation =
  "Read" | "Write" | "Create" | "Delete" | "Alter" | "Describe" | "AlterConfigs" | "DescribeConfigs";

/** The rights of one client in Kafka. A trailing `*` makes a name a prefix. */
export interface KafkaAccess {
  /** Allowed operations by topic. */
  readonly topics: Readonly<Record<string, readonly TopicOperation[]>>;
  /** Consumer groups that it may join. @default none */
  readonly groups?: readonly string[];
  /** Transactional IDs with which it may write to several topics at once. @default none */
  readonly transactionalIds?: readonly string[];
}

/** A Kafka cluster, over TLS with SCRAM-SHA-512, and the user of one client. */
export interface KafkaLogin {
  /** The bootstrap Service; `ready` includes the client's user and its topics. */
  readonly bootstrap: Endpoint<"kafka">;
  readonly login: Credential;
  readonly trust: Trust;
}

/** The rights of one client in Elasticsearch, as privileges of its role. */
export interface SearchAccess {
  /** Privileges on the cluster. */
  readonly cluster: readonly string[];
  /** Privileges on indices, by name pattern. */
  readonly indices: readonly { readonly names: readonly string[]; readonly privileges: readonly string[] }[];
}

/** Elasticsearch, over TLS, and the user of one client. */
export interface SearchLogin {
  readonly server: Endpoint<"http">;
  readonly login: Credential;
  readonly trust: Trust;
}

/** Neo4j, over TLS, and the user of one client. */
export interface GraphLogin {
  readonly server: Endpoint<"bolt">;
  readonly login: Credential;
  readonly trust: Trust;
}

/** A catalog with Iceberg's REST API, and the OAuth2 client (ID and secret) of one user. */
export interface IcebergCatalog {
  readonly server: Endpoint<"http">;
  /** Path of the API below the server's address. */
  readonly path: string;
  /** Name of the catalog, which clients call the warehouse. */
  readonly name: string;
  readonly login: Credential;
  /**
   * Changes with the key of the tokens. A client that keeps a token must then start anew: Iceberg's asks for no other after a 401
   * (iceberg#17756).
   */
  readonly tokens: pulumi.Output<string>;
}

/** What a user of an object store may do in a bucket: list and read, or also write and delete. */
export type BucketAccess = "read" | "write";

/** A user of an object store, which may use no other bucket than these, or of one a folder alone: `<bucket>/<folder>`. */
export interface BucketUser {
  readonly login: Credential;
  readonly access: Readonly<Record<string, BucketAccess>>;
}

/** An S3 bucket and the user of one client. */
export interface Bucket {
  readonly name: string;
  readonly store: S3Store;
}

/** An S3 API, inside the cluster or outside, and the user of one client. */
export interface S3Store {
  /** Base URL of the API, without a path. */
  readonly url: pulumi.Output<string>;
  readonly region: string;
  /** Where its clients are let, once the buckets and the users are there. */
  readonly destination: Endpoint | ExternalPeer;
  /** Access key and secret key. */
  readonly login: Credential;
}

/** The DNS name of a Service, as pods call it: their resolver adds the domain of whatever cluster they are in. */
export function serviceHost(service: string, namespace: pulumi.Input<string>): pulumi.Output<string> {
  return pulumi.interpolate`${service}.${namespace}.svc`;
}

/** An endpoint with a fully qualified host: for aliases, and for clients whose resolver adds no domain. */
export function fullyQualified<P extends Protocol>(endpoint: Endpoint<P>, clusterDomain: string): Endpoint<P> {
  return { ...endpoint, host: pulumi.interpolate`${endpoint.host}.${clusterDomain}` };
}

/** Every name by which pods may call a Service. */
export function serviceNames(
  service: string,
  namespace: pulumi.Input<string>,
  clusterDomain: string,
): pulumi.Input<string>[] {
  const host = serviceHost(service, namespace);
  return [service, pulumi.interpolate`${service}.${namespace}`, host, pulumi.interpolate`${host}.${clusterDomain}`];
}

/** What a Service leads to. */
export interface ServiceTarget extends Pick<Endpoint, "server" | "ready"> {
  /** Name of the Service. @default the server's */
  readonly service?: string;
  /** Port that the pods listen on. @default the Service's */
  readonly podPort?: number;
  /** The CA of its certificate. @default it has no TLS */
  readonly trust?: Trust;
  /** @default "none" */
  readonly auth?: Auth;
}

/** The endpoint behind a port of a Service. */
export function serviceEndpoint<P extends Protocol>(
  protocol: P,
  port: number,
  { server, ready, service = server.name, podPort = port, trust, auth = "none" }: ServiceTarget,
): Endpoint<P> {
  return {
    kind: "endpoint",
    protocol,
    host: serviceHost(service, server.namespace),
    port,
    tls: trust !== undefined,
    ...(trust && { trust }),
    auth,
    server,
    podPort,
    ready,
  };
}

// The schemes of protocols over TLS, where they have another then.
const OVER_TLS: Readonly<Partial<Record<Protocol, string>>> = { http: "https", redis: "rediss", bolt: "bolt+s" };

/** The scheme of an endpoint's URL. */
export function schemeOf({ protocol, tls }: Endpoint): string {
  return (tls ? OVER_TLS[protocol] : undefined) ?? protocol;
}

/** The only place where an endpoint becomes a string. */
export function url(endpoint: Endpoint, path = ""): pulumi.Output<string> {
  return pulumi.interpolate`${schemeOf(endpoint)}://${endpoint.host}:${endpoint.port}${path}`;
}

/** The Service of an endpoint, as other objects refer to it. */
export function serviceReference({
  host,
  port,
}: Endpoint): pulumi.Output<{ name: string; namespace: string; port: number }> {
  return host.apply((name) => {
    const [service = "", namespace = ""] = name.split(".");
    return { name: service, namespace, port };
  });
}

/** An endpoint as `host:port`, for clients of protocols other than HTTP. */
export function hostPort({ host, port }: Pick<Endpoint, "host" | "port">): pulumi.Output<string> {
  return pulumi.interpolate`${host}:${port}`;
}
