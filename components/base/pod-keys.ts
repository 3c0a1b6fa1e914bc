/** Where a chart's values, or a custom resource, take what is said of pods: paths. */
export interface PodKeys {
  /** What names a registry, a folder in one or a repository, and what is there by default, in full. */
  readonly images?: Readonly<Record<string, string>>;
  /** Lists of Secrets with logins of registries, as pods have them. */
  readonly pullSecrets?: readonly string[];
  /** The same as lists of names. */
  readonly pullSecretNames?: readonly string[];
  /** What `nodeSelector` and `tolerations` follow. */
  readonly placed?: readonly string[];
  /** The same, which are YAML in a text. */
  readonly placedByText?: readonly string[];
  /** What `affinity` and `tolerations` follow, where there is no selector. */
  readonly placedByAffinity?: readonly string[];
}

const ISTIO = "registry.istio.io/release";
// Those that are off, too: the operator is told of all.
const GPU_PARTS = {
  "nvcr.io/nvidia": [
    ...["operator", "validator", "driver", "devicePlugin", "gfd", "nodeStatusExporter", "sandboxDevicePlugin"],
    "draDriver",
  ],
  "nvcr.io/nvidia/k8s": ["toolkit", "dcgmExporter"],
  "nvcr.io/nvidia/cloud-native": [
    ...["driver.manager", "dcgm", "migManager", "gds", "gdrcopy", "vgpuDeviceManager", "vgpuManager.driverManager"],
    ...["vfioManager", "vfioManager.driverManager", "kataSandboxDevicePlugin", "ccManager"],
  ],
};
const DATAHUB_PARTS = ["datahub-gms", "datahub-frontend", "datahub-mae-consumer", "datahub-mce-consumer"];

/** The keys of each chart, by its name. `npm run charts:check` compares them with the real ones. */
export const CHART_KEYS: Readonly<Record<string, PodKeys>> = {
  // It has no pods.
  base: {},
  "cert-manager": { images: { imageRegistry: "quay.io" }, pullSecrets: ["global.imagePullSecrets"] },
  "cloudnative-pg": {
    placed: [""],
    images: { "image.repository": "ghcr.io/cloudnative-pg/cloudnative-pg" },
    pullSecrets: ["imagePullSecrets"],
  },
  cni: { images: { "global.hub": ISTIO }, pullSecretNames: ["global.imagePullSecrets"] },
  datahub: {
    placed: ["global.", "datahubSystemCronHourly."],
    images: { "global.imageRegistry": "docker.io" },
    pullSecrets: [
      "imagePullSecrets",
      "datahubSystemCronHourly.imagePullSecrets",
      ...DATAHUB_PARTS.map((part) => `${part}.imagePullSecrets`),
    ],
  },
  "eck-operator": {
    placed: [""],
    images: {
      "image.repository": "docker.elastic.co/eck/eck-operator",
      "config.containerRegistry": "docker.elastic.co",
    },
    pullSecrets: ["imagePullSecrets"],
  },
  "gateway-helm": {
    placed: ["deployment.pod.", "certgen.job."],
    images: { "global.imageRegistry": "docker.io" },
    pullSecrets: ["global.imagePullSecrets"],
  },
  "gpu-operator": {
    images: Object.fromEntries(
      Object.entries(GPU_PARTS).flatMap(([folder, parts]) => parts.map((part) => [`${part}.repository`, folder])),
    ),
    pullSecretNames: ["operator", "validator", "toolkit", "devicePlugin", "gfd"].map(
      (part) => `${part}.imagePullSecrets`,
    ),
  },
  istiod: { images: { "global.hub": ISTIO }, pullSecretNames: ["global.imagePullSecrets"] },
  "kube-prometheus-stack": {
    placed: [
      "alertmanager.alertmanagerSpec.",
      "prometheus.prometheusSpec.",
      "prometheusOperator.",
      "grafana.",
      "kube-state-metrics.",
    ],
    images: {
      "alertmanager.alertmanagerSpec.image.registry": "quay.io",
      "grafana.image.registry": "docker.io",
      "grafana.sidecar.image.registry": "quay.io",
      "kube-state-metrics.image.registry": "registry.k8s.io",
      "prometheus.prometheusSpec.image.registry": "quay.io",
      "prometheus-node-exporter.image.registry": "quay.io",
      "prometheusOperator.image.registry": "quay.io",
      "prometheusOperator.prometheusConfigReloader.image.registry": "quay.io",
      "prometheusOperator.prometheusDefaultBaseImageRegistry": "quay.io",
      "prometheusOperator.alertmanagerDefaultBaseImageRegistry": "quay.io",
      "prometheusOperator.thanosImage.registry": "quay.io",
    },
    pullSecrets: ["global.imagePullSecrets"],
  },
  "kuberay-operator": {
    placed: [""],
    images: { "image.repository": "quay.io/kuberay/operator" },
    pullSecrets: ["imagePullSecrets"],
  },
  "metrics-server": {
    images: { "image.repository": "registry.k8s.io/metrics-server/metrics-server" },
    pullSecrets: ["imagePullSecrets"],
  },
  "node-feature-discovery": {
    images: { "image.repository": "registry.k8s.io/nfd/node-feature-discovery" },
    pullSecrets: ["imagePullSecrets"],
  },
  "plugin-barman-cloud": {
    placed: [""],
    images: { "image.registry": "ghcr.io", "sidecarImage.registry": "ghcr.io" },
    pullSecrets: ["imagePullSecrets"],
  },
  polaris: {
    placed: [""],
    images: { "image.repository": "docker.io/apache/polaris" },
    pullSecretNames: ["imagePullSecrets"],
  },
  seaweedfs: {
    placedByText: ["master.", "volume.", "filer.", "s3."],
    images: { "global.imageRegistry": "docker.io" },
    pullSecrets: ["global.imagePullSecrets"],
  },
  "strimzi-kafka-operator": {
    placed: [""],
    images: { defaultImageRegistry: "quay.io" },
    pullSecrets: ["image.imagePullSecrets"],
  },
  trino: {
    placed: ["coordinator.", "worker."],
    images: { "image.registry": "docker.io" },
    pullSecrets: ["imagePullSecrets"],
  },
  ztunnel: { images: { hub: ISTIO }, pullSecretNames: ["imagePullSecrets"] },
};

const PROXIES = "spec.provider.kubernetes.envoyDeployment";

/** The keys of custom resources whose pods are not made of a whole template. */
export const OPERATED_KEYS: Readonly<Record<string, PodKeys>> = {
  "kubernetes:postgresql.cnpg.io/v1:Cluster": { pullSecrets: ["spec.imagePullSecrets"], placed: ["spec.affinity."] },
  "kubernetes:kafka.strimzi.io/v1:KafkaNodePool": { placedByAffinity: ["spec.template.pod."] },
  "kubernetes:kafka.strimzi.io/v1:Kafka": { placedByAffinity: ["spec.entityOperator.template.pod."] },
  "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy": {
    // Its template patches pods as Kubernetes does, and so adds what is said of all.
    images: { [`${PROXIES}.container.imageRepository`]: "docker.io/envoyproxy/envoy" },
  },
};
