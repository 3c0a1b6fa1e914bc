import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { DOCS, toDocs } from "../../commands/diagram";
import { LAYERS } from "../../commands/diagram/layers";
import { rowsOf, toList, toMermaid, toTable } from "../../commands/diagram/text";
import { ROOT } from "../../rehearsal/program/evaluate";
import { wiringOf, wiresOf } from "../../rehearsal/program/wiring";
import { evaluated } from "./program";

describe("the diagram", () => {
  let files: Awaited<ReturnType<typeof toDocs>>;

  before(async () => {
    files = await toDocs("prod", await evaluated("prod"));
  });

  it("in docs/ shows the wires of prod: all in one picture, and a page with a picture of each system", () => {
    for (const [file, text] of Object.entries(files)) {
      const committed = path.join(DOCS, file);
      assert.ok(
        fs.existsSync(committed) && fs.readFileSync(committed, "utf8") === text,
        `docs/${file} is out of date; run \`npm run diagram\``,
      );
    }
    const pictures = fs.readdirSync(path.join(DOCS, "wiring")).filter((file) => !(`wiring/${file}` in files));
    assert.deepEqual(pictures, [], "pictures of no system; run `npm run diagram`");
  });

  it("needs nothing but itself: no script, no picture, no font from elsewhere", () => {
    for (const [file, text] of Object.entries(files)) {
      if (file.endsWith(".svg")) assert.doesNotMatch(text, /<script|<image|@import|url\(/);
    }
  });

  it("shows every connection between systems: in a cell of the whole, and at both of its ends", async () => {
    const evaluation = await evaluated("prod");
    for (const { from, to, ports } of wiringOf(evaluation).arrows) {
      assert.ok(
        files["wiring.svg"]?.includes(`<title>${from} to ${to}: ${ports.join(", ")}</title>`),
        `${from} to ${to}`,
      );
      const ends = [files[`wiring/${from}.svg`], files[`wiring/${to}.svg`]];
      assert.ok(ends[0]?.includes(`>on ${ports.join(", ")}<`), `${from} does not show ${to}`);
      assert.ok(ends[1]?.includes(`>to ${ports.join(", ")}<`), `${to} does not show ${from}`);
    }
    const rows = files["wiring.md"]?.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| from"));
    assert.equal(rows?.length, rowsOf(wiresOf(evaluation)).length, "a row for each connection");
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
      "add it to LAYERS in commands/diagram/layers.ts",
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
    const text = toTable(wires);
    assert.match(text, /\ndata-platform\/mlflow\n(?: {2}.*\n)* {2}data-platform\/postgres +5432 +postgresql\n/);
    const connections = new Set(wires.map(({ from, to, ports, why }) => [from.name, to.name, ports, why].join()));
    assert.equal(toList(wires).length, connections.size);
  });
});
