import * as assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import { charts as pins } from "../../components/base/versions";
import { ROOT } from "../../rehearsal/program/evaluate";
import { bringUp, contractOver, previewOver } from "../../rehearsal/simulation/against";
import { type Checkout, describe as describeStack } from "../../rehearsal/simulation/against/checkout";
import { MOST_CHARACTERS, toMarkdown, type Written } from "../../rehearsal/simulation/against/markdown";
import type { PreviewedStack } from "../../rehearsal/simulation/against/preview";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { SMALL_STACK } from "./command";

const STACK = "dev";
const CHART = pins.certManager.chart;
const NEXT = "v1.99.0";

describe("the preview of a pull request", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-requests-"));
  let rehearsal: Rehearsal;
  let running: Awaited<ReturnType<typeof bringUp>>;
  const base: Checkout = { directory: ROOT, charts: path.join(directory, "charts") };

  before(async () => {
    rehearsal = await openRehearsal({ stack: STACK, overrides: SMALL_STACK, progress: () => undefined });
    // What stands in for the chart is taken for upstream's, and a later version of it made.
    const filled = path.join(directory, "filled");
    await describeStack({ directory: ROOT }, STACK, SMALL_STACK, filled);
    for (const [folder, change] of Object.entries({ charts: undefined, "charts-next": laterChart })) {
      fs.cpSync(path.join(filled, CHART), path.join(directory, folder, CHART), { recursive: true });
      change?.(path.join(directory, folder, CHART));
    }
    running = await bringUp(rehearsal, base, SMALL_STACK, () => undefined);
    assert.deepEqual(running.result.errors, []);
  });
  after(async () => {
    await rehearsal.cluster.stop();
    fs.rmSync(directory, { recursive: true });
  });

  it("says first that a volume cannot shrink, by its key, and what to put back", async () => {
    const { text, reasons } = await markdownOf(base, { "objectStore.volume.sizeGiB": "5" });
    assert.match(
      firstLine(text),
      /^### ❌ `dev`: objectStore\.volume\.sizeGiB from "10" to "5": it can only be raised; put "10" back/,
    );
    assert.equal(reasons.length, 1);
    assert.match(text, /as far as the engine came before it refused/);
  });

  it("says first that a renamed database is an empty one, and how data may go", async () => {
    const head = request("rename", {
      "stacks/layers/postgres.ts": ["mlflow: own(", "tracking: own("],
      "stacks/config/own-names.ts": ['"mlflow", "feast"', '"tracking", "feast"'],
      "stacks/layers/ml.ts": ['database("mlflow")', 'database("tracking")'],
    });
    const { text } = await markdownOf(head);
    assert.equal(
      firstLine(text),
      "### ❌ `dev`: `Database data-platform/postgres-mlflow` owns data, is protected and would be deleted; `Database data-platform/postgres-tracking` would start empty, for no data moves along",
    );
    assert.match(text, /`protection\.lifted`/);
  });

  it("of a label says in its first line that nothing is touched, and lists the object with the field", async () => {
    const head = request("label", {
      "components/ground/quota.ts": [
        "metadata: { name, namespace }",
        'metadata: { name, namespace, labels: { team: "ml" } }',
      ],
    });
    const { text, reasons } = await markdownOf(head);
    assert.equal(firstLine(text), "### ✅ No data is touched, nothing is replaced or deleted");
    assert.deepEqual(reasons, []);
    assert.match(text, /\| `dev` \| – \| – \| 1 \| – \| – \|/);
    assert.match(
      text,
      /`ResourceQuota data-platform\/data-platform-quota` \| updated \| `metadata\.labels`: none → `\{"team":"ml"\}`/,
    );
  });

  it("of a chart's new version says which, and what becomes of its objects", async () => {
    const edits = { "components/base/versions.ts": [pins.certManager.version, NEXT] } as const;
    const head = request("chart", edits, path.join(directory, "label"));
    const { text } = await markdownOf({ ...head, charts: path.join(directory, "charts-next") });
    assert.match(
      firstLine(text),
      /^### ✅ No data is touched, nothing is replaced or deleted; chart `cert-manager` v1\.\d+\.\d+ → v1\.99\.0$/,
    );
    assert.match(
      text,
      /v1\.99\.0, with these objects:\n {2}- `Deployment cert-manager\/cert-manager`: `spec\.template\.spec\.containers\[0\]\.args` none → `\["--new"\]`/,
    );
  });

  it("of an output that is gone says first who breaks, and which version says so", async () => {
    const head = request(
      "output",
      { "stacks/contract/outputs.ts": ['    postgresMlflow: "mlflow",\n', ""] },
      path.join(directory, "chart"),
    );
    const file = path.join(head.directory, "docs/schema/outputs.json");
    const schema = JSON.parse(fs.readFileSync(file, "utf8")) as Schema;
    Reflect.deleteProperty(schema.properties.secrets.properties, "postgresMlflow");
    fs.writeFileSync(file, JSON.stringify(schema));
    const { text } = await markdownOf({ ...head, charts: path.join(directory, "charts-next") });
    assert.equal(firstLine(text), "### ❌ Outputs break without a major version: `secrets.postgresMlflow` is gone");
    assert.match(text, /raise the contract from 2\.\S+ to 3\.0\.0/);
  });

  async function previewed(head: Checkout, values: Readonly<Record<string, string>> = {}): Promise<PreviewedStack> {
    const overrides = { ...SMALL_STACK, ...values };
    const preview = await previewOver(rehearsal, running, head, { overrides, progress: () => undefined });
    assert.ok("changes" in preview, JSON.stringify(preview));
    return preview;
  }

  async function markdownOf(head: Checkout, values?: Readonly<Record<string, string>>): Promise<Written> {
    const written = toMarkdown({
      ref: "main",
      contract: contractOver(base, head),
      stacks: [await previewed(head, values)],
    });
    const kept = process.env["PREVIEWS"];
    if (kept !== undefined) fs.appendFileSync(kept, `${written.whole}\n\n---\n\n`);
    assert.ok(
      written.text.length <= MOST_CHARACTERS,
      `${written.text.length} characters are more than a comment takes`,
    );
    return written;
  }

  /** The working tree with other texts, as a pull request has it. */
  function request(name: string, edits: Readonly<Record<string, readonly [string, string]>>, from = ROOT): Checkout {
    const own = path.join(directory, name);
    const files = execFileSync("git", ["-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    for (const file of files.toString().split("\0")) {
      const source = path.join(from, file);
      if (file !== "" && fs.existsSync(source)) fs.cpSync(source, path.join(own, file));
    }
    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(own, "node_modules"));
    for (const [file, [text, other]] of Object.entries(edits)) {
      const old = fs.readFileSync(path.join(own, file), "utf8");
      assert.ok(old.includes(text), `${file} has no ${text}`);
      fs.writeFileSync(path.join(own, file), old.replace(text, other));
    }
    return { directory: own };
  }
});

interface Schema {
  readonly properties: { readonly secrets: { readonly properties: object } };
}

function firstLine(text: string): string {
  return text.split("\n")[0] ?? "";
}

/** A version of a chart whose server has one more argument. */
function laterChart(chart: string): void {
  const file = path.join(chart, "Chart.yaml");
  fs.writeFileSync(file, stringify({ ...(parse(fs.readFileSync(file, "utf8")) as object), version: NEXT }));
  const server = path.join(chart, "templates", "cert-manager-deployment-cert-manager.yaml");
  fs.writeFileSync(
    server,
    fs.readFileSync(server, "utf8").replace(/^( +)image: (.*)$/m, "$1args: [--new]\n$1image: $2"),
  );
}
