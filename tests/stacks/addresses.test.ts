import assert from "node:assert/strict";
import { secretReferences } from "../../rehearsal/program/secret-references";
import {
  allPods,
  label,
  type Labels,
  objects,
  ourPods,
  type Pods,
  selected,
  tenantNamespaces,
  tenantPods,
} from "../support/manifests";
import { all, type Registered } from "../support/mocks";
import { program, SHAPES } from "../support/program";

// Addresses that pods hold and do not call, by `<pods>: <Service>`, and why.
const NOT_CALLED: Readonly<Record<string, string>> = {
  "Deployment data-platform/mlflow: mlflow.data-platform": "the hosts that it answers to",
  "Job data-platform/superset-setup: redis.data-platform":
    "one Secret has all logins of Superset; the setup asks PostgreSQL",
  "Job data-platform/polaris-setup: minio.data-platform": "saved in the catalog: Polaris and its clients call it",
  "Job data-platform/polaris-setup: seaweedfs-s3.data-platform":
    "saved in the catalog: Polaris and its clients call it",
  ...Object.fromEntries(
    [
      ...["workers", "gpu-workers", "large"].map((group) => `RayCluster data-platform/ray-cluster, ${group}`),
      ...["workers", "vision"].map((group) => `RayService data-platform/ray-serve-cluster, ${group}`),
    ].map((workers) => [`${workers}: redis.data-platform`, "an option of the cluster, which heads alone are told"]),
  ),
};

// Objects whose addresses are called by others than the pods that read them.
const CALLERS: Readonly<Record<string, readonly string[]>> = {
  // What the setup saves, the server and the workers query.
  "ConfigMap data-platform/superset-setup": [
    "Deployment data-platform/superset",
    "Deployment data-platform/superset-worker",
  ],
  // The pods of a database upload its backups.
  "ObjectStore data-platform/postgres-backups": ["Cluster data-platform/postgres"],
  // Proxies verify the server behind a route.
  "BackendTLSPolicy data-platform/gateway-api-s3": ["EnvoyProxy gateway/gateway"],
  // Every node of a query opens the catalogs.
  "Release data-platform/trino": ["chart trino, trino-coordinator", "chart trino, trino-worker"],
};

// The names that a certificate is for, and those that the gateway answers to; a Service leads to its pods whatever it is called.
const NAMES_ALONE = ["Certificate", "Service", "CustomResourceDefinition", "Gateway", "HTTPRoute"];

// What the stack publishes to everybody: whom its readers may call follows from their grants (tests/contract.test.ts checks it).
const PUBLISHED = "platform-outputs";

for (const shape of SHAPES) {
  describe(`the addresses in ${shape}`, () => {
    it("lead to Services, by a wire from each pod that is given one", async () => {
      const { seen } = await program(shape);
      const services = servicesOf(seen);
      const given = [...objects(seen), ...all(seen, RELEASE)]
        .filter(({ inputs }) => !NAMES_ALONE.includes(inputs.kind) && inputs.metadata?.name !== PUBLISHED)
        .flatMap((object) => addressesIn(object, services).map((address) => ({ object, ...address })));
      assert.ok(given.length > 20, `${given.length} addresses found: does addressesIn still see them?`);
      const faults = given.flatMap(({ object, service, port }) => {
        const at = `${title(object)}: ${service}${port === undefined ? "" : `:${port}`}`;
        const target = services.get(service);
        if (target === undefined) return [`${at} is no Service: take the name from the endpoint of who makes it`];
        const ports = port === undefined ? [...target.ports.values()] : [target.ports.get(port)];
        if (ports.includes(undefined)) return [`${at}: the Service has ports ${[...target.ports.keys()].join(", ")}`];
        const { pods, one = false } = readersOf(seen, object);
        if (pods.length === 0) return [`${at} is read by no pod: take it out, or tell readersOf who does`];
        const cut = pods.filter(
          (pod) =>
            !(`${pod.owner}: ${service}` in NOT_CALLED) &&
            !ports.some((open) => open !== undefined && reaches(seen, pod, target, open)),
        );
        if (one ? cut.length < pods.length : cut.length === 0) return [];
        return [
          `${at} cannot be reached by ${cut.map(({ owner }) => owner).join(" or ")}: add the endpoint to talksTo`,
        ];
      });
      assert.deepEqual([...new Set(faults)], []);
    });
  });
}

