/**
 * What the program and the README rely on of the official kubernetes plugin, in each version that a rehearsal may run:
 * KUBERNETES_PLUGIN=path runs it against that binary. Each test has a stack and a namespace of its own.
 */
import * as assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { startWorld, type Changes, type Live, type Program, type World } from "./plugin-world";

// Most of a test is waiting for the engine's processes to start: three at a time take half as long as one by one.
const AT_ONCE = 3;

describe("the kubernetes plugin", function () {
  this.timeout(120_000);
  let world: World;
  const promises: (() => Promise<void>)[] = [];
  const running: Promise<void>[] = [];
  before(async () => {
    world = await startWorld();
  });
  after(() => world.stop());

  /** A test that may run while the ones before it do; it has a stack and a namespace of its own. */
  const promise = (title: string, keep: () => Promise<void>): void => {
    const index = promises.push(keep) - 1;
    it(title, async () => {
      for (let next = index; next < Math.min(index + AT_ONCE, promises.length); next++) {
        const started = (running[next] ??= promises[next]?.() ?? Promise.resolve());
        // Its own test reports a failure; until then it is nobody's.
        started.catch(() => undefined);
      }
      await running[index];
    });
  };

  const uid = async (kind: string, name: string, namespace: string): Promise<string> =>
    (await world.kubectl("get", kind, name, "-n", namespace, "-o", "json")).metadata.uid as string;

  describe("objects", () => {
    promise("changes nothing in a second up, a preview and a refresh", async () => {
      const stack = await world.stack("unchanged");
      const program = everyday({ password: "hunter2hunter2" });
      assert.equal((await stack.up(program))["create"], EVERYDAY_OBJECTS + 2);
      assertUnchanged(await stack.up(program));
      assertUnchanged(await stack.drift(program));
      assertUnchanged(await stack.refresh(program));
      assertUnchanged(await stack.preview(program));
    });

    promise("keeps secret values out of the state, as they are and in base64", async () => {
      const stack = await world.stack("secrets");
      await stack.up(({ namespace, opts }) => {
        const password = pulumi.secret("hunter2hunter2");
        const metadata = { name: "login", namespace };
        new k8s.core.v1.Secret("login", { metadata, stringData: { password, user: "not-marked-as-secret" } }, opts);
        new k8s.apps.v1.Deployment(
          "reader",
          deployment({ name: "reader", namespace }, { env: [{ name: "PASSWORD", value: password }] }),
          opts,
        );
        return { password };
      });
      const state = await stack.stateText();
      for (const secret of ["hunter2hunter2", "not-marked-as-secret"]) {
        assert.equal(state.includes(secret), false, `${secret} is in the state`);
        assert.equal(
          state.includes(Buffer.from(secret).toString("base64")),
          false,
          `${secret} is in the state in base64`,
        );
      }
    });

    promise("changes a Secret and a ConfigMap in place where the provider allows it", async () => {
      const stack = await world.stack("mutable");
      await stack.up(everyday({ password: "first" }));
      const before = await Promise.all([uid("secret", "login", "mutable"), uid("configmap", "settings", "mutable")]);
      const changes = await stack.up(everyday({ password: "second", level: "debug" }));
      assert.deepEqual(counts(changes), { update: 2 });
      assert.deepEqual(
        await Promise.all([uid("secret", "login", "mutable"), uid("configmap", "settings", "mutable")]),
        before,
      );
      const { data } = await world.kubectl("get", "secret", "login", "-n", "mutable", "-o", "json");
      assert.equal(Buffer.from(data.password as string, "base64").toString(), "second");
    });

    promise("changes mutable fields in place and replaces an object for immutable ones", async () => {
      const stack = await world.stack("immutable");
      const program =
        (replicas: number, app: string): Program =>
        ({ namespace, opts }) => {
          new k8s.apps.v1.Deployment("web", deployment({ name: "web", namespace }, { replicas, app }), opts);
        };
      await stack.up(program(1, "web"));
      const first = await uid("deployment", "web", "immutable");
      assert.deepEqual(counts(await stack.up(program(2, "web"))), { update: 1 });
      assert.equal(await uid("deployment", "web", "immutable"), first);
      assert.deepEqual(counts(await stack.up(program(2, "other"))), { replace: 1 });
      assert.notEqual(await uid("deployment", "web", "immutable"), first);
      await stack.destroy();
      await assert.rejects(uid("deployment", "web", "immutable"), /NotFound/);
    });

    promise("refuses to create over an object that is already there, and leaves it as it is", async () => {
      const stack = await world.stack("exists");
      await world.kubectl("create", "configmap", "theirs", "-n", "exists", "--from-literal=owner=somebody");
      const error = await stack.failure(configMap("theirs", { owner: "us" }));
      // Versions of before 4.25 apply the object, and the API server names the field that somebody else has set.
      assert.match(error, /configmaps "theirs" already exists|conflict with "kubectl-create".*\.data\.owner/s);
      const { data } = await world.kubectl("get", "configmap", "theirs", "-n", "exists", "-o", "json");
      assert.deepEqual(data, { owner: "somebody" });
    });

    promise("refuses to overwrite a field that another manager has set, unless patchForce is asked for", async () => {
      const stack = await world.stack("conflict");
      await stack.up(configMap("shared", { level: "info" }));
      const theirs = {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "shared", namespace: "conflict" },
        data: { level: "debug" },
      };
      await world.apply(theirs, "--field-manager=somebody-else", "--force-conflicts");
      const error = await stack.failure(configMap("shared", { level: "warn" }));
      assert.match(error, /conflict/);
      assert.match(error, /somebody-else/);
      await stack.up(configMap("shared", { level: "warn" }, { "pulumi.com/patchForce": "true" }));
      const { data } = await world.kubectl("get", "configmap", "shared", "-n", "conflict", "-o", "json");
      assert.deepEqual(data, { level: "warn" });
    });

    promise("overwrites without a word what kubectl has set: `npm run verify` names it before an `up`", async () => {
      const stack = await world.stack("patched");
      await stack.up(configMap("shared", { level: "info" }));
      const patch = [
        "patch",
        "configmap",
        "shared",
        "-n",
        "patched",
        "--type=merge",
        "-p",
        '{"data":{"level":"debug"}}',
      ];
      await world.kubectl(...patch);
      assert.deepEqual(counts(await stack.up(configMap("shared", { level: "warn" }))), { update: 1 });
      const { data } = await world.kubectl("get", "configmap", "shared", "-n", "patched", "-o", "json");
      assert.deepEqual(data, { level: "warn" });
    });

    promise(
      "changes nothing in a second up and a refresh where a chart's or a CRD's object has no labels",
      async () => {
        const stack = await world.stack("bare");
        const program: Program = ({ namespace, opts }) => {
          new k8s.core.v1.Secret("bare", { metadata: { name: "bare", namespace }, stringData: { a: "b" } }, opts);
          definition("bares", "Bare", "Namespaced", opts);
        };
        await stack.up(program);
        assertUnchanged(await stack.up(program));
        assertUnchanged(await stack.refresh(program));
      },
    );

    promise("refuses in the preview what the API server would refuse", async () => {
      const stack = await world.stack("invalid");
      const error = await stack.previewFailure(({ namespace, opts }) => {
        const object = deployment({ name: "web", namespace }, { app: "Not A Label!" });
        new k8s.apps.v1.Deployment("web", object, opts);
      });
      assert.match(error, /Not A Label!/);
      await assert.rejects(uid("deployment", "web", "invalid"), /NotFound/);
    });
  });

  describe("waiting", () => {
    promise("keeps an object in the state that is not ready in time, and goes on from it", async () => {
      const stack = await world.stack("timeout");
      const program =
        (fixed: boolean): Program =>
        ({ namespace, opts }) => {
          const object = deployment({ name: "web", namespace }, {});
          const template = fixed ? object.spec.template : unschedulable(object.spec.template);
          const customTimeouts = { create: "3s", update: "60s" };
          new k8s.apps.v1.Deployment(
            "web",
            { ...object, spec: { ...object.spec, template } },
            { ...opts, customTimeouts },
          );
        };
      const error = await stack.failure(program(false));
      assert.match(error, /web/);
      assert.match(error, /FailedScheduling|Unschedulable|MinimumReplicasUnavailable/);
      const { id, initErrors } = await stack.state("web");
      assert.equal(id, "timeout/web");
      assert.notEqual(initErrors.length, 0);
      const before = await uid("deployment", "web", "timeout");
      assert.deepEqual(counts(await stack.up(program(true))), { update: 1 });
      assert.equal(await uid("deployment", "web", "timeout"), before);
    });

    promise("waits for the conditions and fields of waitFor", async () => {
      const stack = await world.stack("wait-for");
      const custom =
        (waitFor: string): Program =>
        ({ namespace, opts }) => {
          const dependsOn = [definition("things", "Thing", "Namespaced", opts)];
          const metadata = { name: "thing", namespace, annotations: { "pulumi.com/waitFor": waitFor } };
          const thing = { apiVersion: "conformance.test/v1", kind: "Thing", metadata, spec: { waitFor } };
          new k8s.apiextensions.CustomResource("thing", thing, {
            ...opts,
            dependsOn,
            customTimeouts: { create: "30s", update: "3s" },
          });
        };
      const setStatus = (status: object): Promise<Live> =>
        world.kubectl(
          "patch",
          "things.conformance.test",
          "thing",
          "-n",
          "wait-for",
          "--subresource=status",
          "--type=merge",
          "-p",
          JSON.stringify({ status }),
        );
      const ready = {
        conditions: [
          { type: "Ready", status: "True" },
          { type: "Degraded", status: "False" },
        ],
        phase: "Running",
      };
      const both = JSON.stringify(["condition=Ready", "jsonpath={.status.phase}=Running"]);
      let finished = false;
      const up = stack.up(custom(both)).then((changes) => {
        finished = true;
        return changes;
      });
      await world.kubectl("wait", "--for=create", "crd/things.conformance.test", "--timeout=30s");
      await world.kubectl("wait", "--for=condition=Established", "crd/things.conformance.test", "--timeout=30s");
      await world.kubectl("wait", "--for=create", "things.conformance.test/thing", "-n", "wait-for", "--timeout=30s");
      await setStatus({ ...ready, phase: "Pending" });
      await sleep(1000);
      assert.equal(finished, false);
      await setStatus(ready);
      await up;
      for (const expression of [
        "condition=Degraded=False",
        'jsonpath={.status.conditions[?(@.type=="Ready")].status}=True',
        "jsonpath={.status.phase}",
      ]) {
        await stack.up(custom(expression));
      }
      assert.match(await stack.failure(custom("condition=Degraded=True")), /thing/);
    });
  });

  describe("Helm releases", () => {
    promise("installs, keeps, upgrades and uninstalls a release", async () => {
      const stack = await world.stack("release");
      const chart = await writeChart(path.join(world.directory, "good"), "1.0.0");
      const program =
        (replicas: number): Program =>
        ({ namespace, opts }) => {
          const password = pulumi.secret("hunter2hunter2");
          const args = { name: "app", namespace, chart, values: { replicas, password }, timeout: 30 };
          return { status: new k8s.helm.v3.Release("app", args, opts).status };
        };
      await stack.up(program(1));
      assert.deepEqual((await stack.outputs())["status"], {
        appVersion: "9.9",
        chart: "app",
        name: "app",
        namespace: "release",
        revision: 1,
        status: "deployed",
        version: "1.0.0",
      });
      const state = await stack.stateText();
      assert.equal(state.includes("hunter2hunter2"), false, "a secret value is in the state");
      assertUnchanged(await stack.up(program(1)));
      assertUnchanged(await stack.refresh(program(1)));
      assert.deepEqual(counts(await stack.up(program(2))), { update: 1 });
      const { spec } = await world.kubectl("get", "deployment", "app", "-n", "release", "-o", "json");
      assert.equal(spec.replicas, 2);
      await writeChart(chart, "1.1.0");
      assert.deepEqual(counts(await stack.up(program(2))), { update: 1 });
      assert.equal((await stack.outputs())["status"].version, "1.1.0");
      await stack.destroy();
      assert.equal(await world.helm("list", "--all", "--short", "-n", "release"), "");
    });

    promise("hands an empty list on to a chart, whose default it takes away, and drops a null", async () => {
      const stack = await world.stack("release-nulls");
      const chart = await writeChart(path.join(world.directory, "nulls"), "1.0.0");
      await writeFile(path.join(chart, "values.yaml"), "os: linux\nreplicas: 1\nscope: ALL\nhosts: [example.com]\n");
      const lines = [
        'scope: {{ .Values.scope | default "none" | quote }}',
        "hosts: {{ .Values.hosts | toJson | quote }}",
      ];
      const object = [
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata: { name: given }",
        "data:",
        ...lines.map((line) => `  ${line}`),
      ];
      await writeFile(path.join(chart, "templates", "given.yaml"), object.join("\n"));
      const program: Program = ({ namespace, opts }) => {
        const values = { scope: null, hosts: [] };
        new k8s.helm.v3.Release("app", { name: "app", namespace, chart, values, allowNullValues: true }, opts);
      };
      await stack.up(program);
      const { data } = await world.kubectl("get", "configmap", "given", "-n", "release-nulls", "-o", "json");
      assert.deepEqual(data, { scope: "ALL", hosts: "[]" });
      assertUnchanged(await stack.up(program));
    });

    promise("keeps a failed release in the state with helm's reason, and repairs it in the next up", async () => {
      const stack = await world.stack("release-fails");
      const chart = await writeChart(path.join(world.directory, "failing"), "1.0.0");
      const program =
        (os: string): Program =>
        ({ namespace, opts }) => {
          const args = { name: "app", namespace, chart, values: { replicas: 1, os }, timeout: os === "linux" ? 30 : 2 };
          return { status: new k8s.helm.v3.Release("app", args, opts).status.status };
        };
      const error = await stack.failure(program("none"));
      assert.match(error, /context deadline exceeded|timed out/);
      assert.equal((await stack.state("app")).outputs.status.status, "failed");
      assert.deepEqual(counts(await stack.up(program("linux"))), { update: 1 });
      assert.deepEqual(await stack.outputs(), { status: "deployed" });
      await stack.failure(program("other"));
      await stack.up(program("linux"));
      assert.deepEqual(await stack.outputs(), { status: "deployed" });
    });
  });

  describe("the random plugin", () => {
    promise(
      "makes a password once, keeps it out of the state as plain text, and makes another for another length",
      async () => {
        const stack = await world.stack("random");
        const program =
          (length: number): Program =>
          () => ({ password: new random.RandomPassword("password", { length, special: false }).result });
        await stack.up(program(16));
        const first = (await stack.outputs())["password"] as string;
        assert.match(first, /^[A-Za-z0-9]{16}$/);
        assert.equal((await stack.stateText()).includes(first), false, "the password is in the state");
        assertUnchanged(await stack.up(program(16)));
        assertUnchanged(await stack.refresh(program(16)));
        assert.deepEqual(counts(await stack.up(program(24))), { replace: 1 });
        assert.match((await stack.outputs())["password"] as string, /^[A-Za-z0-9]{24}$/);
      },
    );
  });
});

