import type { V1Toleration } from "@kubernetes/client-node";

/** A Kubernetes object, as YAML has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [key: string]: unknown;
  };
  readonly [key: string]: unknown;
}

/** An object that an operator acts on. */
export interface CustomResource<Spec = unknown> extends Manifest {
  readonly spec: Spec;
}

/** What a container asks for and may use at most. */
export interface Resources {
  readonly requests?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, string>>;
}

/** What is read of a container. */
export interface Container {
  readonly resources?: Resources | undefined;
  readonly restartPolicy?: string;
}

/** What is read of a pod's specification. */
export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly V1Toleration[];
  readonly serviceAccountName?: string;
  readonly priorityClassName?: string;
}

/** A volume that a pod claims. */
export interface Claim {
  readonly metadata?: { readonly name?: string };
  readonly spec?: { readonly storageClassName?: string; readonly resources?: Resources };
}

/** A claim of a size such as `10Gi`. */
export function claim(size: string): Claim {
  return { spec: { resources: { requests: { storage: size } } } };
}

/** Pods that are all alike. */
export interface PodSet {
  /** @default the name of the object that they are made for */
  readonly name?: string;
  /** How many; from the start to what an autoscaler may make of them; or one for each node. */
  readonly replicas: number | { readonly start: number; readonly most: number } | "each node";
  /** Pods that a rollout adds for a while. @default 0 */
  readonly surge?: number;
  /** What policies and Services know them by. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Ports of their containers that monitors name, where the operator writes them. */
  readonly ports?: Readonly<Record<string, number>>;
  readonly spec?: PodSpec | undefined;
  /** What each pod claims for itself. */
  readonly claims?: readonly Claim[];
}

/** What is made of an object. */
export interface Footprint {
  readonly podSets?: readonly PodSet[];
  /** How many Services. */
  readonly services?: number;
}

/** What a kind of custom resource comes to. */
export interface CustomKind {
  /** What the operator runs for an object; `all` are the objects that it finds besides. */
  demand(object: CustomResource, all: readonly Manifest[]): Footprint;
  /** The Secrets that it makes of an object, with their keys. */
  secrets(object: CustomResource, all: readonly Manifest[]): Readonly<Record<string, readonly string[]>>;
  /** Why a rehearsal has no Stage for it. */
  readonly withoutStage?: string;
  /** The namespace where the operator looks for the Secrets of an object that lies in none. */
  readonly secretsIn?: string;
  /** Whether charts alone make objects of it: its CRD is then stored without its schema. */
  readonly ofCharts?: boolean;
}

/** A kind of which the operator makes neither pods nor Secrets. */
export const INERT: CustomKind = { demand: () => ({}), secrets: () => ({}) };

/** All that is known of an operator; its Stages and CRDs lie in the folder of its name. */
export interface Operator {
  readonly name: string;
  /** What its CRDs came from, as the first line of each of them says. */
  readonly origin: string;
  /** Where upstream's CRDs lie in a folder of another name, or together with those of another group. */
  readonly crds?: { readonly folder: string; readonly group: string };
  /** Kinds that the program or a chart makes objects of, by `<apiVersion>/<Kind>`. The CRDs of all others accept anything. */
  readonly kinds: Readonly<Record<string, CustomKind>>;
}
