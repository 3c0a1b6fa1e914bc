/** A JSON Schema, as far as those of outputs go. */
export interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly definitions?: Readonly<Record<string, Schema>>;
  readonly [keyword: string]: unknown;
}

/** A key of the outputs, and what became of it. */
export interface Change {
  readonly key: string;
  readonly what: string;
}

/** What another schema of the outputs means for who reads those of the old one. */
export interface ContractChange {
  readonly level: "major" | "minor" | "none";
  /** What a reader may miss, or not understand. */
  readonly broken: readonly Change[];
  readonly added: readonly string[];
}

// These say nothing of a value. Readers ignore keys that they do not know, whether the old schema let them or not.
const SILENT = ["$id", "$schema", "title", "description", "additionalProperties", "definitions"];

/** The semantic version's part that a change of the schema raises: a key that is gone or another one breaks, a new one adds. */
export function contractChange(old: Schema, now: Schema): ContractChange {
  const { broken, added } = compare(resolved(old), resolved(now), "");
  return { level: broken.length > 0 ? "major" : added.length > 0 ? "minor" : "none", broken, added };
}

function compare(old: Schema, now: Schema, key: string): Pick<ContractChange, "broken" | "added"> {
  const { properties: before = {}, required: promised = [] } = old;
  const { properties: after = {}, required: kept = [] } = now;
  const here = (name: string) => (key === "" ? name : `${key}.${name}`);
  const inside = Object.keys(before).flatMap((name) => {
    const [was, is] = [before[name], after[name]];
    return was && is ? [compare(was, is, here(name))] : [];
  });
  return {
    broken: [
      ...keywords(old, now).map((keyword) => ({
        key,
        what: `${keyword} was ${JSON.stringify(old[keyword])}, is ${JSON.stringify(now[keyword])}`,
      })),
      ...Object.keys(before).flatMap((name) => {
        if (!(name in after)) return [{ key: here(name), what: "is gone" }];
        return promised.includes(name) && !kept.includes(name) ? [{ key: here(name), what: "may be absent now" }] : [];
      }),
      ...inside.flatMap(({ broken }) => broken),
    ],
    added: [
      ...Object.keys(after).flatMap((name) => (name in before ? [] : [here(name)])),
      ...inside.flatMap(({ added }) => added),
    ],
  };
}

/** The keywords on which two schemas of one value differ, apart from its keys. */
function keywords(old: Schema, now: Schema): string[] {
  const all = new Set([...Object.keys(old), ...Object.keys(now)]);
  return [...all].filter(
    (keyword) =>
      ![...SILENT, "properties", "required"].includes(keyword) &&
      JSON.stringify(old[keyword]) !== JSON.stringify(now[keyword]),
  );
}

/** A schema in which every reference is replaced by what it leads to. */
function resolved(schema: Schema, definitions = schema.definitions ?? {}): Schema {
  const { $ref, allOf = [], properties, ...rest } = schema;
  const target = $ref === undefined ? undefined : definitions[$ref.replace("#/definitions/", "")];
  const parts = [...allOf, ...(target ? [target] : [])].map((part) => resolved(part, definitions));
  return {
    ...(Object.assign({}, ...parts) as Schema),
    ...rest,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([key, one]) => [key, resolved(one, definitions)])),
    }),
  };
}

/** The version of the packages that read outputs of a schema; the schema of contract 1 had none. */
export function versionOf({ $id, properties }: Schema): string {
  return typeof $id === "string" ? ($id.split(":").at(-1) ?? "") : `${String(properties?.["contract"]?.["const"])}.0.0`;
}

/** The least version after a change. */
export function atLeast(old: string, level: ContractChange["level"]): string {
  const [major = 0, minor = 0] = old.split(".").map(Number);
  if (level === "major") return `${major + 1}.0.0`;
  return level === "minor" ? `${major}.${minor + 1}.0` : old;
}

/** Whether a version is another one, or a later one. */
export function isAtLeast(version: string, least: string): boolean {
  return version.localeCompare(least, "en", { numeric: true }) >= 0;
}
