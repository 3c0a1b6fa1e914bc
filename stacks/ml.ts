import * as pulumi from "@pulumi/pulumi";
import { Mlflow } from "../components/ml/mlflow";
import { Ray, type RayArgs } from "../components/ml/ray";
import type { PlatformConfig } from "./config";
import type { Data } from "./data";
import type { Foundation } from "./foundation";
import type { Secrets } from "./secrets";

/** What trains, tracks and serves models. */
export interface Ml {
  readonly mlflow: Mlflow;
  readonly ray: Ray;
}

/** The ML stack: tracking, and the Ray cluster that is wired to it. */
export function ml(config: PlatformConfig, secrets: Secrets, { postgres, objectStore }: Data, ground: Foundation): Ml {
  const { opts, namespaces, metrics, podCidr, storageClass, kubeApi, chartDirectory } = ground;
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
  const { workers, gpuWorkers, access } = config.ray;
  const ray = new Ray(
    "ray",
    {
      namespace,
      mode: rayMode(),
      workers,
      ...(gpuWorkers && { gpuWorkers }),
      token: secrets.get("rayAuthToken"),
      services: { MLFLOW_TRACKING_URI: mlflow.tracking },
      artifacts,
      access: {
        groups: access.groups,
        pods: Object.entries(access.pods).map(([name, { namespace: home, labels }]) => ({
          name,
          namespace: namespaces[home],
          matchLabels: labels,
          serviceAccount: name,
        })),
      },
      metrics,
    },
    opts,
  );
  return { mlflow, ray };

  function rayMode(): RayArgs["mode"] {
    if (config.ray.mode === "standalone") {
      const { head } = config.ray;
      return { kind: "standalone", head: { ...head, volume: { storageClass, sizeGiB: head.volume.sizeGiB } } };
    }
    const { head, serving, autoscaler, operator } = config.ray;
    return {
      kind: "kuberay",
      head,
      serving,
      autoscaler,
      serveConfig: pulumi.output("applications: []\n"),
      operator: { namespace: namespaces["ray-system"], chartDirectory, kubeApi, size: operator },
    };
  }
}
