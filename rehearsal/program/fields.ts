/** The inputs of a resource, with `[secret]` in place of each secret. */
export type Inputs = Readonly<Record<string, unknown>>;

interface Header {
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
}

/** `kind namespace/name` of a Kubernetes object or a Helm release. */
export function titleOf(inputs: Inputs): string {
  const { kind, metadata, name, namespace } = inputs as Header & { kind?: string; metadata?: Header };
  const header = metadata ?? { name, namespace };
  return `${kind ?? "Release"} ${header.namespace === undefined ? "" : `${header.namespace}/`}${header.name}`;
}

/** The JSON of a field such as `metadata.labels["app.kubernetes.io/name"]` or `spec.ports[0].port`. */
export function valueAt(inputs: Inputs | undefined, field: string): string | undefined {
  let value: unknown = inputs;
  for (const key of keysOf(field)) {
    if (value === "[secret]") break;
    value = (value as Inputs | undefined)?.[key];
  }
  return JSON.stringify(value);
}

/** The keys that lead to a field. */
export function keysOf(field: string): string[] {
  return [...field.matchAll(/\["([^"]+)"\]|\[(\d+)\]|([^.[\]]+)/g)].map(
    ([, quoted, index, key]) => quoted ?? index ?? key ?? "",
  );
}
