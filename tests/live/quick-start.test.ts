import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "../../rehearsal/program/evaluate";
import { type Cluster, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import { Laptop, type Shell } from "./harness/laptop";
import { application, predictions } from "./harness/systems";

const PAGE = "docs/ml-quick-start.md";

/** The code of the page, block by block, under the headings of its sections. */
function sections(): { readonly title: string; readonly blocks: { language: string; code: string }[] }[] {
  const [, ...parts] = fs.readFileSync(path.join(ROOT, PAGE), "utf8").split(/^## /m);
  return parts.map((part) => ({
    title: part.slice(0, part.indexOf("\n")),
    blocks: [...part.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = "", code = ""]) => ({ language, code })),
  }));
}

describe(PAGE, () => {
  let cluster: Cluster;
  let laptop: Laptop;
  let shell: Shell;
  let forwards = 0;
  before(async () => {
    cluster = await theCluster();
    await application(cluster);
    laptop = await Laptop.of(cluster);
    shell = await laptop.shell();
  });
  after(() => {
    shell.close();
    laptop.close();
  });

  for (const { title, blocks } of sections()) {
    it(title, async () => {
      for (const { language, code } of blocks) {
        if (language === "python") {
          // The first line of a file says where it belongs.
          const file = /^# (\S+\.py)$/m.exec(code)?.[1];
          assert.ok(file, `a file without a name:\n${code}`);
          laptop.write(file, code);
        } else {
          assert.equal(language, "sh", "a block that no test runs");
          await shell.run(code);
          // As people do, who see that a port is open.
          forwards += code.split("port-forward").length - 1;
          await eventually(30, async () => {
            assert.equal(laptop.forwards, forwards);
            return Promise.resolve();
          });
        }
      }
    });
  }

  it("leaves a model that predicts from the new view, and is watched", async () => {
    const head = await predictions(cluster);
    const answer = await fetch(head.url("serve", "/predict/price-by-stocks"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ commodity_code: "WTI" }),
    });
    const { features } = await answer.json();
    assert.equal(features["storage_features:crude_stocks"], 440);
    const prometheus = await cluster.prometheus();
    // The application sets its gauges every few seconds, Ray hands them on every few more.
    await eventually(60, async () => {
      const ready = await prometheus.query('ray_model_ready{model="price-by-stocks"}');
      assert.deepEqual(
        ready.map(({ value }) => value),
        [1],
      );
    });
  });
});
