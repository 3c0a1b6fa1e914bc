import type { KubernetesObject, V1CustomResourceDefinition, V1RuleWithOperations } from "@kubernetes/client-node";
import type { Fault, Question } from "./check";
import { type ClusterView, FIELD_MANAGER, nameOf } from "./cluster";
import { type Expected, type ExpectedObject, ofKind, title } from "./expected";
import { pluralOf } from "./rights";

const TOPIC = "conflicts";

/** What would stop the first `up`: others' CRDs, webhooks, and objects with the program's names. */
export function conflicts(expected: Expected, cluster: ClusterView): Question[] {
  return [
    {
      topic: TOPIC,
      name: "CRDs are free or ours",
      ask: async () => {
        const live = await cluster.crds();
        const ours = crdsOf(expected);
        const faults = live.flatMap((crd) => {
          const wanted = ours.find(({ name }) => name === crd.metadata?.name);
          return wanted === undefined ? [] : crdFaults(crd, wanted);
        });
        return { found: `${ours.length} wanted, ${live.length} in the cluster`, faults };
      },
    },
    {
      topic: TOPIC,
      name: "webhooks answer or let pass",
      ask: async () => {
        const all = (await Promise.all([cluster.validatingWebhooks(), cluster.mutatingWebhooks()])).flat();
        const services = new Set((await cluster.services()).map(nameOf));
        const faults = all.flatMap((configuration) => webhookFaults(configuration, expected, services));
        return { found: `${all.length} configurations`, faults };
      },
    },
    {
      topic: TOPIC,
      name: "names are free",
      ask: async () => {
        const wanted = expected.objects.filter(({ kind }) => kind !== "CustomResourceDefinition");
        const found = await Promise.all(wanted.map(async (object) => ({ object, live: await cluster.read(object) })));
        const taken = found.filter(({ live }) => live !== undefined);
        return {
          found: `${wanted.length - taken.length} of ${wanted.length}`,
          faults: takenFaults(taken, expected.stack),
        };
      },
    },
  ];
}

interface Taken {
  readonly object: ExpectedObject;
  readonly live: KubernetesObject | undefined;
}

/** One fault for all that Pulumi made, since one step decides about them, and one for each object of somebody else's. */
export function takenFaults(taken: readonly Taken[], stack: string): Fault[] {
  const managersOf = ({ live }: Taken) => live?.metadata?.managedFields?.map(({ manager = "" }) => manager) ?? [];
  const pulumis = taken.filter((one) => managersOf(one).some((manager) => manager.startsWith(FIELD_MANAGER)));
  const others = taken.filter((one) => !pulumis.includes(one));
  const kinds = [...new Set(pulumis.map(({ object }) => object.kind))].sort();
  const counts = kinds.map((kind) => `${pulumis.filter(({ object }) => object.kind === kind).length} ${kind}`);
  const next = `if ${stack} is up here, leave out --before; if its first up was killed, npm run recover -- --stack ${stack}`;
  return [
    ...(pulumis.length > 0
      ? [{ what: `${pulumis.length} objects exist, made by Pulumi: ${counts.join(", ")}`, next }]
      : []),
    ...others.map((one) => ({
      what: `${title(one.object)} exists, made by ${managersOf(one)[0] ?? "somebody"}`,
      next: "delete or import it",
    })),
  ];
}

interface WantedCrd {
  readonly name: string;
  /** The versions it will serve, if the program itself installs it. */
  readonly served?: readonly string[];
  /** The release that installs it, if a chart does. */
  readonly release?: string;
}

function crdsOf(expected: Expected): WantedCrd[] {
  const own = ofKind(expected, "CustomResourceDefinition").map(({ name, inputs }) => {
    const { spec } = inputs as unknown as V1CustomResourceDefinition;
    return { name, served: spec.versions.filter(({ served }) => served).map((version) => version.name) };
  });
  const byCharts = expected.releases.flatMap(({ name: release, crds }) => crds.map((name) => ({ name, release })));
  return [...own, ...byCharts];
}

/** Why an existing CRD stops the program's. */
export function crdFaults(
  { metadata, status }: V1CustomResourceDefinition,
  { name, served, release }: WantedCrd,
): Fault[] {
  const faults: Fault[] = [];
  const managers = metadata?.managedFields?.map(({ manager = "" }) => manager) ?? [];
  const owner = metadata?.annotations?.["meta.helm.sh/release-name"];
  const isOurs = release === undefined ? managers.some((one) => one.startsWith(FIELD_MANAGER)) : owner === release;
  if (!isOurs) {
    const by = owner === undefined ? (managers[0] ?? "somebody") : `Helm release ${owner}`;
    faults.push({
      what: `${name} exists, made by ${by}`,
      next: "remove that operator, or import the CRD with npx pulumi import",
    });
  }
  const stored = status?.storedVersions ?? [];
  const lost = served === undefined ? [] : stored.filter((version) => !served.includes(version));
  if (lost.length > 0) {
    const what = `${name} stores ${lost.join(", ")}, which ours does not serve`;
    faults.push({ what, next: "migrate its objects to a newer version, then drop it from status.storedVersions" });
  }
  return faults;
}

type WebhookConfiguration = KubernetesObject & {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly failurePolicy?: string;
    readonly rules?: readonly V1RuleWithOperations[];
    readonly clientConfig: { readonly service?: { readonly namespace: string; readonly name: string } };
  }[];
};

/** Webhooks for the program's kinds that must answer, but whose Service does not exist. */
export function webhookFaults(
  configuration: WebhookConfiguration,
  expected: Pick<Expected, "objects">,
  services: ReadonlySet<string>,
): Fault[] {
  return (configuration.webhooks ?? []).flatMap(({ name, failurePolicy = "Fail", rules = [], clientConfig }) => {
    const { service } = clientConfig;
    if (failurePolicy !== "Fail" || service === undefined) return [];
    const target = `${service.namespace}/${service.name}`;
    const kinds = [...new Set(expected.objects.filter((one) => isIntercepted(one, rules)).map(({ kind }) => kind))];
    if (kinds.length === 0 || services.has(target)) return [];
    return [
      {
        what: `${nameOf(configuration)}, ${name}: stops every ${kinds.join(", ")}, since Service ${target} does not exist`,
        next: `bring ${target} back, or kubectl delete the configuration`,
      },
    ];
  });
}

function isIntercepted({ apiVersion, kind }: ExpectedObject, rules: readonly V1RuleWithOperations[]): boolean {
  const group = apiVersion.includes("/") ? (apiVersion.split("/")[0] ?? "") : "";
  return rules.some(
    ({ apiGroups = [], resources = [], operations = [] }) =>
      (apiGroups.includes("*") || apiGroups.includes(group)) &&
      (resources.includes("*") || resources.includes("*/*") || resources.includes(pluralOf(kind))) &&
      (operations.includes("*") || operations.includes("CREATE")),
  );
}
