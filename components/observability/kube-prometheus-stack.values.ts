import type { HelmValue } from "../base/chart-release";
import { type ContainerSize, resources } from "../base/pod";
import type { EnvSecret } from "../base/secret";

/** A volume for what one pod remembers. */
export interface Volume {
  readonly storageClass: string;
  readonly sizeGiB: number;
}

/** How large each part of the stack is. */
export interface StackSizes {
  /** How long metrics are kept, in days, while the volume has room. */
  readonly retentionDays: number;
  readonly prometheus: ContainerSize & { readonly volume: Volume };
  readonly alertmanager: ContainerSize & { readonly volume: Volume };
  readonly grafana: ContainerSize;
  readonly operator: ContainerSize;
  readonly kubeStateMetrics: ContainerSize;
  readonly nodeExporter: ContainerSize;
  /** Each of the containers that watch configuration beside Prometheus, Alertmanager and Grafana. */
  readonly reloader: ContainerSize;
}

/** What the values are made from. */
export interface ValuesArgs extends StackSizes {
  /** Host name under which people reach Grafana from outside. */
  readonly publicHost: string;
  readonly prometheusServiceAccount: string;
  readonly grafanaSecret: EnvSecret;
  readonly alertmanagerSecret: string;
  /** URL of Prometheus, for Grafana. */
  readonly datasource: string;
}

/** The values of the chart kube-prometheus-stack: one part for each of its systems. */
export function values(args: ValuesArgs): { readonly [key: string]: HelmValue } {
  return {
    crds: { enabled: false },
    // kubeadm binds these to 127.0.0.1 of the control plane, where no scraper gets; with them go the chart's rules on them.
    kubeControllerManager: { enabled: false },
    kubeEtcd: { enabled: false },
    kubeProxy: { enabled: false },
    kubeScheduler: { enabled: false },
    // No rule reads it, and its pods are not ours to let a scraper in to.
    coreDns: { enabled: false },
    prometheusOperator: operator(args),
    prometheus: prometheus(args),
    alertmanager: alertmanager(args),
    grafana: grafana(args),
    nodeExporter: { operatingSystems: { aix: { enabled: false }, darwin: { enabled: false } } },
    "kube-state-metrics": {
      resources: resources(args.kubeStateMetrics),
      priorityClassName: "standard-services",
      // Nothing asks for metrics about Secrets, and reading them takes the right to read all that is in them.
      collectorsExclude: ["secrets"],
    },
    // It looks at the node itself, which Pod Security only admits as privileged; of that it needs to read.
    "prometheus-node-exporter": {
      resources: resources(args.nodeExporter),
      priorityClassName: "critical-services",
      containerSecurityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    },
  };
}

function operator({ operator: size, reloader }: ValuesArgs): HelmValue {
  return {
    resources: resources(size),
    priorityClassName: "critical-services",
    admissionWebhooks: { certManager: { enabled: true } },
    prometheusConfigReloader: { resources: resources(reloader) },
  };
}

function prometheus({ prometheus: size, retentionDays, prometheusServiceAccount }: ValuesArgs): HelmValue {
  return {
    serviceAccount: { name: prometheusServiceAccount },
    prometheusSpec: {
      resources: resources(size),
      priorityClassName: "critical-services",
      // Monitors and rules of every namespace, not only those that bear the label of this release.
      podMonitorSelectorNilUsesHelmValues: false,
      serviceMonitorSelectorNilUsesHelmValues: false,
      ruleSelectorNilUsesHelmValues: false,
      retention: `${retentionDays}d`,
      // Prometheus' documentation on storage advises 80 to 85 % of the volume: compaction needs the rest.
      retentionSize: `${Math.floor(size.volume.sizeGiB * 1024 * 0.8)}MiB`,
      storageSpec: claim(size.volume),
      persistentVolumeClaimRetentionPolicy: KEEP,
    },
  };
}

function alertmanager({ alertmanager: size, alertmanagerSecret }: ValuesArgs): HelmValue {
  return {
    alertmanagerSpec: {
      resources: resources(size),
      priorityClassName: "critical-services",
      automountServiceAccountToken: false,
      useExistingSecret: true,
      configSecret: alertmanagerSecret,
      storage: claim(size.volume),
      persistentVolumeClaimRetentionPolicy: KEEP,
    },
  };
}

const KEEP = { whenDeleted: "Retain", whenScaled: "Retain" };

function claim({ storageClass, sizeGiB }: Volume): HelmValue {
  return {
    volumeClaimTemplate: {
      spec: {
        accessModes: ["ReadWriteOnce"],
        storageClassName: storageClass,
        resources: { requests: { storage: `${sizeGiB}Gi` } },
      },
    },
  };
}

function grafana({ grafana: size, grafanaSecret, reloader, datasource, publicHost }: ValuesArgs): HelmValue {
  const tmp = { name: "tmp", mountPath: "/tmp" };
  return {
    resources: resources(size),
    priorityClassName: "standard-services",
    admin: { existingSecret: grafanaSecret.name },
    // It takes the password over when it starts with an empty database, as each of its pods does.
    podAnnotations: { [`checksum.254carbon.com/${grafanaSecret.name}`]: grafanaSecret.checksum },
    containerSecurityContext: { readOnlyRootFilesystem: true },
    // Grafana and its sidecar do not start without a place for temporary files (kubara#302, grafana/helm-charts#3936).
    extraVolumes: [{ name: "tmp", emptyDir: { sizeLimit: "64Mi" } }],
    extraVolumeMounts: [tmp],
    // A pod with a test framework, run by `helm test` alone.
    testFramework: { enabled: false },
    rbac: { create: false },
    "grafana.ini": {
      server: { root_url: `https://${publicHost}` },
      analytics: { check_for_updates: false, check_for_plugin_updates: false, reporting_enabled: false },
      // The image brings the plugin of Prometheus; all others would be fetched at each start.
      plugins: { preinstall_disabled: true },
    },
    sidecar: {
      resources: resources(reloader),
      securityContext: { readOnlyRootFilesystem: true },
      // Grafana itself looks for changed files every 30 s: no need to hand the sidecar its password.
      dashboards: { searchNamespace: "", resource: "configmap", skipReload: true, extraMounts: [tmp] },
      datasources: { enabled: false },
    },
    datasources: {
      "datasources.yaml": {
        apiVersion: 1,
        datasources: [
          {
            name: "Prometheus",
            uid: "prometheus",
            type: "prometheus",
            access: "proxy",
            url: datasource,
            isDefault: true,
          },
        ],
      },
    },
  };
}
