import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** The data volume of one pod. */
export interface Volume {
  readonly storageClass: string;
  readonly sizeGiB: number;
}

/** A volume by its name in the pod. */
export interface NamedVolume extends Volume {
  readonly name: string;
}

/** The part of a StatefulSet that claims a volume for each pod and keeps it even if the pod or the set is deleted. */
export function keptVolume(
  volume: NamedVolume,
): Pick<k8s.types.input.apps.v1.StatefulSetSpec, "persistentVolumeClaimRetentionPolicy" | "volumeClaimTemplates"> {
  return {
    persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
    volumeClaimTemplates: [{ metadata: { name: volume.name }, spec: claimSpec(volume) }],
  };
}

/**
 * Claims the volume of the only pod of a StatefulSet, which takes the claim that is there. It grows with the declared size; the
 * template of the set, which Kubernetes lets nobody change, keeps the first. The API server refuses that a claim shrinks, in
 * previews too.
 */
export function claim(
  { namespace, name: workload }: Pick<PodIdentity, "namespace" | "name">,
  volume: NamedVolume,
  opts: { readonly parent: pulumi.Resource },
): pulumi.Resource {
  const name = `${volume.name}-${workload}-0`;
  // Makes the claim or takes it over. A resource that owned it would replace it to change its size.
  return new k8s.core.v1.PersistentVolumeClaimPatch(
    name,
    {
      metadata: {
        ...{ name, namespace },
        annotations: {
          // The size is the set's controller's if that has made the claim.
          "pulumi.com/patchForce": "true",
          // It is bound only when the pod starts, and with some drivers larger only when the pod starts again.
          "pulumi.com/skipAwait": "true",
        },
      },
      spec: claimSpec(volume),
    },
    { ...opts, retainOnDelete: true },
  );
}

function claimSpec({ storageClass, sizeGiB }: Volume): object {
  return {
    accessModes: ["ReadWriteOnce"],
    storageClassName: storageClass,
    resources: { requests: { storage: `${sizeGiB}Gi` } },
  };
}