function assertUnchanged(changes: Changes): void {
  assert.deepEqual(counts(changes), {});
}

/** What was done, without what was left alone and the stack and its provider themselves. */
function counts(changes: Changes): Record<string, number> {
  return Object.fromEntries(Object.entries(changes).filter(([kind]) => kind !== "same"));
}

interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly annotations?: Record<string, string>;
}

interface PodTemplate {
  readonly metadata: { readonly labels: { readonly app: string } };
  readonly spec: object;
}

function podTemplate(app: string, image: string, env: readonly object[] = []): PodTemplate & { spec: Live } {
  const resources = { requests: { cpu: "1000m", memory: "1024Mi" }, limits: { cpu: 1, memory: "1Gi" } };
  const container = { name: "main", image, ports: [{ containerPort: 80 }], resources, env: [...env], args: [] };
  return { metadata: { labels: { app } }, spec: { hostNetwork: false, containers: [container] } };
}

function deployment(
  metadata: Metadata,
  {
    replicas = 1,
    app = "app",
    image = "web:1",
    env = [],
  }: { replicas?: number; app?: string; image?: string; env?: readonly object[] },
): { metadata: Metadata; spec: { replicas: number; selector: { matchLabels: { app: string } }; template: Live } } {
  return { metadata, spec: { replicas, selector: { matchLabels: { app } }, template: podTemplate(app, image, env) } };
}

