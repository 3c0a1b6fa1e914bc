import * as pulumi from "@pulumi/pulumi";
import { CA_KEY } from "../../base/certificate";
import type { Destination } from "../../base/connect";
import {
  hostPort,
  type IcebergCatalog,
  type KafkaLogin,
  type PostgresDatabase,
  type S3Store,
  type SearchLogin,
  type Trust,
  url,
} from "../../base/endpoint";
import { jdbcUrl } from "../../base/postgres-client";

/** The data sources, each with a catalog if it is deployed. */
export interface Sources {
  readonly iceberg?: {
    readonly catalog: IcebergCatalog;
    /** Where the files of its tables are. */
    readonly store: S3Store;
  };
  /** A database with a read-only role. */
  readonly postgres?: PostgresDatabase;
  readonly elasticsearch?: SearchLogin;
  readonly kafka?: {
    readonly cluster: KafkaLogin;
    /** Topics to show, each as a table. */
    readonly topics: readonly string[];
  };
  /** What lies outside the platform, by the catalog's name. @default {} */
  readonly others?: Readonly<Record<string, OtherSource>>;
}

/** A source outside the platform, in the words of its connector. */
export interface OtherSource {
  /** Properties of the catalog, `connector.name` among them. */
  readonly properties: Readonly<Record<string, string>>;
  /** Properties that are credentials. */
  readonly secrets: Readonly<Record<string, pulumi.Output<string>>>;
  readonly reaches: readonly { readonly cidrs: readonly string[]; readonly port: number }[];
}

/** The names of catalogs of the platform's own systems. */
export const OWN_CATALOGS = ["iceberg", "postgres", "elasticsearch", "kafka"] as const;

/** A Trino catalog, with references to its credentials. */
export interface Catalog {
  readonly properties: Readonly<Record<string, pulumi.Input<string>>>;
  /** Credentials, by the environment variables that properties refer to. */
  readonly env: Readonly<Record<string, pulumi.Input<string>>>;
  /** Files with credentials in {@link secretDirectory}, for connectors that cannot read variables. */
  readonly files?: Readonly<Record<string, pulumi.Input<string>>>;
  /** The CA certificates that it trusts, mounted in {@link trustDirectory}. */
  readonly trust?: Trust;
  readonly talksTo: readonly Destination[];
}

/** Directory of a catalog's files with credentials. */
export function secretDirectory(catalog: string): string {
  return `/etc/trino-secrets/${catalog}`;
}

/** Directory of a catalog's trusted CA certificates. */
export function trustDirectory(catalog: string): string {
  return `/etc/trino-trust/${catalog}`;
}

/** Trino's rights in Kafka: read, and describe how a topic timestamps records. It joins no consumer group. */
export function trinoKafkaAccess(topics: readonly string[]) {
  const operations = ["Read", "Describe", "DescribeConfigs"] as const;
  return { topics: Object.fromEntries(topics.map((topic) => [topic, operations])) };
}

/** The catalogs by name, which is their source's. */
export function catalogs(sources: Sources): Readonly<Record<string, Catalog>> {
  const { iceberg, postgres, elasticsearch, kafka, others = {} } = sources;
  return {
    ...Object.fromEntries(Object.entries(others).map(([name, other]) => [name, otherCatalog(name, other)])),
    ...(iceberg && { iceberg: icebergCatalog(iceberg.catalog, iceberg.store) }),
    ...(postgres && { postgres: postgresCatalog(postgres) }),
    ...(elasticsearch && { elasticsearch: elasticsearchCatalog(elasticsearch) }),
    ...(kafka && { kafka: kafkaCatalog(kafka.cluster, kafka.topics) }),
  };
}

