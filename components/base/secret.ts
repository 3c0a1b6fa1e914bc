import { scryptSync } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/** A Secret whose keys become environment variables, and a checksum that rolls the pods that read it. */
export interface EnvSecret {
  readonly name: string;
  readonly checksum: pulumi.Output<string>;
  readonly resource: pulumi.Resource;
}

export interface EnvSecretArgs {
  readonly namespace: pulumi.Input<string>;
  readonly data: Readonly<Record<string, pulumi.Input<string>>>;
  readonly type?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Makes a Secret of a fixed name. Its values stay in it: pods and charts get its name. */
export function envSecret(name: string, args: EnvSecretArgs, opts: pulumi.CustomResourceOptions): EnvSecret {
  const { namespace, data, type = "Opaque", labels = {} } = args;
  const resource = new k8s.core.v1.Secret(
    name,
    { metadata: { name, namespace, labels: { ...labels } }, type, stringData: pulumi.secret(data) },
    opts,
  );
  return { name, checksum: checksum(name, data), resource };
}

// Pods show their annotations to everybody who may list them: scrypt makes guessing a password from its checksum slow.
function checksum(salt: string, data: Readonly<Record<string, pulumi.Input<string>>>): pulumi.Output<string> {
  const hash = pulumi.output(data).apply((values) => {
    const sorted = Object.entries(values).sort(([a], [b]) => a.localeCompare(b));
    return scryptSync(JSON.stringify(sorted), salt, 16).toString("hex");
  });
  return pulumi.unsecret(hash);
}
