import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "../../base/endpoint";
import { type ContainerSize, resources } from "../../base/pod";
import type { Exposure } from "./exposure";

export const GATEWAY_API = "gateway.networking.k8s.io/v1";
export const ENVOY_GATEWAY_API = "gateway.envoyproxy.io/v1alpha1";

/** The listener for pods of tenants, and what else there is for them alone. */
export const TENANTS = "tenants";

/** Container ports: a proxy may not bind those under 1024, so that the controller adds 10000. */
export const CONTAINER_PORTS = { http: 10080, https: 10443, metrics: 19001 };

// It asks Envoy to drain before the pod ends.
const SHUTDOWN_MANAGER: ContainerSize = {
  cpu: { request: 0.01, limit: 0.1 },
  memoryMiB: { request: 32, limit: 64 },
};

/** Of the Service. */
export const HTTPS_PORT = 443;

const SERVICE_TYPES = { nodePort: "NodePort", loadBalancer: "LoadBalancer", cloudflareTunnel: "ClusterIP" };

/** The proxies of a Gateway, with the controller's labels and names of ours. */
export function proxyPods(name: string, namespace: pulumi.Input<string>): PodIdentity {
  return { name, namespace, matchLabels: { app: name }, serviceAccount: name };
}

/** Inputs of {@link proxies}. */
export interface ProxiesArgs {
  readonly pods: PodIdentity;
  readonly exposure: Exposure;
  readonly replicas: number;
  readonly size: ContainerSize;
  /** DNS zone of the public host names. */
  readonly domain: string;
  /** Secret with the certificate of all hosts; it may come later. */
  readonly certificate: string;
  /** By what name tenants call, and the Secret with its certificate. @default none do */
  readonly inside?: { readonly host: pulumi.Input<string>; readonly certificate: string };
  readonly dependsOn: readonly pulumi.Resource[];
}

/** Makes a Gateway of the name of its pods, with the listeners `http` and `https`. */
export function proxies(parent: pulumi.Resource, args: ProxiesArgs): pulumi.Resource {
  const { name, namespace } = args.pods;
  const metadata = { name, namespace };
  const custom = (
    apiVersion: string,
    kind: string,
    { spec, waitFor, dependsOn }: { spec: object; waitFor?: string; dependsOn: readonly pulumi.Resource[] },
  ) =>
    new k8s.apiextensions.CustomResource(
      `${name}-${kind.toLowerCase()}`,
      {
        apiVersion,
        kind,
        metadata: {
          ...(kind === "GatewayClass" ? { name } : metadata),
          ...(waitFor !== undefined && { annotations: { "pulumi.com/waitFor": `condition=${waitFor}` } }),
        },
        spec,
      },
      { parent, dependsOn: [...dependsOn] },
    );
  const proxy = custom(ENVOY_GATEWAY_API, "EnvoyProxy", { spec: proxySpec(args), dependsOn: args.dependsOn });
  const gatewayClass = custom(GATEWAY_API, "GatewayClass", {
    spec: {
      controllerName: "gateway.envoyproxy.io/gatewayclass-controller",
      parametersRef: { group: "gateway.envoyproxy.io", kind: "EnvoyProxy", ...metadata },
    },
    waitFor: "Accepted",
    dependsOn: [proxy],
  });
  const clients = custom(ENVOY_GATEWAY_API, "ClientTrafficPolicy", {
    spec: {
      targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name }],
      ...clientRules(args.exposure),
    },
    dependsOn: [proxy],
  });
  const gateway = custom(GATEWAY_API, "Gateway", {
    spec: { gatewayClassName: name, listeners: listeners(args) },
    // Once a proxy is ready and has an address. The listener for TLS may still wait for its certificate.
    waitFor: "Programmed",
    dependsOn: [gatewayClass, clients],
  });
  new k8s.apiextensions.CustomResource(
    `${name}-redirect`,
    {
      apiVersion: GATEWAY_API,
      kind: "HTTPRoute",
      metadata: { name: "to-https", namespace },
      spec: {
        parentRefs: [{ name, sectionName: "http" }],
        rules: [{ filters: [{ type: "RequestRedirect", requestRedirect: { scheme: "https", statusCode: 301 } }] }],
      },
    },
    { parent, dependsOn: gateway },
  );
  return gateway;
}

