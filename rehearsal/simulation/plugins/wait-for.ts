/** The annotation `pulumi.com/waitFor`: one expression, or a JSON list of them, all of which must hold. */
import { asText, at, isList, isObject, numberAt, textAt, type Properties, type Value } from "../../program/values";

/** Whether an object is what it should become. */
export type Verdict =
  | { readonly kind: "ready" }
  /** It may still become so. */
  | { readonly kind: "waiting"; readonly why: string }
  /** It never will. */
  | { readonly kind: "failed"; readonly why: string };

/** The verdict that ends a wait well. */
export const READY: Verdict = { kind: "ready" };

/** A verdict that lets a wait go on. */
export function waiting(why: string): Verdict {
  return { kind: "waiting", why };
}

/** The check that an annotation's value stands for. */
export function parseWaitFor(annotation: string): (live: Properties) => Verdict {
  const expressions = asList(annotation).map(parseExpression);
  if (expressions.length === 0) {
    throw new Error("pulumi.com/waitFor: an empty list; give at least one expression, or leave the annotation out");
  }
  return (live) => expressions.map((expression) => expression(live)).find(({ kind }) => kind !== "ready") ?? READY;
}

function asList(annotation: string): readonly string[] {
  if (!annotation.trimStart().startsWith("[")) {
    return [annotation];
  }
  const parsed = JSON.parse(annotation) as Value;
  if (!isList(parsed) || !parsed.every((entry) => typeof entry === "string")) {
    throw new Error(`pulumi.com/waitFor: ${annotation} is not a JSON list of strings`);
  }
  return parsed;
}

function parseExpression(expression: string): (live: Properties) => Verdict {
  if (expression.startsWith("condition=")) {
    const [, type = "", status = "True"] = expression.split("=");
    return (live) => conditionVerdict(live, type, status);
  }
  if (expression.startsWith("jsonpath=")) {
    return parseJsonPath(expression.slice("jsonpath=".length));
  }
  throw new Error(
    `pulumi.com/waitFor: "${expression}" starts with neither "condition=" nor "jsonpath="; ` +
      `write condition=Ready, condition=Type=Status or jsonpath={.status.phase}=Ready`,
  );
}

/** The conditions of an object. */
export function conditions(live: Properties): readonly Properties[] {
  const list = at(live, "status", "conditions");
  return isList(list) ? list.filter(isObject) : [];
}

function conditionVerdict(live: Properties, type: string, status: string): Verdict {
  const found = conditions(live).find((condition) => textAt(condition, "type").toLowerCase() === type.toLowerCase());
  const wanted = `condition ${type}=${status}`;
  if (found === undefined) {
    return waiting(`waiting for ${wanted}`);
  }
  const observed = numberAt(found, "observedGeneration") ?? numberAt(live, "status", "observedGeneration");
  if (isStale(live, observed)) {
    return waiting(`waiting for ${wanted} of the present generation`);
  }
  const actual = textAt(found, "status");
  const reason = [textAt(found, "reason"), textAt(found, "message")].filter((text) => text !== "").join(": ");
  return actual.toLowerCase() === status.toLowerCase()
    ? READY
    : waiting(`waiting for ${wanted}, it is ${actual}${reason === "" ? "" : ` (${reason})`}`);
}

function isStale(live: Properties, observed: number | undefined): boolean {
  return observed !== undefined && observed < (numberAt(live, "metadata", "generation") ?? 0);
}

function parseJsonPath(expression: string): (live: Properties) => Verdict {
  // The first "=" outside of the braces parts path and value; "==" belongs to a filter.
  const match = /^\{\s*(.*?)\s*\}(?:=(.+))?$/s.exec(expression);
  if (match?.[1] === undefined) {
    throw new Error(`pulumi.com/waitFor: "${expression}" is not {.path} or {.path}=value, without quotes around it`);
  }
  const steps = jsonPathSteps(match[1]);
  const wanted = match[2];
  return (live) => {
    if (isStale(live, numberAt(live, "status", "observedGeneration"))) {
      return waiting(`waiting for ${expression} of the present generation`);
    }
    const [first] = select([live], steps);
    if (first === undefined) {
      return waiting(`waiting for ${expression}, which selects nothing`);
    }
    if (wanted === undefined) {
      return READY;
    }
    const text = isObject(first) || isList(first) ? JSON.stringify(first) : String(first);
    return text === wanted ? READY : waiting(`waiting for ${expression}, it is ${text}`);
  };
}

type Step =
  | { readonly key: string | number }
  | { readonly every: true }
  | { readonly where: readonly string[]; readonly equals: string };

const STEP =
  /\s*(?:\.?\[\s*'([^']*)'\s*\]|\.?\[\s*"([^"]*)"\s*\]|\.?\[\s*(-?\d+)\s*\]|\.?\[\s*(\*)\s*\]|\.?\[\s*\?\(?\s*@\.([\w.-]+)\s*==\s*(?:"([^"]*)"|'([^']*)'|([\w.-]+))\s*\)?\s*\]|\.(\*)|\.([^.[\]\s]+))/y;

function jsonPathSteps(path: string): readonly Step[] {
  const text = path.startsWith("$") ? path.slice(1) : path;
  const steps: Step[] = [];
  STEP.lastIndex = 0;
  let end = 0;
  while (end < text.length) {
    const match = STEP.exec(text);
    if (match === null) {
      throw new Error(
        `pulumi.com/waitFor: {${path}} cannot be read at "${text.slice(end)}"; the stand-in knows .key, ['key'], [0], [*] and [?(@.key=="value")]`,
      );
    }
    end = STEP.lastIndex;
    const [, single, double, index, star, where, ...rest] = match;
    const [doubleValue, singleValue, bareValue, dotStar, key] = rest;
    if (where !== undefined) {
      steps.push({ where: where.split("."), equals: doubleValue ?? singleValue ?? bareValue ?? "" });
    } else if (star !== undefined || dotStar !== undefined) {
      steps.push({ every: true });
    } else {
      steps.push({ key: index !== undefined ? Number(index) : (single ?? double ?? key ?? "") });
    }
  }
  return steps;
}

function select(values: readonly Value[], [step, ...rest]: readonly Step[]): readonly Value[] {
  if (step === undefined) {
    return values;
  }
  const next = values.flatMap((value) => {
    if ("key" in step) {
      const key = typeof step.key === "number" && step.key < 0 && isList(value) ? value.length + step.key : step.key;
      const found = at(value, key);
      return found === undefined ? [] : [found];
    }
    const elements = isList(value) ? value : isObject(value) ? Object.values(value) : [];
    return "every" in step
      ? elements
      : elements.filter((element) => asText(at(element, ...step.where)) === step.equals);
  });
  return select(next, rest);
}
