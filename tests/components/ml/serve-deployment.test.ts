import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as http from "node:http";
import * as pulumi from "@pulumi/pulumi";
import { envSecret } from "../../../components/base/secret";
import { ServeDeployment } from "../../../components/ml/serve-deployment";
import { ServeTraining } from "../../../components/ml/serve-training";
import { freePort } from "../../../rehearsal/simulation/cluster/control-plane";
import { mockEngine, only, type Registered, settled } from "../../support/mocks";
import { assertOrder } from "../../support/order";
import { endpoint, onCluster, SIZE } from "../../support/stubs";

const client = () => ({
  namespace: "ml",
  dashboard: endpoint("ray-head", "http", 8265),
  auth: envSecret("ray-auth", { namespace: "ml", data: { RAY_AUTH_TOKEN: pulumi.secret("t0ken") } }, {}),
  size: SIZE,
});

async function deployment(config: string): Promise<Registered[]> {
  const seen = await mockEngine();
  new ServeDeployment("serve-deploy", { ...client(), config: pulumi.output(config) }, onCluster());
  await settled();
  return seen;
}

const envOf = (container: any): Record<string, string> =>
  Object.fromEntries(container.env.map(({ name, value }: any) => [name, value]));

describe("ServeDeployment", () => {
  it("deploys again when the config changes, because its Job is another one", async () => {
    const template = async (config: string) =>
      only(await deployment(config), "kubernetes:batch/v1:Job").inputs.spec.template;
    assert.deepEqual(await template("{}"), await template("{}"));
    assert.notDeepEqual(await template('{"applications":[]}'), await template("{}"));
  });

  it("restores the same config by the same script, only if a head has lost it", async () => {
    const seen = await deployment("{}");
    const once = only(seen, "kubernetes:batch/v1:Job").inputs.spec.template.spec.containers[0];
    const { spec } = only(seen, "kubernetes:batch/v1:CronJob").inputs;
    const again = spec.jobTemplate.spec.template.spec.containers[0];
    assert.deepEqual(again.command, [...once.command, "--if-lost"]);
    assert.deepEqual(envOf(again), envOf(once));
    assert.equal(spec.concurrencyPolicy, "Forbid");
  });

  it("changes what is restored before it deploys, so that no application comes back that was taken out", async () => {
    const seen = await deployment("{}");
    assertOrder(seen, only(seen, "kubernetes:batch/v1:Job"), only(seen, "kubernetes:batch/v1:CronJob"));
  });

  it("gives up before its Job is stopped, so that Ray's words stand in the log", async () => {
    const { spec } = only(await deployment("{}"), "kubernetes:batch/v1:Job").inputs;
    assert.ok(
      Number(envOf(spec.template.spec.containers[0])["TIMEOUT_SECONDS"]) < spec.activeDeadlineSeconds,
      "the Job would be killed before it can say what did not start",
    );
  });

  it("shows its token to nobody but its pods", async () => {
    const seen = await deployment("{}");
    assert.doesNotMatch(JSON.stringify(seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret")), /t0ken/);
    for (const kind of ["Job", "CronJob"]) {
      const { spec } = only(seen, `kubernetes:batch/v1:${kind}`).inputs;
      const { containers } = (spec.jobTemplate?.spec ?? spec).template.spec;
      assert.deepEqual(containers[0].envFrom, [{ secretRef: { name: "ray-auth" } }]);
    }
  });
});

const PYTHON = "python3";
const CONFIG = '{"applications":[{"name":"prices"}]}';

describe("the script that deploys applications", function () {
  this.timeout(60_000);
  let script: string;

  before(async function () {
    if (spawnSync(PYTHON, ["--version"]).status !== 0) {
      console.log(`      not run: there is no ${PYTHON} here`);
      this.skip();
    }
    const job = only(await deployment(CONFIG), "kubernetes:batch/v1:Job");
    script = job.inputs.spec.template.spec.containers[0].command.at(-1);
  });

  /** Runs it as `serve-deploy-restore` does, with pauses in which something may happen; returns its exit code and last words. */
  async function restore(port: number, seconds: number, meanwhile: () => void): Promise<[number, string]> {
    const paused = "import time; sleep = time.sleep; time.sleep = lambda _: (print('pause', flush=True), sleep(0.1))";
    const child = spawn(PYTHON, ["-c", `${paused}\n${script}`, "--if-lost"], {
      env: {
        SERVE_CONFIG: CONFIG,
        RAY_DASHBOARD: `http://127.0.0.1:${port}`,
        RAY_AUTH_TOKEN: "t0ken",
        TIMEOUT_SECONDS: `${seconds}`,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let words = "";
    child.stdout.once("data", meanwhile).on("data", (chunk: Buffer) => (words += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (words += chunk.toString()));
    const [code] = (await once(child, "close")) as [number];
    return [code, words.replace(/^pause\n/gm, "")];
  }

  it("waits for a head that starts after it, as on a node that was rebooted, and for one that starts meanwhile", async () => {
    const asked: string[] = [];
    let applications: object = {};
    const head = http.createServer((request, response) => {
      asked.push(request.method ?? "");
      if (request.method === "PUT") applications = { prices: { status: "RUNNING", deployments: {} } };
      // The first of them is lost with what it was told.
      if (asked.length === 2) applications = {};
      request.resume().on("end", () => response.end(JSON.stringify({ applications, proxies: {} })));
    });
    const port = await freePort();
    try {
      const outcome = await restore(port, 30, () => head.listen(port, "127.0.0.1"));
      assert.deepEqual(outcome, [0, "running: prices\n"]);
      assert.deepEqual(asked, ["GET", "PUT", "GET", "PUT", "GET"]);
    } finally {
      head.close();
    }
  });

  it("waits no longer than it may, and says for whom", async () => {
    const [code, words] = await restore(await freePort(), 0, () => undefined);
    assert.equal(code, 1);
    assert.match(words, /^Ray's dashboard does not answer at .*Connection refused/);
  });
});

describe("ServeTraining", () => {
  it("runs a command on a worker, with the code of its application, and no longer than it may", async () => {
    const seen = await mockEngine();
    new ServeTraining(
      "serve-training",
      {
        ...client(),
        jobs: [
          {
            name: "prices-train-model",
            schedule: "15 3 * * *",
            command: ["python", "-m", "prices.train"],
            packages: ["xgboost==3.1.2"],
            resources: { cpu: 2, gpus: 0.5, memoryMiB: 512, labels: { "worker-group": "large" } },
            timeoutSeconds: 900,
            code: pulumi.output("s3://code/prices-abc.zip"),
          },
        ],
      },
      onCluster(),
    );
    await settled();
    const { metadata, spec } = only(seen, "kubernetes:batch/v1:CronJob").inputs;
    assert.equal(metadata.name, "prices-train-model");
    assert.equal(spec.schedule, "15 3 * * *");
    const { backoffLimit, activeDeadlineSeconds, template } = spec.jobTemplate.spec;
    assert.deepEqual([backoffLimit, activeDeadlineSeconds], [0, 900]);
    const [submit] = template.spec.containers;
    assert.deepEqual(submit.command, [
      "ray",
      "job",
      "submit",
      "--working-dir=s3://code/prices-abc.zip",
      '--runtime-env-json={"pip":["xgboost==3.1.2"]}',
      "--entrypoint-num-cpus=2",
      "--entrypoint-num-gpus=0.5",
      "--entrypoint-memory=536870912",
      '--entrypoint-label-selector={"worker-group":"large"}',
      "--",
      "timeout",
      "900",
      "python",
      "-m",
      "prices.train",
    ]);
    assert.equal(envOf(submit)["RAY_ADDRESS"], "http://ray-head.elsewhere:8265");
  });
});
