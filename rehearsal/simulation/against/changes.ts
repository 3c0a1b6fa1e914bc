import { type Inputs, titleOf, valueAt } from "../../program/fields";
import { bytes } from "../../program/quantity";
import type { Step, StepState } from "../events";

/** A field of an object before and after, as JSON; absent where there is none. */
export interface Field {
  readonly field: string;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
}

/** What happens to an object. */
export interface Change {
  readonly what: "created" | "updated" | "replaced" | "deleted";
  readonly urn: string;
  /** `kind namespace/name` */
  readonly title: string;
  /** The outermost component that it belongs to. */
  readonly system: string;
  readonly fields: readonly Field[];
  /** Whether it holds data, or decides that there is some. */
  readonly ownsData: boolean;
}

const WHAT: Readonly<Record<string, Change["what"]>> = {
  create: "created",
  update: "updated",
  replace: "replaced",
  delete: "deleted",
};

// What owns data also where nothing protects it: a tenant's, or a store's whose protection is lifted.
const DATA =
  /:(PersistentVolumeClaim|PersistentVolumeClaimPatch|Database|KafkaTopic|Cluster|Kafka|KafkaNodePool|Elasticsearch)$/;

/** What the engine would do to objects, by a preview. */
export function changesOf(steps: readonly Step[]): Change[] {
  const parents = parentsOf(steps);
  return steps.flatMap(({ op, urn, old, new: now, detailedDiff }) => {
    const what = WHAT[op];
    const { type = "", inputs = {} } = now ?? old ?? {};
    if (what === undefined || !/^(kubernetes|random):/.test(type)) return [];
    const name = urn.split("::").at(-1) ?? "";
    return [
      {
        ...{ what, urn, system: systemOf(urn, parents) },
        title: type.startsWith("kubernetes:") ? titleOf(inputs) : `${type.split(":").at(-1)} ${name}`,
        fields: what === "updated" || what === "replaced" ? fieldsOf(old, now, Object.keys(detailedDiff ?? {})) : [],
        ownsData: ownsData(old ?? now),
      },
    ];
  });
}

function ownsData(state: StepState | null | undefined): boolean {
  if (!state) return false;
  return (
    state.protect === true || DATA.test(state.type) || JSON.stringify(state.inputs).includes('"volumeClaimTemplates"')
  );
}

/** What the engine knows a resource's parent by. */
function parentsOf(steps: readonly Step[]): ReadonlyMap<string, string> {
  return new Map(steps.map(({ urn, old, new: now }) => [urn, (now ?? old)?.parent ?? ""]));
}

/** The outermost component that a resource belongs to. */
function systemOf(urn: string, parents: ReadonlyMap<string, string>): string {
  const parent = parents.get(urn) ?? "";
  return parent === "" || parent.includes("::pulumi:pulumi:Stack::")
    ? (urn.split("::").at(-1) ?? "")
    : systemOf(parent, parents);
}

// Texts of a program's inputs that are other ones on each machine, or for each run.
const RUN_OWN = ["chart", "__defaults"];

function fieldsOf(old: StepState | null | undefined, now: StepState | null | undefined, keys: string[]): Field[] {
  return keys
    .filter((field) => !RUN_OWN.includes(field))
    .flatMap((field) => leaves(field, at(old?.inputs, field), at(now?.inputs, field)));
}

function at(inputs: Inputs | undefined, field: string): unknown {
  const value = valueAt(inputs, field);
  return value === undefined ? undefined : JSON.parse(value);
}

/** The fields on which two values differ. */
export function leaves(field: string, before: unknown, after: unknown): Field[] {
  const [old, now] = [JSON.stringify(before), JSON.stringify(after)];
  if (old === now) return [];
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    return before.flatMap((one, index) => leaves(`${field}[${index}]`, one, after[index]));
  }
  if (!isMap(before) || !isMap(after)) return [{ field, before: old, after: now }];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys.flatMap((key) => {
    const inner = /^\w+$/.test(key) ? `.${key}` : `["${key}"]`;
    return leaves(field === "" ? key : `${field}${inner}`, before[key], after[key]);
  });
}

function isMap(value: unknown): value is Inputs {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields of a size on disk that become smaller: no volume can. */
export function shrunk({ fields }: Change): Field[] {
  return fields.filter(({ field, before, after }) => {
    const sizes = [before, after].map((json) => (json === undefined ? undefined : quantity(JSON.parse(json))));
    const [old, now] = sizes;
    return /storage|size$/i.test(field) && old !== undefined && now !== undefined && now < old;
  });
}

function quantity(value: unknown): number | undefined {
  return typeof value === "string" && /^\d+(\.\d+)?[KMGTP]i?$/.test(value) ? bytes(value) : undefined;
}

// Fields with which their controllers make pods anew; of custom resources, operators decide.
const TEMPLATE = /^spec\.(template|jobTemplate)\b/;
const ROLLED = /^(Deployment|StatefulSet|DaemonSet) /;

/** Whether a change makes the pods of a workload anew. */
export function rolls({ what, title, fields }: Change): boolean {
  return ROLLED.test(title) && (what === "replaced" || fields.some(({ field }) => TEMPLATE.test(field)));
}
