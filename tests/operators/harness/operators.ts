import * as fs from "node:fs";
import * as path from "node:path";
import { execFileSync } from "node:child_process";
import { type ChartPin, charts } from "../../../components/base/versions";
import type { Evaluation } from "../../../rehearsal/program/evaluate";
import { plain } from "../../../rehearsal/program/values";
import { freePort } from "../../../rehearsal/simulation/cluster/control-plane";
import { built, type OperatorName } from "../../../rehearsal/node/operators/build";
import { everything, haveRights, rights } from "../../../rehearsal/node/operators/rights";
import { type World } from "./world";

interface Runs {
  /** The chart, and the release whose values the operator is given. */
  readonly chart: ChartPin;
  readonly release: string;
  readonly account: string;
  /** Whether the program gives it its rights, and not the chart. */
  readonly ours?: true;
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
    args: () => ["--cluster-resource-namespace=cert-manager"],
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
};

/** Starts an operator under the service account of its release, with the rights that its chart and its values give it. */
export async function start(world: World, bin: string, name: OperatorName, program: Evaluation): Promise<void> {
  const { chart, release, account, ours, within, args, env } = OPERATORS[name];
  const inputs = program.registrations.find((one) => one.type.endsWith(":Release") && one.inputs["name"] === release);
  const { namespace, values } = plain(inputs?.inputs) as { namespace: string; values: any };
  const owner = { namespace, name: account };
  await world.apply([
    { apiVersion: "v1", kind: "ServiceAccount", metadata: owner },
    ...(ours ? [] : haveRights ? rights(chart, owner, within?.(values)) : [everything(owner)]),
  ]);
  if (name === "cnpg") prepareCnpg(world.cluster.directory, path.join(bin, name));
  const kubeconfig = await world.login(namespace, account);
  const own = name === "cert-manager" ? [`--kubeconfig=${kubeconfig}`] : [];
  await world.cluster.run(name, [...args(values, [await freePort(), await freePort()]), ...own], {
    file: path.join(bin, name),
    env: { KUBECONFIG: kubeconfig, ...env?.(values) },
  });
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

/** What the API server refused an operator, by its log. */
export function refusals(world: World, name: OperatorName): string[] {
  const refused = world.log(name).match(/[^"\\]*? is forbidden: [^"\\]*|cannot \w+ resource [^\n]*/g) ?? [];
  return [...new Set(refused)];
}
