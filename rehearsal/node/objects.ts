/** The address of the cluster's DNS. */
export const DNS_ADDRESS = "10.96.0.10";
export const COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.15.0";

/** As whom the API server knows what enforces NetworkPolicies. */
export const POLICIES_USER = "kube-network-policies";

const RBAC = { apiVersion: "rbac.authorization.k8s.io/v1" };
const NAME = "coredns";
const NAMESPACE = "kube-system";
const LABELS = { "k8s-app": "kube-dns" };

/** What every cluster has: CoreDNS as kubeadm sets it up, without a server outside to ask, and the rights of the node's own programs. */
export function baseObjects({ dnsDomain }: { readonly dnsDomain: string }): object[] {
  const metadata = { name: NAME, namespace: NAMESPACE };
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
      ...RBAC,
      kind: "ClusterRole",
      metadata: { name: "system:coredns" },
      rules: [
        { apiGroups: [""], resources: ["endpoints", "services", "pods", "namespaces"], verbs: list },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: list },
      ],
    },
    {
      ...RBAC,
      kind: "ClusterRoleBinding",
      metadata: { name: "system:coredns" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:coredns" },
      subjects: [{ kind: "ServiceAccount", ...metadata }],
    },
    bindingOf("kube-proxy", "system:node-proxier", "system:kube-proxy"),
    {
      ...RBAC,
      kind: "ClusterRole",
      metadata: { name: POLICIES_USER },
      rules: [
        { apiGroups: [""], resources: ["namespaces", "pods"], verbs: list },
        { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: list },
      ],
    },
    bindingOf(POLICIES_USER, POLICIES_USER, POLICIES_USER),
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

/** Gives a user the rights of a ClusterRole. */
function bindingOf(name: string, role: string, user: string): object {
  const apiGroup = "rbac.authorization.k8s.io";
  return {
    ...RBAC,
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup, kind: "ClusterRole", name: role },
    subjects: [{ kind: "User", apiGroup, name: user }],
  };
}
