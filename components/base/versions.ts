import { ownImage, requirements } from "./own-image";

/**
 * Every version of a chart, an image or a set of CRDs that this program installs, except for those in the Dockerfiles of our own
 * images. Renovate reads the literals below (renovate.json), so the field order is fixed.
 */

/** A Helm chart: its repository, its name there and the exact version. */
export interface ChartPin {
  readonly repo: string;
  readonly chart: string;
  readonly version: string;
  /** The CRDs in its `crds/` folder, `<plural>.<group>`; they are our resources because Helm would never upgrade them. */
  readonly crds?: readonly string[];
  /** Where that folder lies. @default "crds" */
  readonly crdFolder?: string;
  /** The minimum Kubernetes version in its `kubeVersion`, if any. */
  readonly kubernetes?: string;
}

/** A manifest file of a GitHub release: CRDs that none of our charts install. */
export interface ManifestPin {
  readonly repository: string;
  readonly asset: string;
  readonly version: string;
}

export const charts = {
  certManager: {
    repo: "oci://quay.io/jetstack/charts",
    chart: "cert-manager",
    version: "v1.21.1",
    kubernetes: "1.22",
  },
  cloudnativePg: {
    repo: "https://cloudnative-pg.github.io/charts",
    chart: "cloudnative-pg",
    version: "0.29.0",
    kubernetes: "1.29",
  },
  datahub: {
    repo: "https://helm.datahubproject.io/",
    chart: "datahub",
    version: "1.1.0",
  },
  barmanCloud: {
    repo: "https://cloudnative-pg.github.io/charts",
    chart: "plugin-barman-cloud",
    version: "0.7.0",
    kubernetes: "1.29",
  },
  eckOperator: {
    repo: "https://helm.elastic.co",
    chart: "eck-operator",
    version: "3.5.0",
    kubernetes: "1.21",
  },
  istioBase: { repo: "oci://registry.istio.io/release/charts", chart: "base", version: "1.30.3" },
  istiod: { repo: "oci://registry.istio.io/release/charts", chart: "istiod", version: "1.30.3" },
  istioCni: { repo: "oci://registry.istio.io/release/charts", chart: "cni", version: "1.30.3" },
  ztunnel: { repo: "oci://registry.istio.io/release/charts", chart: "ztunnel", version: "1.30.3" },
  envoyGateway: {
    repo: "oci://docker.io/envoyproxy",
    chart: "gateway-helm",
    version: "v1.9.1",
    // Beside those of the Gateway API, of which the program has the standard channel.
    crdFolder: "charts/crds/crds/generated",
    crds: [
      "backends.gateway.envoyproxy.io",
      "backendtrafficpolicies.gateway.envoyproxy.io",
      "clienttrafficpolicies.gateway.envoyproxy.io",
      "envoyextensionpolicies.gateway.envoyproxy.io",
      "envoypatchpolicies.gateway.envoyproxy.io",
      "envoyproxies.gateway.envoyproxy.io",
      "httproutefilters.gateway.envoyproxy.io",
      "securitypolicies.gateway.envoyproxy.io",
    ],
  },
  kuberay: {
    repo: "https://ray-project.github.io/kuberay-helm/",
    chart: "kuberay-operator",
    version: "1.7.0",
    crds: ["rayclusters.ray.io", "raycronjobs.ray.io", "rayjobs.ray.io", "rayservices.ray.io"],
  },
  strimzi: {
    repo: "oci://quay.io/strimzi-helm",
    chart: "strimzi-kafka-operator",
    version: "1.2.0",
    crds: [
      "kafkabridges.kafka.strimzi.io",
      "kafkaconnectors.kafka.strimzi.io",
      "kafkaconnects.kafka.strimzi.io",
      "kafkamirrormaker2s.kafka.strimzi.io",
      "kafkanodepools.kafka.strimzi.io",
      "kafkarebalances.kafka.strimzi.io",
      "kafkas.kafka.strimzi.io",
      "kafkatopics.kafka.strimzi.io",
      "kafkausers.kafka.strimzi.io",
      "strimzipodsets.core.strimzi.io",
    ],
  },
  gpuOperator: {
    repo: "https://helm.ngc.nvidia.com/nvidia",
    chart: "gpu-operator",
    version: "v26.7.0",
    kubernetes: "1.16",
    crds: [
      "clusterpolicies.nvidia.com",
      "computedomaincliques.resource.nvidia.com",
      "computedomains.resource.nvidia.com",
      "gpuclusters.nvidia.com",
      "nvidiadrivers.nvidia.com",
    ],
  },
  // The one that the GPU operator's chart contains.
  nodeFeatureDiscovery: {
    repo: "oci://registry.k8s.io/nfd/charts",
    chart: "node-feature-discovery",
    version: "0.19.0",
    crds: ["nodefeaturegroups.nfd.k8s-sigs.io", "nodefeaturerules.nfd.k8s-sigs.io", "nodefeatures.nfd.k8s-sigs.io"],
  },
  metricsServer: {
    repo: "https://kubernetes-sigs.github.io/metrics-server/",
    chart: "metrics-server",
    version: "3.13.1",
  },
  kubePrometheusStack: {
    repo: "oci://ghcr.io/prometheus-community/charts",
    chart: "kube-prometheus-stack",
    version: "88.5.3",
    kubernetes: "1.25",
  },
  trino: { repo: "https://trinodb.github.io/charts", chart: "trino", version: "1.42.2" },
  polaris: { repo: "https://downloads.apache.org/polaris/helm-chart", chart: "polaris", version: "1.7.0" },
  seaweedfs: {
    repo: "https://seaweedfs.github.io/seaweedfs/helm",
    chart: "seaweedfs",
    version: "4.44.0",
  },
} as const satisfies Record<string, ChartPin>;

