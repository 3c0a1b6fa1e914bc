import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";
import { configOf, run } from "../support/program";
import { temporaryDirectory } from "../support/temporary";
import { TENANTS } from "../support/tenants";
import { ensureVenv } from "../../rehearsal/software/venvs";

const PACKAGE = path.join(ROOT, "packages", "platform-outputs-python");

const READ_ALL = `
import json, sys
from platform_outputs import parse_platform, parse_tenant, read_platform, read_tenant
place = sys.argv[1]
outputs = json.load(open(f"{place}/outputs.json"))
read = [read_platform(one, ["kafka"]) for one in (place, f"{place}/outputs.json", f"{place}/configmap.json")]
assert read[0] == read[1] == read[2]
written = read[0].model_dump(by_alias=True, exclude_none=True)

def fault(document, uses=()):
    try:
        parse_platform(document, "prod", uses)
    except ValueError as error:
        return str(error)

def tenant_fault(name, uses=()):
    try:
        parse_tenant(outputs, "prod", name, uses)
    except ValueError as error:
        return str(error)

print(json.dumps({
    "secret": read_tenant(place, "pricing", ["database-pricing"]).secrets["database-pricing"].name,
    "tenant": tenant_fault("nobody"),
    "grant": tenant_fault("pricing", ["database-pricing", "search-rates"]),
    "same": written == outputs,
    "ca": read[0].kafka.ca.name,
    "type": fault({**outputs, "kafka": {**outputs["kafka"], "tls": "perhaps"}}),
    "absent": fault({key: value for key, value in outputs.items() if key != "kafka"}, ["kafka"]),
    "contract": fault({**outputs, "contract": 1}),
    "other": fault({}),
    "later": fault({**outputs, "novelty": 1}),
}))
`;

describe("the outputs, read in Python", () => {
  it("are the same from a file and from the ConfigMap, mounted or as JSON, and faults name stack, key, tenant and contract", async () => {
    const { outputs } = await run({ ...configOf("prod"), tenants: TENANTS });
    const directory = temporaryDirectory();
    const text = JSON.stringify(outputs);
    fs.writeFileSync(path.join(directory, "outputs.json"), text);
    const configMap = JSON.stringify({ kind: "ConfigMap", data: { "outputs.json": text } });
    fs.writeFileSync(path.join(directory, "configmap.json"), configMap);
    const { directory: venv } = await ensureVenv("feast", console.log);
    const printed = execFileSync(path.join(venv, "bin", "python"), ["-B", "-c", READ_ALL, directory], {
      // Neither a passphrase nor anything else of Pulumi's.
      env: { PYTHONPATH: PACKAGE },
      encoding: "utf8",
    });
    const { type, ...rest } = JSON.parse(printed) as Record<string, unknown>;
    assert.match(String(type), /^prod: kafka\.tls: Input should be a valid boolean.* \(contract 2\)$/);
    assert.deepEqual(rest, {
      same: true,
      ca: "kafka-tls",
      absent: "prod: kafka: is absent; the stack does not deploy it (contract 2)",
      contract: "prod: contract: is 1, and this package reads 2; bring the stack up with a release of contract 2",
      other: "prod: contract: is absent: these are no outputs of a 254Carbon stack, or it never came up",
      later: null,
      secret: "database-pricing",
      tenant: "prod: tenants.nobody: is absent; add it to the stack file of the platform (contract 2)",
      grant: "prod: tenants.pricing.secrets.search-rates: is absent; it was not granted (contract 2)",
    });
  });
});
