import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, podsOf } from "../base/chart-release";
import {
  type Bucket,
  type Endpoint,
  type IcebergCatalog,
  type PostgresDatabase,
  serviceEndpoint,
  url,
} from "../base/endpoint";
import { secretFiles } from "../base/files";
import type { Offer } from "../base/offer";
import { type ContainerSize, serviceAccount } from "../base/pod";
import { jdbcUrl, POSTGRES_CA_MOUNT, postgresCaVolume } from "../base/postgres-client";
import { s3Ca, s3Checksums, s3ClientSecret, s3JavaEnv } from "../base/s3-client";
import { TENANT_USERS } from "../base/names";
import { disruptionBudget } from "../base/scale";
import { type Metrics, scrape } from "../base/scrape";
import { type EnvSecret, envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { charts, images } from "../base/versions";
import {
  API_PORT,
  CATALOG,
  declaration,
  METRICS,
  POLARIS_UID,
  POOL_SIZE,
  REALM,
  SYMMETRIC_KEY,
  values,
} from "./polaris.values";

const ROOT = "root";
const SETUP_UID = 1000;
const SETUP = fs.readFileSync(path.join(__dirname, "polaris-setup.py"), "utf8");

/** A client's access: to read the whole catalog, to do there everything that SQL can do, or to have the tables of one schema. */
export type CatalogAccess = "read" | "write" | { readonly schema: string };

// Polaris' names of privileges on a whole catalog.
const PRIVILEGES = {
  read: ["NAMESPACE", "TABLE", "VIEW"].flatMap((kind) => [`${kind}_LIST`, `${kind}_READ_PROPERTIES`]),
  write: ["CATALOG_MANAGE_CONTENT"],
};

// On one schema, which its client can neither move nor drop.
const OWN_TABLES = ["NAMESPACE_READ_PROPERTIES", "TABLE_FULL_METADATA", "TABLE_WRITE_DATA", "VIEW_FULL_METADATA"];

/** What a client is granted, in the format of Polaris' management API. */
function grantsOf(access: CatalogAccess): object[] {
  return typeof access === "string"
    ? PRIVILEGES[access].map((privilege) => ({ type: "catalog", privilege }))
    : OWN_TABLES.map((privilege) => ({ type: "namespace", namespace: [access.schema], privilege }));
}

/** A client of the catalog; its name is also its principal's and its OAuth2 client ID. */
export interface CatalogClient {
  readonly secret: pulumi.Output<string>;
  readonly access: CatalogAccess;
}

/** The most connections to its database. A rollout adds a quarter of the pods, as the chart leaves it. */
export function polarisConnections({ replicas }: Pick<PolarisArgs, "replicas">): number {
  return (replicas + Math.ceil(replicas / 4)) * POOL_SIZE;
}

/** Inputs of {@link Polaris}. */
export interface PolarisArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  /** Database of the catalog's entities. */
  readonly store: PostgresDatabase;
  /** Bucket of the tables' metadata and data. */
  readonly warehouse: Bucket;
  readonly replicas: number;
  readonly size: ContainerSize;
  /** Size of the Jobs that set the server up. */
  readonly setupSize: ContainerSize;
  /** Secret of the all-powerful principal `root`, which no client has. */
  readonly rootSecret: pulumi.Output<string>;
  /** Signs the tokens, so that servers accept those of other and earlier ones. */
  readonly tokenKey: pulumi.Output<string>;
  readonly clients: Readonly<Record<string, CatalogClient>>;
  readonly metrics: Metrics;
}

/** Apache Polaris: the catalog of the Iceberg tables, with Iceberg's REST API. */
export class Polaris<Client extends string = string> extends pulumi.ComponentResource {
  /** The server, for clients inside the cluster. */
  readonly api: Endpoint<"http">;
  readonly offers: Offer;
  private readonly catalogs: ReadonlyMap<string, IcebergCatalog>;

  constructor(
    name: string,
    args: PolarisArgs & { readonly clients: Readonly<Partial<Record<Client, CatalogClient>>> },
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:analytics:Polaris", name, {}, opts);
    const { namespace, store, warehouse, replicas, size, clients }: PolarisArgs = args;
    const declares = declaration(name, replicas, size);
    const server = podsOf(declares.workloads[0], namespace);

    const secrets = this.secrets(name, args);
    const objectStoreEnv = {
      AWS_REGION: warehouse.store.region,
      ...s3Checksums(warehouse.store),
      ...s3JavaEnv(warehouse.store),
    };
    const bootstrap = this.bootstrap(name, args, secrets.database);
    const account = serviceAccount(server, { parent: this });
    const release = new ChartRelease(
      name,
      charts.polaris,
      {
        namespace,
        directory: args.chartDirectory,
        values: values({
          replicas,
          size,
          serviceAccount: name,
          store,
          objectStoreEnv,
          objectStoreCa: s3Ca(warehouse.store),
          ...secrets,
        }),
        declares,
        talksTo: { [name]: [store.server, warehouse.store.destination] },
      },
      {
        parent: this,
        dependsOn: [account, bootstrap, ...Object.values(secrets).map(({ resource }) => resource)],
      },
    );
    disruptionBudget(server, replicas, { parent: this });
    scrape(this, { pods: server, port: METRICS, path: "/q/metrics", by: args.metrics });

    const logins = envSecret(
      `${name}-logins`,
      { namespace, data: { ROOT_SECRET: args.rootSecret, ...clientSecrets(clients) } },
      { parent: this },
    );
    const started = serviceEndpoint("http", API_PORT, { auth: "oauth2", server, ready: [release] });
    this.api = { ...started, ready: [release, this.setUp(name, args, started, logins)] };
    this.catalogs = new Map(
      Object.entries(clients).map(([client, { secret }]) => [
        client,
        {
          server: this.api,
          path: "/api/catalog",
          name: CATALOG,
          login: { username: pulumi.output(client), password: secret },
          tokens: secrets.tokens.checksum,
        },
      ]),
    );
    this.offers = {
      endpoints: { api: this.api },
      // The secret of `root`, key `ROOT_SECRET`, and those of the clients.
      credentials: { logins: { namespace, name: logins.name } },
      legacyNames: { "iceberg-rest-catalog": [this.api] },
      entries: [
        {
          kind: "api",
          name: "iceberg",
          endpoint: this.api,
          rate: { perMinute: 200, perHour: 10000 },
          timeoutSeconds: 120,
          retries: 2,
          authorizes: true,
        },
      ],
    };
    this.registerOutputs();
  }

