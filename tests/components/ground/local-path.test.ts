import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { images } from "../../../components/base/versions";
import type { FullConfig } from "../../support/full";
import { all, only, type Registered, waitsFor } from "../../support/mocks";
import { configOf, run } from "../../support/program";
import { temporaryDirectory } from "../../support/temporary";

const CONFIG_MAP = "kubernetes:core/v1:ConfigMap";
const DEPLOYMENT = "kubernetes:apps/v1:Deployment";
const NAME = "local-path-provisioner";

const withLocalPath = (own: Partial<FullConfig> = {}) => {
  const config = configOf("dev");
  return run({ ...config, storage: { ...config.storage, provisioner: "local-path", directory: "/data" }, ...own });
};
const files = (seen: readonly Registered[]) => only(seen, CONFIG_MAP, NAME).inputs.data;

describe("volumes that are directories of a node", () => {
  it("are kept when their claims go, and tell the kubelet how full they are", async () => {
    const { seen, config } = await withLocalPath();
    const made = only(seen, "kubernetes:storage.k8s.io/v1:StorageClass").inputs;
    assert.equal(made.metadata.name, config.storage.className);
    assert.deepEqual([made.reclaimPolicy, made.volumeBindingMode], ["Retain", "WaitForFirstConsumer"]);
    assert.equal(made.metadata.annotations.defaultVolumeType, "local", "the kubelet measures no hostPath");
    assert.deepEqual(JSON.parse(files(seen)["config.json"]).nodePathMap, [
      { node: "DEFAULT_PATH_FOR_NON_LISTED_NODES", paths: ["/data"] },
    ]);
  });

  it("can be written by any user of a pod, and not be reached by those of the node", async () => {
    const { seen } = await withLocalPath();
    const parent = path.join(temporaryDirectory(), "volumes");
    fs.mkdirSync(parent, { mode: 0o755 });
    const volume = path.join(parent, "pvc-1_data-platform_data");
    const script = (name: string) =>
      execFileSync("sh", ["-c", files(seen)[name]], { env: { ...process.env, VOL_DIR: volume }, encoding: "utf8" });
    script("setup");
    const mode = (file: string) => (fs.statSync(file).mode & 0o777).toString(8);
    assert.deepEqual([mode(parent), mode(volume)], ["700", "777"]);
    script("setup"); // after an attempt that was cut off
    script("teardown");
    assert.deepEqual(fs.readdirSync(parent), []);
  });

  it("are made by pods with a size, an exact image from the mirror, and no token", async () => {
    const config = configOf("dev");
    const { seen } = await withLocalPath({
      images: { ...config.images, mirrors: { "docker.io": "mirror.example.com/hub" }, pullSecret: true },
    });
    const { spec } = parse(files(seen)["helperPod.yaml"]);
    assert.equal(spec.containers[0].image, images.busybox.replace("docker.io", "mirror.example.com/hub"));
    assert.deepEqual(Object.keys(spec.containers[0].resources.limits), ["cpu", "memory"]);
    assert.equal(spec.automountServiceAccountToken, false);
    assert.deepEqual(spec.imagePullSecrets, [{ name: "registry-logins" }]);
  });

  it("are there before the first pod that has one", async () => {
    const { seen } = await withLocalPath();
    const provisioner = only(seen, DEPLOYMENT, NAME);
    const sets = all(seen, "kubernetes:apps/v1:StatefulSet").filter(({ inputs }) => inputs.spec.volumeClaimTemplates);
    assert.notEqual(sets.length, 0, "dev has no volumes");
    for (const one of sets) assert.ok(waitsFor(seen, one, provisioner), `${one.name} may wait for its volume for ever`);
  });

  it("are made without a right to any Secret", async () => {
    const { seen } = await withLocalPath();
    const rules = ["ClusterRole", "Role"].flatMap(
      (kind) => only(seen, `kubernetes:rbac.authorization.k8s.io/v1:${kind}`, NAME).inputs.rules,
    );
    assert.deepEqual(
      rules.filter(({ resources }: any) => resources.includes("secrets") || resources.includes("*")),
      [],
    );
  });

  it("are the cluster's own where the stack says so", async () => {
    const { seen } = await run(configOf("dev"));
    assert.deepEqual(
      [...all(seen, "kubernetes:storage.k8s.io/v1:StorageClass").filter(({ read }) => !read), ...all(seen, DEPLOYMENT)]
        .map(({ name }) => name)
        .filter((name) => name === NAME || name === configOf("dev").storage.className),
      [],
    );
  });
});
