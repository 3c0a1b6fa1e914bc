import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { Lookup } from "./lookup";

/** Something that the cluster has and the program uses without installing it. */
export interface ExistingAddOn {
  /** The key of the stack file that says so. */
  readonly key: string;
  /** What people call it. */
  readonly name: string;
  /** CRDs that the program needs of it; all are its own, so each tells its version. */
  readonly crds: readonly string[];
  /** The label or annotation of its CRDs that holds its version. */
  readonly versionLabel: string;
  /** The version that the program installs elsewhere and is tested with: no older minor version is taken. */
  readonly oldest: string;
}

/**
 * Looks up each add-on's CRDs, and resolves once all are there and new enough. Throws a RunError that names every add-on that is
 * not; a CRD that is missing stops the run as the plugin reports it.
 */
export function checkAddOns(
  addOns: readonly ExistingAddOn[],
  reader: k8s.Provider,
  parent: pulumi.Resource,
): pulumi.Output<void> {
  const found = addOns.flatMap((addOn) =>
    addOn.crds.map((crd) => {
      const { metadata } = new Lookup(
        `${addOn.key}-${crd}`,
        { apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", name: crd },
        { provider: reader, parent },
      );
      return metadata.apply((of) => faultOf(addOn, crd, of));
    }),
  );
  return pulumi.all(found).apply((faults) => {
    const all = [...new Set(faults.flat())];
    if (all.length > 0) throw new pulumi.RunError(all.join("\n"));
  });
}

type Metadata = Pick<k8s.types.output.meta.v1.ObjectMeta, "labels" | "annotations">;

function faultOf({ key, name, versionLabel, oldest }: ExistingAddOn, crd: string, metadata: Metadata): string[] {
  const version = { ...metadata.annotations, ...metadata.labels }[versionLabel];
  if (version === undefined) {
    return [
      `${key}: existing: ${crd} has no label or annotation ${versionLabel}, so the version of ${name} is unknown; ` +
        `install its CRDs as upstream publishes them, or give ${key} a size to have ${name} installed`,
    ];
  }
  const [wanted, running] = [minorOf(oldest), minorOf(version)];
  if (running[0] === wanted[0] && running[1] >= wanted[1]) return [];
  return [
    `${key}: existing: the cluster has ${name} ${version}, and the program is tested with ${oldest}: it takes ` +
      `${wanted.join(".")} and later minor versions; upgrade it, or give ${key} a size to have ${name} installed`,
  ];
}

function minorOf(version: string): readonly [number, number] {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return [Number(major), Number(minor)];
}
