import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { Postgres, type PostgresArgs } from "../../../components/data/postgres";
import { makeChartDirectory } from "../../support/chart-directory";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled, valueOf, waitsFor } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { read } from "../../support/sources";
import { bucket, kubeApi, marker, metrics, onCluster, SIZE } from "../../support/stubs";

const chartDirectory = makeChartDirectory();

/** `own` is a function where it makes resources, which the engine must be there for. */
async function postgres(
  own: Partial<PostgresArgs> | (() => Partial<PostgresArgs>) = {},
): Promise<{ seen: Registered[]; component: Postgres }> {
  const seen = await mockEngine();
  const by = metrics();
  const component = new Postgres(
    "postgres",
    {
      namespace: "data",
      operatorNamespace: "operators",
      chartDirectory,
      kubeApi,
      authority: { issuer: "ca", ready: by.crds },
      clusterDomain: "cluster.test",
      instances: 2,
      size: SIZE,
      operatorSize: SIZE,
      volume: { storageClass: "disk", sizeGiB: 10 },
      databases: {
        mlflow: { password: pulumi.secret("first-password"), connections: 100 },
        feast: { password: pulumi.secret("second-password"), connections: 30 },
      },
      readers: {},
      guests: {},
      setupSize: SIZE,
      metrics: by,
      protect: true,
      ...(typeof own === "function" ? own() : own),
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const CNPG = "kubernetes:postgresql.cnpg.io/v1";
const OBJECT_STORE = "kubernetes:barmancloud.cnpg.io/v1:ObjectStore";

async function backedUp(own: Partial<NonNullable<PostgresArgs["backups"]>> = {}): Promise<Registered[]> {
  const backups = () => ({
    target: bucket("postgres-backups"),
    archive: "postgres-2",
    schedule: "30 1 * * *",
    retentionDays: 14,
    pluginSize: SIZE,
    certManager: marker("cert-manager"),
    ...own,
  });
  return (await postgres(() => ({ backups: backups() }))).seen;
}

describe("Postgres", () => {
  it("gives every service one database, its owner and the Secret of this owner", async () => {
    const { seen, component } = await postgres();
    for (const [service, password] of [
      ["mlflow", "first-password"],
      ["feast", "second-password"],
    ] as const) {
      const database = only(seen, `${CNPG}:Database`, `postgres-${service}`).inputs.spec;
      const role = only(seen, `${CNPG}:DatabaseRole`, `postgres-${service}-role`).inputs.spec;
      assert.deepEqual([database.name, database.owner, role.name, role.login], [service, service, service, true]);
      assert.equal(role.passwordSecret.name, component.offers.credentials?.[service]?.name);
      const secret = only(seen, "kubernetes:core/v1:Secret", component.offers.credentials?.[service]?.name).inputs;
      assert.deepEqual(secret.stringData, { username: service, password });
      assert.equal(secret.type, "kubernetes.io/basic-auth");
      assert.equal(secret.metadata.labels["cnpg.io/reload"], "true");
      const { server, login } = component.database(service);
      assert.equal(await valueOf(login.password), password);
      assert.equal(await valueOf(server.host), "postgres-rw.data.svc");
    }
    assert.equal(all(seen, `${CNPG}:Database`).length, 2);
    assert.equal(all(seen, `${CNPG}:DatabaseRole`).length, 2);
    assert.throws(() => component.database("superset"), /no database superset/);
  });

  describe("with a reader", () => {
    const readers = { feast: { database: "mlflow", password: pulumi.secret("third-password") } };

    it("gives it a role of its own and the login of just that", async () => {
      const { seen, component } = await postgres({ readers });
      const role = only(seen, `${CNPG}:DatabaseRole`, "postgres-feast-reader-role").inputs;
      const secret = only(seen, "kubernetes:core/v1:Secret", "postgres-feast-reader").inputs;
      // Its own name, since the client owns a database besides.
      assert.equal(role.spec.name, "feast_reader");
      // However many queries people start, the services keep their connections.
      assert.equal(role.spec.connectionLimit, 20);
      assert.equal(role.spec.passwordSecret.name, secret.metadata.name);
      assert.deepEqual(secret.stringData, { username: "feast_reader", password: "third-password" });
      const { database, login } = component.reader("feast");
      assert.deepEqual([database, await valueOf(login.username)], ["mlflow", "feast_reader"]);
      assert.throws(() => component.reader("mlflow"), /no reader mlflow/);
    });

    it("hands it out only once it may read", async () => {
      const { seen, component } = await postgres({ readers });
      const grants = only(seen, "kubernetes:batch/v1:Job", "postgres-mlflow-readers");
      const { ready } = component.reader("feast").server;
      assert.deepEqual(await Promise.all(ready.map((one) => valueOf(one.urn))), [grants.urn]);
      for (const need of ["postgres-feast-reader-role", "postgres-mlflow"]) {
        const [found] = seen.filter(({ type, name }) => type.startsWith(CNPG) && name === need);
        assert.ok(found && waitsFor(seen, grants, found), need);
      }
    });

    it("logs in as each after the grants, to read and to be refused a write", async () => {
      const { seen } = await postgres({
        readers: { ...readers, trino: { database: "mlflow", password: pulumi.secret("fourth") } },
      });
      const [{ command, envFrom }] = only(seen, "kubernetes:batch/v1:Job", "postgres-mlflow-readers").inputs.spec
        .template.spec.containers;
      assert.doesNotMatch(command[2], /\$[$(]/, "Kubernetes replaces these in a command");
      const { stringData } = only(seen, "kubernetes:core/v1:Secret", envFrom[0].secretRef.name).inputs;
      const logins = [...command[2].matchAll(/PGUSER=(\S+) PGPASSWORD=\$(\S+) psql/g)].map(([, user, variable]) => [
        user,
        stringData[variable],
      ]);
      assert.deepEqual(logins, [
        ["feast_reader", "third-password"],
        ["trino_reader", "fourth"],
      ]);
    });

    it("refuses one of a database that is not there", async () => {
      const there = { trino: { database: "datahub", password: pulumi.secret("third-password") } };
      await assert.rejects(postgres({ readers: there }), /no database datahub/);
    });
  });

  it("lets a guest log in to a service's database, and leaves what it may do there to the owner", async () => {
    const guests = { "mlflow-job": { database: "mlflow", password: pulumi.secret("third-password") } };
    const { seen, component } = await postgres({ guests });
    const { login, server } = component.guest("mlflow-job");
    const role = only(seen, `${CNPG}:DatabaseRole`, "postgres-mlflow-job-role");
    assert.deepEqual([role.inputs.spec.name, await valueOf(login.username)], ["mlflow_job", "mlflow_job"]);
    assert.deepEqual(await Promise.all(server.ready.map((one) => valueOf(one.urn))), [role.urn]);
    const rules = only(seen, `${CNPG}:Cluster`).inputs.spec.postgresql.pg_hba;
    assert.ok(rules.includes("hostssl mlflow mlflow_job all scram-sha-256"), "it cannot log in");
    assert.deepEqual(all(seen, "kubernetes:batch/v1:Job"), [], "it is granted something");
  });

  it("lets a role into its own database over TLS, a reader into the one that it reads, and nobody else", async () => {
    const { seen } = await postgres({ readers: { trino: { database: "mlflow", password: pulumi.secret("third") } } });
    assert.deepEqual(only(seen, `${CNPG}:Cluster`).inputs.spec.postgresql.pg_hba, [
      "hostssl sameuser all all scram-sha-256",
      "hostssl mlflow trino_reader all scram-sha-256",
      "host all all all reject",
    ]);
  });

  it("shows clients a certificate of the platform's CA, for every name that leads to it, and hands its CA out", async () => {
    const { seen, component } = await postgres();
    const { metadata, spec } = only(seen, "kubernetes:cert-manager.io/v1:Certificate").inputs;
    const { serverTLSSecret, serverCASecret, ...operators } = only(seen, `${CNPG}:Cluster`).inputs.spec.certificates;
    assert.deepEqual([serverTLSSecret, serverCASecret, operators], [spec.secretName, spec.secretName, {}]);
    assert.equal(spec.secretTemplate.labels["cnpg.io/reload"], "true", "instances keep a certificate that was renewed");
    for (const service of ["postgres-rw", "postgres-ro", "postgres-r", "postgres-shared-service"]) {
      for (const suffix of ["", ".data", ".data.svc", ".data.svc.cluster.test"]) {
        assert.ok(spec.dnsNames.includes(service + suffix), service + suffix);
      }
    }
    const { secretName, items } = component.database("mlflow").trust.volume.secret;
    assert.equal(secretName, spec.secretName);
    assert.ok(!items.some(({ key }) => key === "tls.key"), "clients get the server's key");
    assertOrder(seen, only(seen, `${CNPG}:Cluster`), only(seen, "kubernetes:cert-manager.io/v1:Certificate"));
    assert.equal(metadata.annotations["pulumi.com/waitFor"], "condition=Ready");
  });

  it("lets in as many as its clients open, its readers and the operator, in steps of fifty", async () => {
    const limit = async (own: Partial<PostgresArgs> = {}) =>
      only((await postgres(own)).seen, `${CNPG}:Cluster`).inputs.spec.postgresql.parameters.max_connections;
    const password = pulumi.secret("third-password");
    assert.equal(await limit(), "150");
    assert.equal(await limit({ readers: { trino: { database: "mlflow", password } } }), "200");
    const databases = { mlflow: { password, connections: 1000 } };
    await assert.rejects(
      postgres({ databases }),
      /postgres\.memoryMiB\.limit: 2048 is too little for 1050 connections/,
    );
  });

  it("keeps of its log, for a replica that is away, no more than a part of the volume", async () => {
    const kept = async (sizeGiB: number) => {
      const { seen } = await postgres({ volume: { storageClass: "disk", sizeGiB } });
      const { parameters } = only(seen, `${CNPG}:Cluster`).inputs.spec.postgresql;
      return ["max_slot_wal_keep_size", "max_wal_size", "wal_keep_size"].map((key) => parseInt(parameters[key], 10));
    };
    assert.deepEqual(await kept(100), [20480, 1024, 512]);
    for (const size of [1, 5, 10]) {
      const sum = (await kept(size)).reduce((all, one) => all + one);
      assert.ok(sum <= size * 1024 * 0.35, `${size} GiB: the log may take ${sum} MiB`);
    }
  });

  it("takes other parameters from the config, and its own from the server's size", async () => {
    const { seen } = await postgres({ parameters: { work_mem: "16MB" } });
    const { work_mem: workMemory, shared_buffers: buffers } = only(seen, `${CNPG}:Cluster`).inputs.spec.postgresql
      .parameters;
    assert.deepEqual([workMemory, buffers], ["16MB", "512MB"]);
  });

  describe("with backups", () => {
    it("describes the bucket, the login for it by the name of a Secret, and how long backups are kept", async () => {
      const seen = await backedUp();
      const { spec, metadata } = only(seen, OBJECT_STORE).inputs;
      const { destinationPath, endpointURL, endpointCA, s3Credentials } = spec.configuration;
      assert.deepEqual([destinationPath, endpointURL], ["s3://postgres-backups/", "https://s3.elsewhere:9000"]);
      assert.deepEqual(endpointCA, { name: "s3-tls", key: "ca.crt" });
      assert.equal(spec.retentionPolicy, "14d");
      const secret = only(seen, "kubernetes:core/v1:Secret", "postgres-backups").inputs;
      const named = Object.entries<any>(s3Credentials).map(([part, { name, key }]) => {
        assert.equal(name, secret.metadata.name);
        return [part, secret.stringData[key]];
      });
      assert.deepEqual(Object.fromEntries(named), {
        accessKeyId: "bucket-user",
        secretAccessKey: "bucket-password",
        region: "us-east-1",
      });
      const cluster = only(seen, `${CNPG}:Cluster`).inputs.spec;
      assert.deepEqual(cluster.plugins, [
        {
          name: "barman-cloud.cloudnative-pg.io",
          isWALArchiver: true,
          parameters: { barmanObjectName: metadata.name, serverName: "postgres-2" },
        },
      ]);
      assert.equal(cluster.bootstrap, undefined);
    });

    it("backs the whole up by the clock, and each archive once at its start", async () => {
      const scheduled = only(await backedUp(), `${CNPG}:ScheduledBackup`).inputs;
      const { schedule, immediate, method, cluster } = scheduled.spec;
      assert.deepEqual([schedule, immediate, method, cluster.name], ["0 30 1 * * *", true, "plugin", "postgres"]);
      // A new archive is another ScheduledBackup, which begins with a backup.
      const other = only(await backedUp({ archive: "postgres-3" }), `${CNPG}:ScheduledBackup`).inputs;
      assert.notEqual(other.metadata.name, scheduled.metadata.name);
    });

    it("starts once the plugin and the bucket are there, and the plugin once it can have certificates", async () => {
      const seen = await backedUp();
      const plugin = only(seen, "kubernetes:helm.sh/v3:Release", "barman-cloud");
      const store = only(seen, OBJECT_STORE);
      const cluster = only(seen, `${CNPG}:Cluster`);
      for (const need of ["cert-manager", "cnpg"]) {
        const [found] = seen.filter(({ name, type }) => name === need && !type.startsWith("carbon:"));
        assert.ok(found && waitsFor(seen, plugin, found), need);
      }
      assertOrder(seen, store, plugin);
      assertOrder(seen, cluster, store);
      assertOrder(seen, cluster, only(seen, "kubernetes:core/v1:ConfigMap", "bucket-ready"));
    });

    it("lets the operator ask the plugin, the plugin the API server, and instances the bucket", async () => {
      const seen = await backedUp();
      const made = wires(seen);
      for (const wire of ["cnpg -> barman-cloud 9090", "barman-cloud -> kube-api 6443", "postgres -> s3 9000"]) {
        assert.ok(made.includes(wire), wire);
      }
    });

    it("sizes the container beside an instance, and the rehearsal takes the same size", async () => {
      const { resources } = only(await backedUp(), OBJECT_STORE).inputs.spec.instanceSidecarConfiguration;
      const stage = read("rehearsal/operators/cnpg/cluster.yaml");
      const [, simulated = ""] = /sidecar:simulated\n.*\n\s+resources: (.*)/.exec(stage) ?? [];
      assert.deepEqual(parse(simulated), resources);
    });

    it("starts a new server from another archive, up to a moment where one is named", async () => {
      const spec = async (time?: string) =>
        only(await backedUp({ restoreFrom: { archive: "postgres", time } }), `${CNPG}:Cluster`).inputs.spec;
      const { bootstrap, externalClusters, plugins } = await spec();
      assert.deepEqual(bootstrap, { recovery: { source: "postgres" } });
      const [{ name, plugin }] = externalClusters;
      assert.deepEqual([name, plugin.parameters.serverName], ["postgres", "postgres"]);
      // barman refuses to write where another server has written.
      assert.equal(plugins[0].parameters.serverName, "postgres-2");
      assert.equal(plugin.parameters.barmanObjectName, plugins[0].parameters.barmanObjectName);
      const until = (await spec("2026-11-20T14:30:00Z")).bootstrap.recovery;
      assert.deepEqual(until.recoveryTarget, { targetTime: "2026-11-20T14:30:00Z" });
    });
  });

  it("makes no plugin and no store where nothing is backed up", async () => {
    const { seen } = await postgres();
    assert.deepEqual(
      seen.filter(({ type, name }) => type === OBJECT_STORE || name.includes("barman")),
      [],
    );
  });

  it("keeps the data of a database that leaves the program", async () => {
    const { seen } = await postgres();
    for (const { inputs } of all(seen, `${CNPG}:Database`)) assert.equal(inputs.spec.databaseReclaimPolicy, "retain");
  });

  it("hands a database out only once its owner can log in", async () => {
    const { seen, component } = await postgres();
    const role = only(seen, `${CNPG}:DatabaseRole`, "postgres-mlflow-role");
    const database = only(seen, `${CNPG}:Database`, "postgres-mlflow");
    assertOrder(seen, database, role);
    assertOrder(seen, role, only(seen, `${CNPG}:Cluster`));
    assertOrder(seen, role, only(seen, "kubernetes:core/v1:Secret", "postgres-mlflow"));
    const ready = component.database("mlflow").server.ready;
    assert.deepEqual(await Promise.all(ready.map((one) => valueOf(one.urn))), [database.urn]);
    for (const one of seen.filter(({ type }) => type.startsWith(CNPG))) {
      assert.ok(one.inputs.metadata.annotations["pulumi.com/waitFor"], one.name);
    }
  });

  it("lets the operator reach the status and database ports of its instances, and the API server its webhook", async () => {
    const { seen } = await postgres();
    const made = wires(seen);
    for (const wire of ["cnpg -> postgres 5432,8000", "kube-api -> cnpg 9443"]) assert.ok(made.includes(wire), wire);
    const policy = (name: string) => only(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy", name).inputs;
    assert.deepEqual(policy("postgres-ingress").spec.podSelector.matchLabels, { "cnpg.io/cluster": "postgres" });
    assert.equal(policy("cnpg-egress").metadata.namespace, "operators");
    // From nodes of an overlay network the API server's calls arrive from inside the pod network.
    const calls = policy("cnpg-ingress").spec.ingress.find(({ ports }: any) => ports[0].port === 9443);
    const sources = calls.from.map(({ ipBlock }: any) => ipBlock.cidr);
    assert.deepEqual(sources, ["10.0.0.1/32", "10.244.0.0/16"]);
    assertOrder(seen, only(seen, `${CNPG}:Cluster`), only(seen, "kubernetes:helm.sh/v3:Release"));
  });

  it("has the operator watch two namespaces, its own and the server's, and gives it the Secrets of no other", async () => {
    const { seen } = await postgres();
    const { values } = only(seen, "kubernetes:helm.sh/v3:Release", "cnpg").inputs;
    // The chart's `clusterWide: false` sets the variable to its own namespace, and the operator reads no other source in time.
    assert.deepEqual([values.config, values.rbac], [undefined, { create: false }]);
    assert.deepEqual(values.additionalEnv, [{ name: "WATCH_NAMESPACE", value: "operators,data" }]);
    const rbac = (kind: string) => all(seen, `kubernetes:rbac.authorization.k8s.io/v1:${kind}`);
    const bindings = rbac("RoleBinding");
    assert.deepEqual(bindings.map(({ inputs }) => inputs.metadata.namespace).sort(), ["data", "operators"]);
    for (const { inputs } of [...bindings, ...rbac("ClusterRoleBinding")])
      assert.deepEqual(inputs.subjects, [{ kind: "ServiceAccount", name: "cnpg", namespace: "operators" }]);
    const clusterWide = rbac("ClusterRole").flatMap(({ inputs }) => inputs.rules.flatMap((one: any) => one.resources));
    assert.deepEqual(clusterWide, [
      "nodes",
      "mutatingwebhookconfigurations",
      "validatingwebhookconfigurations",
      "clusterimagecatalogs",
    ]);
    const operator = only(seen, "kubernetes:helm.sh/v3:Release", "cnpg");
    for (const role of [...bindings, ...rbac("ClusterRoleBinding")]) assertOrder(seen, operator, role);
  });

  it("prefers to spread its instances, and never insists", async () => {
    const { seen } = await postgres();
    const { affinity, enableSuperuserAccess } = only(seen, `${CNPG}:Cluster`).inputs.spec;
    assert.equal(affinity.podAntiAffinityType, "preferred");
    assert.equal(enableSuperuserAccess, false);
    const single = only((await postgres({ instances: 1 })).seen, `${CNPG}:Cluster`).inputs.spec;
    assert.deepEqual([single.enablePDB, single.affinity.enablePodAntiAffinity], [false, false]);
  });
});
