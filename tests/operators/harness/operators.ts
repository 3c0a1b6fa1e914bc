import * as fs from "node:fs";
import * as path from "node:path";
import { execFileSync } from "node:child_process";
import { type ChartPin, charts } from "../../../components/base/versions";
import type { Evaluation } from "../../../rehearsal/program/evaluate";
import { type DeclaredRelease, releasesOf } from "../../../rehearsal/program/charts";
import { freePort } from "../../../rehearsal/simulation/cluster/control-plane";
import { built, ensureOperators, operatorNames as builtNames } from "../../../rehearsal/node/operators/build";
import { renderRelease } from "../../../rehearsal/simulation/helm-template";
import { ensureCertManager, versions } from "../../../rehearsal/simulation/toolchain";
import { ensureEnvoyGateway, ensureEnvoyGatewayChart } from "../../../rehearsal/software/tools";
import { rights } from "../../../rehearsal/node/operators/rights";
import { type World } from "./world";

/** The operators that run. */
export const operatorNames = ["cert-manager", ...builtNames, "envoy-gateway"] as const;

/** One of them. */
export type OperatorName = (typeof operatorNames)[number];

/** Finds their programs, or builds them; returns the directory of each. */
export async function ensurePrograms(progress: (line: string) => void): Promise<(name: OperatorName) => string> {
  const several = await ensureOperators(progress);
  const others: Partial<Record<OperatorName, string>> = {
    "cert-manager": path.dirname(await ensureCertManager(progress)),
    "envoy-gateway": await ensureEnvoyGateway(progress),
  };
  return (name) => others[name] ?? several;
}

interface Runs {
  /** The chart, and the release whose values the operator is given. */
  readonly chart: ChartPin;
  readonly release: string;
  readonly account: string;
  /** Whether the program gives it its rights, and not the chart. */
  readonly ours?: true;
  /** Whether the roles are those that its chart makes of our values. */
  readonly rendered?: true;
  /** Whether our values have it act in some namespaces alone, with the rights of its chart there. */
  readonly within?: (values: any) => readonly string[];
  readonly args: (values: any, ports: readonly number[]) => readonly string[];
  readonly env?: (values: any) => Readonly<Record<string, string>>;
}

const OPERATORS: Readonly<Record<OperatorName, Runs>> = {
  "cert-manager": {
    chart: charts.certManager,
    release: "cert-manager",
    account: "cert-manager",
    args: () => ["controller", "--cluster-resource-namespace=cert-manager"],
  },
  "prometheus-operator": {
    chart: charts.kubePrometheusStack,
    release: "kube-prometheus-stack",
    account: "kube-prometheus-stack-operator",
    args: ({ prometheusOperator: values }, [port]) => {
      const { requests, limits } = values.prometheusConfigReloader.resources;
      return [
        `--web.listen-address=127.0.0.1:${port}`,
        `--namespaces=${["monitoring", ...values.namespaces.additional].join()}`,
        `--prometheus-instance-namespaces=${values.prometheusInstanceNamespaces.join()}`,
        `--alertmanager-instance-namespaces=${values.alertmanagerInstanceNamespaces.join()}`,
        ...["cpu", "memory"].flatMap((what) => [
          `--config-reloader-${what}-request=${requests[what]}`,
          `--config-reloader-${what}-limit=${limits[what]}`,
        ]),
      ];
    },
  },
  cnpg: {
    chart: charts.cloudnativePg,
    release: "cnpg",
    account: "cnpg",
    ours: true,
    args: (_, [metrics, webhooks]) => [
      "controller",
      `--metrics-bind-address=127.0.0.1:${metrics}`,
      `--webhook-port=${webhooks}`,
    ],
    // As the chart does: what a ConfigMap says of the namespaces comes too late for it.
    env: ({ additionalEnv }) => ({
      ...Object.fromEntries(additionalEnv.map(({ name, value }: { name: string; value: string }) => [name, value])),
      OPERATOR_NAMESPACE: "cnpg-system",
      OPERATOR_IMAGE_NAME: `ghcr.io/cloudnative-pg/cloudnative-pg:${built("cnpg").slice(1)}`,
      WEBHOOK_CERT_DIR: "webhooks",
    }),
  },
  eck: {
    chart: charts.eckOperator,
    release: "elastic-operator",
    account: "elastic-operator",
    within: ({ managedNamespaces }) => ["elastic-system", ...managedNamespaces],
    args: ({ managedNamespaces, config, webhook, telemetry }) => [
      "manager",
      "--operator-namespace=elastic-system",
      `--namespaces=${managedNamespaces.join()}`,
      `--validate-storage-class=${config.validateStorageClass}`,
      `--enable-webhook=${webhook.enabled}`,
      `--disable-telemetry=${telemetry.disabled}`,
      "--metrics-port=0",
    ],
  },
  "envoy-gateway": {
    chart: charts.envoyGateway,
    release: "envoy-gateway",
    account: "envoy-gateway",
    rendered: true,
    args: () => ["server", `--config-path=${GATEWAY_CONFIG}`],
    env: ({ kubernetesClusterDomain }) => ({
      ENVOY_GATEWAY_NAMESPACE: "gateway",
      KUBERNETES_CLUSTER_DOMAIN: kubernetesClusterDomain,
    }),
  },
};

