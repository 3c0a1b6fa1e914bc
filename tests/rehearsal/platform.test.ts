import * as assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import {
  AuthorizationV1Api,
  CustomObjectsApi,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  loadAllYaml,
  NetworkingV1Api,
  PatchStrategy,
  setHeaderOptions,
  type V1Pod,
} from "@kubernetes/client-node";
import { evaluateStack } from "../../rehearsal/program/charts";
import { type Evaluation, ROOT } from "../../rehearsal/program/evaluate";
import { systemsOf, type Wire, type WireEnd, wiresOf } from "../../rehearsal/program/wiring";
import type { EngineResult, StackValues } from "../../rehearsal/simulation/engine";
import { parsePlatform } from "../../packages/platform-outputs/index";
import { installExample } from "../support/packed";
import { temporaryDirectory } from "../support/temporary";
import { TENANTS } from "../support/tenants";
import { assertUnchanged } from "./command";
import { openRehearsal, type Rehearsal, watchedUp } from "../../rehearsal/simulation/rehearse";
import { DATA_OWNERS } from "../../stacks/config/schema";

const NAMESPACE = "data-platform";
// How many things the engine does at a time: by default as many as race most. Each night, fewer as well.
const PARALLEL = process.env["CARBON_PARALLEL"] ?? "64";
const MOST_DELAY_MS = 4000;
const DAY_MS = 86_400_000;

const OWN = { PULUMI_CONFIG_PASSPHRASE: "the consumer's own" };
const UNASKED = ["--yes", "--skip-preview", "--non-interactive"];
const NO_TENANT = /organization\/carbon\/dev: tenants\.pricing: is absent; add it to the stack file/;

