import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Trust } from "./endpoint";

/** Password of every trust store, Java's default: the contents are public, but the format requires a password. */
export const TRUST_STORE_PASSWORD = "changeit";

/** The CA in PEM, in the Secret of a certificate. */
export const CA_KEY = "ca.crt";
const TRUST_STORE_KEY = "truststore.p12";

/** Where the CA of a server's certificate lies, for its clients. */
export function caOf({ volume }: Trust, namespace: pulumi.Input<string>) {
  return { kind: "Secret", namespace, name: volume.secret.secretName, key: CA_KEY } as const;
}

/** Where pods of a server's clients have its CA. */
export function mountedCa(server: string) {
  const [name, directory] = [`${server}-ca`, `/etc/${server}-ca`];
  return {
    directory,
    file: `${directory}/${CA_KEY}`,
    trustStore: `${directory}/${TRUST_STORE_KEY}`,
    mounts: { [directory]: name },
    volume: ({ volume }: Trust) => ({ name, ...volume }),
  };
}

/** Has Java trust the CAs in a file, and no others. */
export function javaTrust(trustStore: string): string[] {
  return [`-Djavax.net.ssl.trustStore=${trustStore}`, `-Djavax.net.ssl.trustStorePassword=${TRUST_STORE_PASSWORD}`];
}

/** The cert-manager Issuer that signs our servers' certificates, in the servers' namespace. */
export interface Authority {
  readonly issuer: string;
  readonly ready: pulumi.Resource;
}

/** Inputs of {@link serverCertificate}. */
export interface ServerCertificateArgs {
  readonly namespace: pulumi.Input<string>;
  readonly authority: Authority;
  /** Every DNS name of the server; `*.x` matches one label. */
  readonly dnsNames: readonly pulumi.Input<string>[];
  /** Labels of the Secret. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** A certificate with its key, which the server mounts, and the CA that its clients trust. */
export interface ServerCertificate {
  /** Secret with `tls.crt`, `tls.key` and `ca.crt`. */
  readonly secretName: string;
  readonly trust: Trust;
  readonly resource: pulumi.Resource;
}

/** Has cert-manager issue and renew a server's certificate, in the Secret `<name>-tls`. */
export function serverCertificate(
  name: string,
  { namespace, authority, dnsNames, labels }: ServerCertificateArgs,
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
        ...(labels && { secretTemplate: { labels } }),
        dnsNames: [...dnsNames],
        usages: ["digital signature", "key encipherment", "server auth", "client auth"],
        privateKey: { algorithm: "RSA", size: 2048, encoding: "PKCS8", rotationPolicy: "Always" },
        // Also creates a trust store for Java: `truststore.p12`.
        keystores: { pkcs12: { create: true, profile: "Modern2023", password: TRUST_STORE_PASSWORD } },
        issuerRef: { kind: "Issuer", name: authority.issuer },
      },
    },
    { ...opts, dependsOn: authority.ready },
  );
  // Clients mount only the public files, not the key.
  const items = [CA_KEY, TRUST_STORE_KEY].map((file) => ({ key: file, path: file }));
  return { secretName, trust: { volume: { secret: { secretName, items } } }, resource };
}
