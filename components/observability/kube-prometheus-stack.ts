import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { ChartRelease, type DeclaredService, type DeclaredWorkload, podsOf } from "../base/chart-release";
import { admitApiServer, connect } from "../base/connect";
import {
  type ApiServer,
  type Endpoint,
  type ExternalPeer,
  type PodIdentity,
  type PodPorts,
  serviceEndpoint,
} from "../base/endpoint";
import { grant } from "../base/grant";
import type { MailServer } from "../base/mail";
import { prometheus } from "../base/observers";
import type { Offer } from "../base/offer";
import { type Outside, outward } from "../base/outside";
import { total } from "../base/pod";
import { envSecret } from "../base/secret";
import { charts } from "../base/versions";
import type { Volume } from "../base/volume";
import { SECRET_KEYS, type GrafanaSettings, type StackSizes, values } from "./kube-prometheus-stack.values";

/** Name of the release: the chart derives the names of all its objects from it. */
const RELEASE = "kube-prometheus-stack";
const ALERTMANAGER_CONFIG = "alertmanager-config";
const GRAFANA_ADMIN = "grafana-admin";
const GRAFANA_CLIENT = "grafana-sign-on";
const GRAFANA_MAIL = "grafana-mail";

const PORTS = {
  prometheus: 9090,
  alertmanager: 9093,
  grafana: 3000,
  kubeStateMetrics: 8080,
  nodeExporter: 9100,
  webhook: 10250,
  kubelet: 10250,
  // Sidecars of Prometheus and Alertmanager that reload their configuration.
  reloader: 8080,
};

/** Who is told of alerts, and how. */
export type Receiver =
  { readonly kind: "pagerduty" | "webhook" } | { readonly kind: "slack"; readonly channel: string };

/** The receiver of alerts. */
export type Paging =
  | (Receiver & {
      /** The routing key of a PagerDuty service, the URL that takes Alertmanager's JSON, or the one of Slack's incoming webhook. */
      readonly credential: pulumi.Output<string>;
      /** Its network destination. */
      readonly destination: ExternalPeer;
    })
  | { readonly kind: "email"; readonly to: string; readonly mail: MailServer }
  | { readonly kind: "none" };

/** Grafana's part of the inputs. */
export interface GrafanaArgs extends GrafanaSettings {
  /** Password of its user `admin`. */
  readonly adminPassword: pulumi.Output<string>;
}

/** Inputs of {@link KubePrometheusStack}. */
export interface KubePrometheusStackArgs extends StackSizes {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Namespace of the node exporter alone, whose pods need the node; it must exist. */
  readonly nodeNamespace: pulumi.Input<string>;
  /** All namespaces whose monitors and rules count. */
  readonly watched: readonly pulumi.Input<string>[];
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** Node networks, where kubelets and exporters are scraped. */
  readonly nodeCidrs: readonly string[];
  /** Public host name of Alertmanager, for links in what it sends. */
  readonly alertmanagerHost: string;
  readonly paging: Paging;
  /** @default none: nothing of it is installed */
  readonly grafana?: GrafanaArgs | undefined;
  /** How they reach servers outside the cluster. @default directly */
  readonly outside?: Outside;
}

/** Prometheus, Alertmanager, Grafana and the cluster's exporters, from the chart kube-prometheus-stack. */
export class KubePrometheusStack extends pulumi.ComponentResource {
  readonly prometheus: Endpoint<"http">;
  readonly alertmanager: Endpoint<"http">;
  /** Undefined where the stack has none. */
  readonly grafana: Endpoint<"http"> | undefined;
  readonly offers: Offer;

