import * as path from "node:path";
import type { Manifest } from "../../operators/operator";
import type { LocalImage } from "../images";
import { metricsServerVersion } from "../tools";
import { type Release, run, selfSigned } from "./stand-in";

const NAME = "metrics-server";
const IMAGE = `registry.k8s.io/metrics-server/metrics-server:${metricsServerVersion}`;
const RBAC = "rbac.authorization.k8s.io";
const API_VERSION = `${RBAC}/v1`;

/** The image of metrics-server, of the binary in `bin`. */
export function metricsServerImage(bin: string): LocalImage {
  const target = `/${NAME}`;
  return { name: IMAGE, parts: [{ kind: "copy", source: path.join(bin, NAME), target }], entrypoint: [target] };
}

/** The release of metrics-server with the real one, as its chart starts it and with the rights that it gives. */
export function metricsServer({ namespace, values, objects }: Release): Manifest[] {
  const { args } = values as { readonly args: readonly string[] };
  const container = {
    image: IMAGE,
    args: [
      "--secure-port=10250",
      "--cert-dir=/tmp",
      "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
      "--kubelet-use-node-status-port",
      "--metric-resolution=15s",
      "--authorization-always-allow-paths=/metrics",
      "--tls-cert-file=/tmp/tls-certs/tls.crt",
      "--tls-private-key-file=/tmp/tls-certs/tls.key",
      ...args,
    ],
    readinessProbe: { httpGet: { scheme: "HTTPS", path: "/readyz", port: 10250 } },
    volumeMounts: [
      { name: "tmp", mountPath: "/tmp" },
      { name: "certificate", mountPath: "/tmp/tls-certs", readOnly: true },
    ],
  };
  const volumes = [
    { name: "tmp", emptyDir: {} },
    { name: "certificate", secret: { secretName: NAME } },
  ];
  const isDeployment = ({ kind }: Manifest): boolean => kind === "Deployment";
  return [
    ...objects.map((object) => (isDeployment(object) ? run(object, container, { volumes }) : object)),
    ...selfSigned(namespace, NAME, [NAME]),
    ...rightsOf({ kind: "ServiceAccount", name: NAME, namespace }),
    {
      apiVersion: "apiregistration.k8s.io/v1",
      kind: "APIService",
      metadata: {
        name: "v1beta1.metrics.k8s.io",
        annotations: { "cert-manager.io/inject-ca-from": `${namespace}/${NAME}` },
      },
      spec: {
        ...{ group: "metrics.k8s.io", version: "v1beta1", groupPriorityMinimum: 100, versionPriority: 100 },
        service: { name: NAME, namespace },
      },
    },
  ];
}

function rightsOf(subject: object): Manifest[] {
  const read = ["get", "list", "watch"];
  const binding = (name: string, kind: "ClusterRole" | "Role", role: string): Manifest => ({
    apiVersion: API_VERSION,
    kind: `${kind}Binding`,
    metadata: { name, ...(kind === "Role" && { namespace: "kube-system" }) },
    roleRef: { apiGroup: RBAC, kind, name: role },
    subjects: [subject],
  });
  return [
    {
      apiVersion: API_VERSION,
      kind: "ClusterRole",
      metadata: { name: `system:${NAME}` },
      rules: [
        { apiGroups: [""], resources: ["nodes/metrics"], verbs: ["get"] },
        { apiGroups: [""], resources: ["pods", "nodes", "namespaces", "configmaps"], verbs: read },
      ],
    },
    binding(`system:${NAME}`, "ClusterRole", `system:${NAME}`),
    binding(`${NAME}:system:auth-delegator`, "ClusterRole", "system:auth-delegator"),
    binding(`${NAME}-auth-reader`, "Role", "extension-apiserver-authentication-reader"),
  ];
}
