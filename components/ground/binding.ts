import * as pulumi from "@pulumi/pulumi";
import { CA_KEY } from "../base/certificate";
import { connect, type Destination } from "../base/connect";
import type { Credential, PodIdentity } from "../base/endpoint";
import { envSecret } from "../base/secret";
import type { SecretLocation } from "../base/offer";

/** Label of a tenant's pods that use the platform. */
export const CLIENT_LABEL = { "254carbon.com/platform-client": "true" } as const;

/** The pods of a tenant that use the platform; the program makes none of them. */
export function tenantPods(tenant: string, namespace: pulumi.Input<string>): PodIdentity {
  // A name of its own: a tenant may be called like a system.
  return { name: `tenant-${tenant}`, namespace, matchLabels: CLIENT_LABEL, serviceAccount: "default" };
}

/** Where a client of one system connects, and as whom. */
export interface Access {
  /** What is spoken there, as the Service Binding specification names types. */
  readonly type: string;
  /** What they reach, once it is ready. */
  readonly to: readonly (Destination & { readonly ready?: readonly pulumi.Resource[] })[];
  readonly host: pulumi.Input<string>;
  readonly port: number;
  readonly uri: pulumi.Input<string>;
  readonly login: Credential;
  /** The certificate that signs the server's, in PEM, without its key. @default none: it has no TLS */
  readonly ca: pulumi.Input<string> | undefined;
  /** What else its clients must know. */
  readonly details: Readonly<Record<string, pulumi.Input<string>>>;
}

/** Inputs of {@link Binding}. */
export interface BindingArgs extends Access {
  /** Those that are let there. */
  readonly pods: PodIdentity;
}

/** A way to one system for the pods of a tenant: the policies, and a Secret in the layout of https://servicebinding.io. */
export class Binding extends pulumi.ComponentResource {
  readonly secret: SecretLocation;

  /** `secretName` is the Secret's in the tenant's namespace. */
  constructor(
    name: string,
    secretName: string,
    { pods, type, to, host, port, uri, login, ca, details }: BindingArgs,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:ground:Binding", name, {}, opts);
    const { namespace } = pods;
    const ways = connect(this, { from: pods, talksTo: to });
    const data = { type, host, port: `${port}`, ...login, uri, ...(ca !== undefined && { [CA_KEY]: ca }), ...details };
    envSecret(
      name,
      { namespace, name: secretName, type: `servicebinding.io/${type}`, data },
      { parent: this, dependsOn: [...ways, ...to.flatMap(({ ready = [] }) => ready)] },
    );
    this.secret = { namespace, name: secretName };
    this.registerOutputs();
  }
}
