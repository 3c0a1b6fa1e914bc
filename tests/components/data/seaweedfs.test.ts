import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { url } from "../../../components/base/endpoint";
import { Seaweedfs } from "../../../components/data/seaweedfs";
import { makeChartDirectory } from "../../support/chart-directory";
import { mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { marker, onCluster } from "../../support/stubs";

const chartDirectory = makeChartDirectory();
const SIZE = { cpu: { request: 0.5, limit: 1 }, memoryMiB: { request: 512, limit: 1024 } };
const KEEPER = { ...SIZE, volume: { storageClass: "local", sizeGiB: 5 } };

async function seaweedfs(protect: boolean): Promise<{ seen: Registered[]; made: Seaweedfs }> {
  const seen = await mockEngine();
  const credential = (name: string) => ({
    username: pulumi.secret(`${name}-key`),
    password: pulumi.secret(`${name}-password`),
  });
  const made = new Seaweedfs(
    "seaweedfs",
    {
      namespace: "data",
      chartDirectory,
      authority: { issuer: "ca", ready: marker("ca") },
      aliases: ["old-store"],
      clusterDomain: "cluster.local",
      master: KEEPER,
      volume: KEEPER,
      filer: KEEPER,
      s3: SIZE,
      administrator: credential("root"),
      users: {
        application: { login: credential("app"), access: { models: "write", features: "write" } },
        runner: { login: credential("runner"), access: { code: "read" } },
      },
      protect,
    },
    onCluster(),
  );
  await settled();
  return { seen, made };
}

describe("Seaweedfs", () => {
  it("knows who makes buckets, and what each user may do in which, and nothing else", async () => {
    const { seen } = await seaweedfs(true);
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "seaweedfs-users").inputs;
    const { identities } = JSON.parse(stringData.seaweedfs_s3_config as string);
    const both = ["models", "features"].flatMap((bucket) =>
      ["Read", "List", "Write", "Tagging"].map((action) => `${action}:${bucket}`),
    );
    const key = (name: string) => [{ accessKey: `${name}-key`, secretKey: `${name}-password` }];
    assert.deepEqual(identities, [
      { name: "administrator", credentials: key("root"), actions: ["Admin"] },
      { name: "application", credentials: key("app"), actions: both },
      { name: "runner", credentials: key("runner"), actions: ["Read:code", "List:code"] },
    ]);
  });

  it("serves S3 over TLS alone, by its names of today and before", async () => {
    const { seen } = await seaweedfs(true);
    const { secretName, dnsNames } = only(seen, "kubernetes:cert-manager.io/v1:Certificate").inputs.spec;
    for (const host of ["seaweedfs-s3.data.svc", "old-store.data.svc.cluster.local"])
      assert.ok(dnsNames.includes(host), host);
    const { s3 } = only(seen, "kubernetes:helm.sh/v3:Release", "seaweedfs").inputs.values;
    const [{ mountPath }] = parse(s3.extraVolumeMounts).filter(({ name }: any) => name === "certificate");
    assert.deepEqual(s3.extraArgs, [`-cert.file=${mountPath}/tls.crt`, `-key.file=${mountPath}/tls.key`]);
    const [{ secret }] = parse(s3.extraVolumes).filter(({ name }: any) => name === "certificate");
    assert.deepEqual(secret, { secretName });
    for (const probe of ["readinessProbe", "livenessProbe"]) assert.equal(s3[probe].httpGet.scheme, "HTTPS");
  });

  it("gives the chart the Secret's name and never a password", async () => {
    const { seen } = await seaweedfs(true);
    const { values } = only(seen, "kubernetes:helm.sh/v3:Release", "seaweedfs").inputs;
    assert.equal(values.s3.existingConfigSecret, "seaweedfs-users");
    assert.doesNotMatch(JSON.stringify(values), /password|app-key/);
  });

  it("claims one volume of SeaweedFS for a bucket at a time, so that a small disk has room for all", async () => {
    const { values } = only((await seaweedfs(true)).seen, "kubernetes:helm.sh/v3:Release", "seaweedfs").inputs;
    assert.deepEqual(values.master.extraEnvironmentVars, { WEED_MASTER_VOLUME_GROWTH_COPY_1: "1" });
  });

  it("writes no log files, which only the node's disk would limit", async () => {
    const { values } = only((await seaweedfs(true)).seen, "kubernetes:helm.sh/v3:Release", "seaweedfs").inputs;
    // The chart's default of these three is a folder of the node, and a volume server's is none.
    for (const part of ["master", "filer", "s3"]) assert.deepEqual(values[part].logs, { type: "" }, part);
    assert.ok(!("logs" in values.volume), "any map makes a volume server write files");
  });

  it("forgets the filer's record of changes, and starts the master anew when that setting changes", async () => {
    const { values } = only((await seaweedfs(true)).seen, "kubernetes:helm.sh/v3:Release", "seaweedfs").inputs;
    const [, script] = /^\[master\.maintenance\]\nscripts = "(.*)"\n$/.exec(values.master.config as string) ?? [];
    assert.equal(script, "fs.log.purge -daysAgo=7");
    assert.deepEqual(Object.values(values.master.podAnnotations as object), [script]);
  });

  it("is protected unless that is lifted; what is around it never is", async () => {
    for (const protect of [true, false]) {
      const { seen } = await seaweedfs(protect);
      assert.deepEqual(
        seen.flatMap((one) => (one.protect ? [one.name] : [])),
        protect ? ["seaweedfs"] : [],
      );
    }
  });

  it("answers under the port that clients of MinIO know", async () => {
    const { made } = await seaweedfs(true);
    assert.deepEqual([made.s3.port, made.s3.podPort], [9000, 9000]);
    assert.equal(await valueOf(url(made.s3)), "https://seaweedfs-s3.data.svc:9000");
  });
});
