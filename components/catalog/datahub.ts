import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, type DeclaredHook, type DeclaredWorkload, podsOf } from "../base/chart-release";
import type { Destination } from "../base/connect";
import {
  type Endpoint,
  type GraphLogin,
  type KafkaAccess,
  type KafkaLogin,
  type PostgresDatabase,
  type SearchAccess,
  type SearchLogin,
  serviceEndpoint,
} from "../base/endpoint";
import { objectName } from "../base/names";
import type { Offer } from "../base/offer";
import { serviceAccount } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { service } from "../base/service";
import type { SignOn } from "../base/sign-on";
import { charts } from "../base/versions";
import {
  ADMINISTRATOR,
  type DatahubSecrets,
  type DatahubSizes,
  INDEX_PREFIX,
  KEYS,
  podLabels,
  podSize,
  POOLS,
  TOPICS,
  values,
} from "./datahub.values";

export type { DatahubSizes } from "./datahub.values";

/** Name of the release: the chart derives the names of all its objects from it. */
const RELEASE = "datahub";
/** What the chart calls the port of each. */
const PORT_NAME = "http";
const METRICS = { name: "prometheus", number: 4319 };
const PORTS = { gms: 8080, frontend: 9002, maeConsumer: 9091, mceConsumer: 9090 };

/** The credentials of DataHub's own services. */
export interface DatahubKeys {
  /** Password of the administrator `datahub`. */
  readonly administrator: pulumi.Output<string>;
  /** Authenticates DataHub's own services, with the rights of the system. */
  readonly systemClient: pulumi.Output<string>;
  /** Signs access tokens. */
  readonly tokenSigning: pulumi.Output<string>;
  /** Salts the hashes of stored access tokens. */
  readonly tokenSalt: pulumi.Output<string>;
  /** Encrypts the secrets that people store in DataHub. */
  readonly encryption: pulumi.Output<string>;
  /** Signs the cookies of the browser. */
  readonly session: pulumi.Output<string>;
}

/** Inputs of {@link Datahub}. */
export interface DatahubArgs extends DatahubSizes {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  /** Database of all metadata; its role may create tables. */
  readonly store: PostgresDatabase;
  /** The user for whom Kafka grants {@link kafkaAccess}. */
  readonly streams: KafkaLogin;
  /** The user to whom Elasticsearch grants {@link searchAccess}. */
  readonly search: SearchLogin;
  /** Store of the relations between entities. @default Elasticsearch */
  readonly graph?: GraphLogin;
  readonly keys: DatahubKeys;
  /** How people log in, besides the administrator. @default by invitation, with passwords of their own */
  readonly signOn?: SignOn;
  /** Public host name of the frontend. */
  readonly publicHost: string;
  readonly metrics: Metrics;
}

/** The most connections to its database: a rollout adds a pod of each, and an upgrade's Jobs run one after the other. */
export function datahubConnections(): number {
  return 2 * POOLS.gms + 2 * POOLS.mceConsumer + POOLS.systemUpdate;
}

/** DataHub's rights in Kafka: it creates its own topics, and its consumer groups have these prefixes. */
export function kafkaAccess(): KafkaAccess {
  const operations = ["Create", "Describe", "DescribeConfigs", "Read", "Write"] as const;
  return {
    topics: Object.fromEntries(Object.values(TOPICS).map((topic) => [topic, operations])),
    groups: [`${RELEASE}-*`, "generic-*", "mce-consumer-job-client"],
  };
}

/** DataHub's rights in Elasticsearch: everything in its own indices, with templates and lifecycle policies. */
export function searchAccess(): SearchAccess {
  return {
    cluster: ["monitor", "manage_index_templates", "manage_ilm"],
    indices: [{ names: [`${INDEX_PREFIX}_*`], privileges: ["all"] }],
  };
}

