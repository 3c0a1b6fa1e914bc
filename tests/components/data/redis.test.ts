import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { url } from "../../../components/base/endpoint";
import { Redis, type RedisArgs } from "../../../components/data/redis";
import { wires } from "../../support/manifests";
import { mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { metrics, onCluster, SIZE } from "../../support/stubs";

const HOSTILE = `p,s w"'$\\:#>~*@all`;

async function redis(own: Partial<RedisArgs> = {}): Promise<{ seen: Registered[]; component: Redis }> {
  const seen = await mockEngine();
  const by = metrics();
  const component = new Redis(
    "redis",
    {
      namespace: "data",
      authority: { issuer: "the-ca", ready: by.crds },
      clusterDomain: "cluster.local",
      size: SIZE,
      volume: { storageClass: "disk", sizeGiB: 5 },
      clients: {
        features: { password: pulumi.secret(HOSTILE), keys: ["*prices"], commands: ["hmget", "hset"] },
        dashboards: {
          password: pulumi.secret("dashboards-password"),
          keys: ["charts:*"],
          channels: "news:*",
          commands: ["get"],
        },
      },
      exporter: { size: SIZE, password: pulumi.secret("exporter-password") },
      metrics: by,
      protect: true,
      ...own,
    },
    onCluster(),
  );
  await settled();
  return { seen, component };
}

const server = (seen: readonly Registered[]): Registered => only(seen, "kubernetes:apps/v1:StatefulSet");
const pod = (seen: readonly Registered[]): any => server(seen).inputs.spec.template;
const aclOf = (seen: readonly Registered[]): string[] =>
  only(seen, "kubernetes:core/v1:Secret", "redis-users").inputs.stringData["users.acl"].trim().split("\n");
const configOf = (seen: readonly Registered[]): Map<string, string> =>
  new Map(
    only(seen, "kubernetes:core/v1:ConfigMap", "redis-config")
      .inputs.data["valkey.conf"].trim()
      .split("\n")
      .map((line: string) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
  );
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("Redis", () => {
  it("gives each client its own user, keys, channels and commands, and nobody else any", async () => {
    const { seen } = await redis();
    assert.deepEqual(aclOf(seen), [
      "user default off",
      "user probe on nopass +dbsize",
      `user exporter on #${sha256("exporter-password")} +info +latency|latest +slowlog|len`,
      `user features on #${sha256(HOSTILE)} ~*prices +hmget +hset`,
      `user dashboards on #${sha256("dashboards-password")} ~charts:* &news:* +get`,
    ]);
  });

  it("shows passwords in the clients' own Secrets alone", async () => {
    const { seen } = await redis();
    const own = only(seen, "kubernetes:core/v1:Secret", "redis-features");
    assert.deepEqual(own.inputs.stringData, { username: "features", password: HOSTILE });
    const rest = JSON.stringify(seen.filter((one) => one !== own).map(({ inputs }) => inputs));
    assert.ok(!rest.includes(JSON.stringify(HOSTILE).slice(1, -1)), "a password lies outside of its Secret");
  });

  it("hands a client its user and the address", async () => {
    const { component } = await redis();
    const { server: endpoint, login } = component.login("features");
    assert.equal(await valueOf(url(endpoint)), "rediss://redis.data.svc:6379");
    assert.deepEqual([await valueOf(login.username), await valueOf(login.password)], ["features", HOSTILE]);
    assert.equal(await pulumi.isSecret(login.password), true);
    assert.equal(component.offers.credentials?.["features"]?.name, "redis-features");
    assert.throws(() => component.login("nobody"), /no user nobody/);
  });

  it("is watched by a user that sees no key and changes nothing, and whose password is in a Secret alone", async () => {
    const { seen } = await redis();
    const [container] = only(seen, "kubernetes:apps/v1:Deployment", "redis-exporter").inputs.spec.template.spec
      .containers;
    const env = Object.fromEntries(container.env.map(({ name, value }: any) => [name, value]));
    assert.equal(env["REDIS_ADDR"], "rediss://redis.data.svc:6379");
    assert.equal(env["REDIS_EXPORTER_TLS_CA_CERT_FILE"], "/etc/redis-ca/ca.crt");
    assert.deepEqual(container.envFrom, [{ secretRef: { name: "redis-exporter-login" } }]);
    const login = only(seen, "kubernetes:core/v1:Secret", "redis-exporter-login");
    assert.deepEqual(login.inputs.stringData, { REDIS_USER: "exporter", REDIS_PASSWORD: "exporter-password" });
    const rest = JSON.stringify(seen.filter((one) => one !== login).map(({ inputs }) => inputs));
    assert.doesNotMatch(rest, /exporter-password/);
    const monitor = only(seen, "kubernetes:monitoring.coreos.com/v1:PodMonitor").inputs.spec;
    assert.deepEqual(monitor.selector.matchLabels, { app: "redis-exporter" });
    assert.deepEqual(wires(seen), ["prometheus -> redis-exporter 9121", "redis-exporter -> redis 6379"]);
  });

  it("starts anew when a password changes", async () => {
    const annotations = async (password: string) => {
      const clients = { features: { password: pulumi.secret(password), keys: ["*"], commands: ["get"] } };
      return pod((await redis({ clients })).seen).metadata.annotations;
    };
    const [one, same, other] = [await annotations("one"), await annotations("one"), await annotations("other")];
    assert.deepEqual(one, same);
    assert.notDeepEqual(one, other);
  });

  it("reads the files that it is given, and keeps its data on a volume that outlives it", async () => {
    const { seen } = await redis();
    const { containers, volumes } = pod(seen).spec;
    const mounts = new Map(containers[0].volumeMounts.map((mount: any) => [mount.name, mount.mountPath]));
    const { command } = containers[0];
    assert.deepEqual(command.slice(-2), ["valkey-server", `${String(mounts.get("config"))}/valkey.conf`]);
    assert.match(command[2], new RegExp(`in ${String(mounts.get("data"))}/appendonlydir/`));
    assert.deepEqual(
      [configOf(seen).get("dir"), configOf(seen).get("aclfile")],
      [mounts.get("data"), `${String(mounts.get("users"))}/users.acl`],
    );
    assert.deepEqual(volumes, [
      { name: "certificate", secret: { secretName: "redis-tls" } },
      { name: "config", configMap: { name: "redis-config" } },
      { name: "users", secret: { secretName: "redis-users" } },
    ]);
    const { volumeClaimTemplates, persistentVolumeClaimRetentionPolicy } = server(seen).inputs.spec;
    assert.equal(volumeClaimTemplates[0].metadata.name, "data");
    assert.deepEqual(persistentVolumeClaimRetentionPolicy, { whenDeleted: "Retain", whenScaled: "Retain" });
    assert.equal(configOf(seen).get("appendonly"), "yes");
    assert.equal(server(seen).protect, true);
  });

  it("speaks TLS alone, by its names of today and before, and reads a renewed certificate by itself", async () => {
    const { seen } = await redis();
    const { secretName, dnsNames } = only(seen, "kubernetes:cert-manager.io/v1:Certificate").inputs.spec;
    assert.equal(secretName, "redis-tls");
    for (const host of ["redis", "redis.data.svc", "redis-service", "redis-service.data.svc.cluster.local"])
      assert.ok(dnsNames.includes(host), host);
    const config = configOf(seen);
    assert.deepEqual([config.get("port"), config.get("tls-port")], ["0", "6379"]);
    const { mountPath } = pod(seen).spec.containers[0].volumeMounts.find(({ name }: any) => name === "certificate");
    assert.deepEqual(
      [config.get("tls-cert-file"), config.get("tls-key-file")],
      [`${String(mountPath)}/tls.crt`, `${String(mountPath)}/tls.key`],
    );
    assert.equal(config.get("tls-auto-reload-interval"), "3600");
  });

  it("forgets only what expires anyway, and leaves memory for the copy that rewrites its log", async () => {
    const config = configOf((await redis()).seen);
    assert.equal(config.get("maxmemory-policy"), "volatile-lru");
    assert.ok(
      parseInt(config.get("maxmemory") ?? "") * 2 <= SIZE.memoryMiB.limit,
      "a snapshot may double the memory in use: set maxmemory to half of the limit at most",
    );
  });

  it("is asked by a user that may do nothing else, and has time to load its data", async () => {
    const { seen } = await redis();
    const { startupProbe, readinessProbe, livenessProbe } = pod(seen).spec.containers[0];
    for (const { exec } of [startupProbe, readinessProbe, livenessProbe]) {
      const command = exec.command as string[];
      assert.deepEqual(command.slice(0, 2), ["valkey-cli", "-e"], "an error as answer is a failure");
      assert.deepEqual([command[command.indexOf("--user") + 1], command.at(-1)], ["probe", "dbsize"]);
    }
    assert.equal(startupProbe.failureThreshold * startupProbe.periodSeconds, 600);
  });
});
