import { scrypt } from "node:crypto";
import { promisify } from "node:util";
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
  /** @default the resource's */
  readonly name?: string;
  readonly data: Readonly<Record<string, pulumi.Input<string>>>;
  readonly type?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Makes a Secret of a fixed name. Pods and charts get only its name. */
export function envSecret(name: string, args: EnvSecretArgs, opts: pulumi.CustomResourceOptions): EnvSecret {
  const { namespace, name: object = name, data, type = "Opaque", labels } = args;
  const resource = new k8s.core.v1.Secret(
    name,
    { metadata: { name: object, namespace, ...(labels && { labels }) }, type, stringData: pulumi.secret(data) },
    opts,
  );
  return { name: object, checksum: checksum(name, data), resource };
}

function checksum(salt: string, data: Readonly<Record<string, pulumi.Input<string>>>): pulumi.Output<string> {
  const hash = pulumi.output(data).apply((values) => {
    const sorted = Object.entries(values).sort(([a], [b]) => a.localeCompare(b));
    return hashing.hash(JSON.stringify(sorted), salt);
  });
  return pulumi.unsecret(hash);
}

/**
 * Everybody who may list pods sees their annotations: scrypt makes guessing a password from its checksum slow. It takes
 * 50 ms of a core, in parallel to the program.
 */
export async function slowHash(text: string, salt: string): Promise<string> {
  return ((await promisify(scrypt)(text, salt, 16)) as Buffer).toString("hex");
}

/** What checksums are made with. Where no credential is real, as under mocks, a quick hash will do. */
export const hashing = { hash: slowHash };
