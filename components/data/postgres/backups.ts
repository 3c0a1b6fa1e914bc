import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { CA_KEY } from "../../base/certificate";
import { type ChartDeclaration, ChartRelease, podsOf } from "../../base/chart-release";
import type { ApiServer, Bucket, PodPorts } from "../../base/endpoint";
import { objectName } from "../../base/names";
import { type ContainerSize, type ResourceQuantities, resources } from "../../base/pod";
import { s3Checksums, s3Trust } from "../../base/s3-client";
import { envSecret } from "../../base/secret";
import { charts } from "../../base/versions";

const RELEASE = "barman-cloud";
const GRPC_PORT = 9090;
const PLUGIN = "barman-cloud.cloudnative-pg.io";
// barman's sidecar of each instance; its needs depend on the size of its chunks, not on the database.
const SIDECAR_SIZE: ContainerSize = { cpu: { request: 0.1, limit: 1 }, memoryMiB: { request: 128, limit: 512 } };

/** How and where a server is backed up: continuous log archiving and scheduled full backups. */
export interface PostgresBackups {
  readonly target: Bucket;
  /** Folder of the bucket that this server writes to. barman rejects a folder of another server. */
  readonly archive: string;
  /** Schedule of full backups: five cron fields in UTC. */
  readonly schedule: string;
  readonly retentionDays: number;
  readonly pluginSize: ContainerSize;
  /** Issues the certificates with which operator and plugin authenticate each other. */
  readonly certManager: pulumi.Resource;
  /** Where a new server gets its data from. The operator rejects it for an existing server that started empty. */
  readonly restoreFrom?: {
    readonly archive: string;
    /** Point in time to restore to, in ISO 8601. @default the end of the archive */
    readonly time?: string | undefined;
  };
}

/** Inputs of the plugin and its backup store. */
interface Surroundings {
  readonly namespace: pulumi.Input<string>;
  readonly operatorNamespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  readonly operator: pulumi.Resource;
}

/** Port at which the operator calls the plugin. */
export function pluginPods({ pluginSize }: PostgresBackups, namespace: pulumi.Input<string>): PodPorts {
  return { kind: "pods", server: podsOf(workload(pluginSize), namespace), ports: [{ port: GRPC_PORT }], why: "grpc" };
}

/** Installs the plugin and creates the store; returns the dependencies of an instance that writes there. */
export function backupStore(
  parent: pulumi.Resource,
  name: string,
  { target, retentionDays, pluginSize, certManager }: PostgresBackups,
  { namespace, operatorNamespace, chartDirectory, kubeApi, operator }: Surroundings,
): pulumi.Resource {
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
  const trust = s3Trust(store);
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
          ...(trust && { endpointCA: { name: trust.volume.secret.secretName, key: CA_KEY } }),
          s3Credentials: {
            accessKeyId: { name: login.name, key: "ACCESS_KEY_ID" },
            secretAccessKey: { name: login.name, key: "ACCESS_SECRET_KEY" },
            region: { name: login.name, key: "REGION" },
          },
          wal: { compression: "zstd" },
          data: { compression: "lz4" },
        },
        retentionPolicy: `${retentionDays}d`,
        instanceSidecarConfiguration: {
          resources: resources(SIDECAR_SIZE),
          env: Object.entries(s3Checksums(store)).map(([variable, value]) => ({ name: variable, value })),
        },
      },
    },
    { parent, dependsOn: [plugin, login.resource] },
  );
  return described;
}

/** The fields of a Cluster for its backups and its restore. */
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

/** Schedules full backups, with one at the start: the log alone cannot be restored. */
export function backUpRegularly(
  parent: pulumi.Resource,
  name: string,
  { archive, schedule }: PostgresBackups,
  { namespace, cluster }: { readonly namespace: pulumi.Input<string>; readonly cluster: pulumi.Resource },
): void {
  // Named after the archive, so that a new archive begins with a full backup.
  const object = objectName(name, "to", archive);
  new k8s.apiextensions.CustomResource(
    object,
    {
      apiVersion: "postgresql.cnpg.io/v1",
      kind: "ScheduledBackup",
      metadata: { name: object, namespace },
      spec: {
        cluster: { name },
        // The operator's cron fields start with the second.
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
    // Overrides the chart's "debug", since the last flag wins.
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
