import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { gunzipSync } from "node:zlib";
import { ROOT } from "../../rehearsal/program/evaluate";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";

const RELEASES = path.join(ROOT, "tests/fixtures/releases");

// One policy for each kind of pods took the place of two for each wire.
const MAY_GO = ["carbon:base:Wire", "kubernetes:networking.k8s.io/v1:NetworkPolicy"];

/**
 * What this program would do to a stack that an earlier release brought up: dev's state, made under the official plugin with
 * canaries for secrets. The objects themselves are not there, so that this is a preview.
 */
for (const release of fs.readdirSync(RELEASES)) {
  describe(`a stack of release ${release}`, () => {
    let rehearsal: Rehearsal;
    before(async () => {
      rehearsal = await openRehearsal({ stack: "dev", progress: () => undefined });
    });
    after(() => rehearsal.cluster.stop());

    it("keeps every object: nothing is replaced, and only policies and wires are deleted", async () => {
      const { engine, api, directory } = rehearsal;
      const { metadata } = await api.core.readNamespace({ name: "kube-system" });
      const state = gunzipSync(fs.readFileSync(path.join(RELEASES, release, "state.dev.json.gz"))).toString();
      const [, uid = ""] =
        /"uid": ?"([0-9a-f-]{36})"/.exec(
          /"kubernetes.io\/metadata.name": ?"kube-system"[^]*?"uid": ?"[0-9a-f-]{36}"/.exec(state)?.[0] ?? "",
        ) ?? [];
      assert.notEqual(uid, "", "the state does not say which cluster it is of");
      const file = path.join(directory, "released.json");
      fs.writeFileSync(file, state.replaceAll(uid, metadata?.uid ?? ""));
      await engine.query("stack", "import", "--file", file);

      const { errors, output, changes } = await engine.run("preview");
      assert.deepEqual(errors, []);
      assert.ok((changes["same"] ?? 0) > 300, `only ${changes["same"]} resources are known: was the state imported?`);
      const gone = [...output.matchAll(/^ *(?:-|--|\+-|-\+|\+\+) +(\S+) (\S+) /gm)].map(([, type = "", name = ""]) => [
        type,
        name,
      ]);
      assert.deepEqual(
        gone.filter(([type = ""]) => !MAY_GO.includes(type)).map((one) => one.join(" ")),
        [],
        "an `up` would delete or replace these: give what moved an alias of its old name or parent",
      );
    });
  });
}
