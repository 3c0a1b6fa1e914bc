import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import type { V1Container, V1PersistentVolumeClaim, V1Pod, V1Secret, V1Service } from "@kubernetes/client-node";
import { customKind } from "../../rehearsal/operators";
import type { CustomResource, Manifest, PodSpec } from "../../rehearsal/operators/operator";
import { amountsOf, demandOf } from "../../rehearsal/program/demand";
import type { Evaluation } from "../../rehearsal/program/evaluate";
import { bytes } from "../../rehearsal/program/quantity";
import { haveRights } from "../../rehearsal/node/operators/rights";
import { type WireEnd, wiresOf } from "../../rehearsal/program/wiring";
import { ensureToolchain } from "../../rehearsal/simulation/toolchain";
import { DIFFERENCES } from "./harness/differences";
import { differences, factsOf, KINDS } from "./harness/facts";
import { ensurePrograms, type OperatorName, operatorNames, complaints, refusals, start } from "./harness/operators";
import { objectsOf, operatedProgram } from "./harness/program";
import { identity, until, World } from "./harness/world";

const BUILD_SECONDS = 1800;

/** The pods of dev's servers that operators run, and what their wires and sizes go by. */
const SERVERS = {
  "postgres-1": "postgres",
  "elasticsearch-es-default-0": "elasticsearch-es-default",
  "prometheus-kube-prometheus-stack-prometheus-0": "prometheus-kube-prometheus-stack-prometheus",
  "alertmanager-kube-prometheus-stack-alertmanager-0": "alertmanager-kube-prometheus-stack-alertmanager",
} as const;

/** By the name of what it makes; all else is cert-manager's. */
const MAKERS: readonly (readonly [OperatorName, RegExp])[] = [
  ["cnpg", /^\w+ (pgdata-)?postgres(?!-tls)/],
  ["eck", /^\w+ elastic(search-(?!tls)|-)/],
  ["prometheus-operator", /^\w+ (prometheus|alertmanager)-/],
  ["envoy-gateway", /^(?!Cert)\w+ (envoy|gateway(?!-(\w+-)?(ca|tls)))/],
];

// Said on the way, and taken back with the next look: that Prometheus asks every target, and that every certificate is there, are
// tests of their own. cert-manager may not see yet which request it has just made.
const PASSING = new RegExp(
  [
    'secrets? "[\\w-]+-(ca|tls)" not found',
    "the object has been modified",
    "is not allocated; repairing",
    'certificaterequests\\.cert-manager\\.io "[\\w-]+" already exists',
  ].join("|"),
);