const GATEWAY_CONFIG = "envoy-gateway.yaml";

/** Starts an operator under the service account of its release, with the rights that its chart and its values give it. */
export async function start(world: World, directory: string, name: OperatorName, program: Evaluation): Promise<void> {
  const { chart, release, account, ours, rendered, within, args, env } = OPERATORS[name];
  const declared = releasesOf(program).find((one) => one.release === release);
  if (declared === undefined) throw new Error(`no release ${release}`);
  const { namespace, values } = declared;
  const owner = { namespace, name: account };
  await world.apply([
    { apiVersion: "v1", kind: "ServiceAccount", metadata: owner },
    ...(ours || rendered ? [] : rights(chart, owner, within?.(values))),
  ]);
  const binary = path.join(directory, name);
  if (name === "cnpg") prepareCnpg(world.cluster.directory, binary);
  const kubeconfig = await world.login(namespace, account);
  const own = name === "cert-manager" ? [`--kubeconfig=${kubeconfig}`] : [];
  const variables = { KUBECONFIG: kubeconfig, ...env?.(values) };
  const around = name === "envoy-gateway" ? await prepareGateway(world, binary, declared) : [];
  const [file = "", ...before] = [...around, binary] as readonly string[];
  await world.cluster.run(name, [...before, ...args(values, [await freePort(), await freePort()]), ...own], {
    file,
    env: variables,
  });
}

/**
 * Gives it the roles and the configuration that its chart makes of our values, and the certificates that a hook makes; returns the
 * command that shows it these where its pod has them.
 */
async function prepareGateway(world: World, binary: string, release: DeclaredRelease): Promise<string[]> {
  const { directory, kubeconfig } = world.cluster;
  const helm = path.join(world.toolchain.bin, "helm");
  const charts = await ensureEnvoyGatewayChart(console.log);
  const renderer = { helm, charts, kubernetesVersion: versions.kubernetes, apiVersions: [] };
  const objects = await renderRelease(release, renderer);
  await world.apply(objects.filter(({ kind }) => /^(Cluster)?Role(Binding)?$/.test(kind)));
  const map = objects.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "envoy-gateway-config");
  const config = (map?.["data"] ?? {}) as Readonly<Record<string, string>>;
  fs.writeFileSync(path.join(directory, GATEWAY_CONFIG), config[GATEWAY_CONFIG] ?? "");
  execFileSync(binary, ["certgen", "--disable-topology-injector"], {
    env: { KUBECONFIG: kubeconfig, ENVOY_GATEWAY_NAMESPACE: release.namespace },
    stdio: "ignore",
  });
  const { items } = await world.get("secrets");
  const secret = items.find(({ metadata }) => metadata.namespace === "gateway" && metadata.name === "envoy-gateway");
  const certificates = path.join(directory, "certs");
  fs.mkdirSync(certificates);
  for (const [key, value] of Object.entries(secret?.["data"] as Record<string, string>)) {
    fs.writeFileSync(path.join(certificates, key), Buffer.from(value, "base64"), { mode: 0o600 });
  }
  const root = path.join(directory, "root");
  fs.mkdirSync(root);
  const script = [
    `mount -t tmpfs tmpfs ${root}`,
    `for one in /*/; do mkdir "${root}$one" && mount --rbind "$one" "${root}$one"; done`,
    `mkdir ${root}/certs && mount --bind ${certificates} ${root}/certs`,
    `exec chroot ${root} sh -c 'cd "$0" && exec "$@"' ${directory} "$@"`,
  ];
  const mapped = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  return ["unshare", ...mapped, "--mount", "sh", "-euc", script.join("; "), "sh"];
}

/** It hands its own binary to the instances, and serves its webhooks, which nobody asks here. */
function prepareCnpg(directory: string, binary: string): void {
  fs.mkdirSync(path.join(directory, "operator"));
  fs.symlinkSync(binary, path.join(directory, "operator", "manager_amd64"));
  const webhooks = path.join(directory, "webhooks");
  fs.mkdirSync(webhooks);
  const files = ["-keyout", path.join(webhooks, "apiserver.key"), "-out", path.join(webhooks, "apiserver.crt")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=webhooks", ...files], {
    stdio: "ignore",
  });
}

/** What an operator calls an error. */
export function complaints(world: World, name: OperatorName): string[] {
  return world
    .log(name)
    .split("\n")
    .filter((line) => line.includes("\terror\t"));
}

/** What the API server refused an operator, by its log. */
export function refusals(world: World, name: OperatorName): string[] {
  const refused = world.log(name).match(/[^"\\]*? is forbidden: [^"\\]*|cannot \w+ resource [^\n]*/g) ?? [];
  return [...new Set(refused)];
}
