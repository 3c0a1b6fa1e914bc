import * as fs from "node:fs";
import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";

const DASHBOARDS = path.join(__dirname, "dashboards");

/** What the rules and panels leave open, as `${name}`. */
export interface Placeholders {
  /** Namespace of the ML workloads. */
  readonly namespace: string;
  /** Workers that each group of a Ray cluster has at least: the cluster's job, and the group's label `component`. */
  readonly rayWorkersMin: readonly { readonly cluster: string; readonly component: string; readonly min: number }[];
  /** Serve applications that there should be. */
  readonly applications: readonly string[];
  readonly objectives: Objectives;
}

/** What the platform promises of predictions and features: shares of requests, or of time. */
export interface Objectives {
  readonly predictions: {
    readonly availability: number;
    readonly latency: { readonly share: number; readonly milliseconds: number };
  };
  readonly features: {
    readonly availability: number;
    readonly freshness: { readonly share: number; readonly hours: number };
  };
}

/** An alert, as Prometheus reads it. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A series that other rules are made of. */
export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A rule file, as Prometheus reads it. */
export interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly (AlertRule | RecordingRule)[] }[];
}

/** Inputs of {@link MlMonitoring}. */
export interface MlMonitoringArgs {
  /** Namespace of every object made here; Grafana reads its dashboards there. */
  readonly namespace: pulumi.Input<string>;
  /** The rule files of what is deployed: an alert of anything else would tell that it is missing. */
  readonly alerts: readonly string[];
  /** Whether kube-state-metrics is scraped: without it, rules that need it would be silent, or say that all is missing. */
  readonly kubeStateMetrics: boolean;
  /** Whether there is a Grafana, which shows the dashboard. */
  readonly grafana: boolean;
  readonly workloads: { readonly [name in keyof Placeholders]: pulumi.Input<Placeholders[name]> };
}

/** What Prometheus and Grafana know of the ML stack: its alerts and its dashboard. */
export class MlMonitoring extends pulumi.ComponentResource {
  constructor(name: string, args: MlMonitoringArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:observability:MlMonitoring", name, {}, opts);
    const { namespace, alerts, kubeStateMetrics, grafana } = args;
    const filled = pulumi.output(args.workloads);

    new k8s.apiextensions.CustomResource(
      "ml-platform-alerts",
      {
        apiVersion: "monitoring.coreos.com/v1",
        kind: "PrometheusRule",
        metadata: { name: "ml-platform-alerts", namespace },
        spec: {
          groups: filled.apply((placeholders) => {
            const groups = alertFiles(placeholders, alerts).flatMap((file) => file.groups);
            return kubeStateMetrics ? groups : groups.flatMap(withoutKubeStateMetrics);
          }),
        },
      },
      { parent: this },
    );
    if (grafana) {
      new k8s.core.v1.ConfigMap(
        "grafana-dashboard-ml-platform",
        {
          // By this label Grafana's sidecar finds it.
          metadata: { name: "grafana-dashboard-ml-platform", namespace, labels: { grafana_dashboard: "1" } },
          data: { "ml-platform.json": filled.apply((placeholders) => dashboard(placeholders)) },
        },
        { parent: this },
      );
    }
    this.registerOutputs();
  }
}

/** Rule files with their placeholders filled, without the tests that stand beside the rules. */
export function alertFiles(placeholders: Placeholders, files: readonly string[]): RuleFile[] {
  return files.map((file) => {
    // The tests beside the rules are most of the text.
    const [rules = ""] = fill(file, placeholders).split(/^tests:$/m);
    const { groups } = parse(rules) as RuleFile;
    return { groups: groups.map((group) => ({ ...group, rules: group.rules.flatMap(forEachWindow) })) };
  });
}

/** A group without the rules that kube-state-metrics is needed for; none if nothing is left. */
function withoutKubeStateMetrics(group: RuleFile["groups"][number]): RuleFile["groups"] {
  const rules = group.rules.filter(({ expr }) => !/\bkube_/.test(expr));
  return rules.length > 0 ? [{ ...group, rules }] : [];
}

// Of the burn rates of objectives.alerts.yaml.
const WINDOWS = ["5m", "30m", "1h", "6h", "3d"];

function forEachWindow(rule: AlertRule | RecordingRule): (AlertRule | RecordingRule)[] {
  const text = JSON.stringify(rule);
  if (!text.includes("${window}")) return [rule];
  return WINDOWS.map((window) => JSON.parse(text.replaceAll("${window}", window)) as RecordingRule);
}

/** The dashboard "ML Platform - Ray & Feast" with its placeholders filled. */
export function dashboard(placeholders: Placeholders): string {
  return fill(path.join(DASHBOARDS, "ml-platform.json"), placeholders);
}

// Grafana's own variables have the same form: what is not a placeholder of ours stays.
function fill(file: string, placeholders: Placeholders): string {
  const { namespace, rayWorkersMin, applications, objectives } = placeholders;
  const { predictions, features } = objectives;
  const values: Readonly<Record<string, string>> = {
    namespace,
    rayWorkersMin: series(rayWorkersMin.map(({ cluster, component, min }) => [min, { job: cluster, component }])),
    applications: series(applications.map((application) => [1, { application }])),
    errorBudgets: series([
      [budget(predictions.availability), { slo: "predictions-availability" }],
      [budget(predictions.latency.share), { slo: "predictions-latency" }],
      [budget(features.availability), { slo: "features-availability" }],
      [budget(features.freshness.share), { slo: "features-freshness" }],
    ]),
    predictionsMilliseconds: `${predictions.latency.milliseconds}`,
    featuresSeconds: `${features.freshness.hours * 3600}`,
  };
  return fs.readFileSync(file, "utf8").replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

/** The share that may fail, without the noise of binary fractions. */
function budget(share: number): number {
  return Number((1 - share).toFixed(9));
}

/** Numbers as a vector of PromQL, each under its labels. */
function series(numbers: readonly (readonly [number, Readonly<Record<string, string>>])[]): string {
  const all = numbers.map(([number, labels]) =>
    Object.entries(labels).reduce(
      (vector, [label, value]) => `label_replace(${vector}, "${label}", "${value}", "", "")`,
      `vector(${number})`,
    ),
  );
  return all.length === 0 ? NOTHING : all.join(" or ");
}

// A vector without series.
const NOTHING = "absent(vector(0))";
