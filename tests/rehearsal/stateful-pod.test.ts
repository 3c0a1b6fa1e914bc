import * as assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { podsNamed } from "../../components/base/endpoint";
import { container, podTemplate } from "../../components/base/pod";
import { statefulSet } from "../../components/base/stateful-pod";
import { type Program, startWorld, type World } from "./plugin-world";

const SIZE = { cpu: { request: 0.1, limit: 0.1 }, memoryMiB: { request: 64, limit: 64 } };

/** A server of one pod with a volume; `node` is a label that its node must have. */
function server(node: Readonly<Record<string, string>>, sizeGiB = 1): Program {
  return ({ namespace, opts }) => {
    const pods = { ...podsNamed("server", namespace), serviceAccount: "default" };
    const template = podTemplate(pods, {
      containers: [container("server", { image: "example.com/server:1", size: SIZE })],
      uid: 1000,
      priorityClass: "standard-services",
      nodeSelector: node,
    });
    const parent = new pulumi.ComponentResource("test:Server", "server", {}, opts);
    statefulSet(pods, template, { name: "data", storageClass: "disk", sizeGiB }, { parent });
    return {};
  };
}

describe("a server of one pod", function () {
  this.timeout(300_000);
  let world: World;
  before(async () => {
    world = await startWorld();
    const priority = { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", value: 1 };
    await world.apply({ ...priority, metadata: { name: "standard-services" } });
    await world.apply({
      ...{
        apiVersion: "storage.k8s.io/v1",
        kind: "StorageClass",
        metadata: { name: "disk" },
        allowVolumeExpansion: true,
      },
      ...{ provisioner: "example.com/disk", reclaimPolicy: "Retain", volumeBindingMode: "WaitForFirstConsumer" },
    });
  });
  after(() => world.stop());

  it("comes back by `up` alone after a template with which it cannot start", async () => {
    const stack = await world.stack("taken-back");
    const becomes = (state: string) =>
      world.kubectl("wait", "pod/server-0", "-n", stack.namespace, `--for=${state}`, "--timeout=120s");
    await stack.up(server({}));
    await becomes("condition=Ready");
    // The engine may call it done before the controller has seen it; else it waits for ten minutes, and its user for less.
    const interruption = new AbortController();
    const rollout = stack.up(server({ disk: "none" }), { signal: interruption.signal }).catch(() => undefined);
    await becomes("jsonpath={.spec.nodeSelector.disk}=none");
    await becomes("condition=PodScheduled=False");
    interruption.abort();
    await rollout;
    await stack.up(server({}));
    await becomes("condition=Ready");
  });

  it("grows its volume in place, and never back", async () => {
    const stack = await world.stack("grown");
    await stack.up(server({}));
    const pod = await world.kubectl("get", "pod", "server-0", "-n", stack.namespace, "-o=jsonpath={.metadata.uid}");
    assert.deepEqual(await stack.preview(server({}, 2)), { same: 4, update: 1 });
    await stack.up(server({}, 2));
    const has = (size: string) =>
      world.kubectl(
        ...["wait", "pvc/data-server-0", "-n", stack.namespace, "--timeout=30s"],
        `--for=jsonpath={.status.capacity.storage}=${size}`,
      );
    await has("2Gi");
    assert.equal(
      await world.kubectl("get", "pod", "server-0", "-n", stack.namespace, "-o=jsonpath={.metadata.uid}"),
      pod,
    );
    assert.deepEqual(await stack.up(server({}, 2)), { same: 5 });
    assert.match(await stack.previewFailure(server({}, 1)), /data-server-0.*can not be less than/s);
    await stack.up(server({}, 3));
    await has("3Gi");
  });
});
