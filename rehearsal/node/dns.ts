/** The address of the cluster's DNS. */
export const DNS_ADDRESS = "10.96.0.10";
export const COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.15.0";

const NAME = "coredns";
const NAMESPACE = "kube-system";
const LABELS = { "k8s-app": "kube-dns" };

/** CoreDNS as kubeadm sets it up, without a server outside to ask. */
export function clusterDns({ dnsDomain }: { readonly dnsDomain: string }): object[] {
  const metadata = { name: NAME, namespace: NAMESPACE };
  const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" };
  const corefile = [
    ".:53 {",
    "  errors",
    "  health",
    "  ready",
    `  kubernetes ${dnsDomain} in-addr.arpa ip6.arpa {`,
    "    pods insecure",
    "    ttl 5",
    "  }",
    "  cache 5",
    "}",
    "",
  ].join("\n");
  const list = ["list", "watch"];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    { apiVersion: "v1", kind: "ConfigMap", metadata, data: { Corefile: corefile } },
    {
      ...rbac,
      kind: "ClusterRole",
      metadata: { name: "system:coredns" },
      rules: [
        { apiGroups: [""], resources: ["endpoints", "services", "pods", "namespaces"], verbs: list },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: list },
      ],
    },
    {
      ...rbac,
      kind: "ClusterRoleBinding",
      metadata: { name: "system:coredns" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:coredns" },
      subjects: [{ kind: "ServiceAccount", ...metadata }],
    },
    {
      ...rbac,
      kind: "ClusterRoleBinding",
      metadata: { name: "kube-proxy" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:node-proxier" },
      subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "system:kube-proxy" }],
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        selector: { matchLabels: LABELS },
        template: {
          metadata: { labels: LABELS },
          spec: {
            serviceAccountName: NAME,
            dnsPolicy: "Default",
            priorityClassName: "system-cluster-critical",
            containers: [
              {
                name: NAME,
                image: COREDNS_IMAGE,
                args: ["-conf", "/etc/coredns/Corefile"],
                ports: [
                  { name: "dns", containerPort: 53, protocol: "UDP" },
                  { name: "dns-tcp", containerPort: 53, protocol: "TCP" },
                ],
                readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1 },
                resources: { requests: { cpu: "10m", memory: "32Mi" }, limits: { memory: "128Mi" } },
                volumeMounts: [{ name: "config", mountPath: "/etc/coredns" }],
              },
            ],
            volumes: [{ name: "config", configMap: { name: NAME } }],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace: NAMESPACE, labels: LABELS },
      spec: {
        clusterIP: DNS_ADDRESS,
        selector: LABELS,
        ports: [
          { name: "dns", port: 53, protocol: "UDP" },
          { name: "dns-tcp", port: 53, protocol: "TCP" },
        ],
      },
    },
  ];
}
