import type { V1Container, V1Probe, V1Volume } from "@kubernetes/client-node";
import type { Manifest } from "../../../rehearsal/operators/operator";

/** What is compared of an object: a value by its place, such as `Pod postgres-1 grace`. */
export type Facts = ReadonlyMap<string, string>;

/** The kinds that are looked at. */
export const KINDS = [
  "services,secrets,serviceaccounts,configmaps,persistentvolumeclaims,pods,statefulsets.apps,jobs.batch",
  "poddisruptionbudgets.policy,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io",
  "certificaterequests.cert-manager.io",
].join();

// Of each namespace, whoever runs there.
const EVERYWHERE = ["ServiceAccount default", "ConfigMap kube-root-ca.crt", "Service kubernetes"];
// What controllers of Kubernetes and random numbers add.
const NOISE =
  /^(controller-revision-hash|statefulset\.kubernetes\.io\/|apps\.kubernetes\.io\/|batch\.kubernetes\.io\/|(job-name|controller-uid)$)|hash/;
const RANDOM = /(-[a-f0-9]{8,10})?-[a-z0-9]{5}$/;

/** The facts of objects of all kinds. */
export function factsOf(objects: readonly Manifest[]): Facts {
  const facts = new Map<string, string>();
  for (const object of objects) {
    const { kind, metadata } = object;
    const ofRequest = kind === "CertificateRequest" || metadata["generateName"] !== undefined;
    const name = `${kind} ${ofRequest ? metadata.name.replace(RANDOM, "-*") : metadata.name}`;
    if (EVERYWHERE.includes(name)) continue;
    facts.set(name, "is there");
    const add = (place: string, value: unknown): void => {
      if (value === undefined || value === null || value === "") return;
      facts.set(`${name} ${place}`, typeof value === "string" ? value : JSON.stringify(sorted(value)));
    };
    for (const [key, value] of Object.entries(metadata.labels ?? {})) if (!NOISE.test(key)) add(`label ${key}`, value);
    for (const [place, value] of Object.entries(OF_KIND[kind]?.(object as any) ?? {})) add(place, value);
  }
  return facts;
}

const OF_KIND: Readonly<Record<string, (object: any) => object>> = {
  Service: ({ spec }) => ({
    headless: spec.clusterIP === "None" || undefined,
    selector: spec.selector,
    ports: spec.ports.map(({ name, port, targetPort }: any) => `${name}:${port}>${targetPort}`).sort(),
    "not ready too": spec.publishNotReadyAddresses,
  }),
  Secret: ({ type, data }) => ({ type, keys: Object.keys(data ?? {}).sort() }),
  ConfigMap: ({ data }) => ({ keys: Object.keys(data ?? {}).sort() }),
  PersistentVolumeClaim: ({ spec }) => ({
    size: spec.resources.requests.storage,
    class: spec.storageClassName,
    modes: spec.accessModes,
  }),
  StatefulSet: ({ spec }) => ({
    pods: spec.replicas,
    service: spec.serviceName,
    selector: spec.selector.matchLabels,
    start: spec.podManagementPolicy,
    update: spec.updateStrategy.type,
    retention: spec.persistentVolumeClaimRetentionPolicy,
  }),
  Pod: ({ spec }) => ({
    account: spec.serviceAccountName,
    token: spec.automountServiceAccountToken,
    grace: spec.terminationGracePeriodSeconds,
    priority: spec.priorityClassName,
    security: spec.securityContext,
    affinity: spec.affinity,
    ...Object.fromEntries(((spec.volumes ?? []) as V1Volume[]).flatMap(volumeFacts)),
    ...Object.fromEntries((spec.containers as V1Container[]).flatMap((one) => containerFacts("container", one))),
    ...Object.fromEntries(((spec.initContainers ?? []) as V1Container[]).flatMap((one) => containerFacts("init", one))),
  }),
};

function volumeFacts({ name, ...source }: V1Volume): [string, unknown][] {
  // The token that admission mounts.
  if (name.startsWith("kube-api-access-")) return [];
  const claim = source.persistentVolumeClaim?.claimName;
  const size = source.emptyDir?.sizeLimit;
  return [
    [`volume ${name}`, claim === undefined ? `${Object.keys(source).join()} ${size ?? ""}`.trim() : `claim ${claim}`],
  ];
}

function containerFacts(what: string, container: V1Container): [string, unknown][] {
  const { name, resources, ports = [], securityContext, lifecycle } = container;
  const at = `${what} ${name}`;
  return [
    [at, "is there"],
    [`${at} requests`, resources?.requests],
    [`${at} limits`, resources?.limits],
    [`${at} ports`, ports.length > 0 ? ports.map((port) => `${port.name}:${port.containerPort}`).sort() : undefined],
    [`${at} security`, securityContext],
    [`${at} before it stops`, lifecycle?.preStop && Object.keys(lifecycle.preStop).join()],
    ...(["startupProbe", "livenessProbe", "readinessProbe"] as const).map((probe): [string, unknown] => [
      `${at} ${probe}`,
      container[probe] && probeFacts(container[probe]),
    ]),
  ];
}

function probeFacts({ httpGet, tcpSocket, exec, periodSeconds, failureThreshold }: V1Probe): string {
  const asks = httpGet
    ? `${httpGet.scheme} ${httpGet.path} at ${httpGet.port}`
    : tcpSocket
      ? `TCP ${tcpSocket.port}`
      : (exec?.command ?? []).join(" ");
  return `${asks}, ${failureThreshold} times every ${periodSeconds} s`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

/** Where facts differ: `<place>: <real>, simulated <simulated>`. */
export function differences(real: Facts, simulated: Facts): string[] {
  const places = [...new Set([...real.keys(), ...simulated.keys()])].sort();
  return (
    places
      .filter((place) => real.get(place) !== simulated.get(place))
      // Of an object, or a container, that only one has, that is all there is to say.
      .filter((place) => !places.some((whole) => place.startsWith(`${whole} `) && onlyOne(whole, real, simulated)))
      .map((place) => `${place}: ${real.get(place) ?? "none"}, simulated ${simulated.get(place) ?? "none"}`)
  );
}

function onlyOne(place: string, real: Facts, simulated: Facts): boolean {
  return [real.get(place), simulated.get(place)].includes("is there") && real.has(place) !== simulated.has(place);
}
