import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import {
  type Credential,
  type Endpoint,
  type ExternalServer,
  hostPort,
  type IcebergCatalog,
  type KafkaAccess,
  type KafkaLogin,
  type PostgresDatabase,
  type Trust,
  url,
} from "../base/endpoint";
import { configFiles, type MountedFiles } from "../base/files";
import { INGESTION_USER as USER } from "../base/names";
import type { ContainerSize } from "../base/pod";
import { ScheduledJob } from "../base/scheduled-job";
import { envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { images } from "../base/versions";
import { accessToken, accountOf, accountRecipe, type DatahubRole, groupsOf, SYSTEM_CLIENT } from "./ingestion/account";
import {
  cleanupRecipe,
  icebergRecipe,
  kafkaRecipe,
  PASSWORD,
  postgresRecipe,
  type Recipe,
  TOKEN,
  trinoRecipe,
  TRUST_PATH,
  USERNAME,
} from "./ingestion/recipes";

// User and group of upstream's image.
const UID = 1000;
const RECIPES_PATH = "/recipes";
const RECIPE_FILE = "recipe.yaml";
const ACCOUNT_FILE = "account.json";
// Parallel queries: for PostgreSQL as on the old platform; Trino has one worker.
const PROFILING = { kind: "tables", workers: 5 } as const;

// Upstream limits its parts to two hours each.
const CLEANUP_SECONDS = 6 * 3600;

/** The sources; each has a recipe if it is deployed. */
export interface IngestionSources {
  /** As a role that may read all of it. */
  readonly postgres?: PostgresDatabase;
  readonly kafka?: KafkaLogin;
  readonly trino?: Endpoint<"http">;
  readonly iceberg?: IcebergCatalog;
}

/** How each source is looked at. Schedules are five cron fields in UTC. */
export interface IngestionSettings {
  readonly postgres: {
    readonly schedule: string;
    /** Prefixes of tables that are left out. */
    readonly ignoredTables: readonly string[];
  };
  readonly kafka: {
    readonly schedule: string;
    /** Prefixes of topics that are left out. */
    readonly ignoredTopics: readonly string[];
  };
  readonly trino: {
    readonly schedule: string;
    /** Prefixes of the schemas that are looked at. */
    readonly schemas: readonly string[];
  };
  readonly iceberg: {
    readonly schedule: string;
    /** Name of the catalog in DataHub's URNs. */
    readonly platformInstance: string;
    /** Tags that its tables get. */
    readonly tags: readonly string[];
  };
  /** Deletion of what is no longer in use. */
  readonly cleanup: {
    readonly schedule: string;
    /** How long removed entities, records of runs and usage statistics are kept, in days. */
    readonly retentionDays: number;
  };
}

/** Inputs of {@link Ingestion}. */
export interface IngestionArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** The metadata service. */
  readonly gms: Endpoint<"http">;
  readonly keys: {
    /** DataHub's key for signing access tokens. */
    readonly tokenSigning: pulumi.Output<string>;
    /** Authenticates DataHub's own services. */
    readonly systemClient: pulumi.Output<string>;
  };
  /** When the token expires with which recipes write. */
  readonly tokenExpires: Date;
  readonly sources: IngestionSources;
  readonly settings: IngestionSettings;
  /** Roles of the identity provider's groups. @default none */
  readonly groupRoles?: Readonly<Partial<Record<DatahubRole, readonly string[]>>>;
  /** Size of a recipe's pod. */
  readonly size: ContainerSize;
}

/** A recipe with its schedule and its access to the source. */
interface Plan {
  readonly schedule: string;
  readonly recipe: pulumi.Output<Recipe>;
  readonly source: Endpoint | ExternalServer;
  readonly login?: Credential;
  readonly trust?: Trust;
}

/** The Kafka recipe's rights: describe every topic, read none. */
export function kafkaAccess(): KafkaAccess {
  return { topics: { "*": ["Describe", "DescribeConfigs"] } };
}

