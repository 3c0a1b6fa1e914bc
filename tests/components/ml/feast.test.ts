import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { Feast, type FeastArgs, onlineStoreAccess } from "../../../components/ml/feast";
import { FEATURES } from "../../../stacks/layers/features";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, valueOf, waitsFor } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { bucket, cache, database, metrics, onCluster, SIZE } from "../../support/stubs";
import { temporaryDirectory } from "../../support/temporary";

const HOSTILE = `p,@ss:w/rd?#[%41]&+ "'\\$HOME={}é`;

async function feast(own: Partial<FeastArgs> = {}): Promise<{ seen: Registered[]; component: Feast }> {
  const seen = await mockEngine();
  const component = new Feast(
    "feast",
    {
      namespace: "ml",
      project: "prices",
      repository: FEATURES.repository,
      registry: database(HOSTILE),
      onlineStore: cache(HOSTILE),
      offlineStore: bucket(),
      replicas: { min: 2, max: 6 },
      http: SIZE,
      grpc: SIZE,
      jobs: SIZE,
      schedules: { hourly: "5 * * * *", daily: "0 2 * * *" },
      metrics: metrics(),
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
const CRON_JOB = "kubernetes:batch/v1:CronJob";
const template = (seen: readonly Registered[]): any => only(seen, DEPLOYMENT).inputs.spec.template;
const server = (seen: readonly Registered[], name: "http" | "grpc"): any =>
  template(seen).spec.containers.find((one: any) => one.name === name);
const jobTemplate = (seen: readonly Registered[]): any =>
  only(seen, "kubernetes:batch/v1:Job", "feast-apply").inputs.spec.template;
const cronJobPod = (one: Registered): any => one.inputs.spec.jobTemplate.spec.template.spec;
const secretData = (seen: readonly Registered[], name: string): Record<string, string> =>
  only(seen, "kubernetes:core/v1:Secret", name).inputs.stringData;
const store = (seen: readonly Registered[]): any =>
  parse(only(seen, "kubernetes:core/v1:ConfigMap", "feast-store").inputs.data["feature_store.yaml"]);

function repository(files: Record<string, string>): string {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(directory, name), text);
  return directory;
}

describe("Feast", () => {
  it("serves HTTP and gRPC behind one Service, and probes each by what it speaks", async () => {
    const { seen, component } = await feast();
    const [http, grpc] = [server(seen, "http"), server(seen, "grpc")];
    assert.ok(
      http.command.includes("serve") && http.command.includes("--port=6566"),
      "the HTTP server listens on another port than its Service",
    );
    assert.ok(
      grpc.command.includes("listen") && grpc.command.includes("--address=0.0.0.0:6567"),
      "the gRPC server listens on another port than its Service",
    );
    for (const kind of ["startupProbe", "readinessProbe"]) {
      assert.deepEqual(http[kind].httpGet, { path: "/health", port: "http" });
      assert.deepEqual(grpc[kind].grpc, { port: 6567 });
    }
    const { metadata, spec } = only(seen, "kubernetes:core/v1:Service").inputs;
    assert.equal(metadata.name, "feast-server");
    assert.deepEqual(spec.selector, { app: "feast", component: "feature-server" });
    assert.deepEqual(spec.ports, [
      { name: "http", port: 6566, targetPort: "http" },
      { name: "grpc", port: 6567, targetPort: "grpc" },
    ]);
    assert.equal(await valueOf(component.http.host), "feast-server.ml.svc");
    assert.deepEqual([component.http.podPort, component.grpc.podPort], [6566, 6567]);
  });

  it("keeps a connection for as long as its client does", async () => {
    const { seen } = await feast();
    assert.ok(
      server(seen, "http").command.includes("--max-requests=0"),
      "workers that end after some requests drop those under way: switch that off",
    );
  });

  it("is scraped where `feast serve --metrics` listens", async () => {
    const { seen } = await feast();
    assert.ok(server(seen, "http").command.includes("--metrics"), "without --metrics there is nothing to alert on");
    const { spec } = only(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor").inputs;
    const ports = new Map(server(seen, "http").ports.map((port: any) => [port.name, port.containerPort]));
    assert.equal(ports.get(spec.podMetricsEndpoints[0].port), 8000);
  });

  it("shows no password outside of Secrets", async () => {
    const { seen } = await feast();
    const rest = JSON.stringify(
      seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret").map(({ inputs }) => inputs),
    );
    for (const part of ["rd?#", "u0040ss", encodeURIComponent("@ss"), "bucket-password"]) {
      assert.ok(!rest.includes(part), part);
    }
    const { registry, online_store: onlineStore } = store(seen);
    assert.deepEqual([registry.path, onlineStore.connection_string], ["${FEAST_REGISTRY}", "${FEAST_ONLINE_STORE}"]);
  });

  it("reaches its registry under a password of any characters", async () => {
    const { seen } = await feast();
    const uri = new URL(secretData(seen, "feast-stores")["FEAST_REGISTRY"] ?? "");
    assert.deepEqual(
      [uri.protocol, uri.username, decodeURIComponent(uri.password), uri.host, uri.pathname, uri.search],
      [
        "postgresql+psycopg:",
        "runner",
        HOSTILE,
        "db.elsewhere:5432",
        "/runs",
        "?sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.crt&connect_timeout=10&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000",
      ],
    );
  });

  it("reaches its online store under a password of any characters", async () => {
    const { seen } = await feast();
    const text = secretData(seen, "feast-stores")["FEAST_ONLINE_STORE"] ?? "";
    // As Feast reads it: pasted into YAML, split at commas, each value taken for JSON.
    assert.equal(parse(`connection_string: ${text}`).connection_string, text);
    const [address, ...options] = text.split(",");
    const { password = "", ...others } = Object.fromEntries(options.map((option) => option.split("=")));
    assert.equal(address, "redis.elsewhere:6379");
    assert.deepEqual(others, {
      ssl: "true",
      ssl_cert_reqs: "required",
      ssl_check_hostname: "true",
      ssl_ca_certs: "/etc/redis-ca/ca.crt",
      username: "runner",
    });
    assert.equal(JSON.parse(password), HOSTILE);
    const number = secretData((await feast({ onlineStore: cache("12345678") })).seen, "feast-stores");
    assert.match(number["FEAST_ONLINE_STORE"] ?? "", /,password="12345678"$/, "a text of digits stays a text");
  });

  it("may touch the keys of its project alone, with the commands that it sends", () => {
    const { keys, commands } = onlineStoreAccess("prices");
    assert.deepEqual(keys, ["*prices"]);
    assert.deepEqual([...commands].sort(), ["del", "hdel", "hkeys", "hmget", "hset", "scan"]);
  });

  it("registers what is defined before it serves, once its stores are there", async () => {
    const { seen } = await feast();
    const apply = only(seen, "kubernetes:batch/v1:Job", "feast-apply");
    assertOrder(seen, only(seen, DEPLOYMENT), apply);
    for (const marker of ["db-ready", "redis-ready", "bucket-ready"]) {
      assert.ok(waitsFor(seen, apply, only(seen, "kubernetes:core/v1:ConfigMap", marker)), marker);
    }
    for (const cronJob of all(seen, CRON_JOB)) assert.ok(waitsFor(seen, cronJob, apply), cronJob.name);
  });

  it("registers again when a definition changes, without a restart of its servers", async () => {
    const with_ = async (text: string) => {
      const { seen } = await feast({ repository: repository({ "features.py": text, "notes.txt": text }) });
      return { job: jobTemplate(seen), servers: template(seen) };
    };
    const [before, same, after] = [await with_("a = 1"), await with_("a = 1"), await with_("a = 2")];
    assert.deepEqual(before, same);
    assert.notDeepEqual(before.job.metadata.annotations, after.job.metadata.annotations);
    assert.deepEqual(before.servers, after.servers);
  });

  it("registers again and restarts when it is to use another store", async () => {
    const of = async (project: string) => {
      const { seen } = await feast({ project });
      return [jobTemplate(seen).metadata.annotations, template(seen).metadata.annotations];
    };
    const [one, other] = [await of("prices"), await of("weather")];
    assert.notDeepEqual(one[0], other[0]);
    assert.notDeepEqual(one[1], other[1]);
  });

  it("has its servers look for new definitions within half a minute", async () => {
    const { seen } = await feast();
    assert.equal(store(seen).registry.cache_ttl_seconds, 30);
    for (const name of ["http", "grpc"] as const) {
      assert.ok(server(seen, name).command.includes("--registry_ttl_sec=30"), name);
    }
  });

  it("goes on to serve a view that is being materialized", async () => {
    assert.equal(store((await feast()).seen).registry.serve_features_while_materializing, true);
  });

  it("hands `feast apply` every Python file of the repository, and the store file beside them", async () => {
    const { seen } = await feast({ repository: repository({ "a.py": "a = 1", "b.py": "b = 2", "README.md": "#" }) });
    const { data } = only(seen, "kubernetes:core/v1:ConfigMap", "feast-definitions").inputs;
    assert.deepEqual(data, { "a.py": "a = 1", "b.py": "b = 2" });

    // The script on a directory of links, as a mounted ConfigMap is one; `feast` lists what it finds.
    const root = temporaryDirectory();
    for (const [volume, files] of Object.entries({
      definitions: data,
      store: { "feature_store.yaml": "project: x" },
    })) {
      fs.mkdirSync(path.join(root, volume, "..data"), { recursive: true });
      for (const [file, text] of Object.entries(files as Record<string, string>)) {
        fs.writeFileSync(path.join(root, volume, "..data", file), text);
        fs.symlinkSync(path.join("..data", file), path.join(root, volume, file));
      }
    }
    fs.mkdirSync(path.join(root, "tmp"));
    fs.writeFileSync(path.join(root, "feast"), '#!/bin/sh\nshift; find "$1" -type f | sort; shift; echo "$@"\n', {
      mode: 0o755,
    });
    const [, , script = ""] = jobTemplate(seen).spec.containers[0].command as string[];
    const here = script.replaceAll(/\/(definitions|store|tmp)\b/g, `${root}/$1`);
    const { stdout, status } = spawnSync("sh", ["-c", here], { env: { PATH: `${root}:/usr/bin:/bin` } });
    const copies = ["a.py", "b.py", "feature_store.yaml"].map((file) => `${root}/tmp/repository/${file}`);
    const called = [...copies, "apply", ...copies, "feature-views list"];
    assert.deepEqual([status, stdout.toString().trim().split("\n")], [0, called]);
  });

  it("materializes each hour what is new and the last two hours, at night the last seven days, never twice at once", async () => {
    const { seen } = await feast();
    const called = (name: string) => {
      const { inputs } = only(seen, CRON_JOB, name);
      assert.equal(inputs.spec.concurrencyPolicy, "Forbid");
      assert.equal(inputs.spec.timeZone, "Etc/UTC");
      const directory = temporaryDirectory();
      fs.writeFileSync(path.join(directory, "feast"), '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
      const [shell, ...rest] = inputs.spec.jobTemplate.spec.template.spec.containers[0].command as string[];
      const { stdout } = spawnSync(shell ?? "", rest, { env: { PATH: `${directory}:/usr/bin:/bin` } });
      const calls = stdout.toString().trim().split("\n");
      return { schedule: inputs.spec.schedule, calls: calls.map((call) => call.split(" ")) };
    };
    const hourly = called("feast-materialize-hourly");
    assert.equal(hourly.schedule, "5 * * * *");
    const [incremental = [], late = []] = hourly.calls;
    assert.equal(hourly.calls.length, 2);
    assert.deepEqual(incremental.slice(0, 3), ["--chdir", "/store", "materialize-incremental"]);
    assert.ok(Math.abs(Date.parse(incremental[3] ?? "") - Date.now()) < 60_000, "the run does not end now");
    const daily = called("feast-materialize-daily");
    assert.equal(daily.schedule, "0 2 * * *");
    assert.equal(daily.calls.length, 1);
    for (const [words, hours] of [[late, 2] as const, [daily.calls[0] ?? [], 7 * 24] as const]) {
      assert.deepEqual(words.slice(0, 3), ["--chdir", "/store", "materialize"]);
      const [from = 0, to = 0] = words.slice(3).map((time) => Date.parse(time));
      assert.ok(
        Math.abs(to - Date.now()) < 60_000 && Math.abs(to - from - hours * 3_600_000) < 60_000,
        `the run does not cover the last ${hours} hours`,
      );
    }
  });

  it("gives the keys of the object store to what reads it, and not to the servers", async () => {
    const { seen } = await feast();
    const secrets = (container: any) => container.envFrom.map(({ secretRef }: any) => secretRef.name);
    for (const name of ["http", "grpc"] as const) assert.deepEqual(secrets(server(seen, name)), ["feast-stores"]);
    for (const container of [
      ...jobTemplate(seen).spec.containers,
      ...all(seen, CRON_JOB).flatMap((one) => cronJobPod(one).containers),
    ]) {
      assert.deepEqual(secrets(container), ["feast-stores", "feast-object-store"]);
      assert.ok(
        container.env.some(
          (one: any) => one.name === "AWS_ENDPOINT_URL_S3" && one.value === "https://s3.elsewhere:9000",
        ),
        "the container does not know where the object store is",
      );
    }
    const readers = wires(seen).filter((wire) => wire.includes(" -> s3 "));
    assert.deepEqual(readers, ["feast -> s3 9000", "feast-apply -> s3 9000"]);
  });

  it("grows and shrinks by CPU, with a budget where there is more than one", async () => {
    const budgets = (seen: readonly Registered[]) => all(seen, "kubernetes:policy/v1:PodDisruptionBudget").length;
    const two = (await feast()).seen;
    const { spec } = only(two, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler").inputs;
    assert.deepEqual([spec.minReplicas, spec.maxReplicas, spec.scaleTargetRef.name], [2, 6, "feast-server"]);
    assert.equal(only(two, DEPLOYMENT).inputs.spec.replicas, undefined);
    assert.deepEqual([budgets(two), budgets((await feast({ replicas: { min: 1, max: 2 } })).seen)], [1, 0]);
  });

  it("counts none but servers as `app: feast`", async () => {
    const { seen } = await feast();
    const labels = [
      jobTemplate(seen).metadata.labels,
      ...all(seen, CRON_JOB).map(({ inputs }) => inputs.spec.jobTemplate.spec.template.metadata.labels),
    ];
    for (const { app } of labels) assert.notEqual(app, "feast");
  });
});
