import type * as k8s from "@pulumi/kubernetes";

/** The data volume of one pod. */
export interface Volume {
  readonly storageClass: string;
  readonly sizeGiB: number;
}

/** The part of a StatefulSet that claims a volume for each pod and keeps it even if the pod or the set is deleted. */
export function keptVolume(
  name: string,
  { storageClass, sizeGiB }: Volume,
): Pick<k8s.types.input.apps.v1.StatefulSetSpec, "persistentVolumeClaimRetentionPolicy" | "volumeClaimTemplates"> {
  return {
    persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
    volumeClaimTemplates: [
      {
        metadata: { name },
        spec: {
          accessModes: ["ReadWriteOnce"],
          storageClassName: storageClass,
          resources: { requests: { storage: `${sizeGiB}Gi` } },
        },
      },
    ],
  };
}
