import * as pulumi from "@pulumi/pulumi";
import type { Polaris } from "../../components/analytics/polaris";
import { BINDING_ROOT } from "../../components/base/bindings";
import { CA_KEY } from "../../components/base/certificate";
import {
  type Endpoint,
  type ExternalServer,
  fullyQualified,
  type PostgresDatabase,
  type S3Store,
  schemeOf,
  url,
} from "../../components/base/endpoint";
import { VERIFIED } from "../../components/base/postgres-client";
import type { Elasticsearch } from "../../components/data/elasticsearch";
import type { Kafka } from "../../components/data/kafka";
import type { ObjectStore } from "../../components/data/object-store";
import type { PostgresServer } from "../../components/data/postgres/users";
import type { EnvoyGateway } from "../../components/edge/envoy-gateway";
import type { Access } from "../../components/ground/binding";
import type { TenantRay } from "../../components/ml/ray/tenant";
import { needed } from "../config/needs";
import { filesOf, filesUser, type GrantKind, type TenantGrant } from "../config/tenants";
import type { Foundation } from "./foundation";
import { TENANT_APIS } from "./gateway";

/** The systems that tenants may use a part of. */
export interface Systems {
  readonly objectStore: ObjectStore | undefined;
  readonly postgres: PostgresServer<string, string, string> | undefined;
  readonly kafka: Kafka | undefined;
  readonly elasticsearch: Elasticsearch | undefined;
  readonly polaris: Polaris | undefined;
  readonly gateway: EnvoyGateway | undefined;
}

/** A grant, and the way there. */
export interface Granted {
  readonly grant: TenantGrant;
  readonly access: Access;
}

/** With what the libraries of the program's pods in a tenant's namespace log in. */
export function clientEnv(ways: readonly Granted[]): Record<string, pulumi.Input<string>> {
  return Object.assign({}, ...ways.map(variablesOf)) as Record<string, pulumi.Input<string>>;
}

function variablesOf({
  grant: { kind, secret },
  access: { uri, login },
}: Granted): Record<string, pulumi.Input<string>> {
  switch (kind) {
    case "mlflow":
      return {
        MLFLOW_TRACKING_URI: uri,
        MLFLOW_TRACKING_TOKEN: login.password,
        MLFLOW_TRACKING_SERVER_CERT_PATH: `${BINDING_ROOT}/${secret}/${CA_KEY}`,
      };
    case "ray":
      return { RAY_ADDRESS: uri, RAY_AUTH_MODE: "token", RAY_AUTH_TOKEN: login.password };
    default:
      return {};
  }
}

/** The way to a tenant's own Ray cluster. */
export function rayAccess(
  { user }: TenantGrant,
  { client, dashboard }: TenantRay,
  token: pulumi.Output<string>,
  clusterDomain: string,
): Access {
  const server = fullyQualified(client, clusterDomain);
  return {
    ...{ type: "ray", host: server.host, port: server.port, to: [client, dashboard], ca: undefined },
    uri: url(server),
    login: { username: pulumi.output(user), password: token },
    details: { dashboard: url(fullyQualified(dashboard, clusterDomain)) },
  };
}

type Way = (grant: TenantGrant, systems: Systems, ground: Foundation) => Omit<Access, "ca"> & Partial<Access>;

/** How each kind of grant leads to its system. */
export const ACCESS: Readonly<Record<Exclude<GrantKind, "ray">, Way>> = {
  bucket: ({ name, user }, { objectStore }, { clusterDomain }) => {
    const { name: bucket, store } = needed(objectStore).bucket(name, user);
    const { destination, login, region } = store;
    const server = ours(store, clusterDomain);
    const uri = pulumi.interpolate`${schemeOf(server)}://${server.host}:${server.port}/${bucket}`;
    return { ...at("s3", destination, server), login, uri, details: { bucket, region } };
  },
  database: ({ name }, { postgres }, { clusterDomain }) => {
    const { server, database, login, trust }: PostgresDatabase = needed(postgres).database(name);
    const named = server.kind === "endpoint" ? fullyQualified(server, clusterDomain) : server;
    const { sslmode } = VERIFIED;
    const uri = pulumi.interpolate`postgresql://${loginIn(login)}@${named.host}:${named.port}/${database}?sslmode=${sslmode}`;
    const ca = trust.pem === undefined ? {} : { ca: trust.pem };
    return { ...at("postgresql", server, named), login, uri, details: { database, sslmode }, ...ca };
  },
  topic: ({ name: topic, tenant, user }, { kafka }, { clusterDomain }) => {
    const { bootstrap, login } = needed(kafka).login(user);
    const server = fullyQualified(bootstrap, clusterDomain);
    const uri = pulumi.interpolate`kafka://${server.host}:${server.port}`;
    const details = { topic, mechanism: bootstrap.auth.toUpperCase(), prefix: `${tenant}.` };
    return { ...at("kafka", bootstrap, server), login, uri, details };
  },
  catalog: (grant, { polaris, objectStore }, { clusterDomain }) => {
    const { server: api, path, name: warehouse, login } = needed(polaris).catalog(grant.user);
    const { store } = needed(objectStore).bucket(filesOf(grant), filesUser(grant));
    const server = fullyQualified(api, clusterDomain);
    const uri = pulumi.interpolate`${schemeOf(server)}://${server.host}:${server.port}${path}`;
    const files = ours(store, clusterDomain);
    return {
      ...{ type: "iceberg", host: server.host, port: server.port, to: [api, store.destination], login, uri },
      details: {
        ...{ warehouse, schema: grant.name, scope: "PRINCIPAL_ROLE:ALL" },
        // As Iceberg's clients call them. The catalog hands out no logins of the object store.
        "s3.endpoint": pulumi.interpolate`${schemeOf(files)}://${files.host}:${files.port}`,
        "s3.region": store.region,
        "s3.access-key-id": store.login.username,
        "s3.secret-access-key": store.login.password,
      },
    };
  },
  search: ({ name: indices, user }, { elasticsearch }, { clusterDomain }) => {
    const { server: endpoint, login } = needed(elasticsearch).login(user);
    const server = fullyQualified(endpoint, clusterDomain);
    const uri = pulumi.interpolate`${schemeOf(server)}://${loginIn(login)}@${server.host}:${server.port}`;
    return { ...at("elasticsearch", endpoint, server), login, uri, details: { indices } };
  },
  mlflow: api("mlflow"),
  features: api("features"),
  serve: api("serve"),
};

function api(kind: keyof typeof TENANT_APIS): Way {
  return ({ user }, { gateway }) => {
    const { host, port, path, to, ...access } = needed(gateway).tenantApi(TENANT_APIS[kind], user);
    const uri = pulumi.interpolate`https://${host}${path}`;
    return { type: kind, host, port, uri, to: [to], ...access, details: { header: "X-API-Key" } };
  };
}

/** A store of ours by its whole name; the config check lets nobody have a part of one outside. */
function ours({ destination }: S3Store, clusterDomain: string): Endpoint {
  if (destination.kind !== "endpoint") throw new Error("a tenant has a part of an object store outside");
  return fullyQualified(destination, clusterDomain);
}

function at(type: string, to: Access["to"][number], { host, port }: Pick<Endpoint | ExternalServer, "host" | "port">) {
  return { type, to: [to], host, port };
}

function loginIn({ username, password }: Access["login"]): pulumi.Output<string> {
  return pulumi.interpolate`${username}:${password}`;
}
