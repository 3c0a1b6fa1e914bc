/** What an update changes, and what of it takes a new object. */
import type { PropertyChange } from "./plugin";
import { isList, isObject, isUnknown, same, type Properties, type Value } from "../../program/values";

type Path = readonly (string | number)[];

/**
 * The part of a live object that the inputs speak about: what was never asked for is the server's business. `before`
 * is the live object as it was after the last write.
 *
 * The server drops zero values and rewrites quantities (`1000m` becomes `1`); neither is a change. A dropped value was
 * missing right after the write too, otherwise somebody has removed it since.
 */
export function prune(live: Properties, inputs: Properties, before?: Properties): Properties {
  const result: Record<string, Value> = {};
  for (const [key, input] of Object.entries(inputs)) {
    const value = live[key];
    if (value !== undefined) {
      result[key] = pruneValue(value, input, before?.[key], key);
    } else if (isZero(input) && before?.[key] === undefined) {
      result[key] = input;
    }
  }
  return result;
}

function pruneValue(live: Value, input: Value, before: Value | undefined, key: string): Value {
  if (isObject(live) && isObject(input)) {
    return pruneQuantities(prune(live, input, isObject(before) ? before : undefined), input, key);
  }
  if (isList(live) && isList(input)) {
    const common = live.slice(0, input.length);
    return common.map((value, index) => {
      const wanted = input[index];
      return wanted === undefined ? value : pruneValue(value, wanted, isList(before) ? before[index] : undefined, key);
    });
  }
  return QUANTITY_KEYS.has(key) && sameQuantity(live, input) ? input : live;
}

function pruneQuantities(live: Properties, input: Properties, key: string): Properties {
  if (!QUANTITY_MAPS.has(key)) {
    return live;
  }
  const entries = Object.entries(live);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, sameQuantity(value, input[name]) ? (input[name] ?? value) : value]),
  );
}

function isZero(value: Value): boolean {
  if (isList(value)) {
    return value.length === 0;
  }
  return isObject(value) ? Object.values(value).every(isZero) : value === false || value === 0 || value === "";
}

// Fields of the built-in kinds that hold quantities, or maps of them.
const QUANTITY_MAPS: ReadonlySet<string> = new Set([
  "requests",
  "limits",
  "hard",
  "capacity",
  "overhead",
  "podFixed",
  "default",
  "defaultRequest",
  "max",
  "min",
  "maxLimitRequestRatio",
]);
const QUANTITY_KEYS: ReadonlySet<string> = new Set(["sizeLimit", "divisor", "averageValue"]);

const FACTORS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function sameQuantity(a: Value | undefined, b: Value | undefined): boolean {
  const [first, second] = [quantity(a), quantity(b)];
  return first !== undefined && second !== undefined && Math.abs(first - second) <= Math.abs(first) * 1e-12;
}

function quantity(value: Value | undefined): number | undefined {
  if (typeof value === "number") {
    return value;
  }
  const match =
    typeof value === "string"
      ? /^([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]|[KMGTPE]i)?$/.exec(value)
      : null;
  const factor = FACTORS[match?.[2] ?? ""];
  return match?.[1] === undefined || factor === undefined ? undefined : Number(match[1]) * factor;
}

/** The changes from `old` to `wanted`, by path; those that match a pattern of `immutable` take a new object. */
export function difference(
  old: Properties,
  wanted: Properties,
  immutable: readonly string[],
): ReadonlyMap<string, PropertyChange> {
  const changes = new Map<string, PropertyChange>();
  const patterns = immutable.map(parsePath);
  const record = (kind: PropertyChange["kind"], path: Path, value: Value | undefined): void => {
    const replace = patterns.some((pattern) => touches(pattern, path, value));
    changes.set(formatPath(path), { kind, replace });
  };
  const compare = (path: Path, before: Value | undefined, after: Value | undefined): void => {
    if (after === undefined) {
      if (before !== undefined) {
        record("delete", path, undefined);
      }
    } else if (before === undefined) {
      record("add", path, after);
    } else if (isObject(before) && isObject(after)) {
      for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
        compare([...path, key], before[key], after[key]);
      }
    } else if (isList(before) && isList(after)) {
      for (let index = 0; index < Math.max(before.length, after.length); index++) {
        compare([...path, index], before[index], after[index]);
      }
    } else if (isUnknown(after) || (!same(before, after) && !(holdsQuantity(path) && sameQuantity(before, after)))) {
      record("update", path, after);
    }
  };
  compare([], old, wanted);
  return changes;
}

function holdsQuantity(path: Path): boolean {
  return QUANTITY_KEYS.has(String(path.at(-1))) || QUANTITY_MAPS.has(String(path.at(-2)));
}

/** Whether a change at a path, to a value, is one of what a pattern names: at it, below it, or above and holding it. */
function touches(pattern: Path, path: Path, value: Value | undefined): boolean {
  const shared = Math.min(pattern.length, path.length);
  for (let index = 0; index < shared; index++) {
    if (pattern[index] !== path[index] && pattern[index] !== "*") {
      return false;
    }
  }
  return pattern.length <= path.length || holds(value, pattern.slice(shared));
}

function holds(value: Value | undefined, path: Path): boolean {
  const [step, ...rest] = path;
  if (step === undefined) {
    return value !== undefined;
  }
  if (isList(value)) {
    return step === "*" && value.some((element) => holds(element, rest));
  }
  return isObject(value) && holds(value[step], rest);
}

/** Whether a path that the user wrote (`spec.replicas`, `spec.containers[0].env`) covers a changed one. */
export function covers(ignored: string, changed: string): boolean {
  const [pattern, path] = [parsePath(ignored), parsePath(changed)];
  return pattern.length <= path.length && touches(pattern, path, undefined);
}

/** The steps of a path such as `spec.containers[0].env` or `data["a.b"]`; `[*]` is any element. */
export function parsePath(text: string): Path {
  const steps = text.matchAll(/\[(\d+)\]|\[(\*)\]|\["((?:[^"\\]|\\.)*)"\]|([^.[\]]+)/g);
  return [...steps].map(([, index, any, quoted, plainStep]) =>
    index !== undefined ? Number(index) : (any ?? quoted?.replace(/\\"/g, '"') ?? plainStep ?? ""),
  );
}

function formatPath(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") {
      return `${text}[${step}]`;
    }
    if (/[."[\]]/.test(step)) {
      return `${text}["${step.replace(/"/g, '\\"')}"]`;
    }
    return text === "" ? step : `${text}.${step}`;
  }, "");
}
