import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { bundle, TRUSTED, TRUSTED_FILE } from "../base/outside";
import type { PodSecurityLevel } from "../base/pod";
import { PULL_SECRET } from "../base/pod-settings";

/** Inputs of {@link Tenant}. */
export interface TenantArgs {
  /** Pod Security level that the API server enforces. @default "restricted" */
  readonly podSecurity?: PodSecurityLevel;
  /** Addresses at which a DNS cache answers on each node. @default none */
  readonly dnsCaches?: readonly string[];
  /** Whether the mesh carries what its pods send each other. @default false */
  readonly meshed?: boolean;
  /** Logins of registries, as `docker login` stores them. @default none */
  readonly logins?: pulumi.Input<string> | undefined;
  /** Certificates that its pods trust outside besides the public ones, in PEM. @default none */
  readonly certificates?: string | undefined;
  /** Refuses to delete the Namespace, which would delete everything inside. @default false */
  readonly protect?: boolean;
}

/** A Namespace whose pods can reach only DNS unless a wire allows more. */
export class Tenant extends pulumi.ComponentResource {
  /** Name of the Namespace; resolves once its default policies and the logins of registries exist. */
  readonly namespace: pulumi.Output<string>;

  constructor(name: string, args: TenantArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Tenant", name, {}, opts);
    const { podSecurity = "restricted", dnsCaches = [], meshed = false, logins, certificates, protect = false } = args;

    const namespace = new k8s.core.v1.Namespace(
      name,
      {
        metadata: {
          name,
          labels: {
            ...Object.fromEntries(
              ["enforce", "audit", "warn"].map((mode) => [`pod-security.kubernetes.io/${mode}`, podSecurity]),
            ),
            ...(meshed && { "istio.io/dataplane-mode": "ambient" }),
          },
        },
      },
      { parent: this, protect },
    );
    const inside = namespace.metadata.name;
    const deny = new k8s.networking.v1.NetworkPolicy(
      `${name}-default-deny`,
      {
        metadata: { name: "default-deny", namespace: inside },
        spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
      },
      { parent: this },
    );
    const dns = new k8s.networking.v1.NetworkPolicy(
      `${name}-allow-dns`,
      {
        metadata: { name: "allow-dns", namespace: inside },
        spec: {
          podSelector: {},
          policyTypes: ["Egress"],
          egress: [
            {
              to: [
                {
                  namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } },
                  podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
                },
                // In the nodes' network, where labels of pods name nobody (projectcalico/calico#3795).
                ...dnsCaches.map((cidr) => ({ ipBlock: { cidr } })),
              ],
              ports: [
                { protocol: "UDP", port: 53 },
                { protocol: "TCP", port: 53 },
              ],
            },
          ],
        },
      },
      { parent: this },
    );
    const first = [
      deny,
      dns,
      ...(meshed ? [admitProbes(name, inside, this)] : []),
      ...(logins === undefined ? [] : pullSecret(name, inside, logins, this)),
      ...(certificates === undefined ? [] : [trusted(name, inside, certificates, this)]),
    ];
    this.namespace = pulumi.all([inside, pulumi.all(first.map(({ id }) => id))]).apply(([made]) => made);
    this.registerOutputs();
  }
}

// In a mesh the kubelet's probes come from this address (https://istio.io/latest/docs/ambient/usage/networkpolicy).
const PROBES = "169.254.7.127/32";

function admitProbes(
  name: string,
  namespace: pulumi.Output<string>,
  parent: pulumi.Resource,
): k8s.networking.v1.NetworkPolicy {
  return new k8s.networking.v1.NetworkPolicy(
    `${name}-allow-probes`,
    {
      metadata: { name: "allow-probes", namespace },
      spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from: [{ ipBlock: { cidr: PROBES } }] }] },
    },
    { parent },
  );
}

function trusted(
  name: string,
  namespace: pulumi.Output<string>,
  certificates: string,
  parent: pulumi.Resource,
): k8s.core.v1.ConfigMap {
  return new k8s.core.v1.ConfigMap(
    `${name}-${TRUSTED}`,
    { metadata: { name: TRUSTED, namespace }, data: { [TRUSTED_FILE]: bundle(certificates) } },
    { parent },
  );
}

function pullSecret(
  name: string,
  namespace: pulumi.Output<string>,
  logins: pulumi.Input<string>,
  parent: pulumi.Resource,
): pulumi.CustomResource[] {
  const secret = new k8s.core.v1.Secret(
    `${name}-${PULL_SECRET}`,
    {
      metadata: { name: PULL_SECRET, namespace },
      type: "kubernetes.io/dockerconfigjson",
      stringData: pulumi.secret({ ".dockerconfigjson": logins }),
    },
    { parent },
  );
  // Of pods that name none themselves, such as those that answer for certificates.
  const account = new k8s.core.v1.ServiceAccountPatch(
    `${name}-default`,
    { metadata: { name: "default", namespace }, imagePullSecrets: [{ name: PULL_SECRET }] },
    { parent },
  );
  return [secret, account];
}
