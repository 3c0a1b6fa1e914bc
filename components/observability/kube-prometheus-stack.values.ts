import * as pulumi from "@pulumi/pulumi";
import type { HelmValue } from "../base/chart-release";
import type { MailServer } from "../base/mail";
import type { Outward } from "../base/outside";
import { type ContainerSize, resources } from "../base/pod";
import type { EnvSecret } from "../base/secret";
import { type SignOn, USERNAME_CLAIM } from "../base/sign-on";
import type { Volume } from "../base/volume";

/** The key of each Secret that Grafana reads as a file. */
export const SECRET_KEYS = { client: "client-secret", mail: "password" };
type SecretFile = keyof typeof SECRET_KEYS;

/** How people log in to Grafana, which does not ask a provider where its endpoints are. */
interface GrafanaSignOn extends SignOn<GrafanaRole> {
  readonly authorizationUrl: string;
  readonly tokenUrl: string;
  readonly userInfoUrl: string;
}

// The highest first.
const GRAFANA_ROLES = ["Admin", "Editor", "Viewer"] as const;
type GrafanaRole = (typeof GRAFANA_ROLES)[number];

/** The size of each part of the stack. */
export interface StackSizes {
  /** Retention of metrics in days; shorter if the volume fills up. */
  readonly retentionDays: number;
  readonly prometheus: ContainerSize & { readonly volume: Volume };
  readonly alertmanager: ContainerSize & { readonly volume: Volume };
  /** The Prometheus operator; or the cluster has one, and none is installed. */
  readonly operator: ContainerSize | "existing";
  /** Without it nobody counts pods, Jobs, quotas and volumes, and the alerts that need these counts never fire. */
  readonly kubeStateMetrics?: ContainerSize | undefined;
  readonly nodeExporter: ContainerSize;
  /** Each configuration reloader, a sidecar of Prometheus, Alertmanager and Grafana. */
  readonly reloader: ContainerSize;
}

/** Grafana, and how people use it. */
export interface GrafanaSettings {
  readonly size: ContainerSize;
  /** Its public host name. */
  readonly publicHost: string;
  /** How people log in, besides `admin`. @default by invitation, until its pod goes */
  readonly signOn?: GrafanaSignOn;
  /** Sends its invitations. @default nobody does */
  readonly mail?: MailServer | undefined;
}

/** What the component makes for Grafana. */
interface GrafanaValues extends GrafanaSettings {
  readonly secret: EnvSecret;
  /** The secret of its client at the identity provider, and its password at the mail server. */
  readonly files: Readonly<Partial<Record<SecretFile, EnvSecret>>>;
  /** What it is given to go outside. */
  readonly outward: Outward;
  /** URL of Prometheus. */
  readonly datasource: string;
}

/** Inputs of the values. */
export interface ValuesArgs extends StackSizes {
  readonly namespace: pulumi.Input<string>;
  readonly nodeNamespace: pulumi.Input<string>;
  readonly watched: readonly pulumi.Input<string>[];
  readonly prometheusServiceAccount: string;
  /** Absent where the stack has none. */
  readonly grafana: GrafanaValues | undefined;
  readonly alertmanagerSecret: string;
  /** Public host name of Alertmanager, for links in what it sends. */
  readonly alertmanagerHost: string;
  /** What Alertmanager is given to go outside. */
  readonly alertmanagerOutward: Outward;
}