export const manifests = {
  gatewayApi: { repository: "kubernetes-sigs/gateway-api", asset: "standard-install.yaml", version: "v1.6.1" },
  prometheusOperator: {
    repository: "prometheus-operator/prometheus-operator",
    asset: "stripped-down-crds.yaml",
    version: "v0.93.1",
  },
} as const satisfies Record<string, ManifestPin>;

/** Kafka's version, one of the few in the operator's image. */
export const kafkaVersion = "4.3.1";

export const images = {
  // The default of CloudNativePG 1.30.0.
  postgres: "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie",
  // Upstream's last images before it archived MinIO (docs/adr/0008-object-store.md).
  minio: "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z",
  minioClient: "quay.io/minio/mc:RELEASE.2025-08-13T08-35-41Z",
  // "-full" has psycopg2 and boto3; the plain image lacks both (mlflow#9513).
  mlflow: "ghcr.io/mlflow/mlflow:v3.15.1-full",
  ray: ownImage("ray"),
  feast: ownImage("feast"),
  superset: ownImage("superset"),
  notebook: ownImage("notebook"),
  valkey: "valkey/valkey:9.1.4",
  redisExporter: "oliver006/redis_exporter:v1.88.0",
  localPathProvisioner: "rancher/local-path-provisioner:v0.0.37",
  // Has the shell with which the provisioner makes directories.
  busybox: "docker.io/library/busybox:1.37.0",
  cloudflared: "cloudflare/cloudflared:2026.8.2",
  // The chart's appVersion; "-slim" has neither Trino nor Iceberg.
  datahubIngestion: "acryldata/datahub-ingestion:v1.7.0",
  // DataHub's Analytics tab does not work with Elasticsearch 9 (datahub#15955).
  elasticsearch: "docker.elastic.co/elasticsearch/elasticsearch:8.19.24",
  elasticsearchExporter: "quay.io/prometheuscommunity/elasticsearch-exporter:v1.11.0",
  // The long-term support release.
  neo4j: "docker.io/library/neo4j:5.26.31-community",
  // The same version as the server's chart.
  polarisAdminTool: "apache/polaris-admin-tool:1.7.0",
  // From 3.3 on, images lack the plugins for PostgreSQL and S3 (dolphinscheduler#17557; docs/adr/0023-dolphinscheduler.md).
  dolphinschedulerApi: "apache/dolphinscheduler-api:3.2.2",
  dolphinschedulerMaster: "apache/dolphinscheduler-master:3.2.2",
  dolphinschedulerWorker: ownImage("dolphinscheduler-worker"),
  dolphinschedulerAlert: "apache/dolphinscheduler-alert-server:3.2.2",
  dolphinschedulerTools: "apache/dolphinscheduler-tools:3.2.2",
} as const;

/** Elasticsearch's version, which ECK needs besides the image. */
export const elasticsearchVersion = match(images.elasticsearch, /:([\d.]+)$/);

/** The versions that clients of the services must match, derived from what the images are and hold. */
export const clientVersions = {
  mlflow: match(images.mlflow, /:v([\d.]+)-full$/),
  ray: match(images.ray, /:([\d.]+)-py/),
  python: match(images.ray, /-py(\d)(\d+)-/),
  feast: match(requirements("feast"), /^feast\[.*\]==([\d.]+)$/m),
  kafka: kafkaVersion,
  postgres: match(images.postgres, /:([\d.]+)-/),
  elasticsearch: elasticsearchVersion,
  neo4j: match(images.neo4j, /:([\d.]+)-/),
  datahub: match(images.datahubIngestion, /:v([\d.]+)$/),
};

function match(text: string, pattern: RegExp): string {
  const found = pattern.exec(text);
  if (found === null) throw new Error(`${text} does not match ${String(pattern)}`);
  return found.slice(1).join(".");
}
