import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { url } from "../../../components/base/endpoint";
import { Neo4j, type Neo4jArgs } from "../../../components/data/neo4j";
import { all, mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { marker, SIZE } from "../../support/stubs";
import { temporaryDirectory } from "../../support/temporary";

async function neo4j(own: Partial<Neo4jArgs> = {}): Promise<{ seen: Registered[]; component: Neo4j }> {
  const seen = await mockEngine();
  const component = new Neo4j(
    "graph",
    {
      namespace: "data",
      authority: { issuer: "ca", ready: marker("ca") },
      clusterDomain: "cluster.local",
      size: SIZE,
      volume: { storageClass: "disk", sizeGiB: 5 },
      password: pulumi.secret("graph-password"),
      protect: true,
      ...own,
    },
    {},
  );
  await settled();
  return { seen, component };
}

const server = (seen: readonly Registered[]): Registered => only(seen, "kubernetes:apps/v1:StatefulSet");
const spec = (seen: readonly Registered[]): any => server(seen).inputs.spec.template.spec;
const configOf = (seen: readonly Registered[]): [string, string][] =>
  only(seen, "kubernetes:core/v1:ConfigMap", "graph-config")
    .inputs.data["neo4j.conf"].trim()
    .split("\n")
    .map((line: string) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);

describe("Neo4j", () => {
  it("hands out its user and the address", async () => {
    const { component } = await neo4j();
    const { server: endpoint, login } = component.login();
    assert.equal(await valueOf(url(endpoint)), "bolt+s://graph.data.svc:7687");
    assert.deepEqual([await valueOf(login.username), await valueOf(login.password)], ["neo4j", "graph-password"]);
    assert.equal(await pulumi.isSecret(login.password), true);
  });

  it("shows the password in its Secret alone", async () => {
    const { seen, component } = await neo4j();
    const own = only(seen, "kubernetes:core/v1:Secret", component.offers.credentials?.["login"]?.name);
    assert.deepEqual(own.inputs.stringData, { username: "neo4j", password: "graph-password" });
    const rest = seen.filter((one) => one !== own).map(({ inputs }) => inputs);
    assert.doesNotMatch(JSON.stringify(rest), /graph-password/);
  });

  it("tells the first password in a file, whatever its characters, and takes one that begins like an option", async () => {
    const [{ command }] = spec((await neo4j()).seen).containers;
    const [, write = ""] = /^ *(\(umask 077 && printf .*\))$/m.exec(command.at(-1)) ?? [];
    const [, file = ""] = / set-initial-password -- @(\S+)$/m.exec(command.at(-1)) ?? [];
    const written = (password: string) => {
      const here = path.join(temporaryDirectory(), "password");
      execFileSync("sh", ["-c", write.replace(file, here)], { env: { ...process.env, password } });
      return fs.readFileSync(here, "utf8");
    };
    // As picocli reads files of arguments.
    assert.equal(written("-two words #3"), '"-two words #3"\n');
    assert.equal(written('a"b\\c'), '"a\\"b\\\\c"\n');
    assert.equal(written("@/etc/passwd"), '"@@/etc/passwd"\n');
  });

  it("leaves a quarter of its memory to the process around heap and page cache", async () => {
    const config = new Map(configOf((await neo4j()).seen));
    const heap = parseInt(config.get("server.memory.heap.max_size") ?? "");
    const pages = parseInt(config.get("server.memory.pagecache.size") ?? "");
    assert.deepEqual([heap, pages], [SIZE.memoryMiB.limit / 2, SIZE.memoryMiB.limit / 4]);
    // A heap that grows would be one that finds no memory later.
    assert.equal(config.get("server.memory.heap.initial_size"), config.get("server.memory.heap.max_size"));
  });

  it("reports its use to nobody", async () => {
    assert.equal(new Map(configOf((await neo4j()).seen)).get("dbms.usage_report.enabled"), "false");
  });

  it("writes where something is mounted, its data on a volume that outlives it", async () => {
    const { seen } = await neo4j();
    const config = new Map(configOf(seen));
    const { containers, volumes } = spec(seen);
    const mounts = new Map(containers[0].volumeMounts.map((mount: any) => [mount.mountPath, mount.name]));
    const kinds = new Map(volumes.map(({ name, ...source }: any) => [name, Object.keys(source)[0]]));
    assert.equal(mounts.get(config.get("server.directories.data")), "data");
    for (const key of ["server.directories.logs", "server.directories.run"]) {
      assert.equal(kinds.get(mounts.get(config.get(key))), "emptyDir", key);
    }
    const conf = containers[0].env.find(({ name }: any) => name === "NEO4J_CONF").value;
    assert.equal(kinds.get(mounts.get(conf)), "configMap");
    const { volumeClaimTemplates, persistentVolumeClaimRetentionPolicy } = server(seen).inputs.spec;
    assert.equal(volumeClaimTemplates[0].metadata.name, "data");
    assert.deepEqual(persistentVolumeClaimRetentionPolicy, { whenDeleted: "Retain", whenScaled: "Retain" });
    assert.equal(server(seen).protect, true);
  });

  it("answers clients on the Bolt port alone; the other is for probes", async () => {
    const { seen } = await neo4j();
    const services = all(seen, "kubernetes:core/v1:Service");
    assert.deepEqual(
      services.flatMap(({ inputs }) => inputs.spec.ports.map(({ port }: any) => port)),
      [7687],
    );
    const { readinessProbe } = spec(seen).containers[0];
    assert.deepEqual(readinessProbe.httpGet, { path: "/", port: "https", scheme: "HTTPS" });
  });

  it("speaks TLS alone, by its names of today and before, and ends when its certificate was renewed", async () => {
    const { seen } = await neo4j();
    const { secretName, dnsNames } = only(seen, "kubernetes:cert-manager.io/v1:Certificate").inputs.spec;
    for (const host of ["graph.data.svc", "graphdb-service.data.svc.cluster.local"])
      assert.ok(dnsNames.includes(host), host);
    const config = new Map(configOf(seen));
    assert.deepEqual([config.get("server.http.enabled"), config.get("server.bolt.tls_level")], ["false", "REQUIRED"]);
    const { containers, volumes } = spec(seen);
    const directory = config.get("dbms.ssl.policy.bolt.base_directory") ?? "";
    const { name } = containers[0].volumeMounts.find(({ mountPath }: any) => mountPath === directory);
    assert.deepEqual(volumes.find((one: any) => one.name === name).secret, { secretName });
    const [, condition = ""] = /if (\[ .* -nt .* \]); then kill \$\$; fi/.exec(containers[0].command.at(-1)) ?? [];
    const here = temporaryDirectory();
    const isRenewed = (): boolean => {
      const moved = condition.replace(directory, here).replace("/tmp/started", `${here}/started`);
      return spawnSync("bash", ["-c", moved]).status === 0;
    };
    fs.writeFileSync(`${here}/tls.crt`, "");
    fs.utimesSync(`${here}/tls.crt`, 1, 1);
    fs.writeFileSync(`${here}/started`, "");
    assert.equal(isRenewed(), false);
    fs.utimesSync(`${here}/started`, 0, 0);
    assert.equal(isRenewed(), true);
  });

  it("has time to repeat transactions after a crash, and to write a checkpoint before it stops", async () => {
    const { containers, terminationGracePeriodSeconds } = spec((await neo4j()).seen);
    const { startupProbe } = containers[0];
    assert.ok(
      startupProbe.failureThreshold * startupProbe.periodSeconds >= 900,
      "a recovery of the store may take 15 minutes: a shorter startup probe would end it",
    );
    assert.ok(terminationGracePeriodSeconds >= 120, "what Neo4j itself gives its shutdown");
  });
});
