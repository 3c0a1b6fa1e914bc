import type { V1Pod } from "@kubernetes/client-node";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import { kubectl } from "./cluster";

const NAMESPACE = "monitoring";
const SERVICE = "kube-prometheus-stack-prometheus";

/** What Prometheus answers on a path of its API, asked through its Service. */
async function ask(rehearsal: Rehearsal, path: string): Promise<any> {
  const { spec } = await rehearsal.api.core.readNamespacedService({ name: SERVICE, namespace: NAMESPACE });
  const answer = await fetch(`http://${spec?.clusterIP}:9090/api/v1/${path}`, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).data;
}

/** The instant values of an expression. */
export async function query(rehearsal: Rehearsal, expression: string): Promise<object[]> {
  const { result } = await ask(rehearsal, `query?query=${encodeURIComponent(expression)}`);
  return result;
}

/** Each target that cannot be scraped and why, each endpoint of a monitor without one, and each pod that a monitor selects for nothing. */
export async function unscraped(rehearsal: Rehearsal): Promise<string[]> {
  const { activeTargets } = await ask(rehearsal, "targets?state=active");
  const down = activeTargets
    .filter(({ health }: any) => health !== "up")
    .map(({ scrapePool, scrapeUrl, lastError }: any) => `${scrapePool} ${scrapeUrl}: ${lastError}`);
  const monitors = await all(rehearsal, "podmonitors.monitoring.coreos.com,servicemonitors.monitoring.coreos.com");
  const pods = (await all(rehearsal, "pods")) as V1Pod[];
  const missing = monitors.flatMap(({ kind, metadata, spec }) => {
    const endpoints: object[] = spec.podMetricsEndpoints ?? spec.endpoints;
    const pool = `${kind[0].toLowerCase()}${kind.slice(1)}/${metadata.namespace}/${metadata.name}`;
    const found = activeTargets.filter(({ scrapePool }: any) => scrapePool.startsWith(`${pool}/`));
    const asked = found.map(({ labels }: any) => labels.pod);
    const selected = pods.filter(
      (pod) =>
        kind === "PodMonitor" &&
        pod.metadata?.namespace === metadata.namespace &&
        pod.status?.phase === "Running" &&
        Object.entries(spec.selector.matchLabels).every(([key, value]) => pod.metadata?.labels?.[key] === value),
    );
    return [
      ...endpoints
        .map((_, index) => `${pool}/${index}`)
        .filter((one) => !found.some(({ scrapePool }: any) => scrapePool === one))
        .map((one) => `${one}: has no target`),
      ...selected.flatMap((pod) =>
        asked.includes(pod.metadata?.name) ? [] : [`${pool}: misses ${pod.metadata?.name}`],
      ),
    ];
  });
  return [...down, ...missing];
}

/** The rules of the cluster that Prometheus has not loaded, and those that it cannot evaluate. */
export async function unruled(rehearsal: Rehearsal): Promise<string[]> {
  const { groups } = await ask(rehearsal, "rules");
  const loaded: any[] = groups.flatMap(({ rules }: any) => rules);
  const objects = await all(rehearsal, "prometheusrules.monitoring.coreos.com");
  const wanted: string[] = objects.flatMap(({ spec }) =>
    spec.groups.flatMap(({ rules }: any) => rules.map(({ alert, record }: any) => alert ?? record)),
  );
  return [
    ...wanted.filter((name) => !loaded.some((one) => one.name === name)).map((name) => `${name}: is not loaded`),
    ...loaded
      .filter(({ health }) => health !== "ok")
      .map(({ name, lastError }) => `${name}: ${lastError ?? "is not evaluated"}`),
  ];
}

async function all(rehearsal: Rehearsal, kinds: string): Promise<any[]> {
  const { items } = JSON.parse(
    await kubectl(rehearsal, NAMESPACE, ["get", kinds, "--all-namespaces", "--output=json"]),
  );
  return items;
}