function listeners({ domain, certificate, inside }: ProxiesArgs): object[] {
  const allowedRoutes = { namespaces: { from: "Same" } };
  const encrypted = (name: string, hostname: pulumi.Input<string>, secret: string) => ({
    name,
    protocol: "HTTPS",
    port: HTTPS_PORT,
    // Without it, a client that names no host would get a certificate and an answer.
    hostname,
    tls: { mode: "Terminate", certificateRefs: [{ kind: "Secret", name: secret }] },
    allowedRoutes,
  });
  return [
    { name: "http", protocol: "HTTP", port: 80, allowedRoutes },
    encrypted("https", `*.${domain}`, certificate),
    ...(inside ? [encrypted(TENANTS, inside.host, inside.certificate)] : []),
  ];
}

function proxySpec({ pods, exposure, replicas, size }: ProxiesArgs): object {
  const { name, matchLabels } = pods;
  const spread = {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels },
  };
  const sidecar = { name: "shutdown-manager", resources: resources(SHUTDOWN_MANAGER) };
  return {
    provider: {
      type: "Kubernetes",
      kubernetes: {
        envoyServiceAccount: { name },
        envoyDeployment: {
          name,
          replicas,
          strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
          pod: { labels: matchLabels, priorityClassName: "critical-services", topologySpreadConstraints: [spread] },
          container: { resources: resources(size) },
          patch: { type: "StrategicMerge", value: { spec: { template: { spec: { containers: [sidecar] } } } } },
        },
        envoyService: {
          name,
          type: SERVICE_TYPES[exposure.kind],
          ...(exposure.kind === "nodePort" && {
            // Any node answers, also one without a proxy; who calls is lost on the way.
            externalTrafficPolicy: "Cluster",
            patch: { type: "StrategicMerge", value: { spec: { ports: nodePorts(exposure) } } },
          }),
        },
        ...(replicas > 1 && {
          envoyPDB: {
            minAvailable: 1,
            // Else proxies that are not ready would block the drain of their node (kubernetes#72320).
            patch: { type: "StrategicMerge", value: { spec: { unhealthyPodEvictionPolicy: "AlwaysAllow" } } },
          },
        }),
      },
    },
  };
}

/** Whole ports, named as the controller does: while a listener has no certificate it makes none for it. */
function nodePorts({ http, https }: { http: number; https: number }): object[] {
  return [
    { name: "http-80", port: 80, targetPort: CONTAINER_PORTS.http, nodePort: http },
    { name: `https-${HTTPS_PORT}`, port: HTTPS_PORT, targetPort: CONTAINER_PORTS.https, nodePort: https },
  ];
}

function clientRules({ kind }: Exposure): object {
  return {
    tls: { minVersion: "1.2" },
    // DataHub's pages have them in their paths, and no rule tells paths within a system apart.
    path: { escapedSlashesAction: "KeepUnchanged" },
    headers: {
      withUnderscoresAction: "RejectRequest",
      // What a client says of the way that it came, servers would believe of us.
      earlyRequestHeaders: {
        remove: [
          "forwarded",
          ...["host", "port", "prefix", "server"].map((part) => `x-forwarded-${part}`),
          "x-real-ip",
        ],
      },
    },
    // Slow requests hold connections.
    timeout: { http: { requestHeadersReceivedTimeout: "10s", idleTimeout: "300s" } },
    connection: { connectionLimit: { value: 10_000 } },
    // The agent of a tunnel appends the client's address; elsewhere what a client says of itself is not believed.
    ...(kind === "cloudflareTunnel" && { clientIPDetection: { xForwardedFor: { numTrustedHops: 1 } } }),
  };
}