/** One rehearsal of dev, kept up through these tests: they build on each other, as the days of a stack do. */
describe("a stack through its life, with the rights of docs/pipeline-rights.yaml", () => {
  let rehearsal: Rehearsal;
  let previewer: Login;
  let deployer: Login;
  const printed: string[] = [];
  const consumer = temporaryDirectory();

  before(async () => {
    rehearsal = await openRehearsal({ stack: "dev", progress: (line) => printed.push(line) });
    await grantPipelineRights(rehearsal);
    previewer = await pipelineLogin(rehearsal, "preview");
    deployer = await pipelineLogin(rehearsal, "deploy");
    await delayPods(rehearsal, MOST_DELAY_MS);
  });
  after(() => rehearsal.cluster.stop());

  /** Runs pulumi for the program of examples/pricing, which sees the cluster as a member of the tenant does. */
  async function asConsumer(passphrase: object, ...args: string[]): Promise<string> {
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
    const file = path.join(consumer, "kubeconfig.json");
    const config: any = JSON.parse(kubeconfig.exportConfig());
    for (const { user } of config.users) Object.assign(user, { as: "ann", "as-groups": ["pricing"] });
    fs.writeFileSync(file, JSON.stringify(config));
    const env = { ...process.env, ...rehearsal.engine.env, PULUMI_CONFIG_PASSPHRASE: undefined, KUBECONFIG: file };
    try {
      return (await promisify(execFile)("pulumi", args, { cwd: consumer, env: { ...env, ...passphrase } })).stdout;
    } catch (error) {
      // The engine writes what is wrong to its output.
      throw new Error(String((error as { stdout?: unknown }).stdout), { cause: error });
    }
  }

  function up(...args: string[]): Promise<EngineResult> {
    return rehearsal.engine.run("up", { saveOnce: true, args, env: deployer });
  }

  it("previews on an empty cluster", async () => {
    const preview = await rehearsal.engine.run("preview", { env: previewer });
    assert.deepEqual(preview.errors, []);
    printed.push(preview.output);
  });

  it(`comes up in one go at ${PARALLEL} things at a time, and starts nothing before what it talks to is ready`, async () => {
    const result = await up("--parallel", PARALLEL);
    assert.deepEqual(result.errors, []);
    printed.push(result.output);
    const { items } = await rehearsal.api.core.listPodForAllNamespaces();
    const wires = orderedWires(await evaluateStack("dev")).filter(
      ({ from, to }) => selected(items, from).length > 0 && selected(items, to).length > 0,
    );
    assert.ok(wires.length > 10, `${wires.length} wires with pods at both ends`);
    const faults = wires.flatMap(({ from, to }) => {
      const early = firstReady(selected(items, to)) - firstCame(selected(items, from));
      return early > 0 ? [`${from.name} came ${early / 1000} s before ${to.name} was ready`] : [];
    });
    assert.deepEqual(faults, []);
    await delayPods(rehearsal, 0);
  });

  it("changes nothing the second time, by somebody else, whose kubeconfig knows the cluster by another address", async () => {
    const file = path.join(rehearsal.cluster.directory, "elsewhere.kubeconfig");
    const own = fs.readFileSync(deployer.KUBECONFIG, "utf8");
    const other = own.replace(
      /( +)server: https:\/\/127\.0\.0\.1(.*)/,
      "$1server: https://localhost$2\n$1tls-server-name: kubernetes",
    );
    fs.writeFileSync(file, other, { mode: 0o600 });
    const options = { saveOnce: true, args: ["--diff"], env: { KUBECONFIG: file } };
    const result = await rehearsal.engine.run("up", options);
    assertUnchanged(result);
    printed.push(result.output);
  });

  it("serves each certificate with its own key, for its names, signed by the authority that clients are given", async () => {
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(rehearsal.cluster.kubeconfig);
    assert.notEqual(rehearsal.certManager, "simulated", "the Stage signs for itself: this takes Go");
    const kind = { group: "cert-manager.io", version: "v1", plural: "certificates" };
    const { items } = await kubeconfig.makeApiClient(CustomObjectsApi).listCustomObjectForAllNamespaces(kind);
    assert.ok(items.length > 8, `${items.length} certificates`);
    for (const { metadata, spec } of items as { metadata: { namespace: string }; spec: any }[]) {
      const secret = { name: spec.secretName, namespace: metadata.namespace };
      const { data = {} } = await rehearsal.api.core.readNamespacedSecret(secret);
      const [key, ...given] = ["tls.key", "tls.crt", "ca.crt"].map((file) => Buffer.from(data[file] ?? "", "base64"));
      const [own, ca] = given.map((pem) => new X509Certificate(pem));
      assert.ok(key && own && ca, `Secret ${secret.name} lacks a file`);
      assert.ok(own.checkPrivateKey(createPrivateKey(key)), `the key of ${secret.name} is another one's`);
      assert.ok(ca.ca && own.checkIssued(ca) && own.verify(ca.publicKey), `${secret.name} is not signed by its ca.crt`);
      assert.ok(Date.parse(own.validTo) > Date.now() + 30 * DAY_MS, `${secret.name} ends on ${own.validTo}`);
      const names = (own.subjectAltName ?? "").split(", ");
      const unnamed = (spec.dnsNames ?? []).filter((name: string) => !names.includes(`DNS:${name}`));
      assert.deepEqual(unnamed, [], `${secret.name} is for ${own.subjectAltName}`);
    }
  });

  it("tells a consumer that it is no tenant, when it has nothing but the outputs, and not the passphrase", async () => {
    installExample(consumer);
    const outputs = await asConsumer({}, "stack", "output", "--json", "--stack", "organization/carbon/dev");
    parsePlatform(JSON.parse(outputs), "dev", ["kafka"]);
    await asConsumer(OWN, "stack", "init", "dev");
    await asConsumer(OWN, "config", "set", "platform", "organization/carbon/dev");
    await assert.rejects(asConsumer(OWN, "up", ...UNASKED), NO_TENANT);
  });

  it("shows no credential: not in what it prints, outputs, objects or, in plain, in the state", async () => {
    const { engine, api, cluster } = rehearsal;
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(cluster.kubeconfig);
    const [pods, configMaps, policies, events] = await Promise.all([
      api.core.listPodForAllNamespaces(),
      api.core.listConfigMapForAllNamespaces(),
      kubeconfig.makeApiClient(NetworkingV1Api).listNetworkPolicyForAllNamespaces(),
      api.core.listEventForAllNamespaces(),
    ]);
    const places: Record<string, string> = {
      "what it printed": printed.join("\n"),
      "the outputs": await engine.query("stack", "output", "--json"),
      "the exported state": await engine.query("stack", "export"),
      objects: JSON.stringify([pods, configMaps, policies, events]),
    };
    for (const [key, value] of Object.entries(engine.canaries)) {
      for (const form of [value, Buffer.from(value).toString("base64").replace(/=+$/, ""), encodeURIComponent(value)]) {
        for (const [place, text] of Object.entries(places)) {
          assert.ok(!text.includes(form), `${key} stands in ${place}`);
        }
      }
    }
    // The credentials do reach the cluster: else this test would see nothing to hide.
    const { data } = await api.core.readNamespacedSecret({ name: "minio-credentials", namespace: NAMESPACE });
    assert.equal(Buffer.from(data?.["secretkey"] ?? "", "base64").toString(), engine.canaries.objectStoreSecretKey);
  });

  it("finds no difference when it refreshes what nobody touched", async () => {
    const result = await rehearsal.engine.run("refresh", { args: ["--expect-no-changes"], env: deployer });
    assert.deepEqual(result.errors, []);
  });

  it("lets who previews write nothing, whatever rights that takes, and says so", async () => {
    const { engine, api } = rehearsal;
    engine.setValues((values) => withMlflowReplicas(values, 2));
    const preview = await engine.run("preview", { env: previewer });
    assert.deepEqual(preview.errors, []);
    assert.match(preview.changed.join("\n"), /update .*Deployment mlflow/);
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(previewer.KUBECONFIG);
    const objects = KubernetesObjectApi.makeApiClient(kubeconfig);
    const patched = (object: KubernetesObject, dryRun?: "All") =>
      objects.patch(object, undefined, dryRun, undefined, undefined, PatchStrategy.MergePatch).then(
        () => "written",
        (error: unknown) => String(error),
      );
    const change = { labels: { changed: "by-preview" } };
    const mlflow = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "mlflow", namespace: NAMESPACE, ...change },
    };
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "minio-credentials", namespace: NAMESPACE, ...change },
    };
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "monitoring", ...change } };
    for (const object of [mlflow, secret, namespace]) {
      assert.match(await patched(object), /HTTP-Code: 422[^]*a preview writes nothing/, object.kind);
      assert.equal(await patched(object, "All"), "written");
    }
    // No policy watches over policies.
    const policy = { apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingAdmissionPolicy" };
    for (const name of ["carbon-preview", "admission-exact-images"]) {
      assert.match(await patched({ ...policy, metadata: { name, ...change } }), /HTTP-Code: 403/);
      assert.match(
        await patched({ ...policy, kind: `${policy.kind}Binding`, metadata: { name, ...change } }),
        /HTTP-Code: 403/,
      );
    }
    const { metadata } = await api.apps.readNamespacedDeployment({ name: "mlflow", namespace: NAMESPACE });
    assert.equal(metadata?.labels?.["changed"], undefined);
    engine.setValues((values) => withMlflowReplicas(values, 1));
  });

  it("lets a system go that nothing needs, has it back, and leaves every other pod alone", async () => {
    const { engine, api } = rehearsal;
    const pods = async () => {
      const { items } = await api.core.listNamespacedPod({ namespace: NAMESPACE });
      const lasting = items.filter(isLasting);
      const isOfSystem = ({ metadata }: (typeof items)[number]) => metadata?.name?.startsWith("dolphinscheduler-");
      const others = lasting.filter((pod) => !isOfSystem(pod)).map(({ metadata }) => metadata?.uid ?? "");
      return { system: lasting.length - others.length, others: others.sort() };
    };
    const before = await pods();
    assert.ok(before.system > 0 && before.others.length > 10, "too little is there to compare with");
    let described: StackValues["dolphinscheduler"];
    engine.setValues(({ dolphinscheduler, ...values }) => {
      described = dolphinscheduler;
      return values;
    });
    assert.deepEqual((await up()).errors, []);
    assert.deepEqual(await pods(), { system: 0, others: before.others });
    // What it owned is still there, under its own name.
    const owned = engine.query("stack", "export").then((state) => state.includes("postgres-dolphinscheduler"));
    assert.ok(await owned, "the object is gone");

    engine.setValues((values) => ({ ...values, dolphinscheduler: described }));
    assert.deepEqual((await up()).errors, []);
    assert.deepEqual(await pods(), before);
  });

  it("takes in a tenant, whose members run pods in its namespace and do nothing elsewhere, and lets it go", async () => {
    const { engine, api, cluster } = rehearsal;
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(cluster.kubeconfig);
    const reviews = kubeconfig.makeApiClient(AuthorizationV1Api);
    const may = async (verb: string, resource: string, namespace: string, group = ""): Promise<boolean> => {
      const spec = { user: "ann", groups: ["pricing"], resourceAttributes: { verb, resource, namespace, group } };
      return (await reviews.createSubjectAccessReview({ body: { spec } })).status?.allowed === true;
    };
    const { pricing } = TENANTS;
    assert.ok(pricing, "the test needs a tenant");
    const uses: NonNullable<StackValues["tenants"]>[string]["uses"] = [
      { database: "pricing" },
      { topic: "data-ingestion", access: "read" },
      "mlflow",
      "ray",
    ];
    const protection = { lifted: ["notebooks" as const] };
    engine.setValues((values) => ({ ...values, protection, tenants: { pricing: { ...pricing, uses } } }));
    assert.deepEqual((await up()).errors, []);
    assertUnchanged(await up("--diff"));
    const read = async (name: string, namespace: string) =>
      (await api.core.readNamespacedSecret({ name, namespace })).data ?? {};
    const authority = (await read("platform-ca-certificate", NAMESPACE))["ca.crt"];
    assert.ok(authority, "cert-manager has not signed for nobody");
    assert.equal((await read("database-pricing", "pricing"))["ca.crt"], authority);
    assert.equal(
      (await read("mlflow", "pricing"))["ca.crt"],
      (await read("gateway-tenants-ca-certificate", "gateway"))["ca.crt"],
    );
    assert.deepEqual(
      [
        await may("create", "pods", "pricing"),
        await may("patch", "deployments", "pricing", "apps"),
        await may("get", "secrets", "pricing"),
        await may("delete", "networkpolicies", "pricing", "networking.k8s.io"),
        await may("patch", "resourcequotas", "pricing"),
        await may("create", "pods", NAMESPACE),
        await may("get", "secrets", NAMESPACE),
        await may("get", "secrets", "gateway"),
      ],
      [true, true, true, false, false, false, false, false],
    );
    const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
    const pod = (priorityClassName: string) =>
      api.core.createNamespacedPod({
        namespace: "pricing",
        body: {
          metadata: { name: "load" },
          spec: {
            priorityClassName,
            securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
            containers: [{ name: "load", image: "ghcr.io/254carbon/load:1.4.0", securityContext }],
          },
        },
      });
    await assert.rejects(pod("critical-services"), /exceeded quota: priorities/);
    await pod("standard-services");
    await asConsumer(OWN, "up", ...UNASKED);
    const { items: running } = await api.core.listNamespacedPod({ namespace: "pricing" });
    const ready = running.filter((one) => Number.isFinite(firstReady([one])));
    const kinds = new Set(ready.map(({ metadata }) => metadata?.labels?.["app"] ?? metadata?.name));
    assert.deepEqual([...kinds].sort(), ["load", "pricing", "tenant-pricing-notebook", "tenant-pricing-ray"]);
    engine.setValues(({ tenants, protection: lifted, ...values }) => {
      assert.ok(tenants && lifted, "the tenant was there");
      return values;
    });
    assert.deepEqual((await up()).errors, []);
    await assert.rejects(asConsumer(OWN, "up", ...UNASKED), NO_TENANT);
    const { items } = await api.core.listNamespace();
    assert.ok(!names(items).includes("pricing"), "the namespace has stayed");
    const users = await kubeconfig.makeApiClient(CustomObjectsApi).listNamespacedCustomObject({
      ...{ group: "kafka.strimzi.io", version: "v1", plural: "kafkausers", namespace: NAMESPACE },
    });
    assert.doesNotMatch(JSON.stringify(users), /tenant-pricing/);
  });

  it("refuses to let a system go that owns data, by name", async () => {
    const { engine } = rehearsal;
    let described: StackValues["neo4j"];
    engine.setValues(({ neo4j, ...values }) => {
      described = neo4j;
      return values;
    });
    const preview = await engine.run("preview", { env: previewer });
    assert.match(preview.errors.join("\n"), /StatefulSet neo4j.*cannot be deleted.*protected/s);
    engine.setValues((values) => ({ ...values, neo4j: described }));
  });

  it("says within ten seconds which quota stops a rollout, with requested, used and limit", async () => {
    const { api } = rehearsal;
    const name = "data-platform-quota";
    const quota = await api.core.readNamespacedResourceQuota({ name, namespace: NAMESPACE });
    const replaceLimit = async (cpu: string): Promise<void> => {
      const live = await api.core.readNamespacedResourceQuota({ name, namespace: NAMESPACE });
      live.spec = { hard: { ...live.spec?.hard, "limits.cpu": cpu } };
      await api.core.replaceNamespacedResourceQuota({ name, namespace: NAMESPACE, body: live });
    };
    await replaceLimit("1");
    await deletePodOf(rehearsal, "mlflow");
    const started = Date.now();
    const result = await watchedUp(rehearsal, () => undefined);
    assert.ok(Date.now() - started < 10_000, `${Date.now() - started} ms`);
    assert.match(
      result.errors.join("\n"),
      /exceeded quota: data-platform-quota, requested: .*limits\.cpu=1.*used: .*limited: .*limits\.cpu=1/,
    );
    await replaceLimit(quota.spec?.hard?.["limits.cpu"] ?? "");
    await rolledOut(rehearsal, "mlflow");
  });

  it("says within ten seconds which pod violates Pod Security, and how", async () => {
    const { api } = rehearsal;
    const labels = { app: "rogue" };
    await api.apps.createNamespacedDeployment({
      namespace: NAMESPACE,
      body: {
        metadata: { name: "rogue" },
        spec: {
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            spec: { containers: [{ name: "rogue", image: "rogue:1", securityContext: { privileged: true } }] },
          },
        },
      },
    });
    const started = Date.now();
    const result = await watchedUp(rehearsal, () => undefined);
    assert.ok(Date.now() - started < 10_000, `${Date.now() - started} ms`);
    assert.match(result.errors.join("\n"), /ReplicaSet data-platform\/rogue-.*violates PodSecurity "restricted/);
    await api.apps.deleteNamespacedDeployment({ name: "rogue", namespace: NAMESPACE });
    await forgetEvents(rehearsal);
  });

  it("stops before any write when the cluster is another one than at the first up", async () => {
    const { engine, api } = rehearsal;
    const recorded = await engine.query("stack", "export");
    const { uid = "" } = (await api.core.readNamespace({ name: "kube-system" })).metadata ?? {};
    const file = path.join(rehearsal.directory, "state-of-another-cluster.json");
    fs.writeFileSync(file, recorded.replaceAll(uid, "11111111-2222-3333-4444-555555555555"));
    await engine.query("stack", "import", "--file", file);
    engine.setValues((values) => withMlflowReplicas(values, 2));
    const result = await up();
    assert.match(result.errors.join("\n"), /cluster\.context: carbon-dev leads to cluster .*this stack was made on/s);
    const mlflow = await api.apps.readNamespacedDeployment({ name: "mlflow", namespace: NAMESPACE });
    assert.equal(mlflow.spec?.replicas, 1);
    engine.setValues((values) => withMlflowReplicas(values, 1));
    fs.writeFileSync(file, recorded);
    await engine.query("stack", "import", "--file", file);
  });

  it("refuses to be destroyed while it owns protected data, and deletes nothing", async () => {
    const { engine, api } = rehearsal;
    const pods = async () => {
      const { items } = await api.core.listPodForAllNamespaces();
      return items
        .filter(isLasting)
        .map(({ metadata }) => metadata?.uid ?? "")
        .sort();
    };
    const before = await pods();
    const result = await engine.run("destroy", { preview: true, args: ["--run-program"], env: deployer });
    assert.match(result.errors.join("\n"), /Database postgres-mlflow.*cannot be deleted.*protected/s);
    assert.deepEqual(await pods(), before);
  });

  it("is destroyed once its protection is lifted by name, and leaves every volume", async () => {
    const { engine, api } = rehearsal;
    const volumes = await api.core.listPersistentVolume();
    engine.setValues((values) => ({ ...values, protection: { lifted: [...DATA_OWNERS] } }));
    assert.deepEqual((await up()).errors, []);
    const result = await engine.run("destroy", { saveOnce: true, args: ["--run-program"], env: deployer });
    assert.deepEqual(result.errors, []);
    const left = await api.core.listPersistentVolume();
    assert.deepEqual(names(left.items), names(volumes.items));
    assert.ok(
      left.items.every(({ status }) => status?.phase === "Released"),
      "a volume went with its claim: its data would be lost",
    );
  });
});