function icebergCatalog({ server, path, name, login }: IcebergCatalog, store: S3Store): Catalog {
  const rest = "iceberg.rest-catalog";
  return {
    properties: {
      "connector.name": "iceberg",
      "iceberg.catalog.type": "rest",
      [`${rest}.uri`]: url(server, path),
      [`${rest}.warehouse`]: name,
      [`${rest}.security`]: "OAUTH2",
      [`${rest}.oauth2.server-uri`]: url(server, `${path}/v1/oauth/tokens`),
      [`${rest}.oauth2.credential`]: "${ENV:ICEBERG_CREDENTIAL}",
      // All roles of the principal, the only scope that Polaris has.
      [`${rest}.oauth2.scope`]: "PRINCIPAL_ROLE:ALL",
      "fs.native-s3.enabled": "true",
      "s3.endpoint": store.url,
      "s3.region": store.region,
      "s3.path-style-access": "true",
      "s3.aws-access-key": "${ENV:ICEBERG_S3_ACCESS_KEY}",
      "s3.aws-secret-key": "${ENV:ICEBERG_S3_SECRET_KEY}",
    },
    env: {
      ICEBERG_CREDENTIAL: pulumi.interpolate`${login.username}:${login.password}`,
      ICEBERG_S3_ACCESS_KEY: store.login.username,
      ICEBERG_S3_SECRET_KEY: store.login.password,
    },
    talksTo: [server, store.destination],
  };
}

function postgresCatalog(reader: PostgresDatabase): Catalog {
  const { server, login, trust } = reader;
  return {
    properties: {
      "connector.name": "postgresql",
      "connection-url": jdbcUrl(reader, authority("postgres")),
      "connection-user": "${ENV:POSTGRES_USER}",
      "connection-password": "${ENV:POSTGRES_PASSWORD}",
    },
    env: { POSTGRES_USER: login.username, POSTGRES_PASSWORD: login.password },
    trust,
    talksTo: [server],
  };
}

function elasticsearchCatalog({ server, login, trust }: SearchLogin): Catalog {
  return {
    properties: {
      "connector.name": "elasticsearch",
      "elasticsearch.host": server.host,
      "elasticsearch.port": `${server.port}`,
      "elasticsearch.default-schema-name": "default",
      // Nodes publish their pods' addresses, which are not in the certificate.
      "elasticsearch.ignore-publish-address": "true",
      "elasticsearch.security": "PASSWORD",
      "elasticsearch.auth.user": "${ENV:ELASTICSEARCH_USER}",
      "elasticsearch.auth.password": "${ENV:ELASTICSEARCH_PASSWORD}",
      "elasticsearch.tls.enabled": "true",
      "elasticsearch.tls.truststore-path": authority("elasticsearch"),
    },
    env: { ELASTICSEARCH_USER: login.username, ELASTICSEARCH_PASSWORD: login.password },
    trust,
    talksTo: [server],
  };
}

function kafkaCatalog({ bootstrap, login, trust }: KafkaLogin, topics: readonly string[]): Catalog {
  const file = "kafka.properties";
  return {
    properties: {
      "connector.name": "kafka",
      "kafka.nodes": hostPort(bootstrap),
      "kafka.table-names": topics.join(","),
      // Without a record description, a topic has only these columns: key, message, timestamp, offset.
      "kafka.hide-internal-columns": "false",
      // The connector's properties support TLS but no login (Trino: "SASL authentication").
      "kafka.config.resources": `${secretDirectory("kafka")}/${file}`,
    },
    env: {},
    files: {
      [file]: pulumi.all([login.username, login.password]).apply(([user, password]) => clientConfig(user, password)),
    },
    trust,
    talksTo: [bootstrap],
  };
}

function otherCatalog(name: string, { properties, secrets, reaches }: OtherSource): Catalog {
  // Numbers, since other characters of properties would have to be replaced, and two might become one.
  const variables = Object.entries(secrets).map(([property, value], index) => ({
    ...{ property, value },
    variable: `CATALOG_${name.toUpperCase()}_${index}`,
  }));
  return {
    properties: {
      ...properties,
      ...Object.fromEntries(variables.map(({ property, variable }) => [property, `\${ENV:${variable}}`])),
    },
    env: Object.fromEntries(variables.map(({ variable, value }) => [variable, value])),
    talksTo: reaches.map(({ cidrs, port }) => ({ kind: "external", name, cidrs, port, why: "queries" })),
  };
}

// Connectors read PEM, which takes no password.
function authority(catalog: string): string {
  return `${trustDirectory(catalog)}/${CA_KEY}`;
}

function clientConfig(user: string, password: string): string {
  const login = `username=${jaas(user)} password=${jaas(password)}`;
  return Object.entries({
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required ${login};`,
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": authority("kafka"),
  })
    .map(([key, value]) => `${key}=${property(value)}\n`)
    .join("");
}

/** Quotes a string for JAAS. */
function jaas(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** Escapes a value for java.util.Properties. */
function property(value: string): string {
  return value.replaceAll("\\", "\\\\");
}