function unschedulable(template: Live): Live {
  return { ...template, spec: { ...template.spec, nodeSelector: { "kubernetes.io/hostname": "nowhere" } } };
}

function configMap(name: string, data: Record<string, string>, annotations: Record<string, string> = {}): Program {
  return ({ namespace, opts }) => {
    new k8s.core.v1.ConfigMap(name, { metadata: { name, namespace, annotations }, data }, opts);
  };
}

const EVERYDAY_OBJECTS = 10;

/** Objects with the forms that the server rewrites: quantities, zero values, a Secret's text. */
function everyday({ password, level = "info" }: { password: string; level?: string }): Program {
  return ({ namespace, opts }) => {
    const named = (name: string): Metadata => ({ name, namespace });
    new k8s.core.v1.Secret(
      "login",
      { metadata: named("login"), stringData: { password }, data: { raw: "aGk=" } },
      opts,
    );
    new k8s.core.v1.ConfigMap("settings", { metadata: named("settings"), data: { level, "a.b": "c" } }, opts);
    new k8s.core.v1.ServiceAccount(
      "account",
      { metadata: named("account"), automountServiceAccountToken: false },
      opts,
    );
    new k8s.core.v1.ResourceQuota(
      "quota",
      { metadata: named("quota"), spec: { hard: { "limits.cpu": "20000m", pods: 50 as never } } },
      opts,
    );
    new k8s.apps.v1.Deployment("web", deployment(named("web"), {}), opts);
    new k8s.core.v1.Service(
      "headless",
      { metadata: named("headless"), spec: { clusterIP: "None", selector: { app: "app" }, ports: [{ port: 80 }] } },
      opts,
    );
    const rules = [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }];
    const role = new k8s.rbac.v1.Role("role", { metadata: named("role"), rules }, opts);
    const subjects = [{ kind: "ServiceAccount", name: "account", namespace }];
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: role.metadata.name };
    new k8s.rbac.v1.RoleBinding("binding", { metadata: named("binding"), subjects, roleRef }, opts);
    const peers = [{ podSelector: { matchLabels: { app: "app" } }, namespaceSelector: {} }];
    const policy = {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: peers, ports: [{ port: 80 }] }],
      egress: [],
    };
    new k8s.networking.v1.NetworkPolicy("policy", { metadata: named("policy"), spec: policy }, opts);
    const claim = {
      accessModes: ["ReadWriteOnce"],
      storageClassName: "absent",
      resources: { requests: { storage: "1024Mi" } },
    };
    const annotations = { "pulumi.com/skipAwait": "true" };
    new k8s.core.v1.PersistentVolumeClaim("claim", { metadata: { ...named("claim"), annotations }, spec: claim }, opts);
  };
}