/** DataHub: the metadata service, its consumers and its frontend, from upstream's chart. */
export class Datahub extends pulumi.ComponentResource {
  /** The metadata service: GraphQL, REST and the schema registry. It always requires a token. */
  readonly gms: Endpoint<"http">;
  readonly frontend: Endpoint<"http">;
  readonly offers: Offer;

  constructor(name: string, args: DatahubArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:catalog:Datahub", name, {}, opts);
    const { namespace, chartDirectory, store, streams, search, graph, signOn, publicHost } = args;
    const workloads = declaredWorkloads(args);
    const hooks = declaredHooks(args);

    const accounts = [...Object.values(workloads), hooks.before].map(({ serviceAccount: account }) =>
      serviceAccount({ serviceAccount: account, namespace }, { parent: this }),
    );
    const secrets = this.secrets(args);
    const gms: Destination = {
      kind: "pods",
      server: podsOf(workloads.gms, namespace),
      ports: [{ port: PORTS.gms }],
      why: "http",
    };
    const indices = [search.server, ...(graph ? [graph.server] : [])];
    const stores = [store.server, streams.bootstrap, ...indices];
    const talksTo: Record<string, readonly Destination[]> = {
      [workloads.gms.name]: stores,
      [workloads.frontend.name]: [gms, streams.bootstrap, ...(signOn?.provider ?? [])],
      [workloads.maeConsumer.name]: [gms, streams.bootstrap, ...indices],
      [workloads.mceConsumer.name]: [gms, ...stores],
      [hooks.before.name]: [gms, ...stores],
      [hooks.after.name]: [gms, ...stores],
      [hooks.restoreIndices.name]: [gms, ...stores],
    };
    const release = new ChartRelease(
      RELEASE,
      charts.datahub,
      {
        namespace,
        directory: chartDirectory,
        values: values({
          ...args,
          secrets,
          baseUrl: `https://${publicHost}`,
          serviceAccounts: {
            gms: workloads.gms.serviceAccount,
            frontend: workloads.frontend.serviceAccount,
            maeConsumer: workloads.maeConsumer.serviceAccount,
            mceConsumer: workloads.mceConsumer.serviceAccount,
            systemUpdate: hooks.before.serviceAccount,
          },
        }),
        declares: {
          workloads: Object.values(workloads),
          hooks: Object.values(hooks),
          serviceAccounts: "program",
          services: (Object.keys(PORTS) as (keyof typeof PORTS)[]).map((component) => ({
            name: workloads[component].name,
            port: PORTS[component],
            podPort: PORTS[component],
            workload: workloads[component].name,
          })),
          crds: [],
        },
        talksTo,
        // An upgrade may rewrite every index before the rest starts, which takes long for a large catalog.
        timeoutSeconds: 1800,
      },
      {
        parent: this,
        dependsOn: [...accounts, ...Object.values(secrets).map(({ resource }) => resource)],
      },
    );

    this.gms = this.entry(
      "datahub-gms",
      { server: release.identity(workloads.gms.name), auth: "bearer" },
      PORTS.gms,
      release,
    );
    this.frontend = this.entry(
      "datahub-frontend",
      { server: release.identity(workloads.frontend.name), auth: "session" },
      PORTS.frontend,
      release,
    );
    for (const { name: workload } of Object.values(workloads)) {
      const pods = release.identity(workload);
      scrape(this, { pods, port: METRICS, path: "/actuator/prometheus", by: args.metrics });
    }
    this.offers = {
      alerts: [path.join(__dirname, "datahub.alerts.yaml")],
      endpoints: { gms: this.gms, frontend: this.frontend },
      // The users of the frontend, in the key `user.props`.
      credentials: { users: { namespace, name: secrets.frontend.name } },
      entries: [
        { kind: "site", host: "datahub", endpoint: this.frontend, timeoutSeconds: 300 },
        {
          kind: "api",
          name: "datahub",
          endpoint: this.gms,
          rate: { perMinute: 200, perHour: 10000 },
          timeoutSeconds: 60,
          retries: 3,
          authorizes: true,
        },
      ],
    };
    this.registerOutputs();
  }

