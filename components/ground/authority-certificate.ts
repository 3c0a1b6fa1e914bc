import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, CA_KEY } from "../base/certificate";
import { Lookup } from "../base/lookup";

/** Inputs of {@link AuthorityCertificate}. */
export interface AuthorityCertificateArgs {
  /** Namespace of the authority; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly authority: Authority;
}

/**
 * The certificate of an authority, for clients in other namespaces. cert-manager writes it only beside certificates that it signs,
 * with their keys; so it signs one for nobody, whose key opens nothing where it is read and in the state.
 */
export class AuthorityCertificate extends pulumi.ComponentResource {
  /** In PEM. */
  readonly pem: pulumi.Output<string>;

  constructor(name: string, { namespace, authority }: AuthorityCertificateArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:AuthorityCertificate", name, {}, opts);
    const certificate = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: "cert-manager.io/v1",
        kind: "Certificate",
        metadata: { name, namespace, annotations: { "pulumi.com/waitFor": "condition=Ready" } },
        spec: {
          secretName: name,
          // No server is called so, and none may use it: clients refuse a server with this usage alone.
          dnsNames: [`${name}.invalid`],
          usages: ["code signing"],
          // As long as the authority's own: each renewal would change what is read.
          duration: "87600h",
          privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Never" },
          issuerRef: { kind: "Issuer", name: authority.issuer },
        },
      },
      { parent: this, dependsOn: authority.ready },
    );
    // Unknown in a preview until the certificate is there: it would be looked for in vain.
    const home = pulumi.all([namespace, certificate.id]).apply(([known]) => known);
    const { data } = new Lookup(
      name,
      { apiVersion: "v1", kind: "Secret", name, namespace: home },
      { parent: this, dependsOn: certificate, additionalSecretOutputs: ["data"] },
    );
    const pem = data.apply((files) => Buffer.from(files[CA_KEY] ?? "", "base64").toString());
    this.pem = pulumi.unsecret(pem);
    this.registerOutputs();
  }
}
