import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/**
 * A cluster-wide object that is read and never written. The `get` of the SDK registers no inputs, so that a refresh, in which
 * the plugin adds them, would report a change for ever.
 */
export class Lookup extends pulumi.CustomResource {
  declare readonly metadata: pulumi.Output<k8s.types.output.meta.v1.ObjectMeta>;
  /** Of a StorageClass. */
  declare readonly reclaimPolicy: pulumi.Output<string>;

  constructor(
    name: string,
    object: { readonly apiVersion: string; readonly kind: string; readonly name: string },
    opts: pulumi.CustomResourceOptions,
  ) {
    const { apiVersion, kind, name: id } = object;
    const group = apiVersion === "v1" ? "core/v1" : apiVersion;
    const inputs = { apiVersion, kind, metadata: { name: id }, reclaimPolicy: undefined };
    super(`kubernetes:${group}:${kind}`, name, inputs, { ...opts, id });
  }
}