/** The values of the chart kube-prometheus-stack: one part for each of its systems. */
export function values(args: ValuesArgs): { readonly [key: string]: HelmValue } {
  return {
    crds: { enabled: false },
    // It fires until somebody deletes the failed Job; ScheduledJobFailed ends with the next success.
    defaultRules: { disabled: { KubeJobFailed: true } },
    // kubeadm binds these to the control plane's 127.0.0.1, which cannot be scraped; this also disables the chart's rules for them.
    kubeControllerManager: { enabled: false },
    kubeEtcd: { enabled: false },
    kubeProxy: { enabled: false },
    kubeScheduler: { enabled: false },
    // No rule uses it, and its pods are not ours to open to a scraper.
    coreDns: { enabled: false },
    prometheusOperator: operator(args),
    prometheus: prometheus(args),
    alertmanager: alertmanager(args),
    grafana: args.grafana ? grafana(args.grafana, args.reloader) : { enabled: false },
    nodeExporter: { operatingSystems: { aix: { enabled: false }, darwin: { enabled: false } } },
    ...(args.kubeStateMetrics
      ? {
          "kube-state-metrics": {
            securityContext: CHANGE_OWNER_ONCE,
            resources: resources(args.kubeStateMetrics),
            priorityClassName: "standard-services",
            // Nothing uses metrics about Secrets, and listing them would require the right to read them.
            collectorsExclude: ["secrets"],
          },
        }
      : { kubeStateMetrics: { enabled: false } }),
    // It inspects the node, which Pod Security allows only for `privileged`; it only needs to read.
    "prometheus-node-exporter": {
      namespaceOverride: pulumi.output(args.nodeNamespace),
      securityContext: CHANGE_OWNER_ONCE,
      resources: resources(args.nodeExporter),
      priorityClassName: "critical-services",
      containerSecurityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
    },
  };
}

/** Added to each chart's group; else the kubelet would change the owner of every file of a volume at each start. */
const CHANGE_OWNER_ONCE = { fsGroupChangePolicy: "OnRootMismatch" };

function operator({ operator: size, reloader, namespace, watched }: ValuesArgs): HelmValue {
  if (size === "existing") return { enabled: false };
  const own = [pulumi.output(namespace)];
  return {
    // Monitors and rules count wherever the program makes some, servers here alone.
    namespaces: { releaseNamespace: true, additional: watched.map((one) => pulumi.output(one)) },
    prometheusInstanceNamespaces: own,
    alertmanagerInstanceNamespaces: own,
    alertmanagerConfigNamespaces: own,
    thanosRulerInstanceNamespaces: own,
    securityContext: CHANGE_OWNER_ONCE,
    resources: resources(size),
    priorityClassName: "critical-services",
    // It answers later than its pod is Ready. The operator leaves out rules that it would have refused.
    admissionWebhooks: { certManager: { enabled: true }, failurePolicy: "Ignore" },
    prometheusConfigReloader: { resources: resources(reloader) },
  };
}

function prometheus({ prometheus: size, retentionDays, prometheusServiceAccount }: ValuesArgs): HelmValue {
  return {
    serviceAccount: { name: prometheusServiceAccount },
    prometheusSpec: {
      securityContext: CHANGE_OWNER_ONCE,
      resources: resources(size),
      priorityClassName: "critical-services",
      // Monitors, probes and rules of every namespace, not only those with this release's label.
      podMonitorSelectorNilUsesHelmValues: false,
      serviceMonitorSelectorNilUsesHelmValues: false,
      ruleSelectorNilUsesHelmValues: false,
      probeSelectorNilUsesHelmValues: false,
      scrapeConfigSelectorNilUsesHelmValues: false,
      retention: `${retentionDays}d`,
      // Prometheus' documentation on storage advises 80 to 85 % of the volume: compaction needs the rest.
      retentionSize: `${Math.floor(size.volume.sizeGiB * 1024 * 0.8)}MiB`,
      storageSpec: claim(size.volume),
      persistentVolumeClaimRetentionPolicy: KEEP,
    },
  };
}

