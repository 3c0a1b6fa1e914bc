import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Authority } from "../base/certificate";
import { connect } from "../base/connect";
import type { ExternalPeer, PodIdentity } from "../base/endpoint";
import { envSecret } from "../base/secret";

/** An ACME server, and how it has names proven. */
export interface AcmeArgs {
  readonly kind: "acme";
  /** URL of the server's directory. */
  readonly server: string;
  /** Who hears of certificates that expire. */
  readonly email: string;
  readonly challenge:
    /** By a page that a Gateway of this name serves. */
    | { readonly kind: "http01"; readonly gateway: string }
    /** By a DNS record at Cloudflare; the token may edit the zone. */
    | { readonly kind: "dns01"; readonly token: pulumi.Output<string> };
  /** The server, and what is asked to prove names. */
  readonly destinations: readonly ExternalPeer[];
  /** cert-manager's pods that ask them. */
  readonly asker: PodIdentity;
}

/** Inputs of {@link PublicIssuer}. */
export interface PublicIssuerArgs {
  /** Namespace of the certificates; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly by: AcmeArgs | { readonly kind: "selfSigned" };
}

/** An Issuer of cert-manager for names that people use. */
export class PublicIssuer extends pulumi.ComponentResource {
  readonly authority: Authority;

  constructor(name: string, { namespace, by }: PublicIssuerArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:PublicIssuer", name, {}, opts);
    const made = by.kind === "acme" ? acme(this, name, namespace, by) : { spec: { selfSigned: {} }, dependsOn: [] };
    const ready = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: "cert-manager.io/v1",
        kind: "Issuer",
        metadata: { name, namespace, annotations: { "pulumi.com/waitFor": "condition=Ready" } },
        spec: made.spec,
      },
      { parent: this, dependsOn: made.dependsOn },
    );
    this.authority = { issuer: name, ready };
    this.registerOutputs();
  }
}

function acme(
  parent: pulumi.Resource,
  name: string,
  namespace: pulumi.Input<string>,
  { server, email, challenge, destinations, asker }: AcmeArgs,
): { readonly spec: object; readonly dependsOn: pulumi.Resource[] } {
  const wires = connect(parent, { from: asker, talksTo: destinations });
  const account = { server, email, privateKeySecretRef: { name: `${name}-account` } };
  if (challenge.kind === "http01") {
    const parentRefs = [{ name: challenge.gateway, sectionName: "http" }];
    // By default each name that is to be proven opens a port of every node.
    const solver = { gatewayHTTPRoute: { serviceType: "ClusterIP", parentRefs } };
    return { spec: { acme: { ...account, solvers: [{ http01: solver }] } }, dependsOn: wires };
  }
  const token = envSecret(`${name}-dns`, { namespace, data: { token: challenge.token } }, { parent });
  const solver = { cloudflare: { apiTokenSecretRef: { name: token.name, key: "token" } } };
  return { spec: { acme: { ...account, solvers: [{ dns01: solver }] } }, dependsOn: [...wires, token.resource] };
}