  constructor(name: string, args: KubePrometheusStackArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:observability:KubePrometheusStack", name, {}, opts);
    const { namespace, chartDirectory, kubeApi, nodeCidrs, outside = {} } = args;
    const workloads = declaredWorkloads(args);
    const scraper = prometheus(namespace);
    const pods = {
      alertmanager: podsOf(workloads.alertmanager, namespace),
      grafana: workloads.grafana && podsOf(workloads.grafana, namespace),
      kubeStateMetrics: workloads.kubeStateMetrics && podsOf(workloads.kubeStateMetrics, namespace),
      operator: workloads.operator && podsOf(workloads.operator, namespace),
    };

    const routing = envSecret(
      ALERTMANAGER_CONFIG,
      { namespace, data: { "alertmanager.yaml": alertmanagerConfig(args) } },
      { parent: this },
    );
    const grafana = args.grafana && grafanaObjects(this, namespace, args.grafana);
    // With the observer's short name instead of its StatefulSet's.
    const wires = connect(this, {
      from: scraper,
      talksTo: [
        kubeApi,
        nodes("kubelets", nodeCidrs, PORTS.kubelet),
        nodes("node-exporters", nodeCidrs, PORTS.nodeExporter),
        ...(pods.kubeStateMetrics ? [on("metrics", pods.kubeStateMetrics, PORTS.kubeStateMetrics)] : []),
        on("alerts and metrics", pods.alertmanager, PORTS.alertmanager, PORTS.reloader),
        ...(pods.grafana ? [on("metrics", pods.grafana, PORTS.grafana)] : []),
        ...(pods.operator ? [on("metrics", pods.operator, PORTS.webhook)] : []),
        on("metrics", scraper, PORTS.prometheus, PORTS.reloader),
      ],
    });
    const outwards = (peers: readonly ExternalPeer[], ...names: string[]) =>
      outward(
        outside,
        peers.flatMap((peer) => peer.outside ?? []),
        ...names,
      );
    const release = new ChartRelease(
      RELEASE,
      charts.kubePrometheusStack,
      {
        namespace,
        directory: chartDirectory,
        values: values({
          ...args,
          prometheusServiceAccount: scraper.serviceAccount,
          grafana: args.grafana &&
            grafana && {
              ...args.grafana,
              ...grafana,
              outward: outwards(grafana.people, `${RELEASE}-prometheus`),
              datasource: `http://${RELEASE}-prometheus:${PORTS.prometheus}`,
            },
          alertmanagerSecret: routing.name,
          alertmanagerOutward: outwards(told(args.paging)),
        }),
        // The program brings the CRDs, so that upgrades reach them.
        declares: { workloads: Object.values(workloads), services: declaredServices(workloads), crds: [] },
        talksTo: {
          ...(workloads.operator && { [workloads.operator.name]: [kubeApi] }),
          ...(workloads.kubeStateMetrics && { [workloads.kubeStateMetrics.name]: [kubeApi] }),
          ...(workloads.grafana &&
            grafana && {
              [workloads.grafana.name]: [kubeApi, on("http", scraper, PORTS.prometheus), ...grafana.people],
            }),
          [workloads.alertmanager.name]: told(args.paging),
        },
        // Grafana and five other images are pulled, and Grafana prepares its database, before Helm goes on.
        timeoutSeconds: 900,
      },
      { parent: this, dependsOn: [routing.resource, ...(grafana?.resources ?? []), ...wires] },
    );
    const webhook = pods.operator ? admitApiServer(this, kubeApi, on("webhook", pods.operator, PORTS.webhook)) : [];

    const endpoint = (service: string, port: number, server: PodIdentity, podPort = port): Endpoint<"http"> =>
      serviceEndpoint("http", port, {
        service: `${RELEASE}-${service}`,
        server,
        podPort,
        ready: [release, ...webhook],
      });
    this.prometheus = endpoint("prometheus", PORTS.prometheus, scraper);
    this.alertmanager = endpoint("alertmanager", PORTS.alertmanager, pods.alertmanager);
    this.grafana = pods.grafana && { ...endpoint("grafana", 80, pods.grafana, PORTS.grafana), auth: "basic" };
    this.offers = {
      endpoints: {
        prometheus: this.prometheus,
        alertmanager: this.alertmanager,
        ...(this.grafana && { grafana: this.grafana }),
      },
      // Keys `admin-user` and `admin-password`.
      ...(this.grafana && { credentials: { grafana: { namespace, name: GRAFANA_ADMIN } } }),
      alerts: ["platform", "scheduled-jobs", "volumes", "objectives"].map((file) =>
        path.join(__dirname, `${file}.alerts.yaml`),
      ),
      entries: [
        ...(this.grafana ? grafanaEntries(this.grafana) : []),
        { kind: "site", host: "alertmanager", endpoint: this.alertmanager, timeoutSeconds: 300 },
        {
          kind: "api",
          name: "prometheus",
          endpoint: this.prometheus,
          rate: { perMinute: 100, perHour: 5000 },
          timeoutSeconds: 30,
          retries: 2,
        },
      ],
    };
    this.registerOutputs();
  }
}

