import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT, stackConfig } from "../../rehearsal/program/evaluate";
import type { PlatformConfig } from "../../stacks/config/schema";
import { TENANTS } from "../support/tenants";
import { type Cluster, theCluster } from "./harness/cluster";
import { issuedAs } from "./harness/certificates";
import { eventually } from "./harness/eventually";
import { Gateway } from "./harness/gateway";
import { PolarisDouble } from "./harness/polaris";
import type { Pod } from "./harness/pod";
import type { Postgres } from "./harness/postgres";
import { python } from "./harness/python";
import { outcomes } from "./harness/s3";
import { featureServer, trackingServer } from "./harness/systems";

// On a worker: a head runs no tasks.
const BOUND = `
import os, ray
ray.init()
@ray.remote(num_cpus=1)
def bound():
    root = os.environ["SERVICE_BINDING_ROOT"]
    return [*sorted(os.listdir(root)), open(f"{root}/database-pricing/username").read()]
print("BOUND", *ray.get(bound.remote()))
`;

// What a first notebook may do: a task on the cluster, by the address and token of the environment.
const NOTEBOOK = `
import os, pathlib, feast, mlflow, ray
ray.init()
@ray.remote(num_cpus=1)
def answer():
    return 42
home = pathlib.Path.home() / "kept.txt"
home.write_text("pricing")
for place in ["/kept.txt", "/usr/kept.txt", "/bindings/ray/kept.txt"]:
    try:
        pathlib.Path(place).write_text("no")
        raise SystemExit(f"{place} can be written to")
    except OSError:
        pass
print("USED", ray.get(answer.remote()), mlflow.get_tracking_uri(), home.read_text(), os.getuid())
`;

const RUN_NOTEBOOK = `
import contextlib, io, os, pathlib, runpy, sys
root = pathlib.Path("/tmp/consumer")
for name, text in input.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
sys.path.insert(0, str(root))
os.environ["PLATFORM_OUTPUTS"] = str(root / "outputs.json")
with contextlib.redirect_stdout(io.StringIO()) as printed:
    runpy.run_path(str(root / "notebook.py"))
print(json.dumps(printed.getvalue()))
`;

