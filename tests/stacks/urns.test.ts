import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { STACKS } from "../../rehearsal/program/evaluate";
import { program } from "../support/program";

const FIXTURES = path.join(__dirname, "..", "fixtures");

for (const stack of STACKS) {
  it(`${stack} keeps the URN of every resource: a changed one is deleted and made again`, async () => {
    const { seen } = await program(stack);
    const types = new Map<string, string>();
    const urns = seen
      .flatMap(({ read, urn, parent, type, name }) => {
        // The mocks keep one parent in a URN, the engine all of them.
        const ancestors = types.get(parent);
        types.set(urn, ancestors === undefined ? type : `${ancestors}$${type}`);
        return read || urn.includes("carbon:base:ManifestFile$") ? [] : [`${types.get(urn) ?? type}::${name}`];
      })
      .sort();
    const file = path.join(FIXTURES, `urns.${stack}.txt`);
    if (process.env["UPDATE_SNAPSHOTS"] === "1") fs.writeFileSync(file, `${urns.join("\n")}\n`);
    const known = fs.readFileSync(file, "utf8").trim().split("\n");
    const next =
      "Gone: is that meant? Then nothing may need it (a policy, a Secret, a volume, a wire of another): look who named it. " +
      "Renamed or moved: give it an alias, or it is deleted and made again. Added: see in `npm run render` that it is what you want. " +
      "Only when you can say so of every line, write the list with `UPDATE_SNAPSHOTS=1 npm test`, and the reasons in the commit.";
    assert.deepEqual(
      { gone: known.filter((urn) => !urns.includes(urn)), added: urns.filter((urn) => !known.includes(urn)) },
      { gone: [], added: [] },
      `${path.relative(process.cwd(), file)} differs. ${next}`,
    );
  });
}
