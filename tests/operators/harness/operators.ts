import * as fs from "node:fs";
import * as path from "node:path";
import { execFileSync } from "node:child_process";
import { parseAllDocuments } from "yaml";
import { type ChartPin, charts } from "../../../components/base/versions";
import type { Manifest } from "../../../rehearsal/operators/operator";
import { type Evaluation, ROOT } from "../../../rehearsal/program/evaluate";
import { plain } from "../../../rehearsal/program/values";
import { freePort } from "../../../rehearsal/simulation/cluster/control-plane";
import { built, type OperatorName } from "./tools";
import { type World } from "./world";

/** The roles of the charts with their default values, one file for each chart. */
const RIGHTS = path.join(ROOT, "..", "shared", "rbac");

interface Runs {
  /** The chart, and the release whose values the operator is given. */
  readonly chart: ChartPin;
  readonly release: string;
  readonly account: string;
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
    within: () => ["cnpg-system"], // elsewhere it has what the program gives it
    args: (_, [metrics, webhooks]) => [
      "controller",
      `--metrics-bind-address=127.0.0.1:${metrics}`,
      `--webhook-port=${webhooks}`,
    ],
    env: ({ config }) => ({
      ...config.data,
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

/** Whether the roles of the real charts are at hand. */
export const haveRights = fs.existsSync(RIGHTS);

/** Starts an operator under the service account of its release, with the rights that its chart and its values give it. */
export async function start(world: World, bin: string, name: OperatorName, program: Evaluation): Promise<void> {
  const { chart, release, account, within, args, env } = OPERATORS[name];
  const inputs = program.registrations.find((one) => one.type.endsWith(":Release") && one.inputs["name"] === release);
  const { namespace, values } = plain(inputs?.inputs) as { namespace: string; values: any };
  const owner = { namespace, name: account };
  await world.apply([
    { apiVersion: "v1", kind: "ServiceAccount", metadata: owner },
    ...(haveRights ? rights(chart, owner, within?.(values)) : [everything(owner)]),
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

interface Owner {
  readonly namespace: string;
  readonly name: string;
}

interface Role extends Manifest {
  readonly rules: readonly { readonly resources?: readonly string[] }[];
}

interface Binding extends Manifest {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly name: string }[];
}

// What lies in no namespace stays the chart's ClusterRole's, wherever the rest is given.
const CLUSTER_WIDE = ["nodes", "mutatingwebhookconfigurations", "clusterimagecatalogs", "storageclasses"];

/** The roles that the chart binds to its operator, bound to an account of ours. */
export function rights(
  { chart, version }: ChartPin,
  account: Owner,
  within: readonly string[] | undefined,
): Manifest[] {
  const text = fs.readFileSync(path.join(RIGHTS, `${chart}-${version}.yaml`), "utf8");
  const objects = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  const subjects = [{ kind: "ServiceAccount", ...account }];
  const named = (objects as Binding[])
    .filter(
      ({ kind, subjects: whom = [] }) =>
        kind === "ClusterRoleBinding" && whom.some(({ name }) => ACCOUNTS.includes(name)),
    )
    .map(({ roleRef }) => roleRef.name);
  const roles = (objects as Role[]).filter(
    ({ kind, metadata }) => kind === "ClusterRole" && named.includes(metadata.name),
  );
  if (roles.length === 0) throw new Error(`${chart}: no role is bound to its operator`);
  return roles.flatMap((role) => {
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.metadata.name };
    const binding = { apiVersion: "rbac.authorization.k8s.io/v1", roleRef, subjects };
    const name = role.metadata.name;
    if (within === undefined) return [role, { ...binding, kind: "ClusterRoleBinding", metadata: { name } }];
    const wide = role.rules.filter(({ resources = [] }) => resources.some((one) => CLUSTER_WIDE.includes(one)));
    const cluster = { ...binding, kind: "ClusterRoleBinding", metadata: { name: `${name}-cluster` } };
    return [
      role,
      ...within.map((namespace) => ({ ...binding, kind: "RoleBinding", metadata: { name, namespace } })),
      { ...role, metadata: { name: `${name}-cluster` }, rules: wide },
      { ...cluster, roleRef: { ...roleRef, name: `${name}-cluster` } },
    ];
  });
}

// The operators' accounts in a release called `r`.
const ACCOUNTS = ["r-cert-manager", "r-kube-prometheus-stack-operator", "r-cloudnative-pg", "elastic-operator"];

export function everything(account: Owner): Manifest {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: account.name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", ...account }],
  };
}

/** What the API server refused an operator, by its log. */
export function refusals(world: World, name: OperatorName): string[] {
  const refused = world.log(name).match(/[^"\\]*? is forbidden: [^"\\]*|cannot \w+ resource [^\n]*/g) ?? [];
  return [...new Set(refused)];
}
