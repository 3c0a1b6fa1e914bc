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
  /** Its ways in from outside the cluster, which the gateway opens. */
  readonly entries?: readonly Entry[];
}

/** First label of the host name of all APIs, but for those with a host of their own. */
export const API_HOST = "api";

/** A way from outside the cluster to a server of HTTP. */
export type Entry = Site | Api;

interface Way {
  readonly endpoint: Endpoint<"http">;
  /** How long the server may say nothing, in seconds. The whole answer may take longer, as large files do. */
  readonly timeoutSeconds: number;
}

/** Pages for people. */
export interface Site extends Way {
  readonly kind: "site";
  /** First label of the host name. */
  readonly host: string;
}

/** An API for programs. */
export interface Api extends Way {
  readonly kind: "api";
  /** The path is `/api/<name>`, which the server does not see. */
  readonly name: string;
  /** Whether its clients sign host and path: instead of a path it has a host of its own. @default false */
  readonly signed?: boolean;
  /** Whether the server reads `Authorization` itself, so that the key comes in `X-API-Key` alone. @default false */
  readonly authorizes?: boolean;
  /** Requests that are let through. */
  readonly rate: { readonly perMinute: number; readonly perHour: number };
  /** How often a request that did not reach the server is tried again. */
  readonly retries: number;
}

/** Where a Secret lies. */
export interface SecretLocation {
  readonly namespace: pulumi.Input<string>;
  readonly name: string;
}
