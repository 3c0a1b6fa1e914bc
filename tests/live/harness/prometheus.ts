import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import { ensureDebian } from "../../../rehearsal/software/debian";
import { issuedAs } from "./certificates";
import { eventually } from "./eventually";
import type { Pod, Site } from "./pod";
import { portOf } from "./probe";
import { selects } from "./program";
import type { Rendered } from "./rendered";
import { Sandbox } from "./sandbox";

const PORT = 9090;
const UID = 1000;
const NAME = "prometheus";
const CONFIG = "/config/prometheus.yaml";
const RULES = "/config/rules.yaml";
// The monitors' 30 seconds are right for a cluster and long for a test.
const INTERVAL = "2s";

/** What a monitor may select. */
export type Scraped = Pick<Pod, "name" | "namespace" | "labels" | "address" | "containers">;

/** One pod that is scraped, and how that went. */
export interface ScrapeTarget {
  readonly labels: Readonly<Record<string, string>>;
  readonly scrapeUrl: string;
  readonly health: "up" | "down" | "unknown";
  readonly lastError: string;
}

/** An alert of the program, as Prometheus evaluates it. */
export interface AlertRule {
  readonly name: string;
  readonly health: "ok" | "err" | "unknown";
  readonly lastError?: string;
  readonly state: "inactive" | "pending" | "firing";
}

/** A Prometheus with the program's rules, that scrapes what its PodMonitors find among running pods. */
export class Prometheus {
  private readonly config: string;
  /** Its address among the pods. */
  readonly address: string;
  private server: Sandbox | undefined;

  constructor(private readonly site: Site) {
    this.config = path.join(site.scratch, "volumes", "prometheus-config", "prometheus.yaml");
    this.address = site.join(NAME);
  }

  /** Takes up the pods as they are, replacing those that it knew; starts the server when it does not run. */
  async watch(pods: readonly Scraped[]): Promise<void> {
    const monitors = this.site.program.all("PodMonitor");
    const directory = path.dirname(this.config);
    fs.mkdirSync(directory, { recursive: true });
    const endpoints = monitors.flatMap(({ spec }) => spec.podMetricsEndpoints);
    for (const { name, key } of endpoints.flatMap(({ tlsConfig }) => tlsConfig?.ca?.secret ?? [])) {
      fs.writeFileSync(path.join(directory, `${name}.crt`), issuedAs(name, this.site.program)?.[key] ?? "");
    }
    const jobs = monitors.flatMap((monitor) => scrapeConfigs(monitor, pods));
    const groups = this.site.program.all("PrometheusRule").flatMap(({ spec }) => spec.groups);
    fs.writeFileSync(path.join(directory, path.basename(RULES)), stringify({ groups }));
    const global = { scrape_interval: INTERVAL, evaluation_interval: INTERVAL };
    fs.writeFileSync(this.config, stringify({ global, rule_files: [RULES], scrape_configs: jobs }));
    if (this.server === undefined) this.server = this.start(await ensureDebian("prometheus", () => undefined));
    else await this.request("/-/reload", "POST");
    await this.settled(jobs.flatMap(({ static_configs }) => static_configs.map(({ labels }) => labels.pod)));
  }

  /** Every target, and how its last scrape went. */
  async targets(): Promise<ScrapeTarget[]> {
    const { data } = await (await this.request("/api/v1/targets?state=active")).json();
    return data.activeTargets;
  }

  /** Every alert that it has loaded. */
  async alerts(): Promise<AlertRule[]> {
    const { data } = await (await this.request("/api/v1/rules?type=alert")).json();
    return data.groups.flatMap(({ rules }: any) => rules);
  }

  /** The instant value of an expression: label sets and numbers. */
  async query(expression: string): Promise<{ labels: Readonly<Record<string, string>>; value: number }[]> {
    const answer = await this.request(`/api/v1/query?query=${encodeURIComponent(expression)}`);
    const { data } = await answer.json();
    return data.result.map(({ metric, value }: any) => ({ labels: metric, value: Number(value[1]) }));
  }

