import * as pulumi from "@pulumi/pulumi";
import { ChartRelease, type HelmValue, podsOf } from "../base/chart-release";
import { type Endpoint, serviceHost } from "../base/endpoint";
import { secretFiles } from "../base/files";
import { serviceAccount } from "../base/pod";
import { disruptionBudget } from "../base/scale";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { charts } from "../base/versions";
import { type Catalog, catalogs, SECRETS, type Sources, trustDirectory } from "./trino/catalogs";
import { COORDINATOR, declaration, HTTP_PORT, type Topology, values } from "./trino/values";

/** Inputs of {@link Trino}. */
export interface TrinoArgs extends Topology {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly sources: Sources;
  /** What coordinator and workers know each other by. */
  readonly sharedSecret: pulumi.Output<string>;
  readonly metrics: Metrics;
}

/** Trino: SQL over what the platform keeps, a catalog for each store. */
export class Trino extends pulumi.ComponentResource {
  /** The coordinator, for clients inside the cluster: it asks nobody for a password. */
  readonly endpoint: Endpoint<"http">;

  constructor(name: string, args: TrinoArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:analytics:Trino", name, {}, opts);
    const { namespace, sources, sharedSecret, metrics } = args;
    const known = catalogs(sources);
    const each = Object.values(known);
    const declares = declaration(args, name);
    const pods = declares.workloads.map((workload) => podsOf(workload, namespace));
    const [coordinator] = pods;
    if (coordinator === undefined) throw new Error("the chart declares no coordinator");

    const env = envSecret(
      `${name}-env`,
      { namespace, data: Object.assign({ TRINO_SHARED_SECRET: sharedSecret }, ...each.map((one) => one.env)) },
      { parent: this },
    );
    const files = secretFiles(
      `${name}-files`,
      { namespace, files: Object.assign({}, ...each.map((one) => one.files)) },
      { parent: this },
    );
    const account = serviceAccount(coordinator, { parent: this });
    // Both are one program: workers ask the coordinator for work, and each other for rows.
    const nodes = pods.map((server) => ({ server, ports: [{ port: HTTP_PORT }] }));
    const talksTo = [...nodes, ...each.flatMap((one) => one.talksTo)];
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
          annotations: Object.fromEntries(
            [env, files].map(({ name: secret, checksum }) => [`checksum.254carbon.com/${secret}`, checksum]),
          ),
          volumes: { [SECRETS]: { name: "secrets", secret: { secretName: files.name } }, ...trustVolumes(known) },
        }),
        declares,
        talksTo: Object.fromEntries(declares.workloads.map((workload) => [workload.name, talksTo])),
      },
      {
        parent: this,
        dependsOn: [account, env.resource, files.resource, ...each.flatMap((one) => one.ready)],
      },
    );
    declares.workloads.forEach(({ replicas }, index) => {
      const server = pods[index];
      if (server === undefined) return;
      disruptionBudget(server, replicas, { parent: this });
      scrape(this, { pods: server, port: { name: "http", number: HTTP_PORT }, params: METRICS, by: metrics });
    });
    this.endpoint = {
      protocol: "http",
      host: serviceHost(COORDINATOR, namespace),
      port: HTTP_PORT,
      tls: false,
      server: coordinator,
      podPort: HTTP_PORT,
      ready: [release],
    };
    this.registerOutputs();
  }
}

// Of four thousand metrics, a pod: what people watch.
const METRICS = { "name[]": ["x"] };

function text(properties: Catalog["properties"]): pulumi.Output<string> {
  return pulumi.output(properties).apply((all) =>
    Object.entries(all)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(""),
  );
}

function trustVolumes(known: Readonly<Record<string, Catalog>>) {
  return Object.fromEntries(
    Object.entries(known).flatMap(([catalog, { trust }]) =>
      trust
        ? [[trustDirectory(catalog), { name: `${catalog}-trust`, ...(trust.volume as { secret: HelmValue }) }]]
        : [],
    ),
  );
}
