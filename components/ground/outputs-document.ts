import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/** Inputs of {@link OutputsDocument}. */
export interface OutputsDocumentArgs {
  /** Namespace of the ConfigMap; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** File name to content. */
  readonly files: Readonly<Record<string, pulumi.Input<string>>>;
}

/** The outputs of the stack as the ConfigMap `platform-outputs`, for pods that read them by a package of `packages/`. */
export class OutputsDocument extends pulumi.ComponentResource {
  constructor(name: string, { namespace, files }: OutputsDocumentArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:ground:OutputsDocument", name, {}, opts);
    new k8s.core.v1.ConfigMap(
      name,
      { metadata: { name: "platform-outputs", namespace }, data: { ...files } },
      { parent: this },
    );
    this.registerOutputs();
  }
}
