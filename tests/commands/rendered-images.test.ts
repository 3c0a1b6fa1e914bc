import assert from "node:assert/strict";
import { imageFaults } from "../../commands/charts/images";

const deployment = (pod: object): any => ({
  ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "server" } },
  spec: { template: { metadata: {}, spec: { serviceAccountName: "server", ...pod } } },
});
const container = (image: string, more: object = {}) => ({ name: "main", image, ...more });
const mirrors = { "quay.io": "mirror.example.com/quay" };

describe("a real chart's images", () => {
  it("are found where they pass the mirrors, in arguments too", () => {
    const pod = {
      containers: [
        container("mirror.example.com/quay/a/b:1", { args: ["--image=quay.io/a/c:1"] }),
        container("ghcr.io/a:1"),
      ],
    };
    assert.deepEqual(imageFaults([deployment(pod)], { mirrors, pullSecret: false }), [
      "Deployment server: takes quay.io/a/c past images.mirrors; set its key in components/base/pod-keys.ts",
    ]);
    assert.deepEqual(imageFaults([deployment(pod)], { mirrors: {}, pullSecret: false }), []);
  });

  it("are pulled with the logins that their pods or accounts name", () => {
    const faults = (pod: object, ...others: any[]) =>
      imageFaults([deployment({ containers: [container("a:1")], ...pod }), ...others], {
        mirrors: {},
        pullSecret: true,
      });
    const logins = { imagePullSecrets: [{ name: "registry-logins" }] };
    const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "server" } };
    assert.deepEqual(faults(logins), []);
    assert.deepEqual(faults({}, { ...account, ...logins }), []);
    assert.deepEqual(faults({}, account), [
      "Deployment server: its pods do not name Secret registry-logins; set its key in components/base/pod-keys.ts",
    ]);
  });
});
