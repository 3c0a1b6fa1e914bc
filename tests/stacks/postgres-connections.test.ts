import assert from "node:assert/strict";
import { parse } from "yaml";
import { all, only, type Registered } from "../support/mocks";
import { configOf, program, run, SHAPES } from "../support/program";

const parameters = (seen: readonly Registered[]): any =>
  only(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster").inputs.spec.postgresql.parameters;

const secret = (seen: readonly Registered[], name: string): any =>
  only(seen, "kubernetes:core/v1:Secret", name).inputs.stringData;

const values = (seen: readonly Registered[], name: string): any =>
  only(seen, "kubernetes:helm.sh/v3:Release", name).inputs.values;

/** The number behind a flag of a command. */
function flag(command: readonly string[], name: string): number {
  return Number(new RegExp(`--${name}=(\\d+)`).exec(command.join(" "))?.[1]);
}

function variable(env: readonly any[], name: string): number {
  return Number(env.find((one) => one.name === name)?.value);
}

/** The pods of a workload at one time, and its first container. */
function workload(seen: readonly Registered[], name: string): { pods: number; command: string[]; env: any[] } {
  const found = ["Deployment", "StatefulSet"].flatMap((kind) =>
    all(seen, `kubernetes:apps/v1:${kind}`).filter((one) => one.name === name),
  );
  const { strategy, replicas, template } = found[0]?.inputs.spec ?? {};
  const scaled = all(seen, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler").find((one) => one.name === name);
  const most = scaled?.inputs.spec.maxReplicas ?? replicas;
  const { command, env } = template.spec.containers[0];
  return { pods: Number(most) + Number(strategy?.rollingUpdate?.maxSurge ?? 0), command, env };
}

/** Connections that the rendered pods of each client can open: what they are told, times how many there are. */
function opened(seen: readonly Registered[]): Record<string, number> {
  const mlflow = workload(seen, "mlflow");
  const pool = "MLFLOW_SQLALCHEMYSTORE_";
  const stores = 2 * (variable(mlflow.env, `${pool}POOL_SIZE`) + variable(mlflow.env, `${pool}MAX_OVERFLOW`));
  const feast = only(seen, "kubernetes:core/v1:ConfigMap", "feast-store").inputs.data["feature_store.yaml"];
  const { pool_size: size, max_overflow: overflow } = parse(feast).registry.sqlalchemy_config_kwargs;
  const [web, worker, beat] = ["superset", "superset-worker", "superset-beat"].map((name) => workload(seen, name)) as [
    ReturnType<typeof workload>,
    ReturnType<typeof workload>,
    ReturnType<typeof workload>,
  ];
  const superset = ({ env }: typeof web) => variable(env, "SUPERSET_DATABASE_POOL");
  const servers = ["master", "alert", "api"].map((kind) => workload(seen, `dolphinscheduler-${kind}`).pods);
  const hikari = (name: string, key: string) =>
    Number(secret(seen, `dolphinscheduler-${name}`)[`${key}_MAXIMUMPOOLSIZE`]);
  const datahub = values(seen, "datahub");
  const ebean = (env: any[]) => variable(env, "EBEAN_MAX_CONNECTIONS");
  const polaris = values(seen, "polaris");
  return {
    mlflow: mlflow.pods * flag(mlflow.command, "workers") * stores,
    feast: workload(seen, "feast-server").pods * 2 * (Number(size) + Number(overflow)),
    superset:
      web.pods * flag(web.command, "workers") * superset(web) +
      worker.pods * flag(worker.command, "concurrency") * superset(worker) +
      beat.pods * superset(beat),
    dolphinscheduler:
      servers.reduce((sum, pods) => sum + pods) * hikari("database", "SPRING_DATASOURCE_HIKARI") +
      workload(seen, "dolphinscheduler-worker").pods * hikari("registry", "REGISTRY_HIKARICONFIG"),
    datahub: 2 * ebean(datahub["datahub-gms"].extraEnvs) + 2 * ebean(datahub["datahub-mce-consumer"].extraEnvs),
    polaris: (Number(polaris.replicaCount) + 1) * variable(polaris.extraEnv, "QUARKUS_DATASOURCE_JDBC_MAX_SIZE"),
    readers: all(seen, "kubernetes:postgresql.cnpg.io/v1:DatabaseRole").reduce(
      (sum, { inputs }) => sum + Number(inputs.spec.connectionLimit ?? 0),
      0,
    ),
  };
}

describe("the connections to PostgreSQL", () => {
  for (const shape of SHAPES) {
    it(`suffice in ${shape} for every pod of every client, and for the operator`, async () => {
      const { seen } = await program(shape);
      const clients = opened(seen);
      for (const [client, connections] of Object.entries(clients))
        assert.ok(connections > 0, `${client}: no pool is set`);
      const sum = Object.values(clients).reduce((all, one) => all + one);
      const limit = Number(parameters(seen).max_connections);
      assert.ok(sum + 10 <= limit, `${limit} are let in, and clients open ${sum}: ${JSON.stringify(clients)}`);
    });
  }

  it("are tried before they are used, by the clients that do not do so by themselves", async () => {
    const { seen } = await program("prod");
    const files = (name: string) => only(seen, "kubernetes:core/v1:ConfigMap", name).inputs.data;
    assert.equal(
      parse(files("feast-store")["feature_store.yaml"]).registry.sqlalchemy_config_kwargs.pool_pre_ping,
      true,
    );
    assert.match(
      files("superset-config")["superset_config.py"],
      /SQLALCHEMY_ENGINE_OPTIONS = \{[^}]*"pool_pre_ping": True/,
    );
  });

  it("grow with the clients, as far as the server has memory for them", async () => {
    const config = configOf("prod");
    const grown = { ...config, mlflow: { ...config.mlflow, webWorkers: 9 } };
    const limit = async (one: typeof config) => Number(parameters((await run(one)).seen).max_connections);
    // Five processes more in each of three pods, and each has two pools of five.
    assert.equal((await limit(grown)) - (await limit(config)), 5 * 3 * 2 * 5);
    const many = { ...config, mlflow: { ...config.mlflow, replicas: 20 } };
    await assert.rejects(run(many), /postgres\.memoryMiB\.limit: 4096 is too little for \d+ connections,.*mlflow \d+/);
  });
});
