import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type Credential, type Endpoint, type PodIdentity, serviceHost } from "../base/endpoint";
import { container, type ContainerSize, podTemplate, serviceAccount } from "../base/pod";
import { envSecret } from "../base/secret";
import { service } from "../base/service";
import { images } from "../base/versions";
import { keptVolume, type Volume } from "../base/volume";

const PORTS = { s3: 9000, console: 9001 };

/** Inputs of {@link Minio}. */
export interface MinioArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly size: ContainerSize;
  readonly volume: Volume;
  readonly root: Credential;
  /** Refuses to delete or replace the server. */
  readonly protect: boolean;
}

/** A MinIO server: one pod, one volume. Its upstream is archived (docs/adr/0008-object-store.md). */
export class Minio extends pulumi.ComponentResource {
  /** The S3 API. */
  readonly s3: Endpoint<"http">;

  constructor(name: string, args: MinioArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:Minio", name, {}, opts);
    const { namespace, size, volume, root, protect } = args;
    const matchLabels = { app: name };
    const identity: PodIdentity = { name, namespace, matchLabels, serviceAccount: name };

    const account = serviceAccount(identity, { parent: this });
    const login = envSecret(
      `${name}-root`,
      { namespace, data: { MINIO_ROOT_USER: root.username, MINIO_ROOT_PASSWORD: root.password } },
      { parent: this },
    );
    const entry = service(name, identity, PORTS, { parent: this });
    const server = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: { name, namespace, labels: matchLabels },
        spec: {
          serviceName: name,
          replicas: 1,
          selector: { matchLabels },
          template: podTemplate(identity, {
            containers: [
              container(name, {
                image: images.minio,
                size,
                args: ["server", "/data", "--console-address", `:${PORTS.console}`],
                ports: PORTS,
                env: { HOME: "/tmp" },
                secretEnv: [login],
                probe: { path: "/minio/health/live", port: "s3" },
                mounts: { "/data": "data", "/tmp": "tmp" },
              }),
            ],
            uid: 1000,
            priorityClass: "critical-services",
            secretEnv: [login],
            scratch: { tmp: { sizeMiB: 256 } },
          }),
          ...keptVolume("data", volume),
        },
      },
      { parent: this, protect, dependsOn: [account, login.resource, entry] },
    );
    this.s3 = {
      kind: "endpoint",
      protocol: "http",
      host: serviceHost(name, namespace),
      port: PORTS.s3,
      tls: false,
      server: identity,
      podPort: PORTS.s3,
      ready: [entry, server],
    };
    this.registerOutputs();
  }
}