  /** What the server reads. The names are those that Quarkus reads from the environment: the chart is told them key by key. */
  private secrets(name: string, { namespace, store, warehouse, tokenKey }: PolarisArgs): PolarisSecrets {
    const database = {
      QUARKUS_DATASOURCE_JDBC_URL: jdbcUrl(store),
      QUARKUS_DATASOURCE_USERNAME: store.login.username,
      QUARKUS_DATASOURCE_PASSWORD: store.login.password,
    };
    const opts = { parent: this };
    return {
      database: envSecret(`${name}-database`, { namespace, data: database }, opts),
      objectStore: envSecret(`${name}-object-store`, { namespace, data: s3ClientSecret(warehouse.store) }, opts),
      tokens: envSecret(`${name}-tokens`, { namespace, data: { [SYMMETRIC_KEY]: tokenKey } }, opts),
    };
  }

  /** Makes schema, realm and root; a realm that is there stays as it is. */
  private bootstrap(
    name: string,
    { namespace, store, setupSize, rootSecret }: PolarisArgs,
    database: EnvSecret,
  ): pulumi.Resource {
    const root = secretFiles(
      `${name}-root`,
      { namespace, files: { "credentials.json": rootCredentials(rootSecret) } },
      { parent: this },
    );
    const bootstrap = new SetupJob(
      `${name}-bootstrap`,
      {
        namespace,
        image: images.polarisAdminTool,
        size: setupSize,
        uid: POLARIS_UID,
        // A file, since a command line shows to everybody.
        args: ["bootstrap", "--credentials-file=/etc/polaris-root/credentials.json"],
        mounts: { "/etc/polaris-root": "root", ...POSTGRES_CA_MOUNT },
        files: { root },
        volumes: [postgresCaVolume(store)],
        secretEnv: [database],
        talksTo: [store.server],
      },
      { parent: this },
    );
    return bootstrap.job;
  }

  /** Makes the catalog and its clients. */
  private setUp(
    name: string,
    { namespace, warehouse, setupSize, clients }: PolarisArgs,
    api: Endpoint<"http">,
    logins: EnvSecret,
  ): pulumi.Resource {
    const grants = Object.entries(clients).map(([client, { access }]) => [client, grantsOf(access)] as const);
    const setup = new SetupJob(
      `${name}-setup`,
      {
        namespace,
        image: images.feast,
        size: setupSize,
        uid: SETUP_UID,
        command: ["python", "-c", SETUP],
        env: {
          POLARIS_URL: url(api),
          ROOT_ID: ROOT,
          CATALOG: catalogSpec(warehouse),
          GRANTS: JSON.stringify(Object.fromEntries(grants)),
          TENANT_USERS,
        },
        secretEnv: [logins],
        talksTo: [api],
      },
      { parent: this },
    );
    return setup.job;
  }

  /** The catalog, with the login of a client. */
  catalog(client: Client): IcebergCatalog {
    const catalog = this.catalogs.get(client);
    if (catalog === undefined) throw new Error(`Polaris has no client ${client}`);
    return catalog;
  }
}

type PolarisSecrets = Readonly<Record<"database" | "objectStore" | "tokens", EnvSecret>>;

function rootCredentials(secret: pulumi.Output<string>): pulumi.Output<string> {
  return secret.apply((plain) => JSON.stringify({ [REALM]: { "client-id": ROOT, "client-secret": plain } }));
}

function clientSecrets(clients: PolarisArgs["clients"]): Record<string, pulumi.Output<string>> {
  // Shells drop variables with dashes.
  const variable = (client: string) => `CLIENT_SECRET_${client.replaceAll("-", "_")}`;
  return Object.fromEntries(Object.entries(clients).map(([client, { secret }]) => [variable(client), secret]));
}

/** The catalog in the format of Polaris' management API. */
function catalogSpec({ name, store }: Bucket): pulumi.Output<string> {
  const location = `s3://${name}`;
  return pulumi.jsonStringify({
    type: "INTERNAL",
    name: CATALOG,
    properties: {
      "default-base-location": location,
      // Trino drops tables together with their files, which Polaris refuses by default.
      "polaris.config.drop-with-purge.enabled": "true",
    },
    storageConfigInfo: {
      storageType: "S3",
      allowedLocations: [location],
      endpoint: store.url,
      region: store.region,
      pathStyleAccess: true,
      // Not every store supports vended credentials, and with them Trino ignores path style (trino#25187).
      stsUnavailable: true,
      kmsUnavailable: true,
    },
  });
}
