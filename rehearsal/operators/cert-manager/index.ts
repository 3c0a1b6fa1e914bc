import { charts } from "../../../components/base/versions";
import { type CustomKind, type CustomResource, INERT, type Operator } from "../operator";

interface CertificateSpec {
  readonly secretName: string;
  readonly keystores?: Readonly<Record<"pkcs12" | "jks", { readonly create?: boolean } | undefined>>;
}

const certificate: CustomKind = {
  ...INERT,
  secrets: ({ spec: { secretName, keystores } }: CustomResource<CertificateSpec>) => ({
    [secretName]: [
      "tls.crt",
      "tls.key",
      "ca.crt",
      ...(keystores?.pkcs12?.create ? ["keystore.p12", "truststore.p12"] : []),
      ...(keystores?.jks?.create ? ["keystore.jks", "truststore.jks"] : []),
    ],
  }),
};

interface IssuerSpec {
  readonly acme?: { readonly privateKeySecretRef: { readonly name: string } };
}

/** It stores the key of the account that it registers itself. */
const issuer: CustomKind = {
  ...INERT,
  secrets: ({ spec: { acme } }: CustomResource<IssuerSpec>) =>
    acme === undefined ? {} : { [acme.privateKeySecretRef.name]: ["tls.key"] },
};

export const certManager: Operator = {
  name: "cert-manager",
  origin: `cert-manager ${charts.certManager.version}`,
  kinds: {
    "cert-manager.io/v1/Certificate": certificate,
    "cert-manager.io/v1/Issuer": issuer,
    "cert-manager.io/v1/ClusterIssuer": { ...issuer, secretsIn: "cert-manager" },
  },
};