function definition(
  plural: string,
  kind: string,
  scope: "Cluster" | "Namespaced",
  opts: pulumi.CustomResourceOptions,
): k8s.apiextensions.v1.CustomResourceDefinition {
  const schema = { openAPIV3Schema: { type: "object", x_kubernetes_preserve_unknown_fields: true } };
  const version = { name: "v1", served: true, storage: true, schema, subresources: { status: {} } };
  const names = { kind, plural, singular: plural.slice(0, -1) };
  const spec = { group: "conformance.test", scope, names, versions: [version] };
  return new k8s.apiextensions.v1.CustomResourceDefinition(
    plural,
    { metadata: { name: `${plural}.conformance.test` }, spec },
    opts,
  );
}

async function writeChart(directory: string, version: string): Promise<string> {
  await mkdir(path.join(directory, "templates"), { recursive: true });
  await writeFile(
    path.join(directory, "Chart.yaml"),
    `apiVersion: v2\nname: app\nversion: ${version}\nappVersion: "9.9"\n`,
  );
  await writeFile(path.join(directory, "values.yaml"), "replicas: 1\nos: linux\npassword: ''\n");
  await writeFile(
    path.join(directory, "templates", "app.yaml"),
    `apiVersion: apps/v1
kind: Deployment
metadata: { name: "{{ .Release.Name }}" }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: app } }
  template:
    metadata: { labels: { app: app } }
    spec:
      nodeSelector: { kubernetes.io/os: "{{ .Values.os }}" }
      containers: [{ name: main, image: "app:1" }]
`,
  );
  return directory;
}
