import * as pulumi from "@pulumi/pulumi";
import { ManifestFile } from "../../components/base/chart-release";
import type { Authority } from "../../components/base/certificate";
import type { ApiServer } from "../../components/base/endpoint";
import { prometheus } from "../../components/base/observers";
import type { Outside } from "../../components/base/outside";
import type { PodSecurityLevel } from "../../components/base/pod";
import { imageLock, mirrored, podSettings } from "../../components/base/pod-settings";
import type { Metrics } from "../../components/base/scrape";
import { manifests } from "../../components/base/versions";
import type { Volume } from "../../components/base/volume";
import type { Wiring } from "../../components/base/wiring";
import { AdmissionPolicies } from "../../components/ground/admission-policies";
import { CertManager, existingCertManager } from "../../components/ground/cert-manager";
import { CertificateAuthority } from "../../components/ground/certificate-authority";
import { Cluster } from "../../components/ground/cluster";
import type { ExistingAddOn } from "../../components/base/existing-add-ons";
import { GpuOperator } from "../../components/ground/gpu-operator";
import { LocalPath } from "../../components/ground/local-path";
import { LastingValues } from "../../components/ground/lasting-values";
import { Mesh } from "../../components/ground/mesh";
import { MetricsServer } from "../../components/ground/metrics-server";
import { Priorities } from "../../components/ground/priorities";
import { Quota } from "../../components/ground/quota";
import { Tenant } from "../../components/ground/tenant";
import { type AddOnKey, existingAddOns } from "../config/add-ons";
import { existingClasses, lastingValues } from "../config/lasting";
import { NAMESPACES } from "../config/own-names";
import { DATA_OWNERS, type DataOwner, type PlatformConfig } from "../config/schema";
import type { Secrets } from "../config/secrets";
import type { DeclaredVolume } from "../config/shapes";
import type { PlacedSystem } from "../config/placement";

// The mesh itself, and pods that only serve the node they run on.
const OUTSIDE_MESH: readonly string[] = [
  "istio-system",
  "gpu-operator",
  "local-path-storage",
] satisfies (keyof typeof NAMESPACES)[];

// Where pods go outside by what the stack says of it.
const LEAVING: readonly string[] = [
  "data-platform",
  "monitoring",
  "cert-manager",
] satisfies (keyof typeof NAMESPACES)[];

/** What a cluster has that has one of its own. */
export const ADD_ONS: Readonly<Record<AddOnKey, Omit<ExistingAddOn, "key">>> = {
  certManager: existingCertManager,
  "monitoring.operator": {
    name: "the Prometheus operator",
    crds: ["podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"],
    versionLabel: "operator.prometheus.io/version",
    oldest: manifests.prometheusOperator.version,
  },
};

/** The basis of the layers above. */
export interface Foundation {
  /** Options of components without pods. */
  readonly opts: pulumi.ComponentResourceOptions;
  /** Options of every component of a system: the cluster's provider, and where its pods run. */
  readonly at: (system: PlacedSystem) => pulumi.ComponentResourceOptions;
  /** Files with the alerts of what the cluster itself needs. */
  readonly alerts: readonly string[];
  /** Every hand-over; complete when the last layer stands. */
  readonly wiring: Wiring;
  /** The namespaces by name; each Output resolves once the namespace and its default policies exist. */
  readonly namespaces: Readonly<Record<keyof typeof NAMESPACES, pulumi.Output<string>>>;
  readonly kubeApi: ApiServer;
  /** What tells the cluster from every other. */
  readonly clusterUid: pulumi.Output<string>;
  /** The cluster's DNS domain. */
  readonly clusterDomain: string;
  /** The pod network. */
  readonly podCidr: string;
  /** The node networks. */
  readonly nodeCidrs: readonly string[];
  readonly metrics: Metrics;
  /** How pods reach servers outside the cluster. */
  readonly outside: Outside;
  /** mTLS and identities between pods, where the stack has a mesh. */
  readonly mesh: Mesh | undefined;
  /** The CRDs of the Gateway API. */
  readonly gatewayApi: pulumi.Resource;
  /** Issues certificates. Components that need one depend on it. */
  readonly certManager: CertManager;
  /** Signs the server certificates in data-platform. */
  readonly authority: Authority;
  /** Directory of the pinned charts. */
  readonly chartDirectory: string;
  /** DNS zone of all public host names. */
  readonly domain: string;
  /** Public host name of a service. */
  readonly publicHost: (service: string) => string;
  /** A volume of the config, with its StorageClass. */
  readonly volumeOf: (declared: DeclaredVolume) => Volume;
  /** Whether a data owner is protected from deletion and replacement. */
  readonly isProtected: (owner: DataOwner) => boolean;
}

