import assert from "node:assert/strict";
import { wires } from "../../support/manifests";
import { all, only } from "../../support/mocks";
import { configOf, run } from "../../support/program";

describe("metrics-server", () => {
  const withKubelets = async (kubeletCertificates: "signed" | "self-signed") => {
    const config = configOf("prod");
    const { seen } = await run({ ...config, metricsServer: { ...size(config.metricsServer), kubeletCertificates } });
    return only(seen, "kubernetes:helm.sh/v3:Release", "metrics-server").inputs.values;
  };

  it("shows the API server a certificate that it verifies", async () => {
    const { tls, apiService } = await withKubelets("signed");
    assert.deepEqual([tls.type, apiService.insecureSkipTLSVerify], ["cert-manager", false]);
  });

  it("verifies the kubelets unless their certificates are said to be self-signed", async () => {
    assert.deepEqual((await withKubelets("signed")).args, []);
    assert.deepEqual((await withKubelets("self-signed")).args, ["--kubelet-insecure-tls"]);
  });

  it("reaches the kubelets, and is reached by the API server and Prometheus alone", async () => {
    const { seen } = await run(configOf("prod"));
    assert.deepEqual(
      wires(seen).filter((row) => row.includes("metrics-server")),
      [
        "kube-api -> metrics-server 10250",
        "metrics-server -> kube-api 6443",
        "metrics-server -> kubelets 10250",
        "prometheus -> metrics-server 10250",
      ],
    );
  });

  it("is not installed in a stack that does not name it", async () => {
    const { seen } = await run({ ...configOf("prod"), metricsServer: undefined });
    const releases = all(seen, "kubernetes:helm.sh/v3:Release").map(({ name }) => name);
    assert.deepEqual(
      releases.filter((name) => name === "metrics-server"),
      [],
    );
  });
});

function size(config: ReturnType<typeof configOf>["metricsServer"]) {
  assert.ok(config, "prod has no metrics-server");
  return { cpu: config.cpu, memoryMiB: config.memoryMiB };
}
