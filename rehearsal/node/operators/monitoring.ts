import * as fs from "node:fs";
import * as path from "node:path";
import { charts } from "../../../components/base/versions";
import type { Manifest } from "../../operators/operator";
import { debianVersion, ensureDebian } from "../../software/debian";
import type { LocalImage } from "../images";
import { built } from "./build";
import { rights } from "./rights";
import { type Release, run, selfSigned } from "./stand-in";

const OPERATOR_IMAGE = `quay.io/prometheus-operator/prometheus-operator:${built("prometheus-operator")}`;
const RELOADER_IMAGE = `quay.io/prometheus-operator/prometheus-config-reloader:${built("prometheus-operator")}`;

/** What the chart names, and the Debian package and program in its place. */
export const fromDebian = {
  prometheus: { image: "quay.io/prometheus/prometheus:v3.14.0-distroless", program: "prometheus" },
  alertmanager: { image: "quay.io/prometheus/alertmanager:v0.34.0", program: "prometheus-alertmanager" },
  "node-exporter": {
    image: "quay.io/prometheus/node-exporter:v1.12.1-distroless",
    program: "prometheus-node-exporter",
  },
} as const;

const RELEASE = "kube-prometheus-stack";
const ADMISSION = `${RELEASE}-admission`;
const MONITORS = { apiVersion: "monitoring.coreos.com/v1", kind: "ServiceMonitor" };
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** What the chart sets for the pods of both servers. */
const AS_USER = {
  ...{ runAsUser: 1000, runAsGroup: 2000, fsGroup: 2000, runAsNonRoot: true },
  seccompProfile: { type: "RuntimeDefault" },
};

interface OperatorValues extends Record<InstanceNamespaces, readonly string[]> {
  readonly admissionWebhooks: { readonly failurePolicy: string };
  readonly namespaces: { readonly additional: readonly string[] };
  readonly prometheusConfigReloader: {
    readonly resources: Readonly<Record<"requests" | "limits", Readonly<Record<"cpu" | "memory", string>>>>;
  };
}

const INSTANCE_NAMESPACES = {
  prometheusInstanceNamespaces: "prometheus-instance-namespaces",
  alertmanagerInstanceNamespaces: "alertmanager-instance-namespaces",
  alertmanagerConfigNamespaces: "alertmanager-config-namespaces",
  thanosRulerInstanceNamespaces: "thanos-ruler-instance-namespaces",
} as const;
type InstanceNamespaces = keyof typeof INSTANCE_NAMESPACES;

interface ServerValues extends Readonly<Record<string, unknown>> {
  readonly securityContext: object;
}

interface Values {
  readonly prometheusOperator: OperatorValues;
  readonly prometheus: { readonly prometheusSpec: ServerValues };
  readonly alertmanager: { readonly alertmanagerSpec: ServerValues };
}

/** The images of monitoring, of the operator's binaries in `bin` and of Debian's packages. */
export async function monitoringImages(bin: string, progress: (line: string) => void): Promise<LocalImage[]> {
  // The operator calls the reloader by its path.
  const own = (name: string, image: string, target = `/usr/bin/${name}`): LocalImage => ({
    name: image,
    parts: [{ kind: "copy", source: path.join(bin, name), target }],
    entrypoint: [target],
  });
  const names = Object.keys(fromDebian) as (keyof typeof fromDebian)[];
  const debian = names.map(async (name): Promise<LocalImage> => {
    const { image, program } = fromDebian[name];
    const source = await ensureDebian(name, progress);
    const entrypoint = [path.join(source, "bin", program)];
    // Alertmanager's templates.
    const data = path.join(source, "usr");
    const own = fs.existsSync(data) ? [{ kind: "copy", source: data, target: "/usr" } as const] : [];
    return { name: image, parts: [{ kind: "copy", source, target: source }, ...own], entrypoint };
  });
  return [
    own("prometheus-operator", OPERATOR_IMAGE),
    own("prometheus-config-reloader", RELOADER_IMAGE),
    ...(await Promise.all(debian)),
  ];
}

/** The versions of both servers, by which the operator knows what their configuration may say. */
export type ServerVersions = Readonly<Record<"prometheus" | "alertmanager", string>>;

/** Those that Debian has. */
export async function serverVersions(progress: (line: string) => void): Promise<ServerVersions> {
  const version = async (name: keyof ServerVersions): Promise<string> =>
    `v${debianVersion(await ensureDebian(name, progress), fromDebian[name].program)}`;
  return { prometheus: await version("prometheus"), alertmanager: await version("alertmanager") };
}

