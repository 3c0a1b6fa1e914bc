import * as assert from "node:assert/strict";
import { openRehearsal, type Rehearsal, watchedUp } from "../../rehearsal/simulation/rehearse";
import { prepareSite } from "./harness/site";

describe("the stack local on a real node", () => {
  let rehearsal: Rehearsal;
  before(async () => {
    const progress = (line: string): void => {
      console.log(line);
    };
    const site = await prepareSite("local", progress);
    rehearsal = await openRehearsal({ stack: "local", progress, site });
  });
  after(async () => {
    if (process.env["CARBON_NODE_STAY"]) await new Promise((r) => setTimeout(r, 3600_000));
    await rehearsal.cluster.stop();
  });

  it("comes up", async () => {
    const up = await watchedUp(rehearsal, (line) => { console.log(line); });
    assert.deepEqual(up.errors, []);
  });

  it("changes nothing when it is brought up again", async () => {
    const { changed } = await rehearsal.engine.run("up");
    assert.deepEqual(changed, []);
  });
});