const RELEASE = "kubernetes:helm.sh/v3:Release";

function title(object: Registered): string {
  return object.type === RELEASE ? `Release ${object.inputs.namespace}/${object.name}` : label(object);
}

/** The pods behind a Service, and its ports, each with the one that the pods listen on. */
interface Target {
  readonly pods: readonly Pods[];
  readonly ports: ReadonlyMap<number, number>;
}

/** Every Service that there will be, by `<name>.<namespace>`: the program's, those of charts and those of operators. */
function servicesOf(seen: readonly Registered[]): Map<string, Target> {
  const pods = allPods(seen);
  const ours = all(seen, "kubernetes:core/v1:Service");
  const services = new Map<string, Target>();
  for (const { inputs } of ours.filter(({ inputs: { spec } }) => spec.type !== "ExternalName")) {
    const { metadata, spec } = inputs;
    const behind = selected(pods, metadata.namespace, spec.selector);
    const portOf = ({ port, targetPort }: any) => [port, behind[0]?.ports?.[targetPort] ?? targetPort] as const;
    services.set(`${metadata.name}.${metadata.namespace}`, { pods: behind, ports: new Map(spec.ports.map(portOf)) });
  }
  for (const { name, inputs } of all(seen, "carbon:base:ChartRelease")) {
    for (const { name: service, port, podPort, workload } of inputs.declares.services) {
      const behind = pods.filter(({ owner }) => owner === `chart ${name}, ${String(workload)}`);
      const known = services.get(`${service}.${behind[0]?.namespace}`)?.ports ?? [];
      services.set(`${service}.${behind[0]?.namespace}`, { pods: behind, ports: new Map([...known, [port, podPort]]) });
    }
  }
  for (const { inputs } of objects(seen)) {
    const { kind, metadata, spec } = inputs;
    const made: Record<string, [string, Labels, number[]]> = {
      Cluster: ["rw", { "cnpg.io/cluster": metadata.name }, [5432]],
      Elasticsearch: ["es-http", { "elasticsearch.k8s.elastic.co/cluster-name": metadata.name }, [9200]],
      Kafka: [
        "kafka-bootstrap",
        { "strimzi.io/name": `${metadata.name}-kafka` },
        spec?.kafka?.listeners.map(({ port }: any) => port),
      ],
    };
    const [suffix, labels, ports] = made[kind] ?? [];
    if (suffix === undefined || labels === undefined || ports === undefined) continue;
    services.set(`${metadata.name}-${suffix}.${metadata.namespace}`, {
      pods: selected(pods, metadata.namespace, labels),
      ports: new Map(ports.map((port) => [port, port])),
    });
  }
  for (const { inputs } of all(seen, "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy")) {
    const { namespace } = inputs.metadata;
    const { envoyService, envoyDeployment } = inputs.spec.provider.kubernetes;
    services.set(`${envoyService.name}.${namespace}`, {
      pods: selected(pods, namespace, envoyDeployment.pod.labels),
      ports: new Map([80, 443].map((port) => [port, port + 10000])),
    });
  }
  for (const { inputs } of ours.filter(({ inputs: { spec } }) => spec.type === "ExternalName")) {
    const target = services.get(inputs.spec.externalName.replace(DOMAIN, ""));
    if (target) services.set(`${inputs.metadata.name}.${inputs.metadata.namespace}`, target);
  }
  return services;
}

