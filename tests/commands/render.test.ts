import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "yaml";
import { renderObjects, writeObjects } from "../../commands/render";
import { canary, type Registration } from "../../rehearsal/program/evaluate";
import { evaluated } from "./program";
import { registrationOf } from "../support/registrations";

describe("render", () => {
  let directory: string;
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-render-"));
  });
  afterEach(() => {
    fs.rmSync(directory, { recursive: true });
  });

  it("has a file for every object that the program makes, and none for what it only looks up", async () => {
    const evaluation = await evaluated("prod");
    const made = evaluation.registrations.filter(({ type, read }) => type.startsWith("kubernetes:") && !read);
    const objects = renderObjects(evaluation);
    assert.equal(new Set(objects.map(({ file }) => file)).size, made.length);
    assert.ok(
      objects.some(({ file }) => file === "data-platform/deployment-mlflow.yaml"),
      "the object is not in the file of its namespace, kind and name",
    );
    assert.ok(
      objects.some(({ file }) => file === "cluster/namespace-data-platform.yaml"),
      "what has no namespace belongs to cluster/",
    );
    assert.ok(
      !objects.some(({ file }) => file.includes("kube-system")),
      "what is only looked up is no object of ours: leave it out",
    );
  });

  it("writes the same bytes for the same program, whatever the order of its registrations", async () => {
    const evaluation = await evaluated("prod");
    const reversed = { ...evaluation, registrations: [...evaluation.registrations].reverse() };
    assert.deepEqual(renderObjects(reversed), renderObjects(evaluation));
  });

  it("shows the keys of a Secret and never a value", async () => {
    const objects = renderObjects(await evaluated("prod"));
    const secrets = objects.filter(({ kind }) => kind === "Secret");
    assert.ok(secrets.length > 0, "no Secret is rendered");
    for (const { text } of secrets) {
      const { stringData } = parse(text) as { stringData: Record<string, string> };
      assert.ok(
        Object.keys(stringData).length > 0,
        "a Secret without keys cannot be compared: show its keys, with their values redacted",
      );
      assert.deepEqual([...new Set(Object.values(stringData))], ["***"]);
    }
    assert.doesNotMatch(objects.map(({ text }) => text).join("\n"), /generated-|canary-/);
  });

  it("stops when a credential stands outside a Secret", () => {
    const map = object("ConfigMap", { data: { password: canary("minioRootPassword") } });
    assert.throws(
      () => renderObjects({ registrations: [map], outputs: {} }),
      /configmap-x\.yaml: holds the credential/,
    );
  });

  it("tells kinds of the same name apart by their group", () => {
    const registrations = ["a.example.com/v1", "b.example.com/v1"].map((apiVersion) =>
      object("Cluster", { apiVersion }),
    );
    assert.deepEqual(
      renderObjects({ registrations, outputs: {} }).map(({ file }) => file),
      ["ns/cluster.a.example.com-x.yaml", "ns/cluster.b.example.com-x.yaml"],
    );
  });

  it("replaces what it wrote before, and leaves other files alone", () => {
    const [first, second] = ["a", "b"].map((name) => [
      { namespace: "ns", kind: "X", name, file: `ns/${name}.yaml`, text: name },
    ]);
    writeObjects(directory, first ?? []);
    fs.writeFileSync(path.join(directory, "notes.txt"), "mine");
    writeObjects(directory, second ?? []);
    assert.deepEqual(fs.readdirSync(path.join(directory, "ns")), ["b.yaml"]);
    assert.ok(
      fs.existsSync(path.join(directory, "notes.txt")),
      "a file that the command did not write is the user's: leave it alone",
    );
  });

  it("refuses a directory with files that it did not write", () => {
    fs.writeFileSync(path.join(directory, "notes.txt"), "mine");
    assert.throws(() => {
      writeObjects(directory, []);
    }, /is not empty and was not written by this command/);
  });
});

function object(kind: string, more: object): Registration {
  const inputs = { apiVersion: "v1", kind, metadata: { name: "x", namespace: "ns" }, ...more };
  return registrationOf(`kubernetes:core/v1:${kind}`, "x", inputs);
}
