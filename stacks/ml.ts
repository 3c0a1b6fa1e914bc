import type * as pulumi from "@pulumi/pulumi";
import { Mlflow } from "../components/ml/mlflow";
import { Ray } from "../components/ml/ray";
import type { PlatformConfig } from "./config";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** What trains, tracks and serves models. */
export interface Ml {
  readonly mlflow: Mlflow;
  readonly ray: Ray;
  /** What Ray demands of its clients. */
  readonly rayToken: pulumi.Output<string>;
}

/** The ML stack: tracking, and the Ray cluster that is wired to it. */
export function ml(config: PlatformConfig, secrets: Secrets, { postgres, objectStore }: Data, ground: Foundation): Ml {
  const { opts, namespaces, metrics, podCidr, storageClass } = ground;
  const namespace = namespaces["data-platform"];
  const artifacts = objectStore.bucket("mlflow-artifacts");
  const { replicas, webWorkers, ...size } = config.mlflow;

  const mlflow = new Mlflow(
    "mlflow",
    {
      namespace,
      store: postgres.database("mlflow"),
      encryptionPassphrase: secrets.get("mlflowEncryptionPassphrase"),
      artifacts,
      replicas,
      webWorkers,
      size,
      publicHost: `mlflow.${config.domain}`,
      podCidr,
      metrics,
    },
    opts,
  );
  const { head, workers } = config.ray;
  const rayToken = secrets.get("rayAuthToken");
  const ray = new Ray(
    "ray",
    {
      namespace,
      head: { ...head, volume: { storageClass, sizeGiB: head.volume.sizeGiB } },
      workers,
      token: rayToken,
      tracking: mlflow.tracking,
      artifacts,
      metrics,
    },
    opts,
  );
  return { mlflow, ray, rayToken };
}
