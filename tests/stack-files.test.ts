import assert from "node:assert/strict";
import { parse } from "yaml";
import { STACKS } from "../rehearsal/program/evaluate";
import { parseConfig } from "../stacks/config/schema";
import { SECRET_KEYS } from "../stacks/config/systems";
import { all, only } from "./support/mocks";
import { program, WHOLE_STACKS } from "./support/program";
import { read } from "./support/sources";

for (const stack of STACKS) {
  describe(`Pulumi.${stack}.yaml`, () => {
    const file = `Pulumi.${stack}.yaml`;
    const { config } = parse(read(file)) as { config: Record<string, unknown> };

    it("is a good config", () => {
      parseConfig(config["carbon:platform"], file);
    });

    it("tells editors its schema in the first line", () => {
      assert.equal(read(file).split("\n")[0], "# yaml-language-server: $schema=./docs/schema/stack-config.json");
    });

    it("holds credentials only encrypted", () => {
      for (const [key, value] of Object.entries(config)) {
        if (key === "carbon:platform") continue;
        assert.ok(key.replace("carbon:", "") in SECRET_KEYS, `${key} is no credential`);
        assert.deepEqual(
          Object.keys(value as object),
          ["secure"],
          `${key} is plain text: whoever saw the file knows it; change it, and set it with \`npx pulumi config set --secret\``,
        );
      }
    });
  });
}

describe("the stack files", () => {
  it("differ in values, not in keys: nodes, GPUs, who is paged and how people come in aside", () => {
    const keysOf = (stack: string) => {
      const { cluster, monitoring, gateway, ...rest } = platformOf(stack);
      return keys({
        ...rest,
        cluster: { ...cluster, nodes: [] },
        monitoring: { ...monitoring, paging: [] },
        gateway: { ...gateway, exposure: [], people: [] },
        gpuOperator: [],
      });
    };
    for (const stack of WHOLE_STACKS) assert.deepEqual(keysOf(stack), keysOf("prod"), `Pulumi.${stack}.yaml`);
  });

  it("are all shown to who reviews a pull request", () => {
    const { jobs } = parse(read(".github/workflows/preview.yaml"));
    const [command = ""] = jobs.preview.steps.flatMap(({ run = "" }) =>
      run.includes("--against HEAD^1") ? [run] : [],
    );
    assert.match(command, /npm run --silent rehearse -- --against/, "preview.yaml: the command");
    assert.doesNotMatch(command, /--stack/, "preview.yaml: without --stack it takes every stack file");
  });

  it("are all compared with their clusters", () => {
    const { jobs } = parse(read(".github/workflows/drift.yaml"));
    assert.deepEqual(jobs.preview.strategy.matrix.stack, WHOLE_STACKS, "drift.yaml: strategy.matrix.stack");
  });

  it("have somebody paged where the platform is in use", () => {
    assert.notEqual(platformOf("prod").monitoring.paging.kind, "none");
  });

  it("give prod the quota that the platform runs with today", async () => {
    const { seen } = await program("prod");
    assert.deepEqual(only(seen, "kubernetes:core/v1:ResourceQuota", "data-platform-quota").inputs.spec.hard, {
      "requests.cpu": "80",
      "limits.cpu": "200",
      "requests.memory": "256Gi",
      "limits.memory": "512Gi",
      "requests.storage": "1024Gi",
      persistentvolumeclaims: "100",
      pods: "400",
      services: "100",
      "services.loadbalancers": "5",
      "services.nodeports": "10",
    });
  });

  it("have what answers clients survive the loss of a node in prod, and not in dev", async () => {
    for (const [stack, budgets] of [
      [
        "prod",
        ["dolphinscheduler-api", "dolphinscheduler-worker", "feast-server", "gateway-tunnel", "mlflow", "polaris"],
      ],
      ["dev", []],
    ] as const) {
      const { seen } = await program(stack);
      const names = all(seen, "kubernetes:policy/v1:PodDisruptionBudget").map(({ name }) => name);
      assert.deepEqual(names.sort(), budgets, stack);
    }
  });
});

function platformOf(stack: string): any {
  return (parse(read(`Pulumi.${stack}.yaml`)) as { config: any }).config["carbon:platform"];
}

function keys(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [path];
  return Object.entries(value)
    .flatMap(([key, inner]) => keys(inner, `${path}.${key}`))
    .sort();
}