describe("the real operators", () => {
  let program: Evaluation;
  let objects: readonly Manifest[];
  let real: World;
  let simulated: World;

  before(async function () {
    this.timeout(BUILD_SECONDS * 1000);
    const progress = (line: string): void => {
      console.log(`    ${line}`);
    };
    const toolchain = await ensureToolchain(progress);
    const programs = await ensurePrograms(progress);
    program = await operatedProgram("dev");
    objects = objectsOf(program);
    simulated = await World.start(toolchain, "simulated");
    real = await World.start(toolchain, "real");
    // The program makes it when the gateway has an address: somebody may prove by HTTP, through it, that the names are theirs.
    const last = objects.filter(({ kind, metadata }) => kind === "Certificate" && metadata.name === "gateway-tls");
    const first = objects.filter((object) => !last.includes(object));
    await Promise.all([simulated, real].map((world) => world.apply(first)));
    for (const name of operatorNames) await start(real, programs(name), name, program);
    await until(async () => {
      const { items } = await real.get("gateways");
      if (items.every((one) => holds(one, "Programmed"))) return [];
      return [...items.flatMap(refused), ...complaints(real, "envoy-gateway")];
    });
    await Promise.all([simulated, real].map((world) => world.apply(last)));
    await Promise.all([simulated, real].map((world) => until(() => missing(world))));
  });
  after(() => Promise.all([simulated, real].map((world) => world.stop())));

  async function missing(world: World): Promise<string[]> {
    const { items } = await world.get("certificates.cert-manager.io,issuers.cert-manager.io");
    const pods = (await world.made("pods")).map(({ metadata }) => metadata.name);
    const left = [
      ...items.filter((one) => !holds(one, "Ready")).map((one) => `${identity(one)} is not ready`),
      ...Object.keys(SERVERS)
        .filter((name) => !pods.includes(name))
        .map((name) => `pod ${name} is not there`),
    ];
    // Whoever may not watch what it needs says nothing else.
    return left.length > 0 && world === real
      ? [...left, ...operatorNames.flatMap((name) => refusals(real, name))]
      : left;
  }

  it("refuse none of our objects", async () => {
    const { items } = await real.get("prometheuses.monitoring.coreos.com,alertmanagers.monitoring.coreos.com");
    const events = (await real.get("events.v1.")).items as any[];
    const warnings = events
      .filter(({ type, message }) => type === "Warning" && !PASSING.test(message))
      .map(({ involvedObject: { kind, name }, message }) => `${kind} ${name}: ${message}`);
    const unreconciled = items.filter((one) => !holds(one, "Reconciled")).map(identity);
    assert.deepEqual([...new Set([...warnings, ...unreconciled])], []);
  });

  it("take every route and policy of the gateway, which has an address before it has a certificate", async () => {
    const kinds = ["gatewayclasses", "gateways", "httproutes", "backendtlspolicies"];
    const policies = ["securitypolicies", "backendtrafficpolicies", "clienttrafficpolicies"];
    await until(async () => {
      const { items } = await real.get([...kinds, ...policies].join());
      return items.flatMap((object) => refused(object).map((why) => `${identity(object)}: ${why}`));
    });
  });

  it("have Prometheus ask every target, and know every alert, that we name", async () => {
    const name = "prometheus-kube-prometheus-stack-prometheus";
    const monitors = objects.filter(({ kind }) => /^(Pod|Service)Monitor$/.test(kind));
    const jobs = monitors.map(({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}/0`.toLowerCase());
    const rules = objects.filter(({ kind }) => kind === "PrometheusRule") as CustomResource<any>[];
    const alerts: string[] = rules.flatMap(({ spec }) => spec.groups).flatMap(({ rules }) => rules.map(named));
    assert.ok(jobs.length > 10 && alerts.length > 10, `${jobs.length} targets and ${alerts.length} alerts`);
    await until(async () => {
      const secrets = (await real.made("secrets")) as V1Secret[];
      const packed = secrets.find(({ metadata }) => metadata?.name === name)?.data?.["prometheus.yaml.gz"];
      const asked = packed === undefined ? "" : gunzipSync(Buffer.from(packed, "base64")).toString().toLowerCase();
      const files = (await real.made("configmaps")).filter(({ metadata }) => metadata.name.startsWith(name));
      const known = files.flatMap(({ data }) => Object.values(data as object)).join("\n");
      return [
        ...jobs.filter((job) => !asked.includes(`job_name: ${job}\n`)),
        ...alerts.filter((alert) => !known.includes(`: ${alert}\n`)),
      ];
    });
  });

  it("need no rights but those that their charts and the program give them", function () {
    if (!haveRights) this.skip();
    assert.deepEqual(
      operatorNames.flatMap((name) => refusals(real, name)),
      [],
    );
  });

  for (const name of operatorNames) {
    it(`make what the simulation of ${name} makes, but for named differences`, async () => {
      const named = DIFFERENCES[name].map(({ what }) => what);
      let own: string[] = [];
      await until(async () => {
        const found = differences(factsOf(await real.made(KINDS)), factsOf(await simulated.made(KINDS)));
        own = found.filter((line) => name === (MAKERS.find(([, made]) => made.test(line))?.[0] ?? "cert-manager"));
        return own.filter((line) => !named.some((what) => what.test(line)));
      });
      assert.deepEqual(
        named.filter((what) => !own.some((line) => what.test(line))),
        [],
        "no difference any more: take these out",
      );
    });
  }

  it("make the Secrets that the program counts on, with those keys and no others", async () => {
    const secrets = await real.made("secrets");
    for (const object of objects as readonly CustomResource[]) {
      const expected = customKind(`${object.apiVersion}/${object.kind}`)?.secrets(object, objects) ?? {};
      for (const [name, keys] of Object.entries(expected)) {
        const secret = secrets.find(
          ({ metadata }) => metadata.name === name && metadata.namespace === object.metadata.namespace,
        );
        assert.deepEqual(
          Object.keys(secret?.["data"] ?? {}).sort(),
          [...keys].sort(),
          `${identity(object)}: Secret ${name}`,
        );
      }
    }
  });

  it("label pods as policies select them, and open the ports of the wires", async () => {
    const pods = (await real.made("pods")) as V1Pod[];
    const services = (await real.made("services")) as readonly object[] as V1Service[];
    const [played, faults] = [(await simulated.made("pods")) as V1Pod[], [] as string[]];
    const seen = new Set<string>();
    const ends = wiresOf(program).flatMap(({ from, to, ports }) => [
      { ...from, ports: [] },
      { ...to, ports },
    ]);
    for (const end of ends.filter((one) => played.some((pod) => selects(one, pod)))) {
      const selected = pods.filter((pod) => selects(end, pod));
      const open = [
        ...selected
          .flatMap(({ spec }) => spec?.containers ?? [])
          .flatMap(({ ports = [] }: V1Container) => ports.map(({ containerPort }) => containerPort)),
        // Of a proxy's listeners its container says nothing.
        ...services
          .filter(({ metadata, spec }) => metadata?.name === end.name && spec?.selector !== undefined)
          .flatMap(({ spec }) => spec?.ports ?? [])
          .map(({ targetPort }) => targetPort),
      ];
      const closed = end.ports.filter((port) => !open.includes(Number.parseInt(port)));
      if (selected.length === 0) faults.push(`${end.name}: no pod is labelled ${JSON.stringify(end.labels)}`);
      else if (closed.length > 0) faults.push(`${end.name}: does not open ${closed.join(", ")}`);
      for (const { metadata } of selected) seen.add(metadata?.name ?? "");
    }
    assert.deepEqual([...new Set(faults)], []);
    assert.deepEqual(
      Object.keys(SERVERS).filter((name) => !seen.has(name)),
      [],
      "no wire ends at these",
    );
  });

  it("run pods of the sizes, and with the volumes, that the capacity check counts", async () => {
    const [pods, claims] = [
      (await real.get("pods")).items as readonly object[] as V1Pod[],
      (await real.get("persistentvolumeclaims")).items as readonly object[] as V1PersistentVolumeClaim[],
    ];
    const { groups } = demandOf(program);
    for (const [name, group] of Object.entries(SERVERS)) {
      const pod = pods.find(({ metadata }) => metadata?.name === name);
      const counted = groups.find((one) => one.name === group);
      assert.deepEqual(amountsOf(pod?.spec as PodSpec).pod, counted?.pod, name);
      const mounted = (pod?.spec?.volumes ?? []).flatMap(
        ({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? [],
      );
      const sizes = mounted.map((claim) =>
        bytes(claims.find(({ metadata }) => metadata?.name === claim)?.spec?.resources?.requests?.["storage"] ?? ""),
      );
      assert.deepEqual(sizes, counted?.volumes, name);
    }
  });

  it("run no pod that the kubelet evicts for volumes which its operator adds, but nobody counts", async () => {
    const pods = (await real.get("pods")).items as readonly object[] as V1Pod[];
    for (const { metadata, spec } of pods) {
      const limits = (spec?.containers ?? []).flatMap(
        ({ resources }) => resources?.limits?.["ephemeral-storage"] ?? [],
      );
      // Without a limit of its own a pod may take what its node has.
      if (limits.length === 0) continue;
      const volumes = (spec?.volumes ?? []).filter(({ emptyDir }) => emptyDir && emptyDir.medium !== "Memory");
      const sizes = volumes.map(({ name, emptyDir }) => {
        assert.ok(emptyDir?.sizeLimit, `${metadata?.name}: ${name} may take more than the pod may have`);
        return bytes(emptyDir.sizeLimit);
      });
      const sum = (amounts: readonly number[]): number => amounts.reduce((all, one) => all + one, 0);
      assert.ok(sum(sizes) <= sum(limits.map(bytes)), `${metadata?.name}: its volumes may take more than it`);
    }
  });
});

function selects({ namespace, labels }: WireEnd, { metadata }: V1Pod): boolean {
  const wanted = Object.entries(labels ?? {});
  return (
    wanted.length > 0 &&
    metadata?.namespace === namespace &&
    wanted.every(([key, value]) => metadata?.labels?.[key] === value)
  );
}

function named({ alert, record = alert }: { readonly alert?: string; readonly record?: string }): string {
  return record ?? "";
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message: string;
}

type GatewayStatus = Readonly<
  Partial<Record<"parents" | "ancestors" | "listeners", readonly { readonly conditions: readonly Condition[] }[]>>
> & { readonly conditions?: readonly Condition[] };

/** What a controller says against an object of the gateway's; that no pod of a Service is ready does not count. */
function refused(object: Manifest): string[] {
  const { conditions = [], parents = [], ancestors = [], listeners = [] } = (object["status"] ?? {}) as GatewayStatus;
  const all = [conditions, ...[...parents, ...ancestors, ...listeners].map((one) => one.conditions)].flat();
  if (all.length === 0) return ["nobody has looked at it"];
  return all
    .filter(({ type, status }) => status !== "True" && type !== "BackendsAvailable")
    .map(({ type, message }) => `${type}: ${message}`);
}

function holds(object: Manifest, type: string): boolean {
  const { conditions = [] } = (object["status"] ?? {}) as { conditions?: any[] };
  return conditions.some((one) => one.type === type && one.status === "True");
}
