import type { KubernetesObject } from "@kubernetes/client-node";

type Live = KubernetesObject & {
  readonly status?: {
    readonly observedGeneration?: number;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
      readonly observedGeneration?: number;
    }[];
  };
};

/**
 * Why an object does not satisfy its annotation `pulumi.com/waitFor` yet, or undefined where it does. The annotation is one
 * expression or a JSON list of them: `condition=Type`, `condition=Type=Status` or `jsonpath={.path.to.field}=value`, the
 * forms that the program uses of those that the kubernetes plugin reads.
 *
 * @throws Error for any other expression.
 */
export function stillWaitsFor(annotation: string, live: KubernetesObject): string | undefined {
  const expressions = annotation.startsWith("[") ? (JSON.parse(annotation) as string[]) : [annotation];
  return expressions.map((expression) => unmet(expression, live)).find((reason) => reason !== undefined);
}

function unmet(expression: string, live: Live): string | undefined {
  const [, type, wanted = "True"] = /^condition=(\w+)(?:=(\w+))?$/.exec(expression) ?? [];
  if (type !== undefined) return unmetCondition(live, type, wanted);
  const [, path, value] = /^jsonpath=\{\.([\w.]+)\}=(\w+)$/.exec(expression) ?? [];
  if (path === undefined) throw new Error(`pulumi.com/waitFor: ${expression} is not understood; add its form here`);
  const found = path
    .split(".")
    .reduce<unknown>((parent, key) => (parent as Record<string, unknown> | undefined)?.[key], live);
  return String(found) === value ? undefined : `waiting for ${expression}, it is ${String(found)}`;
}

function unmetCondition({ metadata, status }: Live, type: string, wanted: string): string | undefined {
  const found = status?.conditions?.find((condition) => condition.type === type);
  if (found === undefined) return `waiting for condition ${type}=${wanted}`;
  const observed = found.observedGeneration ?? status?.observedGeneration;
  if (observed !== undefined && observed < (metadata?.generation ?? 0)) {
    return `waiting for condition ${type}=${wanted} of the present generation`;
  }
  if (found.status === wanted) return undefined;
  const reason = [found.reason, found.message].filter(Boolean).join(": ");
  return `waiting for condition ${type}=${wanted}, it is ${found.status}${reason && ` (${reason})`}`;
}
