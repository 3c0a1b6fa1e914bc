import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout } from "node:timers/promises";
import * as pulumi from "@pulumi/pulumi";
import { DolphinScheduler, type DolphinSchedulerArgs } from "../../../components/analytics/dolphinscheduler";
import { images } from "../../../components/base/versions";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, waitsFor } from "../../support/mocks";
import { ROOT } from "../../../rehearsal/program/evaluate";
import { assertOrder } from "../../support/order";
import { temporaryDirectory } from "../../support/temporary";
import { bucket, database, endpoint, metrics, onCluster, SIZE } from "../../support/stubs";

const HOSTILE = `p@ss:w/rd?#[%41]&+ "'\\$é`;
const ADMIN = "the-password-of-admin";
const KINDS = ["api", "master", "worker", "alert"];

async function dolphinscheduler(
  own: Partial<DolphinSchedulerArgs> = {},
): Promise<{ seen: Registered[]; component: DolphinScheduler }> {
  const seen = await mockEngine();
  const component = new DolphinScheduler(
    "dolphinscheduler",
    {
      namespace: "flows",
      store: database(HOSTILE),
      registry: database("password-of-workers"),
      adminPassword: pulumi.secret(ADMIN),
      resources: bucket("uploads"),
      api: { ...SIZE, replicas: 3 },
      master: SIZE,
      worker: { ...SIZE, replicas: 2 },
      alert: SIZE,
      jobs: SIZE,
      history: { schedule: "0 2 * * *", retentionDays: 90 },
      tasksReach: [],
      alertsReach: [],
      metrics: metrics(),
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const workload = (seen: readonly Registered[], kind: string): Registered => {
  const [found] = seen.filter(
    ({ type, name }) => /:(Deployment|StatefulSet)$/.test(type) && name === `dolphinscheduler-${kind}`,
  );
  assert.ok(found, kind);
  return found;
};
const pod = (seen: readonly Registered[], kind: string): any => workload(seen, kind).inputs.spec.template.spec;
const env = (seen: readonly Registered[], kind: string): Record<string, string> =>
  Object.fromEntries(pod(seen, kind).containers[0].env.map(({ name, value }: any) => [name, value]));
const secret = (seen: readonly Registered[], name: string): Record<string, string> =>
  only(seen, "kubernetes:core/v1:Secret", `dolphinscheduler-${name}`).inputs.stringData;
const job = (seen: readonly Registered[], name: string): Registered =>
  only(seen, "kubernetes:batch/v1:Job", `dolphinscheduler-${name}`);
const reached = (seen: readonly Registered[], from: string): string[] =>
  wires(seen)
    .flatMap((wire) => {
      const [, client, server = ""] = /^dolphinscheduler-(\w+) -> (?:dolphinscheduler-)?(\S+)/.exec(wire) ?? [];
      return client === from ? [server] : [];
    })
    .sort();

describe("DolphinScheduler", () => {
  it("runs one version everywhere, the worker's own image included", () => {
    const tags = Object.entries(images)
      .filter(([name]) => name.startsWith("dolphinscheduler"))
      .map(([, image]) => /:(\d+\.\d+\.\d+)(-|$)/.exec(image)?.[1]);
    assert.deepEqual([tags.length, new Set(tags).size], [5, 1], tags.join(", "));
  });

  it("keeps every credential in Secrets, whatever its characters", async () => {
    const { seen } = await dolphinscheduler();
    assert.equal(secret(seen, "database")["SPRING_DATASOURCE_PASSWORD"], HOSTILE);
    assert.equal(
      secret(seen, "database")["SPRING_DATASOURCE_URL"],
      "jdbc:postgresql://db.elsewhere:5432/runs?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt",
    );
    assert.equal(secret(seen, "registry")["REGISTRY_HIKARICONFIG_PASSWORD"], "password-of-workers");
    assert.equal(secret(seen, "psql")["PGPASSWORD"], HOSTILE);
    assert.equal(secret(seen, "object-store")["RESOURCE_AWS_SECRET_ACCESS_KEY"], "bucket-password");
    const rest = seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret").map(({ inputs }) => inputs);
    for (const credential of [ADMIN, "rd?#", "bucket-password"]) {
      assert.ok(!JSON.stringify(rest).includes(credential), credential);
    }
  });

  it("trusts the CA of the object store besides the public ones, in a file that tasks cannot write", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of ["master", "worker", "api"]) {
      const { initContainers, containers, volumes } = pod(seen, kind);
      const [{ command, volumeMounts }] = initContainers;
      const ca = volumeMounts.find(({ name }: any) => name === "object-store-ca").mountPath;
      assert.equal(volumes.find(({ name }: any) => name === "object-store-ca").secret.secretName, "s3-tls");
      const store = volumeMounts.find(({ name }: any) => name === "trust").mountPath;
      assert.match(command.at(-1), new RegExp(`keytool -importcert .*-file ${ca}/ca.crt -keystore ${store}/cacerts `));
      assert.ok(containers[0].command.includes(`-Djavax.net.ssl.trustStore=${store}/cacerts`), kind);
      assert.deepEqual(
        containers[0].volumeMounts.find(({ name }: any) => name === "trust"),
        { name: "trust", mountPath: store, readOnly: true },
      );
    }
    assert.deepEqual(pod(seen, "alert").initContainers, [], "the alert server does not reach the object store");
  });

  it("takes the vendor's password from admin after the schema is there and before any server starts", async () => {
    const { seen, component } = await dolphinscheduler();
    assertOrder(seen, job(seen, "set-admin"), job(seen, "schema"));
    for (const kind of KINDS) assert.ok(waitsFor(seen, workload(seen, kind), job(seen, "set-admin")), kind);
    const [container] = job(seen, "set-admin").inputs.spec.template.spec.containers;
    assert.ok(
      container.envFrom.some(({ secretRef }: any) => secretRef.name === component.offers.credentials?.["admin"]?.name),
      "the Job does not get the admin's new password",
    );
    assert.deepEqual(secret(seen, "admin"), { username: "admin", password: ADMIN });
  });

  it("prepares the database again when a version or a login has changed: the Jobs' templates name both", async () => {
    const { seen } = await dolphinscheduler();
    const changed = (await dolphinscheduler({ adminPassword: pulumi.secret("another") })).seen;
    const template = (of: readonly Registered[]): string =>
      JSON.stringify(job(of, "set-admin").inputs.spec.template.metadata.annotations);
    assert.notEqual(template(seen), template(changed));
    assert.equal(job(seen, "schema").inputs.spec.template.spec.containers[0].image, images.dolphinschedulerTools);
  });

  it("finds its servers through the database, and by names that outlive their pods", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of ["master", "worker", "alert"]) {
      assert.equal(env(seen, kind)["REGISTRY_TYPE"], "jdbc");
      const { spec } = only(seen, "kubernetes:core/v1:Service", `dolphinscheduler-${kind}`).inputs;
      assert.deepEqual([spec.clusterIP, spec.publishNotReadyAddresses], ["None", true]);
      const { type, inputs } = workload(seen, kind);
      assert.deepEqual([type, inputs.spec.serviceName], ["kubernetes:apps/v1:StatefulSet", `dolphinscheduler-${kind}`]);
    }
  });

  it("starts that registry, which 3.2.2 leaves to itself", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of KINDS) {
      const settings = only(seen, "kubernetes:core/v1:ConfigMap", `dolphinscheduler-${kind}-settings`).inputs.data;
      const [, file = ""] = /^spring\.main\.sources: file:([^\s,]+)/m.exec(settings["application.yaml"]) ?? [];
      const [container] = pod(seen, kind).containers;
      const mount = container.volumeMounts.find(({ name }: any) => name === "settings");
      assert.equal(env(seen, kind)["SPRING_CONFIG_ADDITIONALLOCATION"], `file:${mount.mountPath}/`);
      assert.match(
        settings[file.replace(`${mount.mountPath}/`, "")],
        /"targetObject" ref="jdbcRegistry"[^]*value="start"/,
      );
    }
  });

  it("runs as many pods as it is told of api and workers, and one master and one alert server", async () => {
    const { seen } = await dolphinscheduler();
    assert.deepEqual(
      KINDS.map((kind) => workload(seen, kind).inputs.spec.replicas),
      [3, 1, 2, 1],
    );
    const budgets = all(seen, "kubernetes:policy/v1:PodDisruptionBudget").map(({ name }) => name);
    assert.deepEqual(budgets.sort(), ["dolphinscheduler-api", "dolphinscheduler-worker"]);
    assert.deepEqual(all(seen, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"), []);
  });

  it("tells servers to end, and leaves them memory beside the heap", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of KINDS) {
      const [container] = pod(seen, kind).containers;
      const [java, heap] = container.command;
      assert.equal(java, "java", "the first process of the container is the one that gets the signal");
      assert.equal(heap, `-Xmx${SIZE.memoryMiB.limit / 2}m`);
    }
  });

  it("asks the API server for nothing", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of KINDS) assert.equal(env(seen, kind)["SPRING_CLOUD_KUBERNETES_ENABLED"], "false", kind);
  });

  it("lets workers into the registry alone, and proves it with their own login before one starts", async () => {
    const { seen } = await dolphinscheduler();
    const logins = pod(seen, "worker").containers.flatMap(({ envFrom }: any) =>
      envFrom.map(({ secretRef }: any) => secretRef.name),
    );
    assert.deepEqual(logins, ["dolphinscheduler-registry", "dolphinscheduler-object-store"]);
    const grants = job(seen, "grants");
    assertOrder(seen, grants, job(seen, "schema"));
    assert.ok(waitsFor(seen, workload(seen, "worker"), grants), "a worker may start before it may enter the registry");
    const files = only(seen, "kubernetes:core/v1:ConfigMap", "dolphinscheduler-grants").inputs.data;
    const granted = [...files["grant-registry.sql"].matchAll(/GRANT [^;]* ON ([^;]*) TO/g)].map(([, on]) => on);
    assert.equal(granted.length, 2);
    for (const objects of granted) assert.match(objects, /^(SEQUENCE )?(t_ds_jdbc_registry_\w+(, )?)+$/);
    const [, owner, worker] = grants.inputs.spec.template.spec.containers[0].command[2].split(/^run /m);
    assert.match(owner, /^grant-registry\.sql\nexport PGUSER=\$REGISTRY_HIKARICONFIG_USERNAME/);
    assert.match(worker, /^prove-registry\.sql/);
  });

  it("hides the credentials of a worker from its tasks: they inherit none, and cannot look into the process", async () => {
    const { seen } = await dolphinscheduler();
    const settings = only(seen, "kubernetes:core/v1:ConfigMap", "dolphinscheduler-worker-settings").inputs.data;
    const unset = [...settings["hide.xml"].matchAll(/unsetenv\("(\w+)"\)/g)].map(([, variable]) => variable);
    const held = ["registry", "object-store"].flatMap((name) => Object.keys(secret(seen, name)));
    assert.deepEqual(unset.sort(), held.sort());
    assert.match(settings["hide.xml"], /"prctl"\)\.invokeInt\(new Object\[\]\{4, 0L/);
    assert.match(settings["application.yaml"], /,file:\/etc\/dolphinscheduler\/hide\.xml$/m);
    const [server, ...others] = pod(seen, "worker").containers;
    assert.ok(server.command.includes("-XX:+DisableAttachMechanism"), "a task can load code into the worker");
    for (const { name, envFrom } of others) assert.deepEqual(envFrom, [], name);
  });

  it("deletes what ended long ago, through the API and as its admin", async () => {
    const { seen } = await dolphinscheduler();
    const { schedule, jobTemplate } = only(seen, "kubernetes:batch/v1:CronJob", "dolphinscheduler-history").inputs.spec;
    const [{ env: variables, envFrom }] = jobTemplate.spec.template.spec.containers;
    assert.equal(schedule, "0 2 * * *");
    assert.deepEqual(Object.fromEntries(variables.map(({ name, value }: any) => [name, value])), {
      API_URL: "http://dolphinscheduler-api.flows.svc:12345/dolphinscheduler",
      RETENTION_DAYS: "90",
    });
    assert.equal(envFrom[0].secretRef.name, "dolphinscheduler-admin");
    assert.deepEqual(reached(seen, "history"), ["api"]);
  });

  it("deletes the bucket's copies of logs as well, with the login of its own user", async () => {
    const { seen } = await dolphinscheduler();
    const { jobTemplate } = only(seen, "kubernetes:batch/v1:CronJob", "dolphinscheduler-logs").inputs.spec;
    const [{ env: variables }] = jobTemplate.spec.template.spec.containers;
    const { LOGS, AGE } = Object.fromEntries(variables.map(({ name, value }: any) => [name, value]));
    const { REMOTE_LOGGING_S3_BUCKET_NAME: bucketName, REMOTE_LOGGING_BASE_DIR: folder } = env(seen, "worker");
    assert.deepEqual([LOGS, AGE], [`store/${bucketName}/${folder}/`, "90d"]);
    assert.deepEqual(secret(seen, "logs"), { login: "bucket-user\nbucket-password\n" });
    assert.deepEqual(reached(seen, "logs"), ["s3"]);
  });

  it("deletes logs that are a week old, and of too many empties the oldest", async () => {
    const directory = temporaryDirectory();
    const write = (file: string, mib: number, days: number): string => {
      const log = path.join(directory, file);
      fs.writeFileSync(log, Buffer.alloc(mib * 1024 ** 2, 1));
      fs.utimesSync(log, Date.now() / 1000, Date.now() / 1000 - days * 86400);
      return log;
    };
    const [old, first, last] = [write("old", 1, 8), write("first", 3, 2), write("last", 3, 1)];
    const script = path.join(ROOT, "components/analytics/dolphinscheduler/clean-task-logs.sh");
    const cleaner = spawn("bash", [script, directory, "4"]);
    while (!fs.existsSync(path.join(directory, ".cleaned"))) await setTimeout(50);
    cleaner.kill();
    const sizes = [old, first, last].map((log) => (fs.existsSync(log) ? fs.statSync(log).size : undefined));
    assert.deepEqual(sizes, [undefined, 0, 3 * 1024 ** 2]);
  });

  it("empties the oldest logs of tasks before their volume is full, for which a pod would be evicted", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of ["master", "worker"]) {
      const { containers, volumes } = pod(seen, kind);
      const { command, volumeMounts } = containers.find(({ name }: any) => name === "clean-logs");
      const [, script, directory, mib] = command;
      const mounted = volumeMounts.find(({ mountPath }: any) => mountPath === directory);
      const { emptyDir } = volumes.find(({ name }: any) => name === mounted.name);
      assert.ok(Number(mib) <= parseInt(emptyDir.sizeLimit, 10) / 2, kind);
      const settings = only(seen, "kubernetes:core/v1:ConfigMap", `dolphinscheduler-${kind}-settings`).inputs.data;
      assert.ok(path.basename(script) in settings, script);
    }
  });

  it("starts a worker again that has stopped itself, which its process outlives", async () => {
    const { seen } = await dolphinscheduler();
    const [worker] = pod(seen, "worker").containers;
    assert.deepEqual(worker.livenessProbe.tcpSocket, { port: "rpc" });
    const { containerPort } = worker.ports.find(({ name }: any) => name === "rpc");
    assert.equal(containerPort, 1234);
  });

  it("does not let servers wait for a database in vain: they stop, and are started again", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of ["master", "worker"]) {
      assert.equal(env(seen, kind)[`${kind.toUpperCase()}_REGISTRYDISCONNECTSTRATEGY_STRATEGY`], "stop", kind);
    }
  });

  it("runs tasks without sudo and without other users", async () => {
    const { seen } = await dolphinscheduler();
    const { SUDO_ENABLE, WORKER_TENANTCONFIG_AUTOCREATETENANTENABLED, WORKER_TENANTCONFIG_DEFAULTTENANTENABLED } = env(
      seen,
      "worker",
    );
    assert.deepEqual(
      [SUDO_ENABLE, WORKER_TENANTCONFIG_AUTOCREATETENANTENABLED, WORKER_TENANTCONFIG_DEFAULTTENANTENABLED],
      ["false", "false", "true"],
    );
  });

  it("keeps what people upload, and the logs of tasks, in the object store", async () => {
    const { seen } = await dolphinscheduler();
    for (const kind of ["api", "master", "worker"]) {
      const variables = env(seen, kind);
      assert.deepEqual(
        [variables["RESOURCE_STORAGE_TYPE"], variables["RESOURCE_AWS_S3_BUCKET_NAME"]],
        ["S3", "uploads"],
      );
      assert.deepEqual(
        [variables["REMOTE_LOGGING_TARGET"], variables["REMOTE_LOGGING_S3_BUCKET_NAME"]],
        ["S3", "uploads"],
      );
    }
  });

  it("lets its servers reach each other where they call, and nothing else reach out", async () => {
    const { seen } = await dolphinscheduler();
    assert.deepEqual(reached(seen, "api"), ["alert", "db", "master", "s3", "worker"]);
    assert.deepEqual(reached(seen, "master"), ["db", "master", "s3", "worker"]);
    assert.deepEqual(reached(seen, "worker"), ["alert", "db", "master", "s3"]);
    assert.deepEqual(reached(seen, "alert"), ["db"]);
  });

  it("lets tasks and alerts to what is named, and to nothing more", async () => {
    const { seen } = await dolphinscheduler({
      tasksReach: [endpoint("models", "http", 5000)],
      alertsReach: [{ kind: "external", name: "mail", cidrs: ["192.0.2.25/32"], port: 587, why: "mail" }],
    });
    assert.ok(
      reached(seen, "worker").includes("models") && !reached(seen, "worker").includes("mail"),
      "workers reach what tasks are given, and not the mail server",
    );
    assert.ok(
      reached(seen, "alert").includes("mail") && !reached(seen, "alert").includes("models"),
      "the alert server reaches the mail server, and not what tasks are given",
    );
  });

  it("is scraped under the path that each server has", async () => {
    const { seen } = await dolphinscheduler();
    const paths = all(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor").map(({ inputs: { metadata, spec } }) => [
      metadata.name,
      spec.podMetricsEndpoints[0].path,
    ]);
    assert.deepEqual(Object.fromEntries(paths), {
      "dolphinscheduler-api": "/dolphinscheduler/actuator/prometheus",
      "dolphinscheduler-master": "/actuator/prometheus",
      "dolphinscheduler-worker": "/actuator/prometheus",
      "dolphinscheduler-alert": "/actuator/prometheus",
    });
  });
});
