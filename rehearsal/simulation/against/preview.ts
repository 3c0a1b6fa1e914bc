import type { Capacity } from "../../program/capacity";
import type { ContractChange, Schema } from "../../program/contract-change";
import type { Change } from "./changes";
import type { ChartChange } from "./charts";

/** What becomes of running stacks. */
export interface Preview {
  /** The commit that runs. */
  readonly ref: string;
  readonly contract: ContractPreview;
  readonly stacks: readonly StackPreview[];
}

/** What becomes of the outputs' schema. */
export interface ContractPreview extends ContractChange {
  readonly before: Schema;
  readonly after: Schema;
}

/** What becomes of one stack. */
export type StackPreview = NewStack | RefusedStack | PreviewedStack;

/** A stack that nothing runs of. */
export interface NewStack {
  readonly stack: string;
  readonly isNew: true;
}

/** A stack whose config the program does not take. */
export interface RefusedStack {
  readonly stack: string;
  readonly refused: string;
}

/** A stack that the engine has previewed. */
export interface PreviewedStack {
  readonly stack: string;
  /** How long preview and `up` took; the latter is absent where the preview failed. */
  readonly seconds: { readonly preview: number; readonly up?: number };
  readonly resources: number;
  /** Why the engine refuses, each with the resource that it is about. */
  readonly faults: readonly { readonly urn: string; readonly message: string }[];
  /** What else failed: of the program, or in the `up`. */
  readonly failed: readonly string[];
  readonly changes: readonly Change[];
  /** Pods that the `up` made anew, by workload; undefined where there was none. */
  readonly rolled: readonly RolledPods[] | undefined;
  /** Objects with data that the config lets go. */
  readonly acknowledged: readonly string[];
  /** Who calls a system. */
  readonly callers: Readonly<Record<string, readonly string[]>>;
  readonly charts: readonly ChartChange[];
  readonly capacity: { readonly before: Capacity; readonly after: Capacity };
}

/** Pods of a workload that were made anew. */
export interface RolledPods {
  /** `namespace/name` */
  readonly workload: string;
  readonly system: string;
  readonly pods: number;
}
