import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/** How a value of the config lasts: it cannot change, it can only be raised, or that for the size of a volume, in GiB. */
export type Lasting = "fixed" | "raised" | "volume";

/** Inputs of {@link LastingValues}. */
export interface LastingValuesArgs {
  /** Namespace of the record; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** The values by their keys in the config, such as `redis.volume.sizeGiB`. */
  readonly values: Readonly<Record<Lasting, Readonly<Record<string, string | number>>>>;
  /** Decides whether volumes can grow. */
  readonly storageClass: string;
}

/**
 * A record of what the first `up` has decided. The API server compares the next one with it, in previews too, and refuses what
 * cannot be: so whatever depends on the record is never written.
 */
export class LastingValues extends pulumi.ComponentResource {
  /** Resolves once the values are found to fit those before. */
  readonly checked: pulumi.Output<string>;

  constructor(name: string, args: LastingValuesArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:LastingValues", name, {}, opts);
    const { namespace, values, storageClass } = args;
    const resource = { apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"], resourceNames: [name] };
    const policy = new k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
      name,
      {
        metadata: { name },
        spec: {
          paramKind: { apiVersion: "storage.k8s.io/v1", kind: "StorageClass" },
          matchConstraints: { resourceRules: [{ ...resource, operations: ["UPDATE"] }] },
          variables: Object.entries(VARIABLES).map(([variable, expression]) => ({ name: variable, expression })),
          validations: [
            { expression: "size(variables.faults) == 0", messageExpression: "variables.faults.join('. ')" },
          ],
        },
      },
      { parent: this },
    );
    const binding = new k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
      name,
      {
        metadata: { name },
        spec: {
          policyName: policy.metadata.name,
          validationActions: ["Deny"],
          paramRef: { name: storageClass, parameterNotFoundAction: "Deny" },
          matchResources: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } } },
        },
      },
      { parent: this },
    );
    const entries = Object.entries(values).flatMap(([lasting, ofKind]) =>
      Object.entries(ofKind).map(([key, value]) => [`${lasting}.${key}`, String(value)] as const),
    );
    const record = new k8s.core.v1.ConfigMap(
      name,
      { metadata: { name, namespace }, data: Object.fromEntries(entries) },
      { parent: this, dependsOn: binding },
    );
    this.checked = record.id;
    this.registerOutputs();
  }
}

// In the Common Expression Language. A preview shows only refusals that are not for lack of rights: these are of the default kind.
const VARIABLES = {
  changed:
    "oldObject.?data.orValue({}).filter(k, k in object.?data.orValue({}) && object.data[k] != oldObject.data[k])",
  lowered: "variables.changed.filter(k, !k.startsWith('fixed.') && int(object.data[k]) < int(oldObject.data[k]))",
  grown: "variables.changed.filter(k, k.startsWith('volume.') && int(object.data[k]) > int(oldObject.data[k]))",
  faults: [
    said("variables.changed.filter(k, k.startsWith('fixed.'))", "is fixed by the first up"),
    said("variables.lowered", "can only be raised"),
    `(params.?allowVolumeExpansion.orValue(false) ? [] : ${said(
      "variables.grown",
      "' + 'cannot grow, since StorageClass ' + params.metadata.name + ' does not expand volumes' + '",
    )})`,
  ].join(" + "),
};

/** A sentence for each of some changed keys. */
function said(keys: string, why: string): string {
  const key = "k.substring(k.indexOf('.') + 1)";
  const change = `' from "' + oldObject.data[k] + '" to "' + object.data[k] + '"'`;
  return `${keys}.map(k, ${key} + ${change} + ': it ${why}; put "' + oldObject.data[k] + '" back, or see docs/volumes.md')`;
}