function grafanaEntries(endpoint: Endpoint<"http">): NonNullable<Offer["entries"]> {
  return [
    { kind: "site", host: "grafana", endpoint, timeoutSeconds: 300 },
    {
      kind: "api",
      name: "grafana",
      endpoint,
      rate: { perMinute: 200, perHour: 10000 },
      timeoutSeconds: 60,
      retries: 2,
      authorizes: true,
    },
  ];
}

/** What Grafana's pods need before they start, and whom they call outside. */
function grafanaObjects(
  parent: pulumi.Resource,
  namespace: pulumi.Input<string>,
  { adminPassword, signOn, mail }: GrafanaArgs,
) {
  const secretOf = (name: string, data: Readonly<Record<string, pulumi.Input<string>>>) =>
    envSecret(name, { namespace, data }, { parent });
  const secret = secretOf(GRAFANA_ADMIN, { "admin-user": "admin", "admin-password": adminPassword });
  const files = {
    ...(signOn && { client: secretOf(GRAFANA_CLIENT, { [SECRET_KEYS.client]: signOn.clientSecret }) }),
    ...(mail && { mail: secretOf(GRAFANA_MAIL, { [SECRET_KEYS.mail]: mail.password }) }),
  };
  const reading = readConfigMaps(parent, namespace);
  return {
    secret,
    files,
    resources: [...[secret, ...Object.values(files)].map(({ resource }) => resource), ...reading],
    people: [...(signOn?.provider ?? []), ...(mail ? [mail.destination] : [])],
  };
}

function nodes(name: string, cidrs: readonly string[], port: number): ExternalPeer {
  return { kind: "external", name, cidrs, port, why: "metrics" };
}

function on(why: string, server: PodIdentity, ...ports: number[]): PodPorts {
  return { kind: "pods", server, ports: ports.map((port) => ({ port })), why };
}

type Workloads = Record<"prometheus" | "alertmanager" | "nodeExporter", DeclaredWorkload> &
  Partial<Record<"operator" | "grafana" | "kubeStateMetrics", DeclaredWorkload>>;

/** The operator makes the StatefulSets from the chart's Prometheus and Alertmanager resources. */
function declaredWorkloads(args: KubePrometheusStackArgs): Workloads {
  const { reloader, grafana, kubeStateMetrics } = args;
  const scraper = prometheus(args.namespace);
  const subchart = (chart: string) => ({
    name: `${RELEASE}-${chart}`,
    labels: { "app.kubernetes.io/name": chart, "app.kubernetes.io/instance": RELEASE },
    serviceAccount: `${RELEASE}-${chart}`,
    replicas: 1,
  });
  const custom = (kind: string, volume: Volume) => ({
    kind: "StatefulSet" as const,
    name: `${kind}-${RELEASE}-${kind}`,
    replicas: 1,
    volume: { name: `${kind}-${RELEASE}-${kind}-db`, ...volume },
  });
  return {
    ...(args.operator !== "existing" && {
      operator: {
        kind: "Deployment",
        name: `${RELEASE}-operator`,
        labels: { app: `${RELEASE}-operator`, release: RELEASE },
        serviceAccount: `${RELEASE}-operator`,
        replicas: 1,
        size: args.operator,
      },
    }),
    prometheus: {
      ...custom("prometheus", args.prometheus.volume),
      labels: scraper.matchLabels,
      serviceAccount: scraper.serviceAccount,
      size: total(args.prometheus, reloader),
    },
    alertmanager: {
      ...custom("alertmanager", args.alertmanager.volume),
      labels: { "app.kubernetes.io/name": "alertmanager", alertmanager: `${RELEASE}-alertmanager` },
      serviceAccount: `${RELEASE}-alertmanager`,
      size: total(args.alertmanager, reloader),
    },
    ...(grafana && {
      grafana: { kind: "Deployment", ...subchart("grafana"), size: total(grafana.size, reloader) },
    }),
    ...(kubeStateMetrics && {
      kubeStateMetrics: { kind: "Deployment", ...subchart("kube-state-metrics"), size: kubeStateMetrics },
    }),
    nodeExporter: {
      kind: "DaemonSet",
      ...subchart("prometheus-node-exporter"),
      namespace: args.nodeNamespace,
      size: args.nodeExporter,
    },
  };
}

