import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Trust } from "./endpoint";

/** Password of every trust store: what lies in one is public, but the format wants a password. Java's own default. */
export const TRUST_STORE_PASSWORD = "changeit";

/** Who signs the certificates of our servers: an Issuer of cert-manager, in the namespace where the servers are. */
export interface Authority {
  readonly issuer: string;
  readonly ready: pulumi.Resource;
}

/** Inputs of {@link serverCertificate}. */
export interface ServerCertificateArgs {
  readonly namespace: pulumi.Input<string>;
  readonly authority: Authority;
  /** Every name under which clients reach the server; `*.x` stands for one label. */
  readonly dnsNames: readonly pulumi.Input<string>[];
}

/** A certificate and its key, which the server mounts, and what its clients trust. */
export interface ServerCertificate {
  /** Secret with `tls.crt`, `tls.key` and `ca.crt`. */
  readonly secretName: string;
  readonly trust: Trust;
  readonly resource: pulumi.Resource;
}

/** Has cert-manager issue and renew a server's certificate, in the Secret `<name>-tls`. */
export function serverCertificate(
  name: string,
  { namespace, authority, dnsNames }: ServerCertificateArgs,
  opts: pulumi.CustomResourceOptions,
): ServerCertificate {
  const secretName = `${name}-tls`;
  const resource = new k8s.apiextensions.CustomResource(
    secretName,
    {
      apiVersion: "cert-manager.io/v1",
      kind: "Certificate",
      metadata: { name: secretName, namespace, annotations: { "pulumi.com/waitFor": "condition=Ready" } },
      spec: {
        secretName,
        dnsNames: [...dnsNames],
        usages: ["digital signature", "key encipherment", "server auth", "client auth"],
        privateKey: { algorithm: "RSA", size: 2048, encoding: "PKCS8", rotationPolicy: "Always" },
        // A trust store comes with it, for Java: `truststore.p12`.
        keystores: { pkcs12: { create: true, profile: "Modern2023", password: TRUST_STORE_PASSWORD } },
        issuerRef: { kind: "Issuer", name: authority.issuer },
      },
    },
    { ...opts, dependsOn: authority.ready },
  );
  // Clients mount only what is public: the key stays where it is.
  const items = ["ca.crt", "truststore.p12"].map((file) => ({ key: file, path: file }));
  return { secretName, trust: { volume: { secret: { secretName, items } } }, resource };
}