  private start(software: string): Sandbox {
    const { site } = this;
    const [scratch, data] = ["containers", "volumes"].map((kind) => path.join(site.scratch, kind, NAME)) as [
      string,
      string,
    ];
    for (const directory of [scratch, data]) fs.mkdirSync(directory, { recursive: true });
    fs.chownSync(data, UID, UID);
    return Sandbox.start({
      name: NAME,
      pod: NAME,
      command: [
        "prometheus",
        `--config.file=${CONFIG}`,
        "--storage.tsdb.path=/prometheus",
        `--web.listen-address=:${PORT}`,
        "--web.enable-lifecycle",
      ],
      env: { PATH: `${software}/bin:/usr/bin:/bin` },
      uid: UID,
      pieces: [
        { kind: "ro", source: software, target: software },
        { kind: "ro", source: path.dirname(this.config), target: path.dirname(CONFIG) },
        { kind: "rw", source: data, target: "/prometheus" },
      ],
      scratch,
      log: path.join(site.logs, `${NAME}.log`),
      hosts: site.hosts,
    });
  }

  /** Waits until each target was asked once with this configuration. */
  private settled(pods: readonly string[]): Promise<void> {
    const wanted = [...pods].sort().join(", ");
    return eventually(
      30,
      async () => {
        const known = (await this.targets()).filter(({ health }) => health !== "unknown");
        const asked = known
          .map(({ labels }) => labels["pod"])
          .sort()
          .join(", ");
        if (asked !== wanted)
          throw new Error(`Prometheus asked ${asked}, not ${wanted}:\n${this.server?.tail() ?? ""}`);
      },
      () => this.server?.assertRunning(),
    );
  }

  private async request(route: string, method = "GET"): Promise<Response> {
    const answer = await fetch(`http://${this.address}:${PORT}${route}`, { method });
    if (!answer.ok) throw new Error(`${method} ${route}: ${answer.status} ${await answer.text()}`);
    return answer;
  }
}

/** What the prometheus-operator would make of a PodMonitor. */
function scrapeConfigs({ metadata, spec }: Rendered, pods: readonly Scraped[]) {
  const { selector, podMetricsEndpoints, jobLabel, podTargetLabels = [] } = spec;
  const chosen = pods.filter(
    (pod) => pod.namespace === metadata.namespace && selects(selector.matchLabels, pod.labels),
  );
  return podMetricsEndpoints.map(
    ({ port, path: route = "/metrics", params, scheme, tlsConfig, relabelings = [] }: any, index: number) => ({
      job_name: `podMonitor/${metadata.namespace}/${metadata.name}/${index}`,
      metrics_path: route,
      ...(params && { params }),
      ...(scheme && { scheme }),
      ...(tlsConfig?.ca && {
        tls_config: {
          ca_file: path.join(path.dirname(CONFIG), `${tlsConfig.ca.secret.name}.crt`),
          server_name: tlsConfig.serverName,
        },
      }),
      relabel_configs: relabelings.map(({ targetLabel, ...relabeling }: any) => ({
        ...(targetLabel && { target_label: targetLabel }),
        ...relabeling,
      })),
      static_configs: chosen.flatMap((pod) =>
        pod.containers
          .filter(({ ports = [] }) => ports.some(({ name }: any) => name === port))
          .map((container) => ({
            targets: [`${pod.address}:${portOf(container, port)}`],
            labels: {
              job: pod.labels[jobLabel] ?? `${metadata.namespace}/${metadata.name}`,
              namespace: pod.namespace,
              pod: pod.name,
              container: container.name,
              endpoint: port,
              ...Object.fromEntries(podTargetLabels.map((label: string) => [label, pod.labels[label] ?? ""])),
            },
          })),
      ),
    }),
  ) as { static_configs: { labels: { pod: string } }[] }[];
}
