import assert from "node:assert/strict";
import type { PlatformConfig } from "../../stacks/config/schema";
import { TENANTS } from "../support/tenants";
import { type Cluster, theCluster } from "./harness/cluster";
import type { Pod } from "./harness/pod";
import type { Postgres } from "./harness/postgres";
import { python } from "./harness/python";
import { trackingServer } from "./harness/systems";

const CALLS = `
import boto3, botocore
from botocore.config import Config
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 1}), **input["login"])
def outcome(call, **args):
    try:
        getattr(s3, call)(**args)
        return "OK"
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
print(json.dumps([outcome(call, **args) for call, args in input["calls"]]))
`;

describe("a tenant's own logins", () => {
  let cluster: Cluster;
  let client: Pod;
  let server: Postgres;
  before(async () => {
    cluster = await theCluster();
    client = await trackingServer(cluster); // an S3 client
    server = await cluster.postgres();
    await grant(TENANTS);
  });
  after(() => grant({}));

  async function grant(tenants: PlatformConfig["tenants"]): Promise<void> {
    await cluster.reconfigure("dev", { tenants });
    await server.follow(cluster.program);
  }

  function binding(tenant: string, name: string): { username: string; password: string } {
    const secret = cluster.program
      .all("Secret")
      .find(({ metadata }) => metadata.namespace === tenant && metadata.name === name);
    const { username = "", password = "" } = secret?.["stringData"] ?? {};
    return { username, password };
  }

  const on = (Bucket: string): [string, object][] => [
    ["put_object", { Bucket, Key: "a price", Body: "1" }],
    ["get_object", { Bucket, Key: "a price" }],
    ["list_objects_v2", { Bucket }],
  ];
  const calls = ({ username, password }: ReturnType<typeof binding>, bucket: string): Promise<string[]> =>
    python(client, CALLS, {
      login: { aws_access_key_id: username, aws_secret_access_key: password },
      calls: on(bucket),
    });
  const [OK, REFUSED] = ["OK", "AccessDenied"];

  it("reach its bucket as far as it was granted, and no other", async () => {
    const [pricing, trading] = [binding("pricing", "bucket-prices"), binding("trading", "bucket-prices")];
    assert.deepEqual(await calls(pricing, "prices"), [OK, OK, OK]);
    assert.deepEqual(await calls(trading, "prices"), [REFUSED, OK, OK]);
    for (const login of [pricing, trading]) {
      assert.deepEqual(await calls(login, "mlflow-artifacts"), [REFUSED, REFUSED, REFUSED]);
    }
  });

  it("reach its database, and no other", async () => {
    const login = binding("pricing", "database-pricing");
    await server.queryAs(login, "pricing", "CREATE TABLE prices AS SELECT 1 AS n");
    for (const database of ["orders", "mlflow", "postgres", "template1"]) {
      await assert.rejects(server.queryAs(login, database, "SELECT 1"), /pg_hba\.conf rejects/, database);
    }
  });

  it("are shut out when the grant goes, alone, and find the data when it comes back", async () => {
    const [bucket, database] = [binding("pricing", "bucket-prices"), binding("pricing", "database-pricing")];
    const [others, orders] = [binding("trading", "bucket-prices"), binding("trading", "database-orders")];
    const { trading } = TENANTS;
    assert.ok(trading, "the test needs two tenants");
    await grant({ trading });
    assert.deepEqual(new Set(await calls(bucket, "prices")), new Set(["InvalidAccessKeyId"]));
    await assert.rejects(server.queryAs(database, "pricing", "SELECT 1"), /pg_hba\.conf rejects/);
    assert.deepEqual(await calls(others, "prices"), [REFUSED, OK, OK]);
    assert.deepEqual(await server.queryAs(orders, "orders", "SELECT current_user"), ["tenant_orders"]);
    await grant(TENANTS);
    assert.deepEqual(await server.queryAs(binding("pricing", "database-pricing"), "pricing", "TABLE prices"), ["1"]);
    assert.deepEqual((await calls(binding("pricing", "bucket-prices"), "prices"))[1], OK);
  });
});
