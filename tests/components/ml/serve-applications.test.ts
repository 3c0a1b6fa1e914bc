import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { unzipSync } from "fflate";
import {
  type DeploymentScale,
  ServeApplications,
  type ServeApplication,
  pack,
} from "../../../components/ml/serve-applications";
import { mockEngine, only, type Registered, settled, valueOf } from "../../support/mocks";
import { bucket, onCluster, SIZE } from "../../support/stubs";
import { temporaryDirectory } from "../../support/temporary";

const CODE = { "prices/__init__.py": "", "prices/app.py": "def build(args):\n    ...\n" };

function application(files: Readonly<Record<string, string>> = CODE): ServeApplication {
  const directory = temporaryDirectory();
  for (const [file, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
    fs.writeFileSync(path.join(directory, file), text);
  }
  return {
    directory,
    importPath: "prices.app:build",
    routePrefix: "/prices",
    args: { models: ["m"] },
    deployments: { Prices: { replicas: { min: 1, max: 3 }, targetOngoingRequests: 4, resources: { cpu: 0.5 } } },
  };
}

describe("the code of a Serve application", () => {
  it("is the same zip wherever and whenever it is packed", () => {
    const first = application();
    const second = application();
    fs.utimesSync(path.join(second.directory, "prices/app.py"), 1, 1);
    fs.chmodSync(path.join(second.directory, "prices/app.py"), 0o600);
    assert.deepEqual(pack("team", second), pack("team", first));
  });

  it("has another name when a line of it changes", () => {
    const changed = application({ ...CODE, "prices/app.py": "def build(args):\n    return 1\n" });
    assert.match(pack("team", changed).file, /^team-[0-9a-f]{12}\.zip$/);
    assert.notEqual(pack("team", changed).file, pack("team", application()).file);
  });

  it("lies in one folder, which Ray takes away, without tests and what a run leaves", () => {
    const { zip } = pack(
      "team",
      application({
        ...CODE,
        "tests/test_app.py": "",
        "prices/__pycache__/app.cpython-311.pyc": "",
        "prices/.env": "PASSWORD=x",
        ".git/HEAD": "",
      }),
    );
    assert.deepEqual(Object.keys(unzipSync(zip)), ["team/prices/__init__.py", "team/prices/app.py"]);
  });

  it("is refused with the key of the config that is wrong", () => {
    const good = application();
    const cases: [ServeApplication, RegExp][] = [
      [{ ...good, directory: "no/such/folder" }, /^serve\.applications\.team\.directory: there is no folder no\/such/],
      [
        { ...good, importPath: "prices.other:build" },
        /^serve\.applications\.team\.importPath: .* has no prices\/other\.py/,
      ],
      [
        { ...good, importPath: "prices.app:other" },
        /^serve\.applications\.team\.importPath: .*app\.py defines no other/,
      ],
      [
        application({ ...CODE, "prices/data.csv": noise(1_500_000) }),
        /^serve\.applications\.team\.directory: .* packs to \d+ bytes, which is above 1000000/,
      ],
    ];
    for (const [wrong, message] of cases) assert.throws(() => pack("team", wrong), { message });
  });
});

describe("ServeApplications", () => {
  it("serves another team's application by one more entry", async () => {
    const { config } = await serve({ team: application(), other: { ...application(), routePrefix: "/other" } });
    const [team, other] = config.applications;
    assert.deepEqual([team.name, other.name], ["team", "other"]);
    assert.deepEqual(other, {
      name: "other",
      route_prefix: "/other",
      import_path: "prices.app:build",
      runtime_env: { working_dir: other.runtime_env.working_dir },
      args: { models: ["m"] },
      deployments: [
        {
          name: "Prices",
          autoscaling_config: { min_replicas: 1, max_replicas: 3, target_ongoing_requests: 4 },
          max_ongoing_requests: 8,
          ray_actor_options: { num_cpus: 0.5 },
        },
      ],
    });
  });

  it("leaves a deployment the resources that its code says, unless the config says them", async () => {
    const own = (resources?: DeploymentScale["resources"]) => ({
      ...application(),
      deployments: { Prices: { replicas: { min: 1, max: 3 }, targetOngoingRequests: 4, resources } },
    });
    const optionsOf = async (app: ServeApplication) =>
      (await serve({ team: app })).config.applications[0].deployments[0].ray_actor_options;
    assert.equal(await optionsOf(own()), undefined, "Ray replaces the code's options as a whole");
    const all = { num_cpus: 1, num_gpus: 0.5, memory: 256 * 1024 ** 2 };
    assert.deepEqual(await optionsOf(own({ cpu: 1, gpus: 0.5, memoryMiB: 256 })), all);
  });

  it("installs the packages of an application, and runs it on the group of workers that it names", async () => {
    const own = {
      ...application(),
      packages: ["xgboost==3.1.2"],
      deployments: {
        Prices: {
          replicas: { min: 1, max: 3 },
          targetOngoingRequests: 4,
          resources: { cpu: 1, labels: { "worker-group": "large" } },
        },
      },
    };
    const [served] = (await serve({ team: own })).config.applications;
    assert.deepEqual(served.runtime_env.pip, ["xgboost==3.1.2"]);
    // Ray builds an application where all its deployments run, if they select the same nodes.
    const options = { num_cpus: 1, label_selector: { "worker-group": "large" } };
    assert.deepEqual(served.deployments[0].ray_actor_options, options);
  });

  it("refuses to replace resources that the code says", () => {
    const code = '@serve.deployment(ray_actor_options={"num_gpus": 1})\ndef build(args):\n    ...\n';
    const app = application({ "prices/__init__.py": "", "prices/app.py": code });
    const message = /^serve\.applications\.team\.deployments\.Prices: its cpu, gpus and memoryMiB would replace/;
    assert.throws(() => pack("team", app), { message });
  });

  it("uploads just the file that the config names, to the bucket that it names", async () => {
    const { config, seen, code } = await serve({ team: application() });
    const [, name, file] = /^s3:\/\/([^/]+)\/(.*)$/.exec(config.applications[0].runtime_env.working_dir) ?? [];
    const map = only(seen, "kubernetes:core/v1:ConfigMap", "serve-code-team").inputs;
    assert.deepEqual(Object.keys(map.binaryData), [file]);
    assert.ok(
      unzipSync(Buffer.from(map.binaryData[file ?? ""], "base64"))["team/prices/app.py"],
      "the archive lacks the application's file",
    );
    const { containers, volumes } = only(seen, "kubernetes:batch/v1:Job").inputs.spec.template.spec;
    const env = Object.fromEntries(containers[0].env.map(({ name: key, value }: any) => [key, value]));
    assert.equal(env["BUCKET"], name);
    const volume = volumes.find((one: any) => one.configMap?.name === "serve-code-team").name;
    assert.ok(
      containers[0].volumeMounts.some((one: any) => one.name === volume && one.mountPath === "/applications/team"),
      "the archives are not mounted where the upload looks",
    );
    assert.equal(code, config.applications[0].runtime_env.working_dir);
  });

  it("uploads again when the code changes", async () => {
    const annotations = async (app: ServeApplication) =>
      only((await serve({ team: app })).seen, "kubernetes:batch/v1:Job").inputs.spec.template.metadata.annotations;
    const before = await annotations(application());
    assert.deepEqual(await annotations(application()), before);
    assert.notDeepEqual(await annotations(application({ ...CODE, "prices/more.py": "" })), before);
  });

  it("puts no credential into config, code or pod", async () => {
    const { config, seen } = await serve({ team: application() });
    const open = seen.filter(({ type }) => type !== "kubernetes:core/v1:Secret");
    assert.doesNotMatch(JSON.stringify([config, open]), /bucket-(user|password)/);
  });
});

interface Served {
  readonly seen: readonly Registered[];
  readonly config: any;
  readonly code: string;
}

async function serve(applications: Readonly<Record<string, ServeApplication>>): Promise<Served> {
  const seen = await mockEngine();
  const served = new ServeApplications(
    "serve",
    {
      namespace: "ml",
      applications,
      bucket: bucket("code"),
      proxies: "HeadOnly",
      size: SIZE,
    },
    onCluster(),
  );
  const [config, code] = await Promise.all([valueOf(served.config), valueOf(served.code("team"))]);
  await settled();
  return { seen, config: JSON.parse(config), code: code };
}

/** Text that does not compress well. */
function noise(length: number): string {
  let state = 1;
  const next = () => (state = (state * 48271) % 2147483647);
  return Array.from({ length }, () => String.fromCharCode(33 + (next() % 90))).join("");
}