/** The release of kube-prometheus-stack with its real operator, which makes both servers, and the monitors of the chart. */
export function monitoring({ namespace, values, objects }: Release, versions: ServerVersions): Manifest[] {
  const { prometheusOperator, prometheus, alertmanager } = values as Values;
  const made = objects.filter(({ kind }) => kind !== "StatefulSet");
  return [
    ...made.map((object) => {
      switch (`${object.kind} ${object.metadata.name}`) {
        case `Deployment ${RELEASE}-operator`:
          return run(object, ...operator(namespace, prometheusOperator));
        case `DaemonSet ${RELEASE}-prometheus-node-exporter`:
          return run(object, ...NODE_EXPORTER);
        default:
          return object.kind === "Service" ? named(object) : object;
      }
    }),
    ...[`${RELEASE}-operator`, "prometheus"].flatMap((name) => rights(charts.kubePrometheusStack, { namespace, name })),
    ...selfSigned(namespace, ADMISSION, [`${RELEASE}-operator`]),
    ...admission(namespace, prometheusOperator),
    server("Prometheus", namespace, {
      image: fromDebian.prometheus.image,
      version: versions.prometheus,
      ...prometheusSpec(prometheus.prometheusSpec),
      serviceAccountName: "prometheus",
      alerting: { alertmanagers: [{ namespace, name: `${RELEASE}-alertmanager`, port: "http-web", apiVersion: "v2" }] },
      scrapeInterval: "30s",
      evaluationInterval: "30s",
    }),
    server("Alertmanager", namespace, {
      image: fromDebian.alertmanager.image,
      version: versions.alertmanager,
      ...alertmanagerSpec(alertmanager.alertmanagerSpec),
      serviceAccountName: `${RELEASE}-alertmanager`,
    }),
    ...monitors(namespace),
  ];
}

/** How the chart registers the webhooks, of which cert-manager's cainjector says by which CA. */
function admission(namespace: string, { admissionWebhooks: { failurePolicy } }: OperatorValues): Manifest[] {
  const annotations = { "cert-manager.io/inject-ca-from": `${namespace}/${ADMISSION}` };
  return Object.entries({ Mutating: "mutate", Validating: "validate" }).map(([kind, path]) => ({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: `${kind}WebhookConfiguration`,
    metadata: { name: ADMISSION, annotations },
    webhooks: [
      {
        name: "prometheusrulemutate.monitoring.coreos.com",
        rules: [
          {
            ...{ apiGroups: ["monitoring.coreos.com"], apiVersions: ["*"], resources: ["prometheusrules"] },
            operations: ["CREATE", "UPDATE"],
          },
        ],
        clientConfig: {
          service: { namespace, name: `${RELEASE}-operator`, path: `/admission-prometheusrules/${path}` },
        },
        ...{ failurePolicy, timeoutSeconds: 10, admissionReviewVersions: ["v1", "v1beta1"], sideEffects: "None" },
      },
    ],
  }));
}

/** As the chart starts it. */
function operator(namespace: string, values: OperatorValues): readonly [container: object, pod: object] {
  const { requests, limits } = values.prometheusConfigReloader.resources;
  const container = {
    image: OPERATOR_IMAGE,
    args: [
      `--kubelet-service=kube-system/${RELEASE}-kubelet`,
      "--kubelet-endpoints=true",
      "--kubelet-endpointslice=false",
      `--namespaces=${[...new Set([namespace, ...values.namespaces.additional])].join()}`,
      "--localhost=127.0.0.1",
      `--prometheus-config-reloader=${RELOADER_IMAGE}`,
      ...(["cpu", "memory"] as const).flatMap((what) => [
        `--config-reloader-${what}-request=${requests[what]}`,
        `--config-reloader-${what}-limit=${limits[what]}`,
      ]),
      ...Object.entries(INSTANCE_NAMESPACES).map(
        ([key, flag]) => `--${flag}=${values[key as InstanceNamespaces].join()}`,
      ),
      "--web.enable-tls=true",
      "--web.cert-file=/cert/tls.crt",
      "--web.key-file=/cert/tls.key",
      "--web.listen-address=:10250",
    ],
    readinessProbe: { httpGet: { scheme: "HTTPS", path: "/healthz", port: 10250 } },
    volumeMounts: [{ name: "certificate", mountPath: "/cert", readOnly: true }],
  };
  return [container, { volumes: [{ name: "certificate", secret: { secretName: ADMISSION } }] }];
}

const HOST = { proc: "/proc", sys: "/sys", root: "/" };

/** As the chart starts it, on the node's own network and beside its processes. */
const NODE_EXPORTER = [
  {
    image: fromDebian["node-exporter"].image,
    args: [
      ...["--path.procfs=/host/proc", "--path.sysfs=/host/sys", "--path.rootfs=/host/root"],
      "--path.udev.data=/host/root/run/udev/data",
      "--web.listen-address=[$(HOST_IP)]:9100",
    ],
    env: [{ name: "HOST_IP", valueFrom: { fieldRef: { fieldPath: "status.hostIP" } } }],
    readinessProbe: { httpGet: { path: "/", port: 9100 } },
    volumeMounts: Object.keys(HOST).map((name) => ({ name, mountPath: `/host/${name}`, readOnly: true })),
  },
  {
    ...{ hostNetwork: true, hostPID: true },
    volumes: Object.entries(HOST).map(([name, path]) => ({ name, hostPath: { path } })),
  },
] as const;

