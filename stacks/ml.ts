import { Feast } from "../components/ml/feast";
import { Mlflow } from "../components/ml/mlflow";
import { Ray } from "../components/ml/ray";
import type { PlatformConfig } from "./config";
import type { Data } from "./data";
import { FEATURES } from "./features";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** What trains, tracks and serves models. */
export interface Ml {
  readonly mlflow: Mlflow;
  readonly ray: Ray;
  readonly feast: Feast;
}

/** The ML stack: tracking, the Ray cluster that is wired to it, and the feature store. */
export function ml(config: PlatformConfig, secrets: Secrets, stores: Data, ground: Foundation): Ml {
  const { postgres, objectStore, redis } = stores;
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
  const ray = new Ray(
    "ray",
    {
      namespace,
      head: { ...head, volume: { storageClass, sizeGiB: head.volume.sizeGiB } },
      workers,
      token: secrets.get("rayAuthToken"),
      tracking: mlflow.tracking,
      artifacts,
      metrics,
    },
    opts,
  );
  const feast = new Feast(
    "feast",
    {
      namespace,
      ...FEATURES,
      registry: postgres.database("feast"),
      onlineStore: redis.login("feast"),
      offlineStore: objectStore.bucket("feast-offline"),
      ...config.feast,
      metrics,
    },
    opts,
  );
  return { mlflow, ray, feast };
}
