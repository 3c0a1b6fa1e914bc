import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { ClusterProvider } from "../base/wiring";

/** Inputs of {@link Cluster}. */
export interface ClusterArgs {
  /** kubeconfig context of this stack's cluster. */
  readonly context: string;
  /** StorageClass of all volumes; it must exist and its reclaim policy must be Retain. */
  readonly storageClass: string;
}

/**
 * The cluster that a stack belongs to. The first `up` stores its identity, the UID of Namespace kube-system, in the state; later
 * runs against another cluster stop before they write anything.
 */
export class Cluster extends pulumi.ComponentResource {
  /** The provider of all objects of the stack. */
  readonly provider: ClusterProvider;

  constructor(name: string, args: ClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Cluster", name, {}, opts);
    const { context, storageClass } = args;

    const reader = new k8s.Provider(`${name}-reader`, { context }, { parent: this });
    const kubeSystem = new Lookup(`${name}-identity`, "v1", "Namespace", "kube-system", reader, this);
    const volumes = new Lookup(`${name}-storage`, "storage.k8s.io/v1", "StorageClass", storageClass, reader, this);
    const live = kubeSystem.metadata.uid;
    const recorded = new pulumi.Stash(`${name}-uid`, { input: live }, { parent: this });
    const checked = pulumi
      .all([recorded.output as pulumi.Output<string>, live, recorded.urn, volumes.reclaimPolicy])
      .apply(([first, now, urn, reclaimPolicy]) => {
        refuseOtherCluster(context, first, now, urn);
        refuseLosingVolumes(storageClass, reclaimPolicy);
        return context;
      });

    this.provider = new ClusterProvider(
      name,
      {
        context: checked,
        // Otherwise a changed Secret of a fixed name is deleted before it is recreated.
        enableSecretMutable: true,
        enableConfigMapMutable: true,
        // Otherwise client-go's default of 50 requests per second would be the bottleneck.
        kubeClientSettings: { qps: 200, burst: 400 },
      },
      { parent: this },
    );
    this.registerOutputs();
  }
}

/**
 * A cluster-wide object that is read and never written. The `get` of the SDK registers no inputs, so that a refresh, in which
 * the plugin adds them, would report a change for ever.
 */
class Lookup extends pulumi.CustomResource {
  declare readonly metadata: pulumi.Output<k8s.types.output.meta.v1.ObjectMeta>;
  /** Of a StorageClass. */
  declare readonly reclaimPolicy: pulumi.Output<string>;

  constructor(
    name: string,
    apiVersion: string,
    kind: string,
    id: string,
    provider: k8s.Provider,
    parent: pulumi.Resource,
  ) {
    const group = apiVersion === "v1" ? "core/v1" : apiVersion;
    const inputs = { apiVersion, kind, metadata: { name: id }, reclaimPolicy: undefined };
    super(`kubernetes:${group}:${kind}`, name, inputs, { parent, provider, id });
  }
}

function refuseOtherCluster(context: string, recorded: string, live: string, urn: string): void {
  if (recorded === live) return;
  throw new pulumi.RunError(
    `cluster.context: ${context} leads to cluster ${live}, but this stack was made on cluster ${recorded}; ` +
      `set cluster.context to that cluster's, or, if it was rebuilt on purpose, run \`npx pulumi refresh\` and then \`npx pulumi up --replace '${urn}'\``,
  );
}

function refuseLosingVolumes(storageClass: string, reclaimPolicy: string): void {
  if (reclaimPolicy === "Retain") return;
  throw new pulumi.RunError(
    `storage.className: ${storageClass} has reclaimPolicy ${reclaimPolicy}, so a deleted claim takes its data along; ` +
      `name a StorageClass with reclaimPolicy Retain`,
  );
}