/** The chart names the ports of its Services, and marks those of both servers. */
function named(object: Manifest): Manifest {
  const service = structuredClone(object) as Manifest & { spec: { ports: object[] } };
  const what = object.metadata.name.replace(`${RELEASE}-`, "");
  const isServer = what === "prometheus" || what === "alertmanager";
  const first = isServer ? "http-web" : what === "operator" ? "https" : "http-metrics";
  const [port, ...others] = service.spec.ports;
  service.spec.ports = [
    { ...port, name: first },
    ...others,
    ...(isServer ? [{ name: "reloader-web", port: 8080, targetPort: "reloader-web" }] : []),
  ];
  const labels = { ...object.metadata.labels, app: object.metadata.name, ...(isServer && { "self-monitor": "true" }) };
  return { ...service, metadata: { ...service.metadata, labels } };
}

function server(kind: string, namespace: string, spec: object): Manifest {
  const name = `${RELEASE}-${kind.toLowerCase()}`;
  const all = { replicas: 1, portName: "http-web", ...spec };
  return { apiVersion: "monitoring.coreos.com/v1", kind, metadata: { name, namespace }, spec: all };
}

/** The values as the chart hands them on; without a selector of their own, its selectors take all. */
function prometheusSpec({ storageSpec, securityContext, ...values }: ServerValues): object {
  const suffix = "NilUsesHelmValues";
  const [switches, others] = [true, false].map((isSwitch) =>
    Object.entries(values).filter(([key]) => key.endsWith(suffix) === isSwitch),
  );
  const selectors = switches?.map(([key]) => key.replace(suffix, "")) ?? [];
  return {
    ...Object.fromEntries(others ?? []),
    ...Object.fromEntries(selectors.map((key) => [key, {}])),
    ...Object.fromEntries(selectors.map((key) => [key.replace("Selector", "NamespaceSelector"), {}])),
    storage: storageSpec,
    securityContext: { ...AS_USER, ...securityContext },
  };
}

function alertmanagerSpec({ securityContext, ...values }: ServerValues): object {
  const spec = Object.fromEntries(Object.entries(values).filter(([key]) => key !== "useExistingSecret"));
  return { ...spec, securityContext: { ...AS_USER, ...securityContext } };
}

/** The chart's own, of what is here. */
function monitors(namespace: string): Manifest[] {
  const monitor = (what: string, spec: object): Manifest => ({
    ...MONITORS,
    metadata: { name: `${RELEASE}-${what}`, namespace },
    spec,
  });
  const own = (what: string, ...endpoints: object[]): Manifest =>
    monitor(what, {
      selector: { matchLabels: { app: `${RELEASE}-${what}`, "self-monitor": "true" } },
      namespaceSelector: { matchNames: [namespace] },
      endpoints,
    });
  const asAccount = { scheme: "https", bearerTokenFile: `${ACCOUNT}/token` };
  const kubelet = (path: string): object => ({
    ...{ ...asAccount, port: "https-metrics", path, honorLabels: true },
    tlsConfig: { caFile: `${ACCOUNT}/ca.crt`, insecureSkipVerify: true },
    relabelings: [{ action: "replace", sourceLabels: ["__metrics_path__"], targetLabel: "metrics_path" }],
  });
  return [
    own("prometheus", { port: "http-web" }, { port: "reloader-web" }),
    own("alertmanager", { port: "http-web" }, { port: "reloader-web" }),
    monitor("operator", {
      selector: { matchLabels: { app: `${RELEASE}-operator` } },
      namespaceSelector: { matchNames: [namespace] },
      endpoints: [
        {
          ...{ port: "https", scheme: "https" },
          tlsConfig: { serverName: `${RELEASE}-operator`, ca: { secret: { name: ADMISSION, key: "ca.crt" } } },
        },
      ],
    }),
    monitor("kubelet", {
      jobLabel: "k8s-app",
      selector: { matchLabels: { "app.kubernetes.io/name": "kubelet", "k8s-app": "kubelet" } },
      namespaceSelector: { matchNames: ["kube-system"] },
      endpoints: ["/metrics", "/metrics/cadvisor", "/metrics/probes"].map(kubelet),
    }),
    monitor("apiserver", {
      jobLabel: "component",
      selector: { matchLabels: { component: "apiserver", provider: "kubernetes" } },
      namespaceSelector: { matchNames: ["default"] },
      endpoints: [
        { ...asAccount, port: "https", tlsConfig: { caFile: `${ACCOUNT}/ca.crt`, serverName: "kubernetes" } },
      ],
    }),
    monitor("prometheus-node-exporter", {
      selector: { matchLabels: { app: `${RELEASE}-prometheus-node-exporter` } },
      namespaceSelector: { matchNames: ["node-exporter"] },
      endpoints: [{ port: "http-metrics" }],
    }),
  ];
}
