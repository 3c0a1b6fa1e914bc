import * as fs from "node:fs";

/** How far an engine command is. */
export interface Progress {
  /** Number of finished resources. */
  readonly done: number;
  /** Kind and name of those under way. */
  readonly running: readonly string[];
}

/** What an event log says of an engine command. */
export interface Course extends Progress {
  /** Number of resources by operation: `create`, `update`, `same`, … */
  readonly changes: Readonly<Record<string, number>>;
  /** Each resource that was made, changed or deleted: operation, type, name and the fields. */
  readonly changed: readonly string[];
  readonly errors: readonly string[];
  /** What the engine set out to do, in its order. */
  readonly steps: readonly Step[];
  /** The errors that it reported, each with the resource that it is about, or an empty URN. */
  readonly faults: readonly EngineError[];
}

/** Operations that leave a resource as it was. */
export const UNCHANGED = ["same", "read"];

/** A resource before or after a step, with `[secret]` in place of each secret. */
export interface StepState {
  readonly type: string;
  readonly parent?: string;
  readonly protect?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>>;
}

/** What the engine does to a resource, or would do in a preview. */
export interface Step {
  /** `same`, `create`, `update`, `replace`, `delete`, … */
  readonly op: string;
  readonly urn: string;
  readonly old?: StepState | null;
  readonly new?: StepState | null;
  /** The fields, such as `spec.ports[0].port`. */
  readonly detailedDiff?: Readonly<Record<string, unknown>> | null;
}

interface EngineError {
  readonly urn: string;
  readonly message: string;
}

interface EngineEvent {
  readonly resourcePreEvent?: { readonly metadata: Step };
  readonly resOutputsEvent?: { readonly metadata: Step };
  readonly diagnosticEvent?: { readonly severity: string; readonly message: string; readonly urn?: string };
  readonly summaryEvent?: { readonly resourceChanges?: Record<string, number> };
}

/** Follows the log that `--event-log` writes: each call reads on, and says how far the command is by then. */
export function followEvents(log: string): () => Course {
  const events: EngineEvent[] = [];
  let read = 0;
  return () => {
    const text = fs.existsSync(log) ? textFrom(log, read) : Buffer.alloc(0);
    // The last line may be incomplete while the command runs.
    const lines = text.subarray(0, text.lastIndexOf("\n") + 1);
    read += lines.length;
    for (const line of lines.toString().split("\n").slice(0, -1)) events.push(JSON.parse(line) as EngineEvent);
    return courseOf(events);
  };
}

function textFrom(file: string, position: number): Buffer {
  const open = fs.openSync(file, "r");
  try {
    const text = Buffer.alloc(fs.fstatSync(open).size - position);
    return text.subarray(0, fs.readSync(open, text, 0, text.length, position));
  } finally {
    fs.closeSync(open);
  }
}

function courseOf(events: readonly EngineEvent[]): Course {
  const begun = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata.urn ?? []);
  const ended = new Set(events.flatMap(({ resOutputsEvent }) => resOutputsEvent?.metadata.urn ?? []));
  const faults = events.flatMap(({ diagnosticEvent: d }) =>
    d?.severity === "error" ? [{ urn: d.urn ?? "", message: d.message.trim() }] : [],
  );
  return {
    done: events.filter((event) => event.resOutputsEvent !== undefined).length,
    // A component waits for nothing itself.
    running: begun.filter((urn) => !ended.has(urn) && /kubernetes:[^$]*$/.test(typeOf(urn))).map(shortName),
    changes: events.findLast((event) => event.summaryEvent)?.summaryEvent?.resourceChanges ?? {},
    changed: events.flatMap(({ resOutputsEvent }) => {
      if (resOutputsEvent === undefined) return [];
      const { op, urn, detailedDiff } = resOutputsEvent.metadata;
      if (UNCHANGED.includes(op)) return [];
      return [`${op} ${urn.split("::").slice(2).join(" ")}: ${Object.keys(detailedDiff ?? {}).join(", ")}`];
    }),
    errors: faults.map(({ urn, message }) => `${urn ? `${urn.split("::").slice(2).join(" ")}: ` : ""}${message}`),
    faults,
    steps: events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []),
  };
}

function typeOf(urn: string): string {
  return urn.split("::")[2] ?? "";
}

/** `Deployment mlflow`; a file's objects have their kind in their names. */
export function shortName(urn: string): string {
  return `${typeOf(urn).split(":").at(-1)} ${urn.split("::")[3]?.split("/").at(-1)}`;
}

const SECONDS = 5;
const SHOWN = 2;

/** Says every few seconds how far a command is, of about how many resources, and what it waits for. */
export function told(what: string, total: number, say: (line: string) => void): (progress: Progress) => void {
  const started = Date.now();
  let said = started;
  return ({ done, running }) => {
    if (Date.now() < said + SECONDS * 1000) return;
    said = Date.now();
    const others = running.length > SHOWN ? ` and ${running.length - SHOWN} more` : "";
    const waits = running.length === 0 ? "" : `, waits for ${running.slice(0, SHOWN).join(", ")}${others}`;
    const far = done === 0 ? "the program starts" : `${done} of ${Math.max(total, done)} resources`;
    say(`${what}: ${far}, ${Math.round((said - started) / 1000)} s${done === 0 ? "" : waits}`);
  };
}