function alertmanager(args: ValuesArgs): HelmValue {
  const { alertmanager: size, alertmanagerSecret, alertmanagerOutward, alertmanagerHost } = args;
  const { env, annotations, volumes, mounts } = alertmanagerOutward;
  return {
    alertmanagerSpec: {
      ...(Object.keys(env).length > 0 && {
        // The operator adds this to the container that it makes.
        containers: [{ name: "alertmanager", env: Object.entries(env).map(([name, value]) => ({ name, value })) }],
        podMetadata: { annotations },
        volumes: [...volumes],
        volumeMounts: [...mounts],
      }),
      securityContext: CHANGE_OWNER_ONCE,
      resources: resources(size),
      priorityClassName: "critical-services",
      automountServiceAccountToken: false,
      // Else links in what it sends name its Service, which nobody outside reaches (prometheus-operator#1987).
      externalUrl: `https://${alertmanagerHost}`,
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

function grafana(args: GrafanaValues, reloader: ContainerSize): HelmValue {
  const { size, publicHost, signOn, mail, secret, files, outward, datasource } = args;
  const tmp = { name: "tmp", mountPath: "/tmp" };
  const mounted = Object.entries(files);
  const { env, annotations, volumes, mounts } = outward;
  return {
    securityContext: CHANGE_OWNER_ONCE,
    resources: resources(size),
    priorityClassName: "standard-services",
    admin: { existingSecret: secret.name },
    ...(Object.keys(env).length > 0 && { env }),
    // It reads the password when it starts with an empty database, which each of its pods does.
    podAnnotations: {
      ...Object.fromEntries(
        [secret, ...Object.values(files)].map(({ name, checksum }) => [`checksum.254carbon.com/${name}`, checksum]),
      ),
      ...annotations,
    },
    containerSecurityContext: { readOnlyRootFilesystem: true },
    // Grafana and its sidecar need a directory for temporary files (kubara#302, grafana/helm-charts#3936).
    extraVolumes: [{ name: "tmp", emptyDir: { sizeLimit: "64Mi" } }, ...volumes],
    extraVolumeMounts: [tmp, ...mounts],
    ...(mounted.length > 0 && {
      extraSecretMounts: mounted.map(([name, { name: secretName }]) => ({
        name,
        secretName,
        mountPath: mountOf(name),
        readOnly: true,
        defaultMode: 0o440,
      })),
    }),
    // A test pod, used only by `helm test`.
    testFramework: { enabled: false },
    rbac: { create: false },
    "grafana.ini": {
      server: { root_url: `https://${publicHost}` },
      analytics: { check_for_updates: false, check_for_plugin_updates: false, reporting_enabled: false },
      // The image has the Prometheus plugin; all others would be downloaded at each start.
      plugins: { preinstall_disabled: true },
      ...(signOn && { "auth.generic_oauth": generic(signOn) }),
      ...(mail && { smtp: smtp(mail) }),
    },
    sidecar: {
      resources: resources(reloader),
      securityContext: { readOnlyRootFilesystem: true },
      // Grafana checks for changed files every 30 s, so the sidecar does not need its password.
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

/** People get the roles of their groups at each login; `admin` still logs in with its password. */
function generic(signOn: GrafanaSignOn): HelmValue {
  const { clientId, scopes, groupsClaim, roles, authorizationUrl, tokenUrl, userInfoUrl } = signOn;
  return {
    enabled: true,
    name: "single sign-on",
    client_id: clientId,
    client_secret: fileOf("client"),
    scopes: scopes.join(" "),
    auth_url: authorizationUrl,
    token_url: tokenUrl,
    api_url: userInfoUrl,
    use_pkce: true,
    allow_sign_up: true,
    login_attribute_path: USERNAME_CLAIM,
    role_attribute_path: GRAFANA_ROLES.flatMap((role) => roleRule(groupsClaim, role, roles[role] ?? [])).join(" || "),
    // Who is in no group gets no role, and is refused.
    role_attribute_strict: true,
  };
}

function smtp({ server, port, username, from }: MailServer): HelmValue {
  return {
    enabled: true,
    host: `${server}:${port}`,
    user: username,
    password: fileOf("mail"),
    from_address: from,
    startTLS_policy: "MandatoryStartTLS",
  };
}

function mountOf(file: string): string {
  return `/etc/grafana-secrets/${file}`;
}

/** How Grafana's configuration names a value that lies in a file. */
function fileOf(file: SecretFile): string {
  return `$__file{${mountOf(file)}/${SECRET_KEYS[file]}}`;
}

/** In JMESPath: the role, if the claim lists one of its groups. */
function roleRule(claim: string, role: GrafanaRole, groups: readonly string[]): string[] {
  if (groups.length === 0) return [];
  return [`"${claim}"[?${groups.map((group) => `@ == '${group}'`).join(" || ")}] && '${role}'`];
}
