import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Authority } from "../base/certificate";

/** Inputs of {@link CertificateAuthority}. */
export interface CertificateAuthorityArgs {
  /** Namespace of the servers; it must exist. */
  readonly namespace: pulumi.Input<string>;
}

/** The CA that signs the server certificates of one namespace, managed by cert-manager. */
export class CertificateAuthority extends pulumi.ComponentResource {
  readonly authority: Authority;

  constructor(name: string, { namespace }: CertificateAuthorityArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:CertificateAuthority", name, {}, opts);
    const waits = { "pulumi.com/waitFor": "condition=Ready" };
    const issuer = (issuerName: string, spec: object, dependsOn: pulumi.Resource[]) =>
      new k8s.apiextensions.CustomResource(
        issuerName,
        {
          apiVersion: "cert-manager.io/v1",
          kind: "Issuer",
          metadata: { name: issuerName, namespace, annotations: waits },
          spec,
        },
        { parent: this, dependsOn },
      );
    const root = issuer(`${name}-root`, { selfSigned: {} }, []);
    const certificate = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: "cert-manager.io/v1",
        kind: "Certificate",
        metadata: { name, namespace, annotations: waits },
        spec: {
          secretName: name,
          isCA: true,
          commonName: name,
          // Ten years: clients read the CA only at start, so a new one means restarting pods everywhere.
          duration: "87600h",
          privateKey: { algorithm: "ECDSA", size: 256, rotationPolicy: "Never" },
          issuerRef: { kind: "Issuer", name: `${name}-root` },
        },
      },
      { parent: this, dependsOn: [root] },
    );
    this.authority = { issuer: name, ready: issuer(name, { ca: { secretName: name } }, [certificate]) };
    this.registerOutputs();
  }
}
