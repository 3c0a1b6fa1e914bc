import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { GENERATED, stackFileSchema } from "../../commands/schema";
import { ROOT } from "../../rehearsal/program/evaluate";
import { SECRET_KEYS } from "../../stacks/config/systems";

describe("the JSON Schemas, and what is made of them", () => {
  for (const [file, text] of Object.entries(GENERATED)) {
    it(`in ${file} are those of the code`, async () => {
      const committed = fs.readFileSync(path.join(ROOT, file), "utf8");
      assert.ok(committed === (await text()), `${file} is out of date; run \`npm run schema\``);
    });
  }

  it("allow every credential as a secure value, and no other key of ours", () => {
    const { properties } = stackFileSchema() as {
      properties: { config: { properties: object; additionalProperties: boolean } };
    };
    const { config } = properties;
    const secrets = Object.keys(SECRET_KEYS).map((key) => `carbon:${key}`);
    assert.deepEqual(Object.keys(config.properties), ["carbon:platform", ...secrets]);
    assert.equal(config.additionalProperties, false);
  });
});
