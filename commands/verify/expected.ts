import type { Manifest } from "../../rehearsal/operators/operator";
import { releasesOf, type StackEvaluation } from "../../rehearsal/program/charts";
import { demandOf, type PodGroup } from "../../rehearsal/program/demand";
import type { PlatformConfig } from "../../stacks/config/schema";
import type { ObjectHeader } from "./cluster";

/** An object that the program makes. */
export interface ExpectedObject extends ObjectHeader {
  readonly inputs: Readonly<Record<string, unknown>>;
  /** What the program waits for: the annotation `pulumi.com/waitFor`. */
  readonly waitFor?: string;
}

/** What a cluster should contain according to a stack's program. */
export interface Expected {
  readonly stack: string;
  readonly config: PlatformConfig;
  /** The namespaces that the program makes. */
  readonly namespaces: readonly string[];
  readonly objects: readonly ExpectedObject[];
  readonly releases: readonly ExpectedRelease[];
  /** The workloads of program, charts and operators. */
  readonly groups: readonly PodGroup[];
}

/** A chart that the program installs. */
export interface ExpectedRelease {
  readonly name: string;
  readonly namespace: string;
  /** Names of the Services that it makes. */
  readonly services: readonly string[];
  /** Names of the CRDs that it installs. */
  readonly crds: readonly string[];
}

/** Derives from an evaluation what a cluster should contain. */
export function expectedOf(stack: string, evaluation: StackEvaluation): Expected {
  const { registrations, config } = evaluation;
  const objects = registrations.flatMap(({ type, inputs, read }): ExpectedObject[] => {
    const { apiVersion, kind, metadata } = inputs as Partial<Manifest>;
    if (read || !type.startsWith("kubernetes:") || !apiVersion || !kind || !metadata?.name) return [];
    // What a patch changes may be there already, such as a claim that was kept.
    if (type.endsWith("Patch")) return [];
    const { name, namespace, annotations } = metadata;
    const waitFor = annotations?.["pulumi.com/waitFor"];
    return [
      { apiVersion, kind, name, ...(namespace && { namespace }), inputs, ...(waitFor !== undefined && { waitFor }) },
    ];
  });
  return {
    stack,
    config,
    namespaces: objects.filter(({ kind }) => kind === "Namespace").map(({ name }) => name),
    objects,
    releases: releasesOf(evaluation).map(({ release, namespace, declares }) => ({
      ...{ name: release, namespace },
      services: declares.services.map(({ name }) => name),
      crds: declares.crds,
    })),
    groups: demandOf(evaluation).groups,
  };
}

/** The objects of a kind. */
export function ofKind(expected: Expected, kind: string): ExpectedObject[] {
  return expected.objects.filter((object) => object.kind === kind);
}

/** `kind namespace/name`. */
export function title({ kind, namespace, name }: Pick<ObjectHeader, "kind" | "namespace" | "name">): string {
  return `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}
