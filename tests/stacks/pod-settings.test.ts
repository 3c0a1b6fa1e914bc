import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { RENDERED, type RenderedChart } from "../../commands/charts/rendered";
import { workloadsOf } from "../../commands/charts/declaration";
import { CHART_KEYS } from "../../components/base/pod-keys";
import { fullName, mirrored, PULL_SECRET } from "../../components/base/pod-settings";
import { charts, images } from "../../components/base/versions";
import { demandOf } from "../../rehearsal/program/demand";
import { SYSTEMS } from "../../stacks/config/systems";
import { allPods, objects, ourPods, tenantNamespaces } from "../support/manifests";
import { all, type Registered } from "../support/mocks";
import { type Program, run, shaped, SHAPES } from "../support/program";
import { temporaryDirectory } from "../support/temporary";

const HOSTS = [
  "docker.elastic.co",
  "docker.io",
  "ghcr.io",
  "nvcr.io",
  "quay.io",
  "registry.istio.io",
  "registry.k8s.io",
];
const MIRROR = "mirror.test:5000";
const DIGEST = `sha256:${"1a".repeat(32)}`;
const mirrors = Object.fromEntries(HOSTS.map((host) => [host, `${MIRROR}/${host.replaceAll(".", "-")}`]));

for (const shape of SHAPES) {
  describe(`with mirrors and logins of registries, ${shape}`, () => {
    let program: Program;
    before(async () => {
      const config = shaped(shape);
      const lock = path.join(temporaryDirectory(), "images.lock.json");
      const locked = Object.values(images).map((image) => [mirrored(fullName(image), mirrors), DIGEST]);
      fs.writeFileSync(lock, JSON.stringify(Object.fromEntries(locked)));
      program = await run({ ...config, images: { ...config.images, mirrors, lock, pullSecret: true } });
    });

    it("pulls every image from a mirror", () => {
      const past = objects(program.seen).flatMap(({ inputs: { kind, metadata, ...inputs } }) =>
        kind === "CustomResourceDefinition"
          ? []
          : imagesIn(inputs)
              .filter((image) => !image.startsWith(`${MIRROR}/`))
              .map((image) => `${kind} ${metadata.name}: ${image}`),
      );
      assert.deepEqual(past, []);
      // Its own default is in its operator.
      for (const { inputs } of all(program.seen, "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy")) {
        const { imageRepository } = inputs.spec.provider.kubernetes.envoyDeployment.container;
        assert.equal(imageRepository, mirrored("docker.io/envoyproxy/envoy", mirrors));
      }
    });

    it("pulls by its digest what the lock has", () => {
      const ours = objects(program.seen).flatMap(({ inputs }) => imagesIn(inputs));
      const names = Object.values(images).map((image) => mirrored(fullName(image), mirrors));
      const known = ours.filter((image) => names.includes(image.replace(/@.*/, "")));
      assert.ok(known.length > 20, `only ${known.length} images`);
      assert.deepEqual(
        known.filter((image) => !image.endsWith(`@${DIGEST}`)),
        [],
      );
    });

    it("tells every chart where its images are", () => {
      const faults = all(program.seen, "carbon:base:ChartRelease").flatMap(({ name, inputs: { chart } }) => {
        const { images = {} } = CHART_KEYS[chart] ?? {};
        const { values } = release(program.seen, name);
        return chartImages(name)
          .filter((image) => {
            const takes = Object.entries(images).filter(([, from]) => new RegExp(`^${from}[/:]`).test(image));
            return !takes.some(([key, from]) => at(values, key) === mirrored(from, mirrors));
          })
          .map((image) => `${chart}: ${image}`);
      });
      assert.deepEqual(faults, [], "set their keys in components/base/pod-keys.ts");
    });

    it("admits images from mirrors alone", () => {
      const policies = all(program.seen, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy");
      const text = JSON.stringify(policies.find(({ name }) => name === "admission-known-registries")?.inputs);
      const { registries = [] } = program.config.images;
      for (const registry of registries) assert.ok(text.includes(mirrored(registry, mirrors)), registry);
      assert.doesNotMatch(text, /"quay\.io/);
    });

    it("has the logins in each namespace but those of tenants, and every pod names them", () => {
      const secrets = all(program.seen, "kubernetes:core/v1:Secret")
        .filter(({ inputs }) => inputs.metadata.name === PULL_SECRET)
        .map(({ inputs }) => inputs.metadata.namespace);
      const without = allPods(program.seen).filter(({ namespace }) => !secrets.includes(namespace));
      // Members could read what lies in their namespace.
      assert.deepEqual(
        [...new Set(without.map(({ namespace }) => namespace))].sort(),
        tenantNamespaces(program.seen).sort(),
      );
      const silent = ourPods(program.seen).filter(
        ({ template }) => !template.spec.imagePullSecrets?.some((one: any) => one.name === PULL_SECRET),
      );
      assert.deepEqual(
        silent.map(({ owner }) => owner),
        [],
      );
      const others = [
        ...all(program.seen, "kubernetes:postgresql.cnpg.io/v1:Cluster"),
        ...all(program.seen, "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy"),
        ...all(program.seen, "kubernetes:elasticsearch.k8s.elastic.co/v1:Elasticsearch"),
        ...all(program.seen, "kubernetes:core/v1:ServiceAccountPatch"),
        ...all(program.seen, "kubernetes:helm.sh/v3:Release").filter(({ name }) => chartImages(name).length > 0),
      ].filter(({ inputs }) => !JSON.stringify(inputs).includes(`"${PULL_SECRET}"`));
      assert.deepEqual(
        others.map(({ name }) => name),
        [],
        "set their keys in components/base/pod-keys.ts",
      );
    });
  });
}

const placement = {
  nodeSelector: { "example.com/pool": "carbon" },
  tolerations: [{ key: "example.com/dedicated", value: "carbon", effect: "NoSchedule" as const }],
};
const tolerated = { key: "example.com/dedicated", operator: "Equal", value: "carbon", effect: "NoSchedule" };
// Of workers with GPUs, and of a group of workers that has one.
const OWN_SELECTORS = ["nvidia.com/gpu.present", "node-role.kubernetes.io/control-plane"];
// What serves the cluster as a whole.
const UNPLACED = ["mesh", "cert-manager", "metrics-server", "gpu-operator", "local-path"];

for (const shape of SHAPES) {
  describe(`with a placement of every system, ${shape}`, () => {
    let program: Program;
    before(async () => {
      const config = shaped(shape);
      const systems = Object.keys(SYSTEMS).filter((system) => system !== "mesh" && system in config);
      program = await run({ ...config, placement: Object.fromEntries(systems.map((one) => [one, placement])) });
    });

    it("counts all pods of systems on the nodes that it selects", () => {
      const groups = demandOf(program).groups.filter(
        ({ system, pods, namespace }) =>
          pods !== "each node" && !UNPLACED.includes(system) && !tenantNamespaces(program.seen).includes(namespace),
      );
      const elsewhere = groups.filter(({ nodeSelector, tolerations }) => {
        const isSelected = "example.com/pool" in nodeSelector || OWN_SELECTORS.some((key) => key in nodeSelector);
        return !isSelected || !tolerations.some((one) => isDeepStrictEqual(one, tolerated));
      });
      assert.deepEqual(
        elsewhere.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`),
        [],
      );
      assert.ok(groups.length > 40, "too few found: does the test still see them?");
    });

    it("tells the chart of each system", () => {
      const silent = all(program.seen, "carbon:base:ChartRelease").filter(({ name, inputs: { declares } }) => {
        const isPlaced = [...declares.workloads, ...(declares.hooks ?? [])].some(({ tolerations }: any) => tolerations);
        return isPlaced && !JSON.stringify(release(program.seen, name).values).includes("example.com/dedicated");
      });
      assert.deepEqual(
        silent.map(({ name }) => name),
        [],
        "set their keys in components/base/pod-keys.ts",
      );
    });
  });
}

for (const shape of SHAPES) {
  it(`every volume of ${shape} has the class that its system names`, async () => {
    const { config, seen } = await run(onClass(shaped(shape), "fast"));
    const { className } = config.storage;
    // Besides what refers to the default itself.
    const claims = seen.filter(({ type }) => type !== "kubernetes:core/v1:ConfigMap" && !type.endsWith("StorageClass"));
    const text = claims.map((one) => JSON.stringify(one.inputs));
    const others = claims.filter((_, index) => text[index]?.includes(`"${className}"`)).map(({ name }) => name);
    assert.deepEqual(others, ["lasting-values"]);
    assert.ok(text.filter((one) => one.includes('"fast"')).length > 10, "too few found: does the test still see them?");
  });
}

/** A config with every volume in a StorageClass. */
function onClass<Value>(value: Value, className: string): Value {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const inner = Object.entries(value).map(([key, one]) => [key, onClass(one, className)]);
  return { ...Object.fromEntries(inner), ...("sizeGiB" in value && { className }) } as Value;
}

describe("the keys of charts", () => {
  it("are known of every pinned chart", () => {
    const names = Object.values(charts).map(({ chart }) => chart);
    assert.deepEqual(Object.keys(CHART_KEYS).sort(), [...names].sort());
  });
});

describe("an image's full name", () => {
  it("has Docker Hub where it names no registry", () => {
    assert.deepEqual(["neo4j:5", "valkey/valkey:9", "localhost/a:1", "ghcr.io/a/b:1"].map(fullName), [
      "docker.io/library/neo4j:5",
      "docker.io/valkey/valkey:9",
      "localhost/a:1",
      "ghcr.io/a/b:1",
    ]);
  });
});

/** Every text in an object that names an image, whatever its key: by the registry, or by being a container's. */
function imagesIn(value: unknown): string[] {
  if (typeof value === "string") {
    const hosts = HOSTS.map((host) => host.replaceAll(".", "\\.")).join("|");
    return new RegExp(`^(${hosts})/[a-z0-9./_-]+(:[\\w.-]+)?(@sha256:\\w+)?$`).test(value) ? [value] : [];
  }
  if (typeof value !== "object" || value === null) return [];
  const { image } = value as { image?: unknown };
  const own = "name" in value && typeof image === "string" ? [image] : [];
  return [...own, ...Object.values(value).flatMap(imagesIn)];
}

/** The images that the real chart of a release ran. */
function chartImages(name: string): string[] {
  const { objects: made } = JSON.parse(fs.readFileSync(path.join(RENDERED, `${name}.json`), "utf8")) as RenderedChart;
  return workloadsOf(made).flatMap(({ template }) => {
    const { containers, initContainers = [] } = template?.spec ?? { containers: [] };
    return [...initContainers, ...containers].map(({ image }: { image?: string }) => fullName(image ?? ""));
  });
}

function release(seen: readonly Registered[], name: string): any {
  return all(seen, "kubernetes:helm.sh/v3:Release").find((one) => one.name === name)?.inputs;
}

function at(values: any, key: string): unknown {
  return key.split(".").reduce((inner, one) => inner?.[one], values);
}
