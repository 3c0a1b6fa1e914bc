import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, podsOf } from "../base/chart-release";
import {
  type Bucket,
  type Endpoint,
  type IcebergCatalog,
  type PostgresDatabase,
  s3ClientSecret,
  serviceHost,
  url,
} from "../base/endpoint";
import { secretFiles } from "../base/files";
import type { Offer } from "../base/offer";
import { type ContainerSize, serviceAccount } from "../base/pod";
import { disruptionBudget } from "../base/scale";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { charts, images } from "../base/versions";
import { API_PORT, CATALOG, declaration, METRICS, POLARIS_UID, REALM, SYMMETRIC_KEY, values } from "./polaris.values";

const ROOT = "root";
const SETUP_UID = 1000;
const SETUP = fs.readFileSync(path.join(__dirname, "polaris-setup.py"), "utf8");

/** A client's access to the catalog: read only, or everything that SQL can do. */
export type CatalogAccess = "read" | "write";

// Polaris' names of privileges on a whole catalog.
const PRIVILEGES: Readonly<Record<CatalogAccess, readonly string[]>> = {
  read: ["NAMESPACE", "TABLE", "VIEW"].flatMap((kind) => [`${kind}_LIST`, `${kind}_READ_PROPERTIES`]),
  write: ["CATALOG_MANAGE_CONTENT"],
};

/** A client of the catalog; its name is also its principal's and its OAuth2 client ID. */
export interface CatalogClient {
  readonly secret: pulumi.Output<string>;
  readonly access: CatalogAccess;
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
    const { namespace, store, warehouse, replicas, size, setupSize, rootSecret, tokenKey, clients }: PolarisArgs = args;
    const declares = declaration(name, replicas, size);
    const server = podsOf(declares.workloads[0], namespace);

    // The environment variables that Quarkus reads; the chart takes them key by key.
    const database = envSecret(
      `${name}-database`,
      {
        namespace,
        data: {
          QUARKUS_DATASOURCE_JDBC_URL: jdbcUrl(store),
          QUARKUS_DATASOURCE_USERNAME: store.login.username,
          QUARKUS_DATASOURCE_PASSWORD: store.login.password,
        },
      },
      { parent: this },
    );
    const objectStore = envSecret(
      `${name}-object-store`,
      { namespace, data: s3ClientSecret(warehouse.store) },
      { parent: this },
    );
    const tokens = envSecret(`${name}-tokens`, { namespace, data: { [SYMMETRIC_KEY]: tokenKey } }, { parent: this });
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
        // Creates schema, realm and root, and leaves an existing realm alone. Reads a file, since command lines are visible.
        args: ["bootstrap", "--credentials-file=/etc/polaris-root/credentials.json"],
        mounts: { "/etc/polaris-root": "root" },
        files: { root },
        secretEnv: [database],
        talksTo: [store.server],
      },
      { parent: this, dependsOn: [...store.server.ready] },
    );
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
          database,
          objectStore,
          tokens,
          region: warehouse.store.region,
        }),
        declares,
        talksTo: { [name]: [store.server, warehouse.store.destination] },
      },
      {
        parent: this,
        dependsOn: [
          account,
          bootstrap.job,
          ...[database, objectStore, tokens].map(({ resource }) => resource),
          ...warehouse.store.ready,
        ],
      },
    );
    disruptionBudget(server, replicas, { parent: this });
    scrape(this, { pods: server, port: METRICS, path: "/q/metrics", by: args.metrics });

    const api: Endpoint<"http"> = {
      kind: "endpoint",
      protocol: "http",
      host: serviceHost(name, namespace),
      port: API_PORT,
      tls: false,
      server,
      podPort: API_PORT,
      ready: [release],
    };
    const logins = envSecret(
      `${name}-logins`,
      { namespace, data: { ROOT_SECRET: rootSecret, ...clientSecrets(clients) } },
      { parent: this },
    );
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
          PRIVILEGES: JSON.stringify(
            Object.fromEntries(Object.entries(clients).map(([client, { access }]) => [client, PRIVILEGES[access]])),
          ),
        },
        secretEnv: [logins],
        talksTo: [api],
      },
      { parent: this, dependsOn: release },
    );
    this.api = { ...api, ready: [release, setup.job] };
    this.catalogs = new Map(
      Object.entries(clients).map(([client, { secret }]) => [
        client,
        {
          server: this.api,
          path: "/api/catalog",
          name: CATALOG,
          login: { username: pulumi.output(client), password: secret },
        },
      ]),
    );
    this.offers = {
      endpoints: { api: this.api },
      // The secret of `root`, key `ROOT_SECRET`, and those of the clients.
      credentials: { logins: { namespace, name: logins.name } },
      legacyNames: { "iceberg-rest-catalog": [this.api] },
    };
    this.registerOutputs();
  }

  /** The catalog, with the login of a client. */
  catalog(client: Client): IcebergCatalog {
    const catalog = this.catalogs.get(client);
    if (catalog === undefined) throw new Error(`Polaris has no client ${client}`);
    return catalog;
  }
}

function jdbcUrl({ server, database }: PostgresDatabase): pulumi.Output<string> {
  return pulumi.interpolate`jdbc:postgresql://${server.host}:${server.port}/${database}?sslmode=require`;
}

function rootCredentials(secret: pulumi.Output<string>): pulumi.Output<string> {
  return secret.apply((plain) => JSON.stringify({ [REALM]: { "client-id": ROOT, "client-secret": plain } }));
}

function clientSecrets(clients: PolarisArgs["clients"]): Record<string, pulumi.Output<string>> {
  return Object.fromEntries(Object.entries(clients).map(([client, { secret }]) => [`CLIENT_SECRET_${client}`, secret]));
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
