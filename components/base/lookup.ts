import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/** An object of the cluster. */
export interface LookedUp {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Absent for what belongs to the whole cluster. */
  readonly namespace?: pulumi.Input<string>;
}

/**
 * An object that is read and never written. The `get` of the SDK registers no inputs, so that a refresh, in which
 * the plugin adds them, would report a change for ever.
 */
export class Lookup extends pulumi.CustomResource {
  declare readonly metadata: pulumi.Output<k8s.types.output.meta.v1.ObjectMeta>;
  /** Of a StorageClass. */
  declare readonly reclaimPolicy: pulumi.Output<string>;

  /** Of a Secret, in base64. */
  declare readonly data: pulumi.Output<Readonly<Record<string, string>>>;

  constructor(name: string, object: LookedUp, opts: pulumi.CustomResourceOptions) {
    const { apiVersion, kind, name: own, namespace } = object;
    const group = apiVersion === "v1" ? "core/v1" : apiVersion;
    const metadata = { name: own, ...(namespace !== undefined && { namespace }) };
    const inputs = { apiVersion, kind, metadata, reclaimPolicy: undefined, data: undefined };
    const id = namespace === undefined ? own : pulumi.interpolate`${namespace}/${own}`;
    super(`kubernetes:${group}:${kind}`, name, inputs, { ...opts, id });
  }
}