/** DataHub's ingestion: a CronJob per source, and the user with which they write. */
export class Ingestion extends pulumi.ComponentResource {
  constructor(name: string, args: IngestionArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:catalog:Ingestion", name, {}, opts);
    const { namespace, gms, keys, size, groupRoles = {} } = args;
    const job = {
      namespace,
      uid: UID,
      image: images.datahubIngestion,
      size,
      command: ["datahub", "ingest", "run", "--config", `${RECIPES_PATH}/${RECIPE_FILE}`],
      env: { HOME: "/tmp", DATAHUB_TELEMETRY_ENABLED: "false" },
    };

    const system = envSecret(
      `${name}-system`,
      { namespace, data: { DATAHUB_SYSTEM_CLIENT_ID: SYSTEM_CLIENT, DATAHUB_SYSTEM_CLIENT_SECRET: keys.systemClient } },
      { parent: this },
    );
    const token = envSecret(
      `${name}-token`,
      { namespace, data: { [TOKEN]: keys.tokenSigning.apply((key) => accessToken(USER, key, args.tokenExpires)) } },
      { parent: this },
    );
    const account = new SetupJob(
      `${name}-account`,
      {
        ...job,
        // The recipe writes as the system; then the user reads with its own token.
        command: ["sh", "-c", `${job.command.join(" ")} && datahub get --urn urn:li:corpuser:${USER} -a corpUserInfo`],
        env: { ...job.env, DATAHUB_GMS_URL: url(gms) },
        secretEnv: [system, token],
        mounts: { [RECIPES_PATH]: "recipes" },
        files: {
          recipes: this.files(
            `${name}-account`,
            namespace,
            url(gms).apply((server) => accountRecipe(server, `${RECIPES_PATH}/${ACCOUNT_FILE}`)),
            {
              [ACCOUNT_FILE]: JSON.stringify([...accountOf(USER), ...groupsOf(groupRoles)], undefined, 2),
            },
          ),
        },
        talksTo: [gms],
      },
      { parent: this },
    );

    new ScheduledJob(
      `${name}-cleanup`,
      {
        ...job,
        schedule: args.settings.cleanup.schedule,
        // Users may not list the tokens of others, nor delete what they do not own.
        secretEnv: [system],
        mounts: { [RECIPES_PATH]: "recipes" },
        files: {
          recipes: this.files(
            `${name}-cleanup`,
            namespace,
            url(gms).apply((server) => cleanupRecipe(server, args.settings.cleanup.retentionDays)),
          ),
        },
        talksTo: [gms],
        timeoutSeconds: CLEANUP_SECONDS,
      },
      { parent: this },
    );
    for (const [source, plan] of Object.entries(plans(args))) {
      const own = `${name}-${source}`;
      const { login, trust } = plan;
      const secretEnv = [token];
      if (login) {
        const data = { [USERNAME]: login.username, [PASSWORD]: login.password };
        secretEnv.push(envSecret(own, { namespace, data }, { parent: this }));
      }
      new ScheduledJob(
        own,
        {
          ...job,
          schedule: plan.schedule,
          secretEnv,
          mounts: { [RECIPES_PATH]: "recipes", ...(trust && { [TRUST_PATH]: "trust" }) },
          files: { recipes: this.files(own, namespace, plan.recipe) },
          ...(trust && { volumes: [{ name: "trust", ...trust.volume }] }),
          talksTo: [gms, plan.source],
          timeoutSeconds: 3600,
        },
        { parent: this, dependsOn: account.job },
      );
    }
    this.registerOutputs();
  }

  private files(
    name: string,
    namespace: pulumi.Input<string>,
    recipe: pulumi.Output<Recipe>,
    others: Record<string, string> = {},
  ): MountedFiles {
    const files = { [RECIPE_FILE]: recipe.apply((one) => stringify(one)), ...others };
    return configFiles(name, { namespace, files }, { parent: this });
  }
}

function plans({ gms, sources, settings }: IngestionArgs): Record<string, Plan> {
  const { postgres, kafka, trino, iceberg } = sources;
  const server = url(gms);
  return {
    ...(postgres && {
      postgres: {
        schedule: settings.postgres.schedule,
        source: postgres.server,
        login: postgres.login,
        trust: postgres.trust,
        recipe: pulumi.all([server, hostPort(postgres.server)]).apply(([to, address]) =>
          postgresRecipe({
            gms: to,
            hostPort: address,
            database: postgres.database,
            schema: "public",
            ignored: settings.postgres.ignoredTables,
            profiling: PROFILING,
          }),
        ),
      },
    }),
    ...(kafka && {
      kafka: {
        schedule: settings.kafka.schedule,
        source: kafka.bootstrap,
        login: kafka.login,
        trust: kafka.trust,
        recipe: pulumi
          .all([server, hostPort(kafka.bootstrap)])
          .apply(([to, bootstrap]) => kafkaRecipe({ gms: to, bootstrap, ignored: settings.kafka.ignoredTopics })),
      },
    }),
    ...(trino && {
      trino: {
        schedule: settings.trino.schedule,
        source: trino,
        recipe: pulumi.all([server, hostPort(trino)]).apply(([to, address]) =>
          trinoRecipe({
            gms: to,
            hostPort: address,
            user: USER,
            catalog: "iceberg",
            schemas: settings.trino.schemas,
            profiling: PROFILING,
          }),
        ),
      },
    }),
    ...(iceberg && {
      iceberg: {
        schedule: settings.iceberg.schedule,
        source: iceberg.server,
        login: iceberg.login,
        recipe: pulumi.all([server, url(iceberg.server, iceberg.path)]).apply(([to, uri]) =>
          icebergRecipe({
            gms: to,
            uri,
            warehouse: iceberg.name,
            platformInstance: settings.iceberg.platformInstance,
            tags: settings.iceberg.tags,
          }),
        ),
      },
    }),
  };
}
