import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, CA_KEY, serverCertificate } from "../base/certificate";
import { type Credential, type Endpoint, serviceEndpoint, serviceHost, serviceNames } from "../base/endpoint";
import type { ContainerSize } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { statefulPod } from "../base/stateful-pod";
import { images } from "../base/versions";
import type { Volume } from "../base/volume";

const PORTS = { s3: 9000, console: 9001 };
const CERTIFICATE = "/certs";

/** Inputs of {@link Minio}. */
export interface MinioArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Signs the server's certificate. */
  readonly authority: Authority;
  /** Other Services that lead to it. */
  readonly aliases: readonly string[];
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  readonly size: ContainerSize;
  readonly volume: Volume;
  readonly root: Credential;
  readonly metrics: Metrics;
  /** Refuses to delete or replace the server. */
  readonly protect: boolean;
}

/** A MinIO server: one pod, one volume. Its upstream is archived (docs/adr/0008-object-store.md). */
export class Minio extends pulumi.ComponentResource {
  /** The S3 API. */
  readonly s3: Endpoint<"http">;
  /** Files with its alerts. */
  readonly alerts = [path.join(__dirname, "minio.alerts.yaml")];

  constructor(name: string, args: MinioArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:Minio", name, {}, opts);
    const { namespace, authority, aliases, clusterDomain, size, volume, root, metrics, protect } = args;
    const dnsNames = [name, ...aliases].flatMap((service) => serviceNames(service, namespace, clusterDomain));
    const certificate = serverCertificate(name, { namespace, authority, dnsNames }, { parent: this });
    const login = envSecret(
      `${name}-root`,
      { namespace, data: { MINIO_ROOT_USER: root.username, MINIO_ROOT_PASSWORD: root.password } },
      { parent: this },
    );
    const pod = statefulPod(
      name,
      {
        namespace,
        size,
        volume,
        protect,
        image: images.minio,
        args: ["server", "/data", "--console-address", `:${PORTS.console}`, "--certs-dir", CERTIFICATE],
        ports: PORTS,
        // Prometheus has no login here; policies say who reaches the port.
        env: { HOME: "/tmp", MINIO_PROMETHEUS_AUTH_TYPE: "public" },
        secretEnv: [login],
        probe: { kind: "http", path: "/minio/health/live", port: "s3", scheme: "HTTPS" },
        uid: 1000,
        scratch: { tmp: { sizeMiB: 256 } },
        certificate,
        // It finds them by these names, and loads renewed ones by itself.
        volumes: [{ name: "certificate", secret: { secretName: certificate.secretName, items: CERTIFICATE_FILES } }],
        mounts: { "/tmp": "tmp", [CERTIFICATE]: "certificate" },
      },
      this,
    );
    this.s3 = serviceEndpoint("http", PORTS.s3, { ...pod, auth: "aws-sigv4" });
    scrape(this, {
      pods: pod.server,
      port: { name: "s3", number: PORTS.s3 },
      path: "/minio/v2/metrics/cluster",
      tls: { certificate, host: serviceHost(name, namespace) },
      by: metrics,
    });
    this.registerOutputs();
  }
}

const CERTIFICATE_FILES = [
  { key: "tls.crt", path: "public.crt" },
  { key: "tls.key", path: "private.key" },
  // Without this folder it would try to make one.
  { key: CA_KEY, path: `CAs/${CA_KEY}` },
];