/** The cluster's identity, namespaces, quota, priorities, mesh, shared CRDs and certificates. */
export function foundation(config: PlatformConfig, secrets: Secrets): Foundation {
  const { cluster, quota, domain } = config;
  const { directory: chartDirectory } = config.charts;
  const lasting = lastingValues(config);
  const { lifted } = config.protection;
  const isProtected = (owner: DataOwner) => !lifted.includes(owner);
  const existing = existingAddOns(config);
  const addOns = existing.map((key) => ({ key, ...ADD_ONS[key] }));
  const { provider, uid: clusterUid } = new Cluster("cluster", {
    context: cluster.context,
    storageClasses: existingClasses(config),
    addOns,
  });
  const { registries, mirrors, pullSecret } = config.images;
  const lock = imageLock(config.images.lock);
  const { podCidr, nodeCidrs, apiServer, dnsCaches } = cluster;
  const outside = outsideOf(config, ["localhost", "127.0.0.1", ".svc", `.${cluster.dnsDomain}`, podCidr, ...nodeCidrs]);
  provider.wiring.leaveBy(outside);
  const leaving = Object.keys(outside).length > 0 ? { outside: { by: outside, wiring: provider.wiring } } : undefined;
  const settings = { mirrors, lock, pullSecret };
  const isPlain = !pullSecret && !leaving && Object.keys(mirrors).length + Object.keys(lock).length === 0;
  const opts: pulumi.ComponentResourceOptions = {
    provider,
    ...(!isPlain && { transformations: [podSettings({ ...settings, ...leaving })] }),
  };

  const priorities = new Priorities("priorities", opts);
  const isMeshed = (name: string) => config.mesh !== undefined && !OUTSIDE_MESH.includes(name);
  const { className, provisioner, directory } = config.storage;
  const absent = [
    ...(existing.includes("certManager") ? ["cert-manager"] : []),
    ...(provisioner === "existing" ? ["local-path-storage"] : []),
  ];
  const tenants = mapped(NAMESPACES, (name, podSecurity) => {
    if (absent.includes(name)) return { namespace: pulumi.output<string>(name) };
    const protect = name === "data-platform" && DATA_OWNERS.some((one) => one !== "notebooks" && isProtected(one));
    const logins = pullSecret ? secrets.get("registryLogins") : undefined;
    const certificates = LEAVING.includes(name) ? outside.certificates : undefined;
    return new Tenant(name, { podSecurity, dnsCaches, meshed: isMeshed(name), protect, logins, certificates }, opts);
  });
  const records = [...lasting].map(([storageClass, values]) => {
    const name = storageClass === className ? "lasting-values" : `lasting-values-${storageClass}`;
    return new LastingValues(name, { namespace: tenants["data-platform"].namespace, values, storageClass }, opts);
  });
  const checked = pulumi.all(records.map((record) => record.checked));
  const kubeApi: ApiServer = {
    kind: "external",
    name: "kube-api",
    ...apiServer,
    why: "Kubernetes API",
    callsFrom: [...apiServer.cidrs, podCidr],
  };
  const volumesReady =
    provisioner === "local-path"
      ? new LocalPath(
          "local-path",
          {
            namespace: pulumi
              .all([tenants["local-path-storage"].namespace, priorities.ready])
              .apply(([ready]) => ready),
            ...{ className, directory, kubeApi, settings },
          },
          opts,
        ).ready
      : className;
  const made = mapped(tenants, (_, { namespace }) =>
    pulumi.all([namespace, priorities.ready, checked, volumesReady]).apply(([ready]) => ready),
  );
  const own: Record<string, PodSecurityLevel> = {
    ...Object.fromEntries(Object.entries(NAMESPACES).filter(([name]) => !absent.includes(name))),
    ...mapped(config.tenants, () => "restricted"),
  };
  const admitted = registries?.map((registry) => mirrored(registry, mirrors));
  const guests = Object.keys(config.tenants);
  new AdmissionPolicies("admission", { namespaces: own, registries: admitted, tenants: guests }, opts);
  provider.wiring.surround([podCidr, ...nodeCidrs]);
  const mesh =
    config.mesh &&
    new Mesh(
      "mesh",
      { namespace: made["istio-system"], chartDirectory, kubeApi, clusterDomain: cluster.dnsDomain, ...config.mesh },
      opts,
    );
  if (mesh !== undefined) provider.wiring.join(mesh);
  // Pods of the mesh start when it can take them in.
  const namespaces = mapped(made, (name, namespace) =>
    mesh !== undefined && isMeshed(name) ? pulumi.all([namespace, mesh.ready]).apply(([ready]) => ready) : namespace,
  );
  new Quota("data-platform-quota", { namespace: namespaces["data-platform"], ...quota }, opts);

  const gatewayApi = new ManifestFile("gateway-api", manifests.gatewayApi, chartDirectory, opts);
  const metrics = {
    scraper: prometheus(namespaces.monitoring),
    crds: existing.includes("monitoring.operator")
      ? provider
      : new ManifestFile("prometheus-operator", manifests.prometheusOperator, chartDirectory, opts),
  };
  mesh?.observedBy(metrics);
  const certManager = new CertManager(
    "cert-manager",
    {
      namespace: namespaces["cert-manager"],
      chartDirectory,
      kubeApi,
      size: config.certManager,
      metrics,
      acme: config.gateway !== undefined,
      outside,
    },
    { ...opts, dependsOn: gatewayApi },
  );
  const { authority } = new CertificateAuthority(
    "platform-ca",
    { namespace: namespaces["data-platform"] },
    { ...opts, dependsOn: certManager },
  );
  const alerts = [...certManager.alerts];
  if (config.metricsServer !== undefined) {
    const { kubeletCertificates, ...size } = config.metricsServer;
    const metricsServer = new MetricsServer(
      "metrics-server",
      {
        ...{ namespace: namespaces["metrics-server"], chartDirectory, kubeApi, clusterDomain: cluster.dnsDomain },
        ...{ nodeCidrs, kubeletCertificates, size, metrics },
      },
      { ...opts, dependsOn: certManager },
    );
    alerts.push(...metricsServer.alerts);
  }
  if (config.gpuOperator !== undefined) {
    const { operator, agent, discovery } = config.gpuOperator;
    const gpus = new GpuOperator(
      "gpu-operator",
      { namespace: namespaces["gpu-operator"], chartDirectory, kubeApi, operator, agent, discovery, metrics },
      opts,
    );
    alerts.push(...gpus.alerts);
  }
  return {
    opts,
    at: (system) => {
      const placement = config.placement[system];
      const { transformations = [], ...others } = opts;
      return placement === undefined
        ? opts
        : { ...others, transformations: [...transformations, podSettings(placement)] };
    },
    alerts,
    wiring: provider.wiring,
    namespaces,
    kubeApi,
    clusterUid,
    clusterDomain: cluster.dnsDomain,
    podCidr,
    nodeCidrs,
    metrics,
    outside,
    mesh,
    gatewayApi,
    certManager,
    authority,
    chartDirectory,
    domain,
    publicHost: (service) => `${service}.${domain}`,
    volumeOf: ({ sizeGiB, className = config.storage.className }) => ({ storageClass: className, sizeGiB }),
    isProtected,
  };
}

function outsideOf({ egress = {} }: PlatformConfig, inside: readonly string[]): Outside {
  const { proxy, certificates } = egress;
  return {
    ...(proxy && { proxy: { url: proxy.url, cidrs: proxy.cidrs, direct: [...inside, ...proxy.noProxy] } }),
    ...(certificates !== undefined && { certificates }),
  };
}

function mapped<K extends string, V, W>(record: Readonly<Record<K, V>>, make: (key: K, value: V) => W): Record<K, W> {
  const entries = Object.entries(record) as [K, V][];
  return Object.fromEntries(entries.map(([key, value]) => [key, make(key, value)])) as Record<K, W>;
}