function declaredServices(workloads: Workloads): DeclaredService[] {
  const service = (name: string, port: number, { name: workload }: DeclaredWorkload, podPort = port) => ({
    name: `${RELEASE}-${name}`,
    port,
    podPort,
    workload,
  });
  return [
    service("prometheus", PORTS.prometheus, workloads.prometheus),
    service("alertmanager", PORTS.alertmanager, workloads.alertmanager),
    ...(workloads.grafana ? [service("grafana", 80, workloads.grafana, PORTS.grafana)] : []),
    ...(workloads.operator ? [service("operator", 443, workloads.operator, PORTS.webhook)] : []),
    ...(workloads.kubeStateMetrics
      ? [service("kube-state-metrics", PORTS.kubeStateMetrics, workloads.kubeStateMetrics)]
      : []),
    service("prometheus-node-exporter", PORTS.nodeExporter, workloads.nodeExporter),
  ];
}

/** Grafana's sidecar reads dashboards from ConfigMaps of its namespace; the chart's role would also allow reading Secrets. */
function readConfigMaps(parent: pulumi.Resource, namespace: pulumi.Input<string>): pulumi.Resource[] {
  const subject = { kind: "ServiceAccount", name: `${RELEASE}-grafana`, namespace };
  const rule = { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] };
  return grant(parent, "grafana-dashboards", namespace, [subject], [rule]);
}

/** Alertmanager's configuration: critical alerts page immediately and then hourly, warnings daily, the rest only shows in dashboards. */
function alertmanagerConfig({ paging, outside }: KubePrometheusStackArgs): pulumi.Output<string> {
  return pager(paging).apply((pages) => {
    const receiver = pages === undefined ? "nobody" : "pager";
    return stringify({
      ...(outside?.proxy && { global: { http_config: { proxy_from_environment: true } } }),
      route: {
        receiver: "nobody",
        group_by: ["alertname", "namespace"],
        group_wait: "30s",
        group_interval: "5m",
        repeat_interval: "12h",
        routes: [
          // It always fires, to show that alerts arrive here, and must not page.
          { matchers: ['alertname = "Watchdog"'], receiver: "nobody" },
          { matchers: ['severity = "critical"'], receiver, repeat_interval: "1h" },
          { matchers: ['severity = "warning"'], receiver, repeat_interval: "24h" },
        ],
      },
      inhibit_rules: [
        {
          source_matchers: ['severity = "critical"'],
          target_matchers: ['severity =~ "warning|info"'],
          equal: ["namespace", "alertname"],
        },
      ],
      receivers: [{ name: "nobody" }, ...(pages === undefined ? [] : [{ name: "pager", ...pages }])],
    });
  });
}

/** Where Alertmanager goes to tell somebody. */
function told(paging: Paging): ExternalPeer[] {
  switch (paging.kind) {
    case "none":
      return [];
    case "email":
      return [paging.mail.destination];
    default:
      return [paging.destination];
  }
}

function pager(paging: Paging): pulumi.Output<object | undefined> {
  switch (paging.kind) {
    case "none":
      return pulumi.output(undefined);
    case "webhook":
      return paging.credential.apply((url) => ({ webhook_configs: [{ url }] }));
    case "pagerduty": {
      const severity = '{{ if eq .CommonLabels.severity "critical" }}critical{{ else }}warning{{ end }}';
      return paging.credential.apply((routing_key) => ({ pagerduty_configs: [{ routing_key, severity }] }));
    }
    case "slack": {
      const { channel, credential } = paging;
      return credential.apply((api_url) => ({ slack_configs: [{ api_url, channel, send_resolved: true }] }));
    }
    case "email": {
      const { server, port, username, password, from } = paging.mail;
      return password.apply((auth_password) => {
        // It means STARTTLS, which no server offers on the port with TLS from the start (alertmanager#4507).
        const login = { auth_username: username, auth_password, require_tls: port !== 465 };
        return {
          email_configs: [{ to: paging.to, from, smarthost: `${server}:${port}`, ...login, send_resolved: true }],
        };
      });
    }
  }
}
