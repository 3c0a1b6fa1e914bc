import type * as pulumi from "@pulumi/pulumi";
import type { Endpoint } from "./endpoint";

/**
 * What a system offers, in words that are the same for all. The outputs of a stack, the names of the old platform and the
 * alerts are made of it.
 */
export interface Offer {
  /** Its services, by name. */
  readonly endpoints?: Readonly<Record<string, Endpoint>>;
  /** What else its clients must know. */
  readonly facts?: Readonly<Record<string, pulumi.Input<unknown>>>;
  /** The Secrets with logins, by the name of the client or user. */
  readonly credentials?: Readonly<Record<string, SecretLocation>>;
  /** What the old platform called it: each name with the endpoints behind it, which share one host. */
  readonly legacyNames?: Readonly<Record<string, readonly Endpoint[]>>;
  /** Files with its alerts, beside the component. */
  readonly alerts?: readonly string[];
}

/** Where a Secret lies. */
export interface SecretLocation {
  readonly namespace: pulumi.Input<string>;
  readonly name: string;
}