const DOMAIN = /\.svc(\.cluster\.local)?$/;

// Neither the user before an @ nor the tag of an image is a port or a host.
const ADDRESS = /(\/\/|@)?(?<![\w.-])([a-z*][\w*.-]*)(?![^\s"/]*@)(?::(\d+)(?![\w.-]))?/g;

/** The in-cluster addresses that an object holds: names that end like a Service's, and short ones in URLs or before a port. */
function addressesIn({ inputs }: Registered, services: ReadonlyMap<string, Target>) {
  const own: string = inputs.metadata?.namespace ?? inputs.namespace;
  const text = JSON.stringify({ ...inputs, metadata: undefined }).replaceAll(/\\[nt"]/g, " ");
  return [...text.matchAll(ADDRESS)].flatMap(([, scheme, host = "", port]) => {
    const labels = host.replace(DOMAIN, "").split(".");
    const isLong = DOMAIN.test(host);
    const [name = "", namespace = own] = isLong ? labels.slice(-2) : labels;
    const service = `${name}.${namespace}`;
    const isShort = labels.length <= 2 && services.has(service) && (scheme ?? port) !== undefined;
    return isLong || isShort ? [{ service, port: port === undefined ? undefined : Number(port) }] : [];
  });
}

/** The pods that are given what an object holds; `one` where it is known only that one of them is. */
function readersOf(seen: readonly Registered[], object: Registered): { pods: readonly Pods[]; one?: boolean } {
  const { kind, metadata } = object.inputs;
  const callers = CALLERS[title(object)];
  if (callers !== undefined) return { pods: allPods(seen).filter(({ owner }) => callers.includes(owner)) };
  if (object.type === RELEASE) return { pods: chartPods(seen, object), one: true };
  // Members mount them where they like.
  if (kind === "Secret" && tenantNamespaces(seen).includes(metadata.namespace)) {
    return { pods: tenantPods(seen).filter((pod) => pod.namespace === metadata.namespace), one: true };
  }
  const workload = ourPods(seen).filter(({ resource }) => resource === object);
  if (workload.length > 0) return { pods: workload };
  const names = (other: Registered) =>
    other.inputs.metadata.namespace === metadata.namespace &&
    (kind === "Secret"
      ? secretReferences(other.inputs).some(({ secret }) => secret === metadata.name)
      : JSON.stringify(other.inputs).includes(`"configMap":{"name":"${metadata.name}"`));
  const ours = ourPods(seen).filter(({ resource }) => names(resource));
  if (ours.length > 0) return { pods: ours };
  const releases = all(seen, RELEASE).filter(({ inputs }) => JSON.stringify(inputs.values).includes(metadata.name));
  return { pods: releases.flatMap((release) => chartPods(seen, release)), one: true };
}

function chartPods(seen: readonly Registered[], { name }: Registered): Pods[] {
  return allPods(seen).filter(({ owner }) => owner.startsWith(`chart ${name}, `));
}

/** Whether the policies let a pod go to every pod behind a Service, on a port of theirs. */
function reaches(seen: readonly Registered[], from: Pods, { pods }: Target, port: number): boolean {
  const rules = all(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy").flatMap(({ inputs }) => {
    const { podSelector, egress = [] } = inputs.spec;
    const holds = selected([from], inputs.metadata.namespace, podSelector.matchLabels ?? {}).length > 0;
    return holds ? (egress as any[]) : [];
  });
  return pods.every((pod) =>
    rules.some(
      ({ to = [], ports = [] }) =>
        ports.some((open: any) => open.port <= port && port <= (open.endPort ?? open.port)) &&
        to.some(
          ({ namespaceSelector, podSelector }: any) =>
            podSelector !== undefined &&
            selected([pod], namespaceSelector.matchLabels[NAMESPACE], podSelector.matchLabels).length > 0,
        ),
    ),
  );
}

const NAMESPACE = "kubernetes.io/metadata.name";
