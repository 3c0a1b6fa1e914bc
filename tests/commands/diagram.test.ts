import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { LAYERS, toMermaid, toSvg, WIRING_FILE, toTable } from "../../commands/diagram";
import { ROOT } from "../../rehearsal/program/evaluate";
import { wiringOf, wiresOf } from "../../rehearsal/program/wiring";
import { evaluated } from "./program";

describe("the diagram", () => {
  it("in docs/wiring.svg shows the wires of prod", async () => {
    const svg = await toSvg(wiringOf(await evaluated("prod")));
    assert.ok(fs.readFileSync(WIRING_FILE, "utf8") === svg, "docs/wiring.svg is out of date; run `npm run diagram`");
  });

  it("needs nothing but itself: no script, no picture, no font from elsewhere", async () => {
    const svg = await toSvg(wiringOf(await evaluated("prod")));
    assert.doesNotMatch(svg, /<script|<image|@import|url\(/);
  });

  it("draws one arrow from a system to another, with all ports, and none within a system", async () => {
    const { arrows } = wiringOf(await evaluated("prod"));
    const arrow = arrows.find(({ from, to }) => from === "mlflow" && to === "postgres");
    assert.deepEqual(arrow, { from: "mlflow", to: "postgres", ports: ["5432"], observes: false });
    assert.equal(new Set(arrows.map(({ from, to }) => `${from} ${to}`)).size, arrows.length);
    assert.ok(
      arrows.every(({ from, to }) => from !== to),
      "an arrow leads from a system to itself: flows inside one are left out",
    );
  });

  it("tells from clients whom nothing waits for: the scraper, the check, the gateway and the caller of webhooks", async () => {
    const { arrows } = wiringOf(await evaluated("prod"));
    const dashed = arrows.filter(({ observes }) => observes).map(({ from }) => from);
    assert.deepEqual([...new Set(dashed)], ["gateway", "kube-api", "prometheus", "verify"]);
  });

  it("has a group for every folder of components", () => {
    const folders = fs.readdirSync(path.join(ROOT, "components")).filter((folder) => folder !== "base");
    assert.deepEqual(
      folders.filter((folder) => !(folder in LAYERS)),
      [],
      "add it to LAYERS in commands/diagram.ts",
    );
  });

  it("puts systems in their layers, and peers that the program does not run outside", async () => {
    const { systems } = wiringOf(await evaluated("prod"));
    const layerOf = (name: string) => systems.find((system) => system.name === name)?.layer;
    assert.deepEqual(["mlflow", "postgres", "kube-api"].map(layerOf), ["ml", "data", undefined]);
  });

  it("comes as Mermaid text, too", async () => {
    const text = toMermaid(wiringOf(await evaluated("prod")));
    assert.match(text, /^flowchart LR\n/);
    assert.match(text, /mlflow -->\|"5432"\| postgres/);
    assert.match(text, /prometheus -\.->\|"5000"\| mlflow/);
  });

  it("comes as a table, too, with every connection and what it is for", async () => {
    const wires = wiresOf(await evaluated("prod"));
    const lines = toTable(wires).trimEnd().split("\n");
    assert.equal(lines.length, wires.length + 4, "a title, three rules, and a line for each row");
    const [line] = lines.filter((one) => /data-platform\/mlflow .*postgres/.test(one));
    assert.match(line ?? "", /5432 .*postgresql/);
  });
});
