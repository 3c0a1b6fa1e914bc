/** A property as the engine sends it: JSON, with secrets as signature objects and unknown values as fixed strings. */
export type Value = null | boolean | number | string | readonly Value[] | Properties;
/** A bag of properties. */
export interface Properties {
  readonly [key: string]: Value;
}

// The engine's own constants: sdk/go/common/resource/properties.go and sdk/go/common/resource/plugin/rpc.go.
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const UNKNOWNS: ReadonlySet<string> = new Set([
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", // bool
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421", // number
  "04da6b54-80e4-46f7-96ec-b56ff0331ba9", // string
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2", // array
  "030794c1-ac77-496b-92df-f27374a8bd58", // asset
  "e48ece36-62e2-4504-bad9-02848725956a", // archive
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff", // object
]);
/** What stands for a value that is known only after the update. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** Whether a value is an object: neither a list, nor a scalar. */
export function isObject(value: Value | undefined): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is a list. */
export function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

/** Whether a value is known only after the update. */
export function isUnknown(value: Value | undefined): boolean {
  return typeof value === "string" && UNKNOWNS.has(value);
}

/** Marks a value as secret; one that is already stays as it is. */
export function secret(value: Value): Value {
  return isSecret(value) ? value : { [SIGNATURE]: SECRET, value };
}

function isSecret(value: Value | undefined): value is Properties {
  return isObject(value) && value[SIGNATURE] === SECRET;
}

/** Whether a value is a secret or holds one. */
export function hasSecret(value: Value | undefined): boolean {
  return isSecret(value) || children(value).some(hasSecret);
}

/** Whether a value is unknown or holds something that is. */
export function hasUnknown(value: Value | undefined): boolean {
  return isUnknown(value) || children(value).some(hasUnknown);
}

function children(value: Value | undefined): readonly Value[] {
  return isList(value) ? value : isObject(value) ? Object.values(value) : [];
}

/** The value without secret wrappers, and without nulls in objects: what the API server is to see. */
export function plain(value: Value): Value {
  if (isSecret(value)) {
    return plain(value["value"] ?? null);
  }
  if (isList(value)) {
    return value.map(plain);
  }
  return isObject(value) ? plainObject(value) : value;
}

/** {@link plain} for a bag of properties. */
export function plainObject(properties: Properties): Properties {
  const result: Record<string, Value> = {};
  for (const [key, value] of Object.entries(properties)) {
    const inner = plain(value);
    if (inner !== null) {
      result[key] = inner;
    }
  }
  return result;
}

/**
 * Marks in `outputs` what is secret in `inputs`. Objects are walked together; in a list one secret makes the whole list
 * secret, because the server may reorder it. The data of a Secret is always secret.
 */
export function markSecrets(outputs: Properties, inputs: Properties): Properties {
  const result: Record<string, Value> = { ...outputs };
  if (outputs["kind"] === "Secret") {
    for (const key of ["data", "stringData"]) {
      const value = result[key];
      if (value !== undefined) {
        result[key] = secret(value);
      }
    }
    return result;
  }
  for (const [key, input] of Object.entries(inputs)) {
    const output = result[key];
    if (output === undefined || isSecret(output)) {
      continue;
    }
    if (isObject(output) && isObject(input) && !isSecret(input)) {
      result[key] = markSecrets(output, input);
    } else if (hasSecret(input)) {
      result[key] = secret(output);
    }
  }
  return result;
}

/** A message in which the secrets of `inputs` are masked, as they are and in base64. */
export function withoutSecrets(message: string, inputs: Properties): string {
  let result = message;
  for (const text of secretTexts(inputs, inputs["kind"] === "Secret" ? ["data", "stringData"] : [])) {
    for (const form of [text, Buffer.from(text).toString("base64"), Buffer.from(text, "base64").toString("utf8")]) {
      // Shorter texts would mask words of the message itself and protect nothing.
      if (form.length >= 4) {
        result = result.split(form).join("[secret]");
      }
    }
  }
  return result;
}

function secretTexts(value: Value, secretKeys: readonly string[] = []): string[] {
  if (isSecret(value)) {
    return allTexts(plain(value));
  }
  if (isObject(value)) {
    return Object.entries(value).flatMap(([key, inner]) =>
      secretKeys.includes(key) ? allTexts(plain(inner)) : secretTexts(inner),
    );
  }
  return children(value).flatMap((inner) => secretTexts(inner));
}

function allTexts(value: Value): string[] {
  if (isObject(value) || isList(value)) {
    return children(value).flatMap(allTexts);
  }
  return value === null || isUnknown(value) ? [] : [String(value)];
}

/** Whether two values are the same JSON. */
export function same(a: Value | undefined, b: Value | undefined): boolean {
  if (isList(a) && isList(b)) {
    return a.length === b.length && a.every((value, index) => same(value, b[index]));
  }
  if (isObject(a) && isObject(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => same(a[key], b[key]));
  }
  return a === b;
}

/** The value at a path, or undefined where any step is missing. */
export function at(value: Value | undefined, ...path: readonly (string | number)[]): Value | undefined {
  let current = value;
  for (const step of path) {
    current =
      typeof step === "number"
        ? isList(current)
          ? current[step]
          : undefined
        : isObject(current) && Object.hasOwn(current, step)
          ? current[step]
          : undefined;
  }
  return current;
}

/** A copy with the value at a path set, or removed when it is undefined; paths through anything but objects stay. */
export function withValue(object: Properties, path: readonly string[], value: Value | undefined): Properties {
  const [key, ...rest] = path;
  if (key === undefined) {
    return object;
  }
  const { [key]: current, ...others } = object;
  if (rest.length > 0) {
    if (current !== undefined ? !isObject(current) : value === undefined) {
      return object;
    }
    return { ...object, [key]: withValue(isObject(current) ? current : {}, rest, value) };
  }
  return value === undefined ? others : { ...object, [key]: value };
}

/** The text at a path, or the empty one. */
export function textAt(value: Value | undefined, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path);
  return typeof found === "string" ? found : "";
}

/** The number at a path, or undefined. */
export function numberAt(value: Value | undefined, ...path: readonly (string | number)[]): number | undefined {
  const found = at(value, ...path);
  return typeof found === "number" ? found : undefined;
}

/** Whether a property was given, and not as its zero value. */
export function isSet(value: Value | undefined): boolean {
  const inner = value === undefined ? null : plain(value);
  return inner !== null && inner !== false && inner !== "" && !(isObject(inner) && Object.keys(inner).length === 0);
}

/** A text, or undefined for the empty one. */
export function optional(text: string): string | undefined {
  return text === "" ? undefined : text;
}

/** A value as one would write it: scalars as they are, the rest as JSON. */
export function asText(value: Value | undefined): string {
  return typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
}

/** A copy without some of its properties. */
export function without(properties: Properties, ...keys: readonly string[]): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([key]) => !keys.includes(key)));
}
