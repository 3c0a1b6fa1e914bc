import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { followEvents } from "../../rehearsal/simulation/events";
import { temporaryDirectory } from "../support/temporary";

describe("what follows an engine's event log", () => {
  it("says how far it is while lines come in pieces, and loses no letter between two", () => {
    const log = path.join(temporaryDirectory(), "events.json");
    const course = followEvents(log);
    assert.equal(course().done, 0, "a log that is not there yet");

    const metadata = { op: "create", urn: "urn:pulumi:dev::carbon::kubernetes:apps/v1:Deployment::mlflow" };
    const message = "größer als die Quote";
    const events = [
      { resourcePreEvent: { metadata } },
      { diagnosticEvent: { severity: "error", message } },
      { resOutputsEvent: { metadata } },
    ];
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    const told = [];
    for (const [index] of bytes.entries()) {
      fs.appendFileSync(log, bytes.subarray(index, index + 1));
      const { running, errors, done } = course();
      told.push(JSON.stringify([running, errors, done]));
    }
    assert.deepEqual(
      [...new Set(told)],
      [
        "[[],[],0]",
        '[["Deployment mlflow"],[],0]',
        `[["Deployment mlflow"],["${message}"],0]`,
        `[[],["${message}"],1]`,
      ],
    );
  });
});
