import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import { dashboard } from "../../../components/observability/ml-monitoring";
import { PLACEHOLDERS } from "../../support/alerts";
import { promtool } from "../../support/promtool";
import { temporaryDirectory } from "../../support/temporary";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly datasource: { uid: string } }[];
}

const board = JSON.parse(dashboard(PLACEHOLDERS)) as {
  readonly uid: string;
  readonly title: string;
  readonly tags: readonly string[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
};
const charts = board.panels.filter(({ type }) => type !== "row");
const targets = charts.flatMap(({ targets: own = [] }) => own);

describe("the ML dashboard", () => {
  it("keeps the address and the title that people know", () => {
    assert.equal(board.uid, "ml-platform-dashboard");
    assert.equal(board.title, "ML Platform - Ray & Feast");
    assert.deepEqual(board.tags, ["ml", "ray", "feast"]);
  });

  it("has the six panels of before, and those of Feast, MLflow and the application", () => {
    const titles = charts.map(({ title }) => title);
    for (const title of [
      "Ray Serve - Request Latency",
      "Ray Serve - Request Rate",
      "Ray Serve - Error Rate",
      "Ray Cluster - Active Nodes",
      "Feast - Feature Serving Latency",
      "Ray Cluster - CPU Usage",
    ]) {
      assert.ok(titles.includes(title), title);
    }
    for (const system of ["Feast", "MLflow", "Commodity"]) {
      assert.ok(titles.filter((title) => title.startsWith(`${system} - `)).length >= 2, system);
    }
  });

  it("has panels of distinct ids that do not overlap", () => {
    assert.equal(new Set(board.panels.map(({ id }) => id)).size, board.panels.length);
    const cells = board.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, index) => `${x + (index % w)} ${y + Math.floor(index / w)}`),
    );
    assert.equal(new Set(cells).size, cells.length);
    assert.ok(
      board.panels.every(({ gridPos: { x, w } }) => x + w <= 24),
      "a panel reaches past the 24 columns of the board",
    );
  });

  it("asks the Prometheus that the reader chooses", () => {
    const [variable, ...others] = board.templating.list;
    assert.deepEqual([variable?.name, variable?.type, others], ["datasource", "datasource", []]);
    for (const { title, datasource, targets: own = [] } of charts) {
      assert.equal(datasource?.uid, "${datasource}", title);
      assert.ok(own.length > 0 && own.every((target) => target.datasource.uid === "${datasource}"), title);
      assert.equal(new Set(own.map(({ refId }) => refId)).size, own.length, title);
    }
  });

  it("asks in PromQL that Prometheus understands", async function () {
    const run = await promtool(this);
    const directory = temporaryDirectory();
    const rules = targets.map(({ expr }, index) => ({ record: `panel:${index}`, expr }));
    fs.writeFileSync(path.join(directory, "panels.yaml"), stringify({ groups: [{ name: "panels", rules }] }));
    run(directory, "check", "rules", "panels.yaml");
  });
});
