import * as fs from "node:fs";
import * as path from "node:path";
import { format } from "prettier";
import { z } from "zod";
import { ROOT } from "../rehearsal/program/evaluate";
import type { Lasting } from "../stacks/config/lasting";
import { PlatformConfig } from "../stacks/config/schema";
import { PlatformOutputs } from "../stacks/contract/outputs";
import { SECRET_KEYS } from "../stacks/config/systems";
import { version } from "../packages/platform-outputs/package.json";
import { command, run } from "./cli";
import { pythonModels } from "./schema/python";

const DRAFT = "http://json-schema.org/draft-07/schema#";

/** The JSON Schema of a stack file, for editors. Only the program checks rules across fields. */
export function stackFileSchema(): object {
  const secure = {
    type: "object",
    properties: { secure: { type: "string" } },
    required: ["secure"],
    additionalProperties: false,
  };
  const secrets = Object.entries(SECRET_KEYS).map(([key, { form, usedBy }]) => [
    `carbon:${key}`,
    {
      ...secure,
      description: `A ${form}, for ${usedBy}; set it with \`npx pulumi config set --secret carbon:${key}\``,
    },
  ]);
  const platform = jsonSchema(PlatformConfig);
  delete platform["$schema"]; // the root has it
  return {
    $schema: DRAFT,
    title: "A stack of 254Carbon: Pulumi.<stack>.yaml",
    type: "object",
    properties: {
      config: {
        type: "object",
        properties: { "carbon:platform": platform, ...(Object.fromEntries(secrets) as object) },
        required: ["carbon:platform"],
        // Other namespaces belong to Pulumi; nothing else of `carbon:` is read.
        patternProperties: { "^(?!carbon:)[^:]+:": {} },
        additionalProperties: false,
      },
      secretsprovider: { type: "string" },
      encryptionsalt: { type: "string" },
      encryptedkey: { type: "string" },
    },
    required: ["config"],
  };
}

/** The JSON Schema of the stack outputs, on which other teams rely. */
export function outputsSchema(): object {
  return {
    $id: `urn:254carbon:platform-outputs:${version}`,
    title: "The outputs of a stack",
    ...jsonSchema(PlatformOutputs),
  };
}

const LASTING: Readonly<Record<Lasting, string>> = {
  fixed: "Fixed by the first `up`",
  raised: "Can only be raised",
  volume: "Can only be raised, where the StorageClass expands volumes",
};

function jsonSchema(schema: z.ZodType): Record<string, unknown> {
  return z.toJSONSchema(schema, {
    io: "input",
    target: "draft-07",
    override: ({ jsonSchema: node }) => {
      // zod gives every integer JavaScript's bounds.
      if (node.minimum === Number.MIN_SAFE_INTEGER) delete node.minimum;
      if (node.maximum === Number.MAX_SAFE_INTEGER) delete node.maximum;
      // Not a JSON Schema format; the pattern is equivalent.
      if (node.format === "cidrv4") delete node.format;
      const { lasting } = node as { readonly lasting?: Lasting };
      if (lasting !== undefined) node.description = `${node.description}. ${LASTING[lasting]}`;
      Reflect.deleteProperty(node, "lasting");
    },
  });
}

/** The texts of the generated files, by path in the repository. */
export const GENERATED: Readonly<Record<string, () => string | Promise<string>>> = {
  "docs/schema/stack-config.json": () => json(stackFileSchema()),
  "docs/schema/outputs.json": () => json(outputsSchema()),
  "packages/platform-outputs-python/platform_outputs/document.py": () =>
    pythonModels(outputsSchema(), "PlatformOutputs"),
};

async function json(schema: object): Promise<string> {
  return format(JSON.stringify(schema), { parser: "json", printWidth: 120 });
}

/** The command line. */
export const program = command(
  "schema",
  "Writes the JSON Schemas of the stack files and of the stack outputs to docs/schema, and the models of Python's package.",
  ["npm run schema"],
)
  .addHelpText("after", "\nExit codes: 0 written, 2 wrong usage.")
  .action(async () => {
    for (const [file, text] of Object.entries(GENERATED)) {
      fs.writeFileSync(path.join(ROOT, file), await text());
      console.log(file);
    }
  });

if (require.main === module) void run(program);
