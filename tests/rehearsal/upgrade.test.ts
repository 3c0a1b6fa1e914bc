import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { assertUnchanged } from "./command";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { RELEASES } from "../support/releases";

// One policy for each kind of pods took the place of two for each wire, and the namespace `gateway` that of `kong`, in which there
// was nothing.
const MAY_GO = /^(carbon:base:Wire|kubernetes:networking\.k8s\.io\/v1:NetworkPolicy) |:(Tenant|Namespace) kong$/;

for (const release of fs.readdirSync(RELEASES)) {
  describe(`a running stack of ${release}`, () => {
    let rehearsal: Rehearsal;
    before(async () => {
      rehearsal = await openRehearsal({ stack: "dev", progress: () => undefined });
      process.env["RELEASE"] = release;
      const program = path.join(__dirname, "released");
      const { errors } = await rehearsal.engine.run("up", { saveOnce: true, args: ["--cwd", program] });
      assert.deepEqual(errors, []);
    });
    after(() => rehearsal.cluster.stop());

    it("is taken over by one up, which deletes policies and `kong` alone, replaces set-up Jobs alone, and leaves every volume", async () => {
      const volumes = await claims();
      assert.ok(volumes.length > 5, `${volumes.length} volumes`);
      const result = await rehearsal.engine.run("up", { saveOnce: true });
      assert.deepEqual(result.errors, []);
      const changed = (operation: string) =>
        [...result.output.matchAll(/^ ([+-]+) +(\S+ \S+) /gm)].flatMap(([, done, resource = ""]) =>
          done === operation ? resource : [],
        );
      assert.ok(changed("-").length > 0, "what the release had for each wire is still there");
      assert.deepEqual(
        changed("-").filter((resource) => !MAY_GO.test(resource)),
        [],
      );
      // A set-up Job runs again when what it is told has changed.
      const replaced = changed("+-").map((resource) => resource.split(" ")[0]);
      assert.deepEqual([...new Set(replaced)], ["kubernetes:batch/v1:Job"]);
      assert.deepEqual(await claims(), volumes);
    });

    it("has nothing left to do", async () => {
      // Of several objects of a kind that are updated and waited for at once, the plugin may record one as it was before: its
      // informer is late. A refresh, or the next `up`, puts the record right.
      assert.deepEqual((await rehearsal.engine.run("refresh", { saveOnce: true })).errors, []);
      assertUnchanged(await rehearsal.engine.run("up", { saveOnce: true }));
    });

    async function claims(): Promise<string[]> {
      const { items } = await rehearsal.api.core.listPersistentVolumeClaimForAllNamespaces();
      return items.map(({ metadata, spec }) => `${metadata?.name} ${metadata?.uid} ${spec?.volumeName}`).sort();
    }
  });
}
