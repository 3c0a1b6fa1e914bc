import assert from "node:assert/strict";
import type { PlatformConfig } from "../../stacks/config/schema";
import { all, only, type Registered } from "../support/mocks";
import { TENANTS } from "../support/tenants";
import { allPods, label, type Labels, OBSERVERS, ourPods, selected } from "../support/manifests";
import { configOf, type Program, program, run, SHAPES } from "../support/program";
import {
  flows,
  HBONE,
  holds,
  meshReachability,
  type Party,
  plaintext,
  type Ports,
  reachability,
} from "../support/reachability";

const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const NAMESPACE = "kubernetes.io/metadata.name";

for (const shape of SHAPES) {
  describe(`the network of ${shape}`, () => {
    it("has no Service without pods that listen on its ports", async () => {
      const { seen } = await program(shape);
      // An alias in DNS leads to another Service: tests/contract.test.ts.
      const services = all(seen, "kubernetes:core/v1:Service").filter(
        ({ inputs }) => inputs.spec.type !== "ExternalName",
      );
      assert.ok(services.length > 0, "no Service was found: does the type still match?");
      for (const service of services) {
        const { metadata, spec } = service.inputs;
        const behind = selected(allPods(seen), metadata.namespace, spec.selector);
        assert.ok(behind.length > 0, `${label(service)} selects no pod`);
        for (const pod of behind) {
          for (const { port, targetPort } of spec.ports) {
            assert.equal(pod.ports?.[targetPort], port, `${label(service)}: ${pod.owner} has no port ${targetPort}`);
          }
        }
      }
    });

    it("has no policy for or about pods that nobody runs", async () => {
      const { seen } = await program(shape);
      const pods = [...allPods(seen), ...OBSERVERS];
      for (const policy of all(seen, POLICY)) {
        const { metadata, spec } = policy.inputs;
        const rules = [...(spec.ingress ?? []), ...(spec.egress ?? [])];
        const peers = rules.flatMap(({ from = [], to = [] }: any) => [...from, ...to]).filter((one) => !one.ipBlock);
        const ends: [string, Labels][] = [
          [metadata.namespace, spec.podSelector.matchLabels ?? {}],
          ...peers.map((one): [string, Labels] => [
            one.namespaceSelector.matchLabels[NAMESPACE],
            one.podSelector.matchLabels,
          ]),
        ];
        for (const [namespace, labels] of ends) {
          const isDefault = Object.keys(labels).length === 0;
          if (isDefault)
            assert.match(policy.name, /-(default-deny|allow-dns|allow-probes)$/, "only defaults cover all pods");
          else assert.ok(selected(pods, namespace, labels).length > 0, `${label(policy)}: ${JSON.stringify(labels)}`);
        }
      }
    });

    it("lets pods reach what the wiring table says, and nothing else", async () => {
      const { config, said, policies, parties, mesh } = network(await program(shape));
      const mend =
        "policies are made from the table alone: mend components/base/wiring.ts, or the labels and accounts of these pods";
      assert.ok(mesh !== undefined, "the stack has no mesh");
      const open = meshReachability(policies, mesh, parties, { podCidr: config.cluster.podCidr, enforced: true });
      assert.ok(open.length > 100, `only ${open.length} connections are open`);
      assert.deepEqual(without(said, open), [], `the table has it, and policies do not let it pass; ${mend}`);
      assert.deepEqual(without(open, said), [], `policies let it pass, and the table does not have it; ${mend}`);
    });

    it("keeps pods in the mesh closed to whom the table does not name, where the CNI ignores policies", async () => {
      const { config, seen, said, policies, parties, mesh } = network(await program(shape));
      assert.ok(mesh !== undefined, "the stack has no mesh");
      const { podCidr } = config.cluster;
      const open = meshReachability(policies, mesh, parties, { podCidr, enforced: false });
      const servers = new Set(said.map((flow) => flow.replace(/.* -> (.*) \S+$/, "$1")));
      const meshed = parties.filter((one) => "namespace" in one && mesh.namespaces.includes(one.namespace));
      const closed = meshed.map(({ name }) => name);
      const served = closed.filter((name) => servers.has(name));
      assert.ok(served.length >= 23, `only ${served.length} kinds of servers are in the mesh`);
      const ports = new Map<string, Set<string>>();
      for (const wire of only(seen, "carbon:base:Wires").inputs.wires) {
        // The API server and the world call without an identity, from addresses that pods may have as well.
        if (wire.from.cidrs === undefined) continue;
        for (const { name } of selected(named(seen), wire.to.namespace, wire.to.labels)) {
          ports.set(
            name,
            new Set([...(ports.get(name) ?? []), ...wire.ports.map((port: string) => `${port}-${port}`)]),
          );
        }
      }
      for (const server of meshed) {
        if (!("namespace" in server)) continue;
        const unencrypted: string[] = plaintext(mesh, server).map(([first, last]) => `${first}-${last}`);
        const called = ports.get(server.name) ?? new Set();
        const fault = `${server.name} takes connections without mTLS: only the API server and the world may call so`;
        assert.deepEqual(unencrypted, [...called], fault);
      }
      const accounts = new Map(
        parties.map((one) => [one.name, "namespace" in one ? `${one.namespace} ${one.serviceAccount}` : ""]),
      );
      const alike = new Set(
        said.map((flow) => flow.replace(/^(.*) -> /, (_, from: string) => `${accounts.get(from) ?? ""} -> `)),
      );
      const more = without(open, said).filter((flow) => {
        const [, from = "", to = "", range = ""] = /^(.*) -> (.*) (\S+)$/.exec(flow) ?? [];
        if (!closed.includes(to) || ports.get(to)?.has(range)) return false;
        // Pods of one account are one identity to the mesh.
        return !alike.has(`${accounts.get(from) ?? ""} -> ${to} ${range}`);
      });
      assert.deepEqual(more, [], "the mesh lets it pass, and the table does not have it");
    });

    it("opens only ports that somebody listens on", async () => {
      const { seen } = await program(shape);
      for (const policy of all(seen, POLICY)) {
        const { metadata, spec } = policy.inputs;
        // The kubelet, which probes every port in a mesh.
        if (metadata.name === "allow-probes") continue;
        for (const { ports: open } of spec.ingress ?? []) {
          const ports = open.filter(({ port }: any) => port !== HBONE);
          assert.ok(ports.length > 0, `${label(policy)} opens every port`);
          for (const pod of selected(ourPods(seen), metadata.namespace, spec.podSelector.matchLabels)) {
            // Ray's nodes talk among themselves on ports that no Service names: tests/components/ml/ray.test.ts.
            if (ports.some(({ endPort }: any) => endPort !== undefined)) continue;
            for (const { port } of ports) {
              assert.ok(
                Object.values(pod.ports ?? {}).includes(port),
                `${label(policy)}: ${pod.owner} ${String(port)}`,
              );
            }
          }
        }
      }
    });

    it("starts no pod beside the mesh after a node's restart, while the mesh's agent is not there yet", async () => {
      const { values } = only((await program(shape)).seen, "kubernetes:helm.sh/v3:Release", "istio-cni").inputs;
      assert.equal(values.istioOwnedCNIConfig, true);
    });

    it("denies by default in every namespace, DNS aside", async () => {
      const { seen } = await program(shape);
      for (const { name } of all(seen, "kubernetes:core/v1:Namespace").filter(({ read }) => !read)) {
        const policies = all(seen, POLICY).filter(({ inputs }) => inputs.metadata.namespace === name);
        const deny = policies.find(({ inputs }) => inputs.metadata.name === "default-deny");
        assert.deepEqual(deny?.inputs.spec, { podSelector: {}, policyTypes: ["Ingress", "Egress"] }, name);
      }
    });

    it("budgets disruptions only where more than one pod runs", async () => {
      const { seen } = await program(shape);
      const budgets = all(seen, "kubernetes:policy/v1:PodDisruptionBudget");
      for (const budget of budgets) {
        const { metadata, spec } = budget.inputs;
        const behind = selected(allPods(seen), metadata.namespace, spec.selector.matchLabels);
        assert.ok(behind.length > 0, `${label(budget)} selects nothing`);
        const { maxUnavailable, unhealthyPodEvictionPolicy: unhealthy } = spec;
        assert.deepEqual(
          [maxUnavailable, unhealthy],
          [1, "AlwaysAllow"],
          `${label(budget)} may block a drain for ever`,
        );
        for (const { owner, replicas } of behind) assert.ok(replicas > 1, `${label(budget)}: ${owner}`);
      }
      const fixed = ourPods(seen).filter(({ resource }) => resource.inputs.spec.replicas > 1);
      for (const pods of fixed) {
        const covers = ({ inputs: { metadata, spec } }: { inputs: any }) =>
          selected([pods], metadata.namespace, spec.selector.matchLabels).length > 0;
        assert.ok(budgets.some(covers), `${pods.owner} has ${pods.replicas} pods and no budget`);
      }
      for (const { inputs } of all(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster")) {
        assert.equal(inputs.spec.enablePDB, inputs.spec.instances > 1);
      }
      for (const { inputs } of all(seen, "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy")) {
        const { envoyPDB, envoyDeployment } = inputs.spec.provider.kubernetes;
        const several = { minAvailable: 1, unhealthyPodEvictionPolicy: "AlwaysAllow" };
        assert.deepEqual(
          envoyPDB && { minAvailable: envoyPDB.minAvailable, ...envoyPDB.patch.value.spec },
          envoyDeployment.replicas > 1 ? several : undefined,
        );
      }
      for (const { inputs } of all(seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch")) {
        // Its operator makes one unless it is given an empty one.
        assert.equal(inputs.spec.podDisruptionBudget === undefined, inputs.spec.nodeSets[0].count > 1);
      }
    });

    it("leaves the replicas of what is autoscaled to the autoscaler", async () => {
      const { seen } = await program(shape);
      const scalers = all(seen, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler");
      const clusters = [
        ...all(seen, "kubernetes:ray.io/v1:RayCluster").map(({ inputs }) => inputs.spec),
        ...all(seen, "kubernetes:ray.io/v1:RayService").map(({ inputs }) => inputs.spec.rayClusterConfig),
      ];
      assert.ok(scalers.length + clusters.length > 0, "nothing is autoscaled: do the types still match?");
      for (const group of clusters.flatMap((spec) => spec.workerGroupSpecs)) {
        assert.ok(!("replicas" in group) && group.minReplicas <= group.maxReplicas, group.groupName);
      }
      for (const scaler of scalers) {
        const { kind, name } = scaler.inputs.spec.scaleTargetRef;
        const targets = all(seen, `kubernetes:apps/v1:${String(kind)}`).filter(
          (one) => one.inputs.metadata.name === name,
        );
        assert.equal(targets.length, 1, label(scaler));
        assert.equal(targets[0]?.inputs.spec.replicas, undefined, label(scaler));
      }
    });

    it("monitors only ports that every selected pod has", async () => {
      const { seen } = await program(shape);
      for (const { monitor, pods } of monitored(seen)) {
        const { podMetricsEndpoints, endpoints } = monitor.inputs.spec;
        assert.ok(pods.length > 0, `${label(monitor)} selects no pod`);
        for (const { owner, ports = {} } of pods) {
          for (const { port } of podMetricsEndpoints ?? endpoints) {
            assert.ok(port in ports, `${label(monitor)}: ${owner}`);
          }
        }
      }
    });

    it("tells the series of its systems apart by the labels that alerts name", async () => {
      const { config, seen } = await program(shape);
      const scraped = monitored(seen).flatMap(({ monitor, pods }) => {
        const { jobLabel, podTargetLabels, podMetricsEndpoints, endpoints } = monitor.inputs.spec;
        assert.deepEqual([jobLabel, podTargetLabels], ["app", ["component"]], label(monitor));
        const [{ relabelings = [] }] = podMetricsEndpoints ?? endpoints;
        const given = relabelings.find(({ targetLabel }: any) => targetLabel === "job")?.replacement;
        assert.ok(
          relabelings.some(({ action, regex }: any) => action === "labeldrop" && regex === "endpoint"),
          `${label(monitor)}: the operator's label endpoint hides the exporter's own`,
        );
        return pods.map(({ owner, labels }) => {
          const job = given ?? labels["app"];
          assert.ok(job, `${label(monitor)}: ${owner} has no label app: give its series a job`);
          return { owner, series: `${job} ${labels["component"] ?? ""}` };
        });
      });
      const owners = scraped.map(({ owner }) => owner);
      assert.equal(new Set(owners).size, owners.length, "a pod that is scraped twice counts twice");
      const rays = config.ray.mode === "kuberay" ? ["ray-cluster", "ray-serve-cluster"] : ["ray"];
      const nodes = rays.flatMap((ray) => [`${ray} head`, `${ray} worker`]);
      for (const target of [
        ...nodes,
        "mlflow ",
        "feast feature-server",
        "kafka broker",
        "postgres ",
        "polaris ",
        "trino coordinator",
        "trino worker",
      ]) {
        assert.ok(
          scraped.some(({ series }) => series === target),
          target,
        );
      }
    });
  });
}

describe("the network of a stack without a mesh", () => {
  it("lets pods reach what the wiring table says, and nothing else", async () => {
    const { config, said, policies, parties, mesh } = network(await run({ ...configOf("dev"), mesh: undefined }));
    assert.equal(mesh, undefined);
    assert.deepEqual(reachability(policies, parties, config.cluster.podCidr), said.sort());
  });
});

it("means neither pods nor nodes where a stack file opens the internet", async () => {
  const config = configOf("prod");
  const paging = { kind: "webhook" as const, cidrs: ["0.0.0.0/0"], port: 443 };
  const { seen } = await run({ ...config, monitoring: { ...config.monitoring, paging } });
  const { podCidr, nodeCidrs } = config.cluster;
  const opened = all(seen, POLICY)
    .flatMap(({ inputs }) => inputs.spec.egress ?? [])
    .flatMap(({ to }: any) => to)
    .flatMap(({ ipBlock }: any) => (ipBlock?.cidr === "0.0.0.0/0" ? [ipBlock] : []));
  assert.deepEqual(opened, [{ cidr: "0.0.0.0/0", except: [podCidr, ...nodeCidrs] }]);
});

it("lets the pods of every namespace ask the DNS caches of nodes, which no label names", async () => {
  const config = configOf("prod");
  const dnsCaches = ["169.254.20.10/32", "10.96.0.10/32"];
  const { pricing: tenant = assert.fail("there is no such tenant") } = TENANTS;
  const tenants = { pricing: { ...tenant, uses: [] } };
  const { seen } = await run({ ...config, tenants, cluster: { ...config.cluster, dnsCaches } });
  const closed = all(seen, POLICY).filter(({ name }) => name.endsWith("-default-deny"));
  const opened = all(seen, POLICY).filter(({ name }) => name.endsWith("-allow-dns"));
  assert.equal(opened.length, closed.length);
  for (const { name, inputs } of opened) {
    const [{ to }] = inputs.spec.egress;
    assert.deepEqual(
      to.flatMap(({ ipBlock }: any) => ipBlock?.cidr ?? []),
      dnsCaches,
      name,
    );
  }
});

/** All pods, by names that no two kinds share. */
function named(seen: readonly Registered[]) {
  return allPods(seen).map((pod) => ({ ...pod, name: `${pod.owner} in ${pod.namespace}` }));
}

/** What the wiring table of a stack says, and the policies that are to say the same. */
function network<Config extends PlatformConfig>({ config, seen }: Pick<Program<Config>, "config" | "seen">) {
  const pods = named(seen);
  const { wires } = only(seen, "carbon:base:Wires").inputs;
  const cidrs = wires.flatMap(({ from, to }: any) => [...(from.cidrs ?? []), ...(to.cidrs ?? [])]);
  const networks = [...new Set<string>(cidrs)].map((cidr) => ({ name: cidr, cidr }));

  const { podCidr, nodeCidrs } = config.cluster;
  const parties = (end: any, never: readonly string[] = []): Party[] =>
    end.cidrs === undefined
      ? selected(pods, end.namespace, end.labels)
      : networks.filter(({ cidr }) =>
          end.cidrs.some(
            (one: string) =>
              holds(one, cidr) && !never.some((inside) => inside !== one && holds(one, inside) && holds(inside, cidr)),
          ),
        );
  const declared = new Map<string, { from: Party; to: Party; ports: Ports[] }>();
  for (const wire of wires) {
    const ports = wire.ports.map((range: string) => {
      const [first, last = first] = range.split("-").map(Number);
      return [first, last];
    });
    for (const from of parties(wire.from)) {
      // A wider network that pods reach, such as 0.0.0.0/0, is meant to be outside.
      for (const to of parties(wire.to, [podCidr, ...nodeCidrs])) {
        const flow = declared.get(`${from.name} ${to.name}`) ?? { from, to, ports: [] };
        declared.set(`${from.name} ${to.name}`, { ...flow, ports: [...flow.ports, ...ports] });
      }
    }
  }
  const authentications = all(seen, "kubernetes:security.istio.io/v1:PeerAuthentication").map(({ inputs }) => inputs);
  const namespaces = all(seen, "kubernetes:core/v1:Namespace").map(({ inputs }) => inputs.metadata);
  return {
    config,
    seen,
    said: [...declared.values()].flatMap(({ from, to, ports }) => flows(from, to, ports)),
    policies: all(seen, POLICY).map(({ inputs }) => inputs),
    parties: [...pods, ...networks],
    mesh:
      authentications.length === 0
        ? undefined
        : {
            namespaces: namespaces
              .filter(({ labels }) => labels?.["istio.io/dataplane-mode"] === "ambient")
              .map(({ name }) => name as string),
            root: "istio-system",
            authorizations: all(seen, "kubernetes:security.istio.io/v1:AuthorizationPolicy").map(
              ({ inputs }) => inputs,
            ),
            authentications,
          },
  };
}

/** Each monitor, and the pods that it has scraped: by their labels, or by a Service's. */
function monitored(seen: readonly Registered[]) {
  const monitors = ["PodMonitor", "ServiceMonitor"].flatMap((kind) =>
    all(seen, `kubernetes:monitoring.coreos.com/v1:${kind}`),
  );
  assert.ok(monitors.length > 0, "no monitor was found: does the type still match?");
  const services = all(seen, "kubernetes:core/v1:Service").map(({ inputs: { metadata, spec } }) => ({
    owner: metadata.name,
    namespace: metadata.namespace,
    labels: metadata.labels ?? {},
    serviceAccount: "",
    replicas: 0,
    selector: spec.selector,
  }));
  return monitors.map((monitor) => {
    const { kind, metadata, spec } = monitor.inputs;
    const behind = (selector: Labels) => selected(allPods(seen), metadata.namespace, selector);
    const { matchLabels } = spec.selector;
    if (kind === "PodMonitor") return { monitor, pods: behind(matchLabels) };
    const found = selected(services, metadata.namespace, matchLabels);
    // The job is a label of the Service here.
    for (const { labels, selector } of found) assert.equal(labels[spec.jobLabel], selector[spec.jobLabel]);
    return { monitor, pods: found.flatMap(({ selector }) => behind(selector)) };
  });
}

function without(some: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others);
  return some.filter((one) => !known.has(one));
}
