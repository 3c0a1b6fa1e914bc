import type { MailServer } from "../../components/base/mail";
import { KubePrometheusStack, type Paging } from "../../components/observability/kube-prometheus-stack";
import { MlMonitoring } from "../../components/observability/ml-monitoring";
import { needed } from "../config/needs";
import type { PlatformConfig } from "../config/schema";
import type { Offers } from "../contract/publish";
import type { Foundation } from "./foundation";
import type { Ml } from "./ml";
import type { Secrets } from "../config/secrets";
import { mailServer } from "./mail";
import { signOn } from "./sign-on";

/** The monitoring systems. */
export interface Observability {
  readonly monitoring: KubePrometheusStack | undefined;
}

/** Prometheus, Alertmanager and Grafana. */
export function observability(config: PlatformConfig, secrets: Secrets, ground: Foundation): Observability {
  if (config.monitoring === undefined) return { monitoring: undefined };
  const { at, namespaces, kubeApi, nodeCidrs, chartDirectory, metrics, certManager } = ground;
  const { prometheus, alertmanager, grafana, paging, ...sizes } = config.monitoring;
  const mail = mailServer(config, secrets);

  const monitoring = new KubePrometheusStack(
    "prometheus",
    {
      namespace: namespaces.monitoring,
      nodeNamespace: namespaces["node-exporter"],
      watched: Object.values(namespaces),
      chartDirectory,
      kubeApi,
      nodeCidrs,
      ...sizes,
      prometheus: { ...prometheus, volume: ground.volumeOf(prometheus.volume) },
      alertmanager: { ...alertmanager, volume: ground.volumeOf(alertmanager.volume) },
      grafana: grafana && {
        size: grafana,
        publicHost: ground.publicHost("grafana"),
        adminPassword: secrets.get("grafanaAdminPassword"),
        mail,
        ...signOn(config, "grafana", secrets),
      },
      alertmanagerHost: ground.publicHost("alertmanager"),
      paging: pagingOf(paging, secrets, mail),
      outside: ground.outside,
    },
    // cert-manager issues the certificate of its webhooks.
    { ...at("monitoring"), dependsOn: [metrics.crds, certManager] },
  );
  return { monitoring };
}

/** The alerts and dashboards of what is deployed. */
export function watch(
  config: PlatformConfig,
  { monitoring }: Observability,
  { ray, serve }: Ml,
  offers: Offers,
  { at, namespaces, alerts }: Foundation,
): void {
  if (config.monitoring === undefined || monitoring === undefined) return;
  new MlMonitoring(
    "ml-monitoring",
    {
      namespace: namespaces.monitoring,
      alerts: [...alerts, ...Object.values(offers).flatMap((system) => system.alerts ?? [])],
      kubeStateMetrics: config.monitoring.kubeStateMetrics !== undefined,
      grafana: config.monitoring.grafana !== undefined,
      workloads: {
        namespace: namespaces["data-platform"],
        rayWorkersMin: ray?.workersMin ?? [],
        applications: Object.keys(serve?.applications ?? {}),
        objectives: config.monitoring.objectives,
      },
    },
    { ...at("monitoring"), dependsOn: monitoring },
  );
}

function pagingOf(
  paging: NonNullable<PlatformConfig["monitoring"]>["paging"],
  secrets: Secrets,
  mail: MailServer | undefined,
): Paging {
  if (paging.kind === "none") return paging;
  if (paging.kind === "email") return { ...paging, mail: needed(mail) };
  const { cidrs, port, ...receiver } = paging;
  // Its host is in the credential.
  const destination = { kind: "external", name: "pager", cidrs, port, why: "alerts", outside: { http: true } } as const;
  return { ...receiver, credential: secrets.get("pagingCredential"), destination };
}
