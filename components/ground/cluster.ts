import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { Lookup } from "../base/lookup";
import { ClusterProvider } from "../base/wiring";
import { checkAddOns, type ExistingAddOn } from "../base/existing-add-ons";

// The kubeconfig is found as kubectl does. Left out, the SDK would store the path in KUBECONFIG, and the plugin replace every object
// where the file of the next who deploys has another address or CA of the cluster (pulumi-kubernetes#1148, #2745).
const OF_WHO_RUNS_IT = "";

/** Inputs of {@link Cluster}. */
export interface ClusterArgs {
  /** kubeconfig context of this stack's cluster. */
  readonly context: string;
  /** The StorageClasses that must exist and whose reclaim policy must be Retain, by the key that names each. */
  readonly storageClasses: Readonly<Record<string, string>>;
  /** What the cluster must have already. */
  readonly addOns: readonly ExistingAddOn[];
}

/**
 * The cluster that a stack belongs to. The first `up` stores its identity, the UID of Namespace kube-system, in the state; later
 * runs against another cluster stop before they write anything.
 */
export class Cluster extends pulumi.ComponentResource {
  /** The provider of all objects of the stack. */
  readonly provider: ClusterProvider;
  /** What tells the cluster from every other. */
  readonly uid: pulumi.Output<string>;

  constructor(name: string, args: ClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Cluster", name, {}, opts);
    const { context, storageClasses, addOns } = args;

    const reader = new k8s.Provider(`${name}-reader`, { context, kubeconfig: OF_WHO_RUNS_IT }, { parent: this });
    const look = { provider: reader, parent: this };
    const system = { apiVersion: "v1", kind: "Namespace", name: "kube-system" };
    const kubeSystem = new Lookup(`${name}-identity`, system, look);
    const policies = Object.entries(storageClasses).map(([one, key]) => {
      const volumeClass = { apiVersion: "storage.k8s.io/v1", kind: "StorageClass", name: one };
      const { reclaimPolicy } = new Lookup(
        key === "storage.className" ? `${name}-storage` : `${name}-storage-${one}`,
        volumeClass,
        look,
      );
      return reclaimPolicy.apply((policy) => ({ key, one, policy }));
    });
    const live = kubeSystem.metadata.uid;
    const recorded = new pulumi.Stash(`${name}-uid`, { input: live }, { parent: this });
    const checked = pulumi
      .all([
        recorded.output as pulumi.Output<string>,
        live,
        recorded.urn,
        pulumi.all(policies),
        checkAddOns(addOns, reader, this),
      ])
      .apply(([first, now, urn, found]) => {
        refuseOtherCluster(context, first, now, urn);
        for (const { key, one, policy } of found) refuseLosingVolumes(key, one, policy);
        return context;
      });

    this.uid = live;
    this.provider = new ClusterProvider(
      name,
      {
        context: checked,
        kubeconfig: OF_WHO_RUNS_IT,
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

function refuseOtherCluster(context: string, recorded: string, live: string, urn: string): void {
  if (recorded === live) return;
  throw new pulumi.RunError(
    `cluster.context: ${context} leads to cluster ${live}, but this stack was made on cluster ${recorded}; ` +
      `set cluster.context to that cluster's, or, if it was rebuilt on purpose, run \`npx pulumi refresh\` and then \`npx pulumi up --replace '${urn}'\``,
  );
}

function refuseLosingVolumes(key: string, storageClass: string, reclaimPolicy: string): void {
  if (reclaimPolicy === "Retain") return;
  throw new pulumi.RunError(
    `${key}: ${storageClass} has reclaimPolicy ${reclaimPolicy}, so a deleted claim takes its data along; ` +
      `name a StorageClass with reclaimPolicy Retain`,
  );
}
