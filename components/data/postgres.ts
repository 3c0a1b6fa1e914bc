import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type ChartDeclaration, ChartRelease } from "../base/chart-release";
import { admitApiServer, connect } from "../base/connect";
import { type ApiServer, type PodIdentity, type PostgresDatabase, serviceHost } from "../base/endpoint";
import { objectName } from "../base/names";
import { type ContainerSize, type ResourceQuantities, resources } from "../base/pod";
import { type EnvSecret, envSecret } from "../base/secret";
import { charts, images } from "../base/versions";
import type { Volume } from "../base/volume";

const POSTGRES_PORT = 5432;
const STATUS_PORT = 8000;
const OPERATOR = "cnpg";
const WEBHOOK_PORT = 9443;

/** Inputs of {@link Postgres}. */
export interface PostgresArgs {
  /** Namespace of the server; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Namespace of the CloudNativePG operator; it must exist. */
  readonly operatorNamespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** One primary, the others its replicas. */
  readonly instances: number;
  readonly size: ContainerSize;
  readonly operatorSize: ContainerSize;
  readonly volume: Volume;
  /** Per database, which is also the name of its owner: the password of that role. */
  readonly passwords: Readonly<Record<string, pulumi.Output<string>>>;
  /** Refuses to delete or replace the server and its databases. */
  readonly protect: boolean;
}

/** PostgreSQL by CloudNativePG: one server, and per service one database, its role and its Secret. */
export class Postgres extends pulumi.ComponentResource {
  private readonly databases = new Map<string, PostgresDatabase>();
  private readonly secrets = new Map<string, EnvSecret>();

  constructor(name: string, args: PostgresArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:Postgres", name, {}, opts);
    const { namespace, operatorNamespace, kubeApi, passwords, protect } = args;
    const server: PodIdentity = {
      name,
      namespace,
      // All pods of the cluster: the Jobs that initialise and join instances need the same wires.
      matchLabels: { "cnpg.io/cluster": name },
      serviceAccount: name,
    };

    const operator = new ChartRelease(
      OPERATOR,
      charts.cloudnativePg,
      {
        namespace: operatorNamespace,
        directory: args.chartDirectory,
        values: operatorValues(args.operatorSize),
        declares: operatorDeclaration(args.operatorSize),
        talksTo: { [OPERATOR]: [kubeApi, { server, ports: [{ port: STATUS_PORT }, { port: POSTGRES_PORT }] }] },
      },
      { parent: this },
    );
    const webhook = admitApiServer(this, kubeApi, {
      server: operator.identity(OPERATOR),
      ports: [{ port: WEBHOOK_PORT }],
    });
    const wires = connect(this, {
      from: server,
      talksTo: [kubeApi, { server, ports: [{ port: POSTGRES_PORT }, { port: STATUS_PORT }] }],
    });
    const cluster = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: "postgresql.cnpg.io/v1",
        kind: "Cluster",
        metadata: { name, namespace, annotations: { "pulumi.com/waitFor": "condition=Ready" } },
        spec: clusterSpec(args),
      },
      { parent: this, protect, dependsOn: [operator, webhook, ...wires] },
    );

    for (const [database, password] of Object.entries(passwords)) {
      const secret = envSecret(
        objectName(name, database),
        {
          namespace,
          type: "kubernetes.io/basic-auth",
          // The operator then notices a new password.
          labels: { "cnpg.io/reload": "true" },
          data: { username: database, password },
        },
        { parent: this },
      );
      const applied = { namespace, annotations: { "pulumi.com/waitFor": "jsonpath={.status.applied}=true" } };
      const role = new k8s.apiextensions.CustomResource(
        `${name}-${database}-role`,
        {
          apiVersion: "postgresql.cnpg.io/v1",
          kind: "DatabaseRole",
          metadata: { name: objectName(name, database), ...applied },
          spec: { cluster: { name }, name: database, login: true, passwordSecret: { name: secret.name } },
        },
        { parent: this, dependsOn: [cluster, secret.resource] },
      );
      const owned = new k8s.apiextensions.CustomResource(
        `${name}-${database}`,
        {
          apiVersion: "postgresql.cnpg.io/v1",
          kind: "Database",
          metadata: { name: objectName(name, database), ...applied },
          spec: { cluster: { name }, name: database, owner: database, databaseReclaimPolicy: "retain" },
        },
        { parent: this, protect, dependsOn: role },
      );
      this.secrets.set(database, secret);
      this.databases.set(database, {
        database,
        login: { username: pulumi.output(database), password },
        server: {
          protocol: "postgresql",
          host: serviceHost(`${name}-rw`, namespace),
          port: POSTGRES_PORT,
          tls: true,
          server,
          podPort: POSTGRES_PORT,
          ready: [owned],
        },
      });
    }
    this.registerOutputs();
  }

  /** The database of a service. */
  database(name: string): PostgresDatabase {
    return found(this.databases, name);
  }

  /** Name of the Secret with the login of a database's owner. */
  secretName(database: string): string {
    return found(this.secrets, database).name;
  }
}

function found<T>(all: ReadonlyMap<string, T>, database: string): T {
  const one = all.get(database);
  if (one === undefined) throw new Error(`PostgreSQL has no database ${database}`);
  return one;
}

function clusterSpec({ instances, size, volume }: PostgresArgs): object {
  return {
    instances,
    imageName: images.postgres,
    enableSuperuserAccess: false,
    // A budget for one instance would only block the drain of its node.
    enablePDB: instances > 1,
    priorityClassName: "critical-services",
    resources: resources(size),
    storage: { storageClass: volume.storageClass, size: `${volume.sizeGiB}Gi` },
    affinity: {
      enablePodAntiAffinity: instances > 1,
      podAntiAffinityType: "preferred",
      topologyKey: "kubernetes.io/hostname",
    },
    postgresql: {
      parameters: {
        // A quarter of the memory, as the PostgreSQL documentation (20.4.1) advises.
        shared_buffers: `${Math.round(size.memoryMiB.limit / 4)}MB`,
        max_connections: "200",
      },
    },
  };
}

/** The keys of the chart that we set. */
type OperatorValues = {
  readonly fullnameOverride: string;
  readonly resources: ResourceQuantities;
  readonly priorityClassName: string;
};

function operatorValues(size: ContainerSize): OperatorValues {
  return { fullnameOverride: OPERATOR, resources: resources(size), priorityClassName: "critical-services" };
}

function operatorDeclaration(size: ContainerSize): ChartDeclaration {
  return {
    workloads: [
      {
        kind: "Deployment",
        name: OPERATOR,
        labels: { "app.kubernetes.io/name": "cloudnative-pg", "app.kubernetes.io/instance": OPERATOR },
        serviceAccount: OPERATOR,
        replicas: 1,
        size,
      },
    ],
    services: [{ name: "cnpg-webhook-service", port: 443, podPort: WEBHOOK_PORT, workload: OPERATOR }],
    crds: [
      "backups",
      "clusterimagecatalogs",
      "clusters",
      "databaseroles",
      "databases",
      "failoverquorums",
      "imagecatalogs",
      "poolers",
      "publications",
      "scheduledbackups",
      "subscriptions",
    ].map((plural) => `${plural}.postgresql.cnpg.io`),
  };
}
