import type * as pulumi from "@pulumi/pulumi";
import { javaTrust, mountedCa, TRUST_STORE_PASSWORD } from "./certificate";
import type { S3Store, Trust } from "./endpoint";

/** Where pods of S3 clients have the CA of a store inside the cluster. */
export const S3_CA = mountedCa("object-store");

const TRUST = "/trust";
const TRUST_VOLUME = "trust";
// Java 8 has its CAs in another folder than later ones.
const ADD_CA = `set -e
java=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
[ -e "$java/lib/security/cacerts" ] || java=$java/jre
cp --no-preserve=mode "$java/lib/security/cacerts" ${TRUST}/cacerts
keytool -importcert -noprompt -alias object-store -file ${S3_CA.file} -keystore ${TRUST}/cacerts -storepass ${TRUST_STORE_PASSWORD}`;

type Reached = Pick<S3Store, "destination">;

/** The CA that signed the certificate of a store inside the cluster; public CAs sign those of others. */
export function s3Trust({ destination }: Reached): Trust | undefined {
  return destination.kind === "endpoint" ? destination.trust : undefined;
}

/** What pods of S3 clients mount to verify the store. */
export function s3Ca(store: Reached) {
  const trust = s3Trust(store);
  return trust ? { mounts: S3_CA.mounts, volumes: [S3_CA.volume(trust)] } : { mounts: {}, volumes: [] };
}

/**
 * Has a client verify the store by the CA that {@link s3Ca} mounts. Python's AWS SDK, requests (presigned URLs) and OpenSSL (pyarrow)
 * read one name each, Go the last. They trust no other CA then, and these clients reach nothing else over TLS.
 */
export function s3CaEnv(store: Reached): Record<string, string> {
  return s3Trust(store) ? caEnv(S3_CA.file) : {};
}

function caEnv(file: string): Record<string, string> {
  return { AWS_CA_BUNDLE: file, REQUESTS_CA_BUNDLE: file, SSL_CERT_FILE: file };
}

/**
 * For servers on Java that also reach others: it has one trust store, so an init container of the same image makes one of the
 * public CAs and the store's.
 */
export const S3_AND_PUBLIC_CAS = {
  container: {
    size: { cpu: { request: 0.05, limit: 1 }, memoryMiB: { request: 64, limit: 256 }, scratchMiB: 0 },
    command: ["bash", "-c", ADD_CA],
    mounts: { [TRUST]: TRUST_VOLUME, ...S3_CA.mounts },
  },
  directory: TRUST,
  /** Name and size of the emptyDir. */
  volume: { name: TRUST_VOLUME, sizeMiB: 1 },
  javaOptions: javaTrust(`${TRUST}/cacerts`),
};

/** {@link S3_AND_PUBLIC_CAS} for Python's clients, which read one file: the CAs for outside, of the stack or else the image, and the store's. */
export const S3_AND_PUBLIC_BUNDLE = {
  container: {
    size: { cpu: { request: 0.05, limit: 1 }, memoryMiB: { request: 32, limit: 128 } },
    command: ["bash", "-c", `set -e; cat "\${SSL_CERT_FILE:-$(python -m certifi)}" ${S3_CA.file} > ${TRUST}/ca.crt`],
    mounts: { [TRUST]: TRUST_VOLUME, ...S3_CA.mounts },
  },
  scratch: { [TRUST_VOLUME]: { sizeMiB: 1 } },
  mounts: { [TRUST]: TRUST_VOLUME },
  env: caEnv(`${TRUST}/ca.crt`),
};

/** {@link s3CaEnv} for Java. */
export function s3JavaEnv(store: Reached): Record<string, string> {
  return s3Trust(store) ? { JAVA_TOOL_OPTIONS: javaTrust(S3_CA.trustStore).join(" ") } : {};
}

/** The environment of an S3 client: AWS SDKs (2023 and later) and MLflow read these names. */
export function s3ClientEnv(store: S3Store): Record<string, pulumi.Input<string>> {
  return {
    AWS_ENDPOINT_URL_S3: store.url,
    MLFLOW_S3_ENDPOINT_URL: store.url,
    AWS_DEFAULT_REGION: store.region,
    ...s3Checksums(store),
    ...s3CaEnv(store),
  };
}

/** Since 2025 AWS SDKs add checksums to each request, which many other stores refuse. */
export function s3Checksums({ url: address }: S3Store): Record<string, pulumi.Output<string>> {
  const when = address.apply((text) =>
    /\.amazonaws\.com(\.cn)?$/.test(new URL(text).hostname) ? "when_supported" : "when_required",
  );
  return { AWS_REQUEST_CHECKSUM_CALCULATION: when, AWS_RESPONSE_CHECKSUM_VALIDATION: when };
}

/** The login of an S3 client, as Secret data for environment variables. */
export function s3ClientSecret(store: S3Store): Record<string, pulumi.Input<string>> {
  return { AWS_ACCESS_KEY_ID: store.login.username, AWS_SECRET_ACCESS_KEY: store.login.password };
}
