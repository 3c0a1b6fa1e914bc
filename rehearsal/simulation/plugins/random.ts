/**
 * Stand-in for the official random plugin, for machines that cannot download it: each value is made once, kept in the
 * state, and made anew when an input changes. `bcryptHash` of a RandomPassword is left out, since bcrypt would need
 * another package.
 */
import { version } from "@pulumi/random/package.json";
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { difference } from "./diff";
import { servePlugin, type Failure, type Plugin, type ResourceType } from "./plugin";
import {
  asText,
  hasUnknown,
  isSet,
  isUnknown,
  numberAt,
  optional,
  plainObject,
  secret,
  textAt,
  UNKNOWN,
  type Properties,
  type Value,
} from "../../program/values";

interface Kind {
  /** Inputs with their defaults; `required` ones have none. */
  readonly defaults: Properties;
  readonly required: readonly string[];
  /** Inputs that are allowed beside those. */
  readonly optional: readonly string[];
  /** Outputs that are made, beside the inputs. */
  readonly outputs: readonly string[];
  readonly secrets: readonly string[];
  make(inputs: Properties): { readonly id: string; readonly outputs: Properties };
}

const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();
const DIGITS = "0123456789";
const SPECIAL = "!@#$%&*()-_=+[]{}<>:?";

const TEXT_DEFAULTS: Properties = {
  lower: true,
  upper: true,
  number: true,
  numeric: true,
  special: true,
  minLower: 0,
  minUpper: 0,
  minNumeric: 0,
  minSpecial: 0,
};

const KINDS: Readonly<Record<string, Kind>> = {
  "random:index/randomPassword:RandomPassword": {
    defaults: TEXT_DEFAULTS,
    required: ["length"],
    optional: ["keepers", "overrideSpecial"],
    outputs: ["result"],
    secrets: ["result"],
    make: (inputs) => ({ id: "none", outputs: { result: text(inputs) } }),
  },
  "random:index/randomString:RandomString": {
    defaults: TEXT_DEFAULTS,
    required: ["length"],
    optional: ["keepers", "overrideSpecial"],
    outputs: ["result"],
    secrets: [],
    make: (inputs) => {
      const result = text(inputs);
      return { id: result, outputs: { result } };
    },
  },
  "random:index/randomBytes:RandomBytes": {
    defaults: {},
    required: ["length"],
    optional: ["keepers"],
    outputs: ["base64", "hex"],
    secrets: ["base64", "hex"],
    make: (inputs) => {
      const bytes = randomBytes(numberAt(inputs, "length") ?? 0);
      return { id: "none", outputs: { base64: bytes.toString("base64"), hex: bytes.toString("hex") } };
    },
  },
  "random:index/randomId:RandomId": {
    defaults: {},
    required: ["byteLength"],
    optional: ["keepers", "prefix"],
    outputs: ["b64Std", "b64Url", "dec", "hex"],
    secrets: [],
    make: (inputs) => {
      const bytes = randomBytes(numberAt(inputs, "byteLength") ?? 0);
      const prefix = textAt(inputs, "prefix");
      const url = bytes.toString("base64url");
      const hex = bytes.toString("hex");
      const forms = { b64Std: bytes.toString("base64"), b64Url: url, dec: BigInt(`0x${hex}`).toString(), hex };
      const outputs = Object.fromEntries(Object.entries(forms).map(([key, form]) => [key, prefix + form]));
      return { id: url, outputs };
    },
  },
  "random:index/randomUuid:RandomUuid": {
    defaults: {},
    required: [],
    optional: ["keepers"],
    outputs: ["result"],
    secrets: [],
    make: () => {
      const result = randomUUID();
      return { id: result, outputs: { result } };
    },
  },
  "random:index/randomInteger:RandomInteger": {
    defaults: {},
    required: ["min", "max"],
    optional: ["keepers"],
    outputs: ["result"],
    secrets: [],
    make: (inputs) => {
      const [min, max] = [numberAt(inputs, "min") ?? 0, numberAt(inputs, "max") ?? 0];
      const result = randomInt(min, max + 1);
      return { id: String(result), outputs: { result } };
    },
  },
};

/** A text of the asked length, with at least the asked number of each class, in random order. */
function text(inputs: Properties): string {
  const classes = [
    { on: inputs["lower"], characters: LOWER, least: numberAt(inputs, "minLower") ?? 0 },
    { on: inputs["upper"], characters: UPPER, least: numberAt(inputs, "minUpper") ?? 0 },
    { on: inputs["numeric"], characters: DIGITS, least: numberAt(inputs, "minNumeric") ?? 0 },
    {
      on: inputs["special"],
      characters: textAt(inputs, "overrideSpecial") || SPECIAL,
      least: numberAt(inputs, "minSpecial") ?? 0,
    },
  ];
  const all = classes.map(({ on, characters }) => (on === true ? characters : "")).join("");
  const drawn = classes.flatMap(({ characters, least }) => Array.from({ length: least }, () => draw(characters)));
  while (drawn.length < (numberAt(inputs, "length") ?? 0)) {
    drawn.push(draw(all));
  }
  for (let last = drawn.length - 1; last > 0; last--) {
    const other = randomInt(last + 1);
    [drawn[last], drawn[other]] = [drawn[other] ?? "", drawn[last] ?? ""];
  }
  return drawn.join("");
}

