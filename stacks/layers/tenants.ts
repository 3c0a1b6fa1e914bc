import * as pulumi from "@pulumi/pulumi";
import {
  type Endpoint,
  type ExternalServer,
  fullyQualified,
  type PostgresDatabase,
  type S3Store,
  schemeOf,
} from "../../components/base/endpoint";
import type { SecretLocation } from "../../components/base/offer";
import type { Polaris } from "../../components/analytics/polaris";
import { VERIFIED } from "../../components/base/postgres-client";
import type { Elasticsearch } from "../../components/data/elasticsearch";
import type { Kafka } from "../../components/data/kafka";
import type { ObjectStore } from "../../components/data/object-store";
import type { PostgresServer } from "../../components/data/postgres/users";
import type { EnvoyGateway } from "../../components/edge/envoy-gateway";
import { AuthorityCertificate } from "../../components/ground/authority-certificate";
import { type Access, Binding, tenantPods } from "../../components/ground/binding";
import { Members } from "../../components/ground/members";
import { OutputsDocument } from "../../components/ground/outputs-document";
import { Quota } from "../../components/ground/quota";
import { Tenant } from "../../components/ground/tenant";
import { needed } from "../config/needs";
import type { PlatformConfig } from "../config/schema";
import { filesOf, filesUser, type GrantKind, type TenantGrant, tenantGrants } from "../config/tenants";
import { DOCUMENT } from "../contract/outputs";
import type { PublishedOutputs } from "../contract/publish";
import type { Foundation } from "./foundation";
import { TENANT_APIS } from "./gateway";

/** The systems that tenants may use a part of. */
interface Systems {
  readonly objectStore: ObjectStore | undefined;
  readonly postgres: PostgresServer<string, string, string> | undefined;
  readonly kafka: Kafka | undefined;
  readonly elasticsearch: Elasticsearch | undefined;
  readonly polaris: Polaris | undefined;
  readonly gateway: EnvoyGateway | undefined;
}

/** A tenant's namespace, and where its Secrets lie. */
interface Guest {
  readonly namespace: pulumi.Output<string>;
  readonly secrets: Readonly<Record<string, SecretLocation>>;
}

/** The namespaces of tenants, with a way to each thing that they use. */
export function tenants(config: PlatformConfig, systems: Systems, ground: Foundation): Readonly<Record<string, Guest>> {
  const all = Object.entries(config.tenants);
  const grants = tenantGrants(config);
  const ca = grants.some(({ kind }) => !(kind in TENANT_APIS)) ? authorityOf(ground) : pulumi.output("");
  const made = all.map(([tenant, { quota, members }]) => {
    const { opts } = ground;
    const { namespace } = new Tenant(tenant, { meshed: ground.mesh !== undefined }, opts);
    new Quota(`${tenant}-quota`, { namespace, ...quota, loadBalancers: 0, nodePorts: 0 }, opts);
    new Members(`${tenant}-members`, { namespace, groups: members }, opts);
    const pods = tenantPods(tenant, namespace);
    const secrets = grants
      .filter((grant) => grant.tenant === tenant)
      .map((grant) => {
        const access = { ca, ...ACCESS[grant.kind](grant, systems, ground) };
        return [grant.secret, new Binding(grant.user, grant.secret, { pods, ...access }, opts).secret] as const;
      });
    return [tenant, { namespace, secrets: Object.fromEntries(secrets) }] as const;
  });
  return Object.fromEntries(made);
}

/** Puts the outputs of the stack into the namespace of each tenant. */
export function inform(guests: Readonly<Record<string, Guest>>, outputs: PublishedOutputs, { opts }: Foundation): void {
  for (const [tenant, { namespace }] of Object.entries(guests)) {
    const files = { [DOCUMENT]: pulumi.jsonStringify(outputs) };
    new OutputsDocument(`${tenant}-outputs`, { namespace, files }, opts);
  }
}

/** Who signs the certificates of the servers in data-platform. */
function authorityOf({ opts, namespaces, authority }: Foundation): pulumi.Output<string> {
  const args = { namespace: namespaces["data-platform"], authority };
  return new AuthorityCertificate("platform-ca-certificate", args, opts).pem;
}

type Way = (grant: TenantGrant, systems: Systems, ground: Foundation) => Omit<Access, "ca"> & Partial<Access>;

/** How each kind of grant leads to its system. */
const ACCESS: Readonly<Record<GrantKind, Way>> = {
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