describe("a tenant's own logins", () => {
  let cluster: Cluster;
  let client: Pod;
  let server: Postgres;
  let gateway: Gateway;
  let polaris: PolarisDouble;
  before(async () => {
    cluster = await theCluster();
    client = await trackingServer(cluster); // an S3 client
    server = await cluster.postgres();
    await featureServer(cluster); // before the gateway, which knows the addresses of what runs
    gateway = await Gateway.of(cluster);
    polaris = new PolarisDouble(cluster.program.data("Secret", "polaris-logins")["ROOT_SECRET"] ?? "");
    await polaris.listen(cluster.play("polaris", cluster.program.object("polaris-setup", "Job").metadata.namespace));
    await grant(TENANTS);
  });
  after(async () => {
    await cluster.reconfigure("dev", {});
    await server.follow(cluster.program);
    gateway.follow(cluster);
    polaris.close();
  });

  async function grant(tenants: PlatformConfig["tenants"]): Promise<void> {
    const { postgres } = stackConfig("dev");
    assert.ok(postgres !== undefined && postgres.kind !== "external", "dev has no server for databases of tenants");
    // What is there has room for the connections of one database more.
    const memoryMiB = { ...postgres.memoryMiB, limit: 2 * postgres.memoryMiB.limit };
    await cluster.reconfigure("dev", { tenants, postgres: { ...postgres, memoryMiB } });
    await server.follow(cluster.program);
    gateway.follow(cluster);
  }

  function secretOf(tenant: string, name: string): Readonly<Record<string, string>> {
    const secret = cluster.program
      .all("Secret")
      .find(({ metadata }) => metadata.namespace === tenant && metadata.name === name);
    return secret?.["stringData"] ?? {};
  }

  function binding(tenant: string, name: string): { username: string; password: string } {
    const { username = "", password = "" } = secretOf(tenant, name);
    return { username, password };
  }

  function authority(): Buffer {
    return issuedAs("gateway-tenants-tls", cluster.program)?.["ca.crt"] ?? Buffer.of();
  }

  /** The status that a call by the gateway's name inside the cluster gets. */
  async function inside(api: string, key: string): Promise<number | undefined> {
    const ca = authority();
    const url = `gateway.gateway.svc.cluster.local/api/${api}`;
    return (await gateway.ask({ url, headers: { "x-api-key": key }, ca })).status;
  }

  const on = (Bucket: string): [string, object][] => [
    ["put_object", { Bucket, Key: "a price", Body: "1" }],
    ["get_object", { Bucket, Key: "a price" }],
    ["list_objects_v2", { Bucket }],
  ];
  const calls = ({ username, password }: ReturnType<typeof binding>, bucket: string): Promise<string[]> =>
    outcomes(client, on(bucket), { aws_access_key_id: username, aws_secret_access_key: password });
  const [OK, REFUSED] = ["OK", "AccessDenied"];

  it("reach its bucket as far as it was granted, and no other", async () => {
    const [pricing, trading] = [binding("pricing", "bucket-prices"), binding("trading", "bucket-prices")];
    assert.deepEqual(await calls(pricing, "prices"), [OK, OK, OK]);
    assert.deepEqual(await calls(trading, "prices"), [REFUSED, OK, OK]);
    for (const login of [pricing, trading]) {
      assert.deepEqual(await calls(login, "mlflow-artifacts"), [REFUSED, REFUSED, REFUSED]);
    }
  });

  it("reach the files of its schema alone, and its tables by a client of its own", async () => {
    const user = "tenant-pricing-catalog-pricing";
    const { secret, roles } = polaris.principals.get(user) ?? assert.fail("it is no client of the catalog");
    assert.deepEqual([secret, [...roles]], [binding("pricing", "catalog-pricing").password, [user]]);
    assert.ok(polaris.namespaces.has("pricing"), "its schema is not made");
    const { "s3.access-key-id": aws_access_key_id, "s3.secret-access-key": aws_secret_access_key } = secretOf(
      "pricing",
      "catalog-pricing",
    );
    const Bucket = "iceberg-warehouse";
    const inFolder = (folder: string): [string, object][] => [
      ["put_object", { Bucket, Key: `${folder}daily`, Body: "1" }],
      ["get_object", { Bucket, Key: `${folder}daily` }],
      ["list_objects_v2", { Bucket, Prefix: folder }],
    ];
    const folders = ["pricing/", "pricing_risk/", ""].flatMap(inFolder);
    const answers = await outcomes(client, folders, { aws_access_key_id, aws_secret_access_key });
    assert.deepEqual(answers, [OK, OK, OK, ...Array<string>(6).fill(REFUSED)]);
  });

  it("reach its database, and no other", async () => {
    const login = binding("pricing", "database-pricing");
    await server.queryAs(login, "pricing", "CREATE TABLE prices AS SELECT 1 AS n");
    for (const database of ["orders", "mlflow", "postgres", "template1"]) {
      await assert.rejects(server.queryAs(login, database, "SELECT 1"), /pg_hba\.conf rejects/, database);
    }
  });

  it("reach MLflow through the gateway, by its name inside the cluster, where no other key opens it", async () => {
    const key = binding("pricing", "mlflow").password;
    await eventually(30, async () => {
      assert.equal(await inside("mlflow/health", key), 200);
    });
    const platform = cluster.program.data("Secret", "api-key-mlflow")["mlflow"] ?? "";
    for (const other of [platform, binding("trading", "serve").password, "wrong"]) {
      assert.equal(await inside("mlflow/health", other), 401);
    }
    const outside = { url: "api.dev.254carbon.com/api/mlflow/health", headers: { "x-api-key": key } };
    assert.equal((await gateway.ask(outside)).status, 401, "a tenant's key opens what the world calls");
  });

  it("are shut out when the grant goes, alone, and find the data when it comes back", async () => {
    const [bucket, database] = [binding("pricing", "bucket-prices"), binding("pricing", "database-pricing")];
    const [others, orders] = [binding("trading", "bucket-prices"), binding("trading", "database-orders")];
    const { trading } = TENANTS;
    assert.ok(trading, "the test needs two tenants");
    await grant({ trading });
    assert.deepEqual(new Set(await calls(bucket, "prices")), new Set(["InvalidAccessKeyId"]));
    const left = [...polaris.principals.keys(), ...polaris.principalRoles.keys(), ...polaris.grants.keys()];
    assert.deepEqual(
      left.filter((one) => one.includes("tenant")),
      [],
      "the catalog still knows it",
    );
    assert.ok(polaris.namespaces.has("pricing"), "its tables are gone");
    await assert.rejects(server.queryAs(database, "pricing", "SELECT 1"), /pg_hba\.conf rejects/);
    assert.deepEqual(await calls(others, "prices"), [REFUSED, OK, OK]);
    assert.deepEqual(await server.queryAs(orders, "orders", "SELECT current_user"), ["tenant_orders"]);
    const key = binding("trading", "serve").password;
    await eventually(30, async () => {
      assert.equal(await inside("mlflow/health", key), 404, "MLflow has a way for tenants that none of them takes");
    });
    assert.equal(await inside("ray/healthz", "wrong"), 401);
    assert.notEqual(await inside("ray/healthz", key), 401, "the other tenant's key is lost");
    await grant(TENANTS);
    assert.deepEqual(await server.queryAs(binding("pricing", "database-pricing"), "pricing", "TABLE prices"), ["1"]);
    assert.deepEqual((await calls(binding("pricing", "bucket-prices"), "prices"))[1], OK);
  });

  it("run code on a Ray cluster of its own, which finds its logins and takes no token but its own", async () => {
    const head = await cluster.pod("tenant-pricing-ray-head");
    await cluster.pod("tenant-pricing-ray-worker");
    const stdout = await head.exec(["python", "-c", BOUND]);
    assert.match(stdout, /BOUND bucket-prices catalog-pricing database-pricing .* tenant_pricing$/m);
    const platform = cluster.program.data("Secret", "ray-auth")["RAY_AUTH_TOKEN"] ?? "";
    const statusFor = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(head.url("dashboard", "/api/jobs/"), { headers })).status;
    };
    assert.equal(await statusFor(binding("pricing", "ray").password), 200);
    assert.ok(platform.length > 0, "the platform has no token to try");
    for (const other of [platform, "wrong"]) assert.ok((await statusFor(other)) >= 400, "others run code there");
  });

  it("open its JupyterLab, where a notebook uses Ray, MLflow and Feast, and writes to its home alone", async () => {
    // Under mocks nobody has signed for nobody.
    for (const name of ["mlflow", "features"])
      Object.assign(secretOf("pricing", name), { "ca.crt": authority().toString() });
    for (const node of ["head", "worker"]) await cluster.pod(`tenant-pricing-ray-${node}`);
    const lab = await cluster.pod("tenant-pricing-notebook");
    const { JUPYTER_TOKEN = "" } = secretOf("pricing", "notebook");
    const statusFor = async (headers: Record<string, string>, path = "/api/contents") =>
      (await fetch(lab.url("http", path), { headers, redirect: "manual" })).status;
    assert.equal(await statusFor({ authorization: `token ${JUPYTER_TOKEN}` }), 200);
    assert.equal(await statusFor({ authorization: `token ${JUPYTER_TOKEN}` }, "/lab"), 200);
    for (const token of ["", "wrong", binding("pricing", "ray").password]) {
      assert.equal(await statusFor({ authorization: `token ${token}` }), 403, "others run code with its logins");
    }
    assert.equal(await statusFor({}, "/lab"), 302, "the page opens without the token");
    const used = await lab.exec(["python", "-c", NOTEBOOK]);
    assert.match(used, /^USED 42 .*\/api\/mlflow pricing 1000$/m);
    const read = (...file: string[]) => fs.readFileSync(path.join(ROOT, ...file), "utf8");
    const files = ["__init__.py", "document.py"].map((file) => `platform_outputs/${file}`);
    const printed: unknown = await python(lab, RUN_NOTEBOOK, {
      "notebook.py": read("examples", "notebook.py"),
      "outputs.json": JSON.stringify(cluster.program.outputs),
      ...Object.fromEntries(files.map((file) => [file, read("packages", "platform-outputs-python", file)])),
    });
    assert.match(String(printed), /Default\n/);
    assert.match(String(printed), /'feature_names': \['commodity_code', /);
    const own = (await cluster.pods()).filter(({ name }) => name.startsWith("tenant-"));
    // Its workers before the head, which they would wait for.
    for (const pod of own.reverse()) await cluster.stop(pod);
  });
});