function draw(characters: string): string {
  return characters[randomInt(characters.length)] ?? "";
}

function faults(kind: Kind, inputs: Properties): readonly Failure[] {
  const allowed = [...Object.keys(kind.defaults), ...kind.required, ...kind.optional];
  const failures: Failure[] = [];
  for (const property of kind.required.filter((key) => inputs[key] === undefined)) {
    failures.push({ property, reason: `${property} is missing; set it` });
  }
  for (const property of Object.keys(inputs).filter((key) => !allowed.includes(key))) {
    failures.push({ property, reason: `${property} is not an input; allowed are ${allowed.join(", ")}` });
  }
  for (const property of ["length", "byteLength"].filter((key) => allowed.includes(key) && inputs[key] !== undefined)) {
    const value = inputs[property];
    if (!isUnknown(value) && !(Number.isInteger(value) && Number(value) >= 1)) {
      failures.push({ property, reason: `${property} is ${asText(value)}; give a whole number of at least 1` });
    }
  }
  if (kind.defaults === TEXT_DEFAULTS && !hasUnknown(inputs)) {
    const least = ["minLower", "minUpper", "minNumeric", "minSpecial"].reduce(
      (sum, key) => sum + (numberAt(inputs, key) ?? 0),
      0,
    );
    if (least > (numberAt(inputs, "length") ?? 0)) {
      failures.push({
        property: "length",
        reason: `the least numbers of characters add up to ${least}, which is more than length; raise it`,
      });
    }
    if (!["lower", "upper", "numeric", "special"].some((key) => inputs[key] === true)) {
      failures.push({
        property: "lower",
        reason: "no class of characters is left; allow lower, upper, numeric or special",
      });
    }
  }
  const { min, max } = inputs;
  if (typeof min === "number" && typeof max === "number" && min > max) {
    failures.push({ property: "max", reason: `max (${max}) is below min (${min}); raise it` });
  }
  return failures;
}

function resourceOf(type: string): ResourceType {
  const kind = KINDS[type];
  if (kind === undefined) {
    const known = Object.keys(KINDS).map((token) => token.split(":")[2]);
    throw new Error(`the stand-in for the random plugin has no ${type}; it has ${known.join(", ")}`);
  }
  const finished = (inputs: Properties, outputs: Properties): Properties => {
    const marked = Object.entries(outputs).map(([key, value]): [string, Value] => [
      key,
      kind.secrets.includes(key) ? secret(value) : value,
    ]);
    return { ...inputs, ...Object.fromEntries(marked) };
  };
  return {
    check({ news }) {
      const given = plainObject(news);
      // `number` is the old name of `numeric`; the official plugin keeps the two equal.
      const numeric = given["numeric"] ?? given["number"];
      const same = kind.defaults === TEXT_DEFAULTS && numeric !== undefined ? { number: numeric, numeric } : {};
      const inputs = { ...kind.defaults, ...given, ...same };
      return Promise.resolve({ inputs: { ...inputs, ...news, ...same }, failures: faults(kind, inputs) });
    },
    diff({ state, news }) {
      const old = Object.fromEntries(Object.entries(plainObject(state)).filter(([key]) => !kind.outputs.includes(key)));
      const wanted = plainObject(news);
      const keys = [...new Set([...Object.keys(old), ...Object.keys(wanted)])];
      // An empty text or map is as good as none: the official plugin's states hold them.
      const dropped = keys.filter((key) => !isSet(old[key]) && !isSet(wanted[key]));
      const kept = (properties: Properties): Properties =>
        Object.fromEntries(Object.entries(properties).filter(([key]) => !dropped.includes(key)));
      return Promise.resolve({ changes: difference(kept(old), kept(wanted), keys), deleteBeforeReplace: false });
    },
    create({ news, preview }) {
      if (preview) {
        const outputs = Object.fromEntries(kind.outputs.map((key) => [key, UNKNOWN]));
        return Promise.resolve({ id: "", state: finished(news, outputs) });
      }
      const { id, outputs } = kind.make(plainObject(news));
      return Promise.resolve({ id, state: finished(news, outputs) });
    },
    read({ id, state, inputs }) {
      if (optional(id) === undefined || Object.keys(state).length === 0) {
        throw new Error(`${type} cannot be imported with the stand-in for the random plugin; use the official one`);
      }
      return Promise.resolve({ id, state, inputs });
    },
    update({ state, news }) {
      // Only inputs that are as good as the old ones come here: every other change replaces.
      const outputs = Object.fromEntries(kind.outputs.map((key) => [key, state[key] ?? null]));
      return Promise.resolve({ ...news, ...outputs });
    },
    delete: () => Promise.resolve(),
  };
}

servePlugin((): Plugin => ({
  version,
  configure: () => Promise.resolve(),
  replacedBy: () => [],
  resource: resourceOf,
  cancel: () => undefined,
}));