type Login = Readonly<Record<"KUBECONFIG", string>>;

/** As an administrator does before the first `up`. */
async function grantPipelineRights({ cluster }: Rehearsal): Promise<void> {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(cluster.kubeconfig);
  const objects = KubernetesObjectApi.makeApiClient(kubeconfig);
  const rights = fs.readFileSync(path.join(ROOT, "docs/pipeline-rights.yaml"), "utf8");
  for (const object of loadAllYaml(rights) as KubernetesObject[]) await objects.create(object);
}

/** The engine's environment under an account of the pipeline's. */
async function pipelineLogin({ api, cluster }: Rehearsal, name: string): Promise<Login> {
  const body = { spec: { audiences: ["https://kubernetes.default.svc"], expirationSeconds: 3600 } };
  const { status } = await api.core.createNamespacedServiceAccountToken({ namespace: "carbon-pipeline", name, body });
  const own = fs.readFileSync(cluster.kubeconfig, "utf8");
  const KUBECONFIG = path.join(cluster.directory, `${name}.kubeconfig`);
  fs.writeFileSync(KUBECONFIG, own.replace(/token: .*/, `token: ${status?.token}`), { mode: 0o600 });
  return { KUBECONFIG };
}

function withMlflowReplicas(values: StackValues, replicas: number): StackValues {
  assert.ok(values.mlflow, "the stack has no MLflow: take another system for this test");
  return { ...values, mlflow: { ...values.mlflow, replicas } };
}

