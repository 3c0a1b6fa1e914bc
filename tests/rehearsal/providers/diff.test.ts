import * as assert from "node:assert/strict";
import { covers, difference, prune } from "../../../rehearsal/simulation/plugins/diff";
import { immutableFields } from "../../../rehearsal/simulation/plugins/immutable";
import {
  hasSecret,
  markSecrets,
  plainObject,
  secret,
  withoutSecrets,
  type Properties,
} from "../../../rehearsal/program/values";

/** Changes as one reads them: `~spec.replicas`, with `!` when they take a new object. */
function changes(
  live: Properties,
  oldInputs: Properties,
  wanted: Properties,
  immutable: readonly string[] = [],
): string[] {
  const signs = { add: "+", delete: "-", update: "~" };
  const found = difference(prune(live, oldInputs), wanted, immutable);
  return [...found].map(([path, { kind, replace }]) => `${signs[kind]}${path}${replace ? "!" : ""}`);
}

describe("the difference between a live object and what is wanted", () => {
  it("does not see what the server adds, drops as a zero value, or writes in another form", () => {
    const inputs = {
      paused: false,
      tolerations: [],
      strategy: {},
      resources: { limits: { cpu: "1000m", memory: "1024Mi" }, requests: { cpu: 0.5 } },
    };
    const live = {
      progressDeadlineSeconds: 600,
      resources: { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "500m" } },
    };
    assert.deepEqual(changes(live, inputs, inputs), []);
    assert.deepEqual(
      changes(live, inputs, { ...inputs, resources: { ...inputs.resources, limits: { cpu: 1, memory: "1Gi" } } }),
      [],
    );
  });

  it("sees a zero value that was added, and one that somebody removed", () => {
    assert.deepEqual(changes({ a: 1 }, { a: 1 }, { a: 1, token: false }), ["+token"]);
    assert.deepEqual(prune({ a: 1 }, { a: 1, token: false }, { a: 1, token: false }), { a: 1 });
  });

  it("names each changed path, in lists and under keys with dots", () => {
    const inputs = { containers: [{ image: "a:1", args: ["x"] }], data: { "a.b": "1", gone: "1" } };
    const wanted = { containers: [{ image: "a:2", args: ["x", "y"] }, { image: "b:1" }], data: { "a.b": "2" } };
    assert.deepEqual(changes(inputs, inputs, wanted), [
      "~containers[0].image",
      "+containers[0].args[1]",
      "+containers[1]",
      '~data["a.b"]',
      "-data.gone",
    ]);
  });

  it("takes a new object for a change at, below or above an immutable path", () => {
    const live = { spec: { selector: { matchLabels: { app: "a" } }, containers: [{ image: "a" }] } };
    const selector = ["spec.selector"];
    assert.deepEqual(
      changes(live, live, { spec: { ...live.spec, selector: { matchLabels: { app: "b" } } } }, selector),
      ["~spec.selector.matchLabels.app!"],
    );
    assert.deepEqual(changes({}, {}, live, selector), ["+spec!"]);
    assert.deepEqual(
      changes(live, live, { spec: { ...live.spec, containers: [{ image: "b" }] } }, ["spec.containers[*].image"]),
      ["~spec.containers[0].image!"],
    );
  });

  it("leaves out what is covered by an ignored path", () => {
    assert.equal(covers("spec.replicas", "spec.replicas"), true);
    assert.equal(covers("spec.containers[*].image", "spec.containers[1].image"), true);
    assert.equal(covers("spec.replicas", "spec"), false);
  });
});

describe("immutable fields", () => {
  it("hold the data of a Secret only where changes are not allowed", () => {
    const object = { apiVersion: "v1", kind: "Secret" };
    assert.ok(!immutableFields(object, { secrets: true, configMaps: true }).includes("data"));
    assert.ok(immutableFields(object, { secrets: false, configMaps: true }).includes("data"));
    assert.ok(immutableFields({ ...object, immutable: true }, { secrets: true, configMaps: true }).includes("data"));
  });
});

describe("secret values", () => {
  it("stay marked in what comes back, as a whole list where one is in it", () => {
    const inputs = { env: [{ value: secret("hunter2") }], plain: "a", nested: { key: secret("b") } };
    const marked = markSecrets(plainObject(inputs), inputs);
    assert.equal(hasSecret(marked["env"]), true);
    assert.equal(hasSecret(marked["plain"]), false);
    assert.deepEqual(marked["nested"], { key: secret("b") });
    assert.equal(hasSecret(markSecrets({ kind: "Secret", data: { a: "YQ==" } }, {})["data"]), true);
  });

  it("are masked in messages, as they are and in base64", () => {
    const inputs = { kind: "Secret", data: { password: "aHVudGVyMg==" }, token: secret("s3cr3t-token") };
    const message = "Invalid value: hunter2, aHVudGVyMg==, s3cr3t-token";
    assert.equal(withoutSecrets(message, inputs), "Invalid value: [secret], [secret], [secret]");
  });
});