  /** A Service with the name that people use; the chart would repeat the release's name. */
  private entry(
    name: string,
    { server, auth }: Pick<Endpoint, "server" | "auth">,
    port: number,
    release: pulumi.Resource,
  ): Endpoint<"http"> {
    const entry = service(name, server, { [PORT_NAME]: port }, { parent: this });
    return serviceEndpoint("http", port, { service: name, auth, server, ready: [release, entry] });
  }

  private secrets({ namespace, keys, store, streams, search, graph, signOn }: DatahubArgs): DatahubSecrets {
    const secret = (name: string, data: Record<string, pulumi.Input<string>>) =>
      envSecret(name, { namespace, data }, { parent: this });
    return {
      auth: secret("datahub-auth-secrets", {
        [KEYS.systemClientSecret]: keys.systemClient,
        [KEYS.tokenSigningKey]: keys.tokenSigning,
        [KEYS.tokenSalt]: keys.tokenSalt,
      }),
      encryption: secret("datahub-encryption-secrets", { [KEYS.encryptionKey]: keys.encryption }),
      stores: secret("datahub-stores", {
        [KEYS.postgresPassword]: store.login.password,
        [KEYS.searchPassword]: search.login.password,
        ...(graph && { [KEYS.graphPassword]: graph.login.password }),
      }),
      kafka: secret("datahub-kafka", {
        [KEYS.kafkaLogin]: pulumi.all([streams.login.username, streams.login.password]).apply(scramLogin),
      }),
      frontend: secret("datahub-users", {
        [KEYS.sessionKey]: keys.session,
        [KEYS.users]: keys.administrator.apply((password) => userLine(ADMINISTRATOR, password)),
      }),
      ...(signOn && { signOn: secret("datahub-sign-on", { [KEYS.clientSecret]: signOn.clientSecret }) }),
    };
  }
}

/** A SCRAM login for Java's login configuration: quoted, with backslash escapes. */
export function scramLogin([username, password]: readonly [string, string]): string {
  const quoted = (text: string) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
  const module = "org.apache.kafka.common.security.scram.ScramLoginModule";
  return `${module} required username=${quoted(username)} password=${quoted(password)};`;
}

/** A user of the frontend as a line of a Java properties file, with backslash escapes. */
export function userLine(name: string, password: string): string {
  return `${name}:${password.replaceAll("\\", "\\\\")}\n`;
}

type Component = keyof typeof PORTS;

function declaredWorkloads(sizes: DatahubSizes): Record<Component, DeclaredWorkload> {
  const workload = (component: Component, chart: string): DeclaredWorkload => ({
    kind: "Deployment",
    name: objectName(RELEASE, chart),
    labels: { "app.kubernetes.io/name": chart, "app.kubernetes.io/instance": RELEASE },
    serviceAccount: chart,
    replicas: 1,
    podLabels: podLabels(component),
    ports: { [PORT_NAME]: PORTS[component], [METRICS.name]: METRICS.number },
    size: podSize(component, sizes),
  });
  return {
    gms: workload("gms", "datahub-gms"),
    frontend: workload("frontend", "datahub-frontend"),
    maeConsumer: workload("maeConsumer", "datahub-mae-consumer"),
    mceConsumer: workload("mceConsumer", "datahub-mce-consumer"),
  };
}

function declaredHooks({
  systemUpdate: size,
}: DatahubSizes): Record<"before" | "after" | "restoreIndices", DeclaredHook> {
  const hook = { serviceAccount: "datahub-system-update", size };
  return {
    before: { ...hook, name: `${RELEASE}-system-update`, when: "before" },
    after: { ...hook, name: `${RELEASE}-system-update-nonblk`, when: "after" },
    restoreIndices: { ...hook, name: `${RELEASE}-datahub-restore-indices-job-template`, when: "on demand" },
  };
}
