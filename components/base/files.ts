import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type EnvSecret, envSecret } from "./secret";

/** Files that pods mount, and a checksum that rolls the pods when they change. */
export interface MountedFiles {
  readonly name: string;
  readonly checksum: pulumi.Output<string>;
  readonly resource: pulumi.Resource;
  /** The source of the volume, as a pod names it. */
  readonly volume: Pick<k8s.types.input.core.v1.Volume, "configMap" | "secret">;
}

export interface FilesArgs {
  readonly namespace: pulumi.Input<string>;
  /** File name to content. */
  readonly files: Readonly<Record<string, pulumi.Input<string>>>;
}

/** Makes a ConfigMap of a fixed name whose keys are files that pods mount. It must not contain secrets. */
export function configFiles(
  name: string,
  { namespace, files }: FilesArgs,
  opts: pulumi.CustomResourceOptions,
): MountedFiles {
  const resource = new k8s.core.v1.ConfigMap(name, { metadata: { name, namespace }, data: { ...files } }, opts);
  const checksum = pulumi.output(files).apply((contents) => {
    const sorted = Object.entries(contents).sort(([a], [b]) => a.localeCompare(b));
    return createHash("sha256").update(JSON.stringify(sorted)).digest("hex").slice(0, 32);
  });
  return { name, checksum, resource, volume: { configMap: { name } } };
}

/** Makes a Secret of a fixed name whose keys are files that pods mount. */
export function secretFiles(
  name: string,
  { namespace, files }: FilesArgs,
  opts: pulumi.CustomResourceOptions,
): MountedFiles {
  const secret: EnvSecret = envSecret(name, { namespace, data: files }, opts);
  return { ...secret, volume: { secret: { secretName: name } } };
}
