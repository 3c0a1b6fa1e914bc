import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";
import { program } from "../support/program";
import { temporaryDirectory } from "../support/temporary";
import { theCluster } from "./harness/cluster";
import { python } from "./harness/python";
import { featureServer, rayCluster } from "./harness/systems";
import { ensureVenv } from "./prepare/venvs";

const PACKAGE = path.join(ROOT, "packages", "platform-outputs-python");

const READ_ALL = `
import json, sys
from platform_outputs import parse_platform, read_platform
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

print(json.dumps({
    "same": written == outputs,
    "ca": read[0].kafka.ca.name,
    "type": fault({**outputs, "kafka": {**outputs["kafka"], "tls": "perhaps"}}),
    "absent": fault({key: value for key, value in outputs.items() if key != "kafka"}, ["kafka"]),
    "contract": fault({**outputs, "contract": 1}),
    "other": fault({}),
    "later": fault({**outputs, "novelty": 1}),
}))
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

describe("the outputs, read in Python", () => {
  it("are the same from a file and from the ConfigMap, mounted or as JSON, and faults name stack, key and contract", async () => {
    const { outputs } = await program("prod");
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
    });
  });

  it("are all that examples/notebook.py needs to reach MLflow and Feast", async () => {
    const cluster = await theCluster();
    const { head } = await rayCluster(cluster);
    await featureServer(cluster);
    const read = (file: string) => fs.readFileSync(path.join(ROOT, file), "utf8");
    const printed: unknown = await python(head, RUN_NOTEBOOK, {
      "notebook.py": read("examples/notebook.py"),
      "outputs.json": JSON.stringify(cluster.program.outputs),
      ...Object.fromEntries(
        ["__init__.py", "document.py"].map((file) => [
          `platform_outputs/${file}`,
          fs.readFileSync(path.join(PACKAGE, "platform_outputs", file), "utf8"),
        ]),
      ),
    });
    assert.match(String(printed), /Default\n/);
    assert.match(String(printed), /'feature_names': \['commodity_code', /);
  });
});
