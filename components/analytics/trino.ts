import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, podsOf } from "../base/chart-release";
import type { Destination } from "../base/connect";
import { type Endpoint, serviceEndpoint, url } from "../base/endpoint";
import { secretFiles } from "../base/files";
import type { Offer } from "../base/offer";
import { serviceAccount } from "../base/pod";
import { disruptionBudget } from "../base/scale";
import { ScheduledJob } from "../base/scheduled-job";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { charts, images } from "../base/versions";
import { type Catalog, catalogs, secretDirectory, type Sources, trustDirectory } from "./trino/catalogs";
import { COORDINATOR, declaration, HTTP_PORT, type Topology, values } from "./trino/values";

/** Inputs of {@link Trino}. */
export interface TrinoArgs extends Topology {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly sources: Sources;
  /** Secret with which coordinator and workers authenticate each other. */
  readonly sharedSecret: pulumi.Output<string>;
  /** When old snapshots of Iceberg tables are deleted, and how old they are then. */
  readonly snapshots: { readonly schedule: string; readonly retentionDays: number };
  readonly metrics: Metrics;
}

/** Trino: SQL over the platform's stores, with a catalog for each. */
export class Trino extends pulumi.ComponentResource {
  /** The coordinator, for clients inside the cluster. It has no login. */
  readonly endpoint: Endpoint<"http">;
  readonly offers: Offer;

  constructor(name: string, args: TrinoArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:analytics:Trino", name, {}, opts);
    const { namespace, sources, sharedSecret, metrics } = args;
    const known = catalogs(sources);
    const each = Object.values(known);
    const declares = declaration(args, name);
    const [coordinator, ...workers] = declares.workloads.map((workload) => podsOf(workload, namespace));
    if (coordinator === undefined) throw new Error("the chart declares no coordinator");

    const env = envSecret(
      `${name}-env`,
      {
        namespace,
        data: Object.fromEntries([
          ["TRINO_SHARED_SECRET", sharedSecret],
          ...each.flatMap((one) => Object.entries(one.env)),
        ]),
      },
      { parent: this },
    );
    const files = Object.entries(known).flatMap(([catalog, one]) =>
      one.files
        ? [{ catalog, ...secretFiles(`${name}-${catalog}`, { namespace, files: one.files }, { parent: this }) }]
        : [],
    );
    const secrets = [env, ...files];
    const account = serviceAccount(coordinator, { parent: this });
    const release = new ChartRelease(
      name,
      charts.trino,
      {
        namespace,
        directory: args.chartDirectory,
        values: values({
          ...args,
          serviceAccount: name,
          catalogs: Object.fromEntries(
            Object.entries(known).map(([catalog, { properties }]) => [catalog, text(properties)]),
          ),
          env: env.name,
          // Its S3 client has no trust store of its own.
          ...(sources.iceberg && { objectStore: sources.iceberg.store }),
          annotations: {
            ...Object.fromEntries(secrets.map((secret) => [`checksum.254carbon.com/${secret.name}`, secret.checksum])),
            ...(sources.iceberg && { "checksum.254carbon.com/iceberg-tokens": sources.iceberg.catalog.tokens }),
          },
          volumes: {
            ...Object.fromEntries(files.map(({ catalog, name: secretName }) => secretVolume(catalog, secretName))),
            ...trustVolumes(known),
          },
        }),
        declares,
        talksTo: Object.fromEntries(
          [coordinator, ...workers].map((node) => {
            // Workers get work from the coordinator and rows from each other.
            const others = node === coordinator ? workers : [coordinator, ...workers];
            const nodes = others.map((server): Destination => ({
              kind: "pods",
              server,
              ports: [{ port: HTTP_PORT }],
              why: "queries",
            }));
            return [node.name, [...nodes, ...each.flatMap((one) => one.talksTo)]];
          }),
        ),
      },
      {
        parent: this,
        dependsOn: [account, ...secrets.map((secret) => secret.resource)],
      },
    );
    for (const node of [coordinator, ...workers]) {
      scrape(this, { pods: node, port: { name: "http", number: HTTP_PORT }, params: METRICS, by: metrics });
    }
    for (const worker of workers) disruptionBudget(worker, args.workers.replicas, { parent: this });
    this.endpoint = serviceEndpoint("http", HTTP_PORT, {
      service: COORDINATOR,
      server: coordinator,
      ready: [release],
    });
    if (sources.iceberg) this.expireSnapshots(name, args);
    this.offers = {
      endpoints: { coordinator: this.endpoint },
      // A client waits for its result in the same request; a query that was sent must not be sent again.
      entries: [
        { kind: "site", host: "trino", endpoint: this.endpoint, timeoutSeconds: 3600 },
        {
          kind: "api",
          name: "trino",
          endpoint: this.endpoint,
          rate: { perMinute: 50, perHour: 1000 },
          timeoutSeconds: 3600,
          retries: 0,
        },
      ],
    };
    this.registerOutputs();
  }

  private expireSnapshots(name: string, { namespace, snapshots }: TrinoArgs): void {
    new ScheduledJob(
      `${name}-expire-snapshots`,
      {
        namespace,
        // It has Python.
        image: images.feast,
        size: { cpu: { request: 0.05, limit: 0.5 }, memoryMiB: { request: 64, limit: 128 } },
        uid: 1000,
        command: ["python", "-c", EXPIRE_SNAPSHOTS],
        env: { TRINO_URL: url(this.endpoint), RETENTION_DAYS: `${snapshots.retentionDays}` },
        talksTo: [this.endpoint],
        schedule: snapshots.schedule,
        timeoutSeconds: 6 * 3600,
      },
      { parent: this },
    );
  }
}

const EXPIRE_SNAPSHOTS = fs.readFileSync(path.join(__dirname, "trino", "expire-snapshots.py"), "utf8");

// The useful ones of a node's four thousand metrics.
const METRICS = {
  "name[]": [
    ...["Running", "Queued", "Submitted", "Completed", "Failed"].map((state) => `${state}Queries`),
    ...["Internal", "External", "InsufficientResources", "UserError"].map((kind) => `${kind}Failures`),
  ]
    .map((name) => `trino_execution_name_QueryManager_${name}`)
    .concat([
      "trino_execution_name_SqlTaskManager_FailedTasks",
      "trino_memory_name_ClusterMemoryManager_ClusterMemoryBytes",
      "trino_memory_name_ClusterMemoryManager_ClusterTotalMemoryReservation",
      "trino_memory_name_ClusterMemoryManager_QueriesKilledDueToOutOfMemory",
      "trino_memory_type_ClusterMemoryPool_name_general_Nodes",
      "trino_memory_type_MemoryPool_name_general_FreeBytes",
      "trino_memory_type_MemoryPool_name_general_ReservedBytes",
    ]),
};

function text(properties: Catalog["properties"]): pulumi.Output<string> {
  return pulumi.output(properties).apply((all) =>
    Object.entries(all)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(""),
  );
}

function secretVolume(catalog: string, secretName: string) {
  return [secretDirectory(catalog), { name: `${catalog}-secret`, secret: { secretName } }] as const;
}

function trustVolumes(known: Readonly<Record<string, Catalog>>) {
  return Object.fromEntries(
    Object.entries(known).flatMap(([catalog, { trust }]) =>
      trust ? [[trustDirectory(catalog), { name: `${catalog}-trust`, ...trust.volume }]] : [],
    ),
  );
}
