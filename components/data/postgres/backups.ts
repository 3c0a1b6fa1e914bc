import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { type ChartDeclaration, ChartRelease, podsOf } from "../../base/chart-release";
import type { ApiServer, OwnBucket, PodPorts } from "../../base/endpoint";
import { objectName } from "../../base/names";
import { type ContainerSize, type ResourceQuantities, resources } from "../../base/pod";
import { envSecret } from "../../base/secret";
import { charts } from "../../base/versions";

const RELEASE = "barman-cloud";
const GRPC_PORT = 9090;
const PLUGIN = "barman-cloud.cloudnative-pg.io";
// The container beside each instance runs barman, whose needs follow from the size of its chunks, not from the database's.
const SIDECAR_SIZE: ContainerSize = { cpu: { request: 0.1, limit: 1 }, memoryMiB: { request: 128, limit: 512 } };

/** How a server is backed up, and where to: its log of changes all the time, the whole by the clock. */
export interface PostgresBackups {
  readonly target: OwnBucket;
  /** Folder of the bucket that this server writes to. One that another server wrote to is refused by barman. */
  readonly archive: string;
  /** When the whole is backed up, as five cron fields in UTC. */
  readonly schedule: string;
  readonly retentionDays: number;
  readonly pluginSize: ContainerSize;
  /** Issues the certificates with which operator and plugin know each other. */
  readonly certManager: pulumi.Resource;
  /** Where a new server gets its data from. The operator refuses it for one that is there and began empty. */
  readonly restoreFrom?: {
    readonly archive: string;
    /** The last moment that is restored, in ISO 8601. @default the end of the archive */
    readonly time?: string | undefined;
  };
}

/** What the plugin and the store of its backups need to know of the server and its surroundings. */
interface Surroundings {
  readonly namespace: pulumi.Input<string>;
  readonly operatorNamespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  readonly operator: pulumi.Resource;
}

/** Where the operator asks the plugin what an instance needs to be backed up. */
export function pluginPods({ pluginSize }: PostgresBackups, namespace: pulumi.Input<string>): PodPorts {
  return { kind: "pods", server: podsOf(workload(pluginSize), namespace), ports: [{ port: GRPC_PORT }], why: "grpc" };
}

/** Installs the plugin and describes the store; returns what an instance that writes there comes after. */
export function backupStore(
  parent: pulumi.Resource,
  name: string,
  { target, retentionDays, pluginSize, certManager }: PostgresBackups,
  { namespace, operatorNamespace, chartDirectory, kubeApi, operator }: Surroundings,
): pulumi.Resource[] {
  const plugin = new ChartRelease(
    RELEASE,
    charts.barmanCloud,
    {
      namespace: operatorNamespace,
      directory: chartDirectory,
      values: pluginValues(pluginSize),
      declares: pluginDeclaration(pluginSize),
      talksTo: { [RELEASE]: [kubeApi] },
    },
    { parent, dependsOn: [operator, certManager] },
  );
  const { store } = target;
  const login = envSecret(
    storeName(name),
    {
      namespace,
      data: { ACCESS_KEY_ID: store.login.username, ACCESS_SECRET_KEY: store.login.password, REGION: store.region },
    },
    { parent },
  );
  const described = new k8s.apiextensions.CustomResource(
    storeName(name),
    {
      apiVersion: "barmancloud.cnpg.io/v1",
      kind: "ObjectStore",
      metadata: { name: storeName(name), namespace },
      spec: {
        configuration: {
          destinationPath: `s3://${target.name}/`,
          endpointURL: store.url,
          s3Credentials: {
            accessKeyId: { name: login.name, key: "ACCESS_KEY_ID" },
            secretAccessKey: { name: login.name, key: "ACCESS_SECRET_KEY" },
            region: { name: login.name, key: "REGION" },
          },
          wal: { compression: "zstd" },
          data: { compression: "lz4" },
        },
        retentionPolicy: `${retentionDays}d`,
        instanceSidecarConfiguration: { resources: resources(SIDECAR_SIZE) },
      },
    },
    { parent, dependsOn: [plugin, login.resource] },
  );
  return [described, ...store.ready];
}

/** What a Cluster says of its backups, and of the one that it starts from. */
export function backupSpec(name: string, { archive, restoreFrom }: PostgresBackups): object {
  const plugin = (serverName: string) => ({
    name: PLUGIN,
    parameters: { barmanObjectName: storeName(name), serverName },
  });
  return {
    plugins: [{ ...plugin(archive), isWALArchiver: true }],
    ...(restoreFrom && {
      bootstrap: {
        recovery: {
          source: restoreFrom.archive,
          ...(restoreFrom.time !== undefined && { recoveryTarget: { targetTime: restoreFrom.time } }),
        },
      },
      externalClusters: [{ name: restoreFrom.archive, plugin: plugin(restoreFrom.archive) }],
    }),
  };
}

/** Has the whole backed up by the clock, and once at the start: a log of changes alone restores nothing. */
export function backUpRegularly(
  parent: pulumi.Resource,
  name: string,
  { archive, schedule }: PostgresBackups,
  { namespace, cluster }: { readonly namespace: pulumi.Input<string>; readonly cluster: pulumi.Resource },
): void {
  // Named after the archive: a new one begins with a backup of its own.
  const object = objectName(name, "to", archive);
  new k8s.apiextensions.CustomResource(
    object,
    {
      apiVersion: "postgresql.cnpg.io/v1",
      kind: "ScheduledBackup",
      metadata: { name: object, namespace },
      spec: {
        cluster: { name },
        // The operator's fields begin with the second.
        schedule: `0 ${schedule}`,
        immediate: true,
        method: "plugin",
        pluginConfiguration: { name: PLUGIN },
        backupOwnerReference: "cluster",
      },
    },
    { parent, dependsOn: cluster },
  );
}

function storeName(name: string): string {
  return objectName(name, "backups");
}

/** The keys of the chart that we set. */
type PluginValues = {
  readonly fullnameOverride: string;
  readonly additionalArgs: readonly string[];
  readonly resources: ResourceQuantities;
  readonly priorityClassName: string;
};

function pluginValues(size: ContainerSize): PluginValues {
  return {
    fullnameOverride: RELEASE,
    // The chart asks for "debug"; of two the last one counts.
    additionalArgs: ["--log-level=info"],
    resources: resources(size),
    priorityClassName: "critical-services",
  };
}

function pluginDeclaration(size: ContainerSize): ChartDeclaration {
  return {
    workloads: [workload(size)],
    services: [{ name: "barman-cloud", port: GRPC_PORT, podPort: GRPC_PORT, workload: RELEASE }],
    crds: ["objectstores.barmancloud.cnpg.io"],
  };
}

function workload(size: ContainerSize): ChartDeclaration["workloads"][number] {
  return {
    kind: "Deployment",
    name: RELEASE,
    labels: { "app.kubernetes.io/name": "plugin-barman-cloud", "app.kubernetes.io/instance": RELEASE },
    serviceAccount: RELEASE,
    replicas: 1,
    size,
  };
}
