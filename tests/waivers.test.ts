import assert from "node:assert/strict";
import { type Finding, judge, type Waiver } from "./lint/objects";

const finding: Finding = { check: "CKV_1", name: "No root", object: "Job.data.setup" };
const waiver: Waiver = { check: "CKV_1", objects: ".*[.]data[.].*", reason: "the image has no other user" };
const nothing = () => false;

describe("a waiver of a check", () => {
  it("covers the objects that it names, and is counted", () => {
    const elsewhere = { ...finding, object: "Job.other.setup" };
    assert.deepEqual(judge([finding, finding], [waiver], nothing), { counts: [2], faults: [] });
    assert.deepEqual(judge([finding, elsewhere], [waiver], nothing).faults, ["Job.other.setup: CKV_1, No root"]);
    assert.deepEqual(judge([finding], [], nothing).faults, ["Job.data.setup: CKV_1, No root"]);
  });

  it("ends with the file that it names, and when nothing needs it", () => {
    const until = { ...waiver, until: "images.lock" };
    assert.deepEqual(judge([finding], [until], nothing).faults, []);
    assert.deepEqual(judge([finding], [until], (file) => file === "images.lock").faults, [
      "Job.data.setup: CKV_1, No root",
      "tests/lint/waivers.yaml: CKV_1 of .*[.]data[.].* has expired with images.lock; take it out",
    ]);
    assert.deepEqual(judge([], [waiver], nothing).faults, [
      "tests/lint/waivers.yaml: CKV_1 of .*[.]data[.].* holds nowhere; take it out",
    ]);
  });
});
