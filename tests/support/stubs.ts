import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type {
  Bucket,
  Credential,
  Endpoint,
  ApiServer,
  GraphLogin,
  IcebergCatalog,
  KafkaLogin,
  PodIdentity,
  PostgresDatabase,
  Protocol,
  RedisLogin,
  SearchLogin,
  Trust,
} from "../../components/base/endpoint";
import type { MailServer } from "../../components/base/mail";
import { externalPeer } from "../../components/base/endpoint";
import { prometheus } from "../../components/base/observers";
import type { ContainerSize } from "../../components/base/pod";
import type { Metrics } from "../../components/base/scrape";
import type { SignOn } from "../../components/base/sign-on";
import { ClusterProvider } from "../../components/base/wiring";

/** What a component is handed by others, as small as a test needs it. */
export const SIZE: ContainerSize = { cpu: { request: 0.5, limit: 1 }, memoryMiB: { request: 1024, limit: 2048 } };

export const kubeApi: ApiServer = {
  kind: "external",
  name: "kube-api",
  cidrs: ["10.0.0.1/32"],
  port: 6443,
  why: "Kubernetes API",
  callsFrom: ["10.0.0.1/32", "10.244.0.0/16"],
};

/** Options of components that a test makes at once: then the wiring of their cluster is complete. */
export function onCluster(): { readonly provider: ClusterProvider } {
  const provider = new ClusterProvider("cluster");
  queueMicrotask(() => {
    provider.wiring.complete();
  });
  return { provider };
}

function pods(name: string): PodIdentity {
  return { name, namespace: "elsewhere", matchLabels: { app: name }, serviceAccount: name };
}

export function endpoint<P extends Protocol>(name: string, protocol: P, port: number): Endpoint<P> {
  const host = pulumi.output(`${name}.elsewhere`);
  return {
    kind: "endpoint",
    protocol,
    host,
    port,
    tls: false,
    auth: "none",
    server: pods(name),
    podPort: port,
    ready: [marker(`${name}-ready`)],
  };
}

export function database(password: string, name = "runs"): PostgresDatabase {
  return {
    server: endpoint("db", "postgresql", 5432),
    database: name,
    login: { username: pulumi.output("runner"), password: pulumi.secret(password) },
    trust: trust("db"),
  };
}

function login(username: string, password: string): Credential {
  return { username: pulumi.output(username), password: pulumi.secret(password) };
}

function trust(server: string): Trust {
  return { volume: { secret: { secretName: `${server}-tls`, items: [{ key: "ca.crt", path: "ca.crt" }] } } };
}

export function streams(password: string): KafkaLogin {
  return {
    bootstrap: endpoint("streams", "kafka", 9093),
    login: login("stream-user", password),
    trust: trust("streams"),
  };
}

export function search(password: string): SearchLogin {
  const server = { ...endpoint("search", "http", 9200), tls: true };
  return { server, login: login("search-user", password), trust: trust("search") };
}

export function cache(password: string): RedisLogin {
  return {
    server: { ...endpoint("redis", "redis", 6379), tls: true },
    login: login("runner", password),
    trust: trust("redis"),
  };
}

export function graph(password: string): GraphLogin {
  const server = { ...endpoint("graph", "bolt", 7687), tls: true };
  return { server, login: login("graph-user", password), trust: trust("graph") };
}

export function icebergCatalog(secret: string): IcebergCatalog {
  return {
    server: endpoint("lake", "http", 8181),
    path: "/api/catalog",
    name: "warehouse",
    login: login("client", secret),
    tokens: pulumi.output("key-1"),
  };
}

export function bucket(name = "artifacts"): Bucket {
  const server = { ...endpoint("s3", "http", 9000), tls: true, trust: trust("s3") };
  return {
    name,
    store: {
      url: pulumi.output("https://s3.elsewhere:9000"),
      region: "us-east-1",
      destination: { ...server, ready: [...server.ready, marker("bucket-ready")] },
      login: { username: pulumi.secret("bucket-user"), password: pulumi.secret("bucket-password") },
    },
  };
}

export function metrics(): Metrics {
  return { scraper: prometheus("monitoring"), crds: marker("metrics-crds") };
}

/** An identity provider, and the client of a system. */
export function signOn<Role extends string>(roles: Readonly<Partial<Record<Role, readonly string[]>>>): SignOn<Role> {
  return {
    issuer: "https://login.example.com/",
    clientId: "own-client",
    clientSecret: pulumi.secret("client-secret"),
    scopes: ["openid", "profile"],
    groupsClaim: "cognito:groups",
    roles,
    provider: [externalPeer("provider", "https://login.example.com", ["203.0.113.0/24"])],
  };
}

/** A server that sends mail. */
export function mail(): MailServer {
  return {
    server: "smtp.example.com",
    port: 587,
    username: "carbon",
    password: pulumi.secret("mail-password"),
    from: "carbon@example.com",
    destination: { kind: "external", name: "mail", cidrs: ["203.0.113.9/32"], port: 587, why: "mail" },
  };
}

/** A resource that others wait for. */
export function marker(name: string): pulumi.Resource {
  return new k8s.core.v1.ConfigMap(name, { metadata: { name, namespace: "elsewhere" } });
}
