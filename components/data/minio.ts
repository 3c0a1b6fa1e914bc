import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { type Credential, type Endpoint, serviceEndpoint } from "../base/endpoint";
import type { ContainerSize } from "../base/pod";
import { type Metrics, scrape } from "../base/scrape";
import { envSecret } from "../base/secret";
import { statefulPod } from "../base/stateful-pod";
import { images } from "../base/versions";
import type { Volume } from "../base/volume";

const PORTS = { s3: 9000, console: 9001 };

/** Inputs of {@link Minio}. */
export interface MinioArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
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
    const { namespace, size, volume, root, metrics, protect } = args;
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
        args: ["server", "/data", "--console-address", `:${PORTS.console}`],
        ports: PORTS,
        // Prometheus has no login here; policies say who reaches the port.
        env: { HOME: "/tmp", MINIO_PROMETHEUS_AUTH_TYPE: "public" },
        secretEnv: [login],
        probe: { kind: "http", path: "/minio/health/live", port: "s3" },
        uid: 1000,
        scratch: { tmp: { sizeMiB: 256 } },
        mounts: { "/tmp": "tmp" },
      },
      this,
    );
    this.s3 = serviceEndpoint("http", PORTS.s3, { ...pod, auth: "aws-sigv4" });
    scrape(this, {
      pods: pod.server,
      port: { name: "s3", number: PORTS.s3 },
      path: "/minio/v2/metrics/cluster",
      by: metrics,
    });
    this.registerOutputs();
  }
}