/** Whether a pod is not of a Job: those come and go by the clock. */
function isLasting({ metadata }: V1Pod): boolean {
  return metadata?.ownerReferences?.[0]?.kind !== "Job";
}

function names(items: readonly { metadata?: { name?: string } }[]): string[] {
  return items.map(({ metadata }) => metadata?.name ?? "").sort();
}

async function deletePodOf({ api }: Rehearsal, app: string): Promise<void> {
  const { items } = await api.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector: `app=${app}` });
  for (const { metadata } of items) {
    await api.core.deleteNamespacedPod({ name: metadata?.name ?? "", namespace: NAMESPACE });
  }
}

async function rolledOut(rehearsal: Rehearsal, name: string): Promise<void> {
  // The controller backs off for up to a minute after a refusal; a nudge lets it look again.
  const deadline = Date.now() + 90_000;
  for (;;) {
    const { status } = await rehearsal.api.apps.readNamespacedDeployment({ name, namespace: NAMESPACE });
    if ((status?.readyReplicas ?? 0) > 0) break;
    assert.ok(Date.now() < deadline, `${name} has not come back`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await forgetEvents(rehearsal);
}

/** Events stay for an hour: without this the next watched `up` would see those of a fault that is mended. */
async function forgetEvents({ api }: Rehearsal): Promise<void> {
  await api.core.deleteCollectionNamespacedEvent({ namespace: NAMESPACE });
}

/** Has every pod take a random time until it runs. */
async function delayPods({ cluster }: Rehearsal, most: number): Promise<void> {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromFile(cluster.kubeconfig);
  await kubeconfig.makeApiClient(CustomObjectsApi).patchClusterCustomObject(
    {
      group: "kwok.x-k8s.io",
      version: "v1alpha1",
      plural: "stages",
      name: "pod-run",
      body: { spec: { delay: { durationMilliseconds: 0, jitterDurationMilliseconds: most } } },
    },
    setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
  );
}

/** Every wire between systems whose client waits for its server: observers come when they like. */
function orderedWires(evaluation: Evaluation): readonly Wire[] {
  const systemOf = systemsOf(evaluation);
  return wiresOf(evaluation).filter(({ from, to, observes }) => !observes && systemOf(from.name) !== systemOf(to.name));
}

function selected(pods: readonly V1Pod[], { namespace, labels = {} }: WireEnd): V1Pod[] {
  return pods.filter(
    ({ metadata }) =>
      metadata?.namespace === namespace &&
      Object.entries(labels).every(([key, value]) => metadata?.labels?.[key] === value),
  );
}

/** When the first of some pods came, in milliseconds; none: infinity. */
function firstCame(pods: readonly V1Pod[]): number {
  return Math.min(...pods.map(({ metadata }) => Number(metadata?.creationTimestamp)));
}

/** When the first of some pods could answer, in milliseconds; none: infinity. */
function firstReady(pods: readonly V1Pod[]): number {
  const times = pods.map(({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime);
  return Math.min(...times.map(Number));
}
