// Mocha's usual output, and for .ci/run, which adds up several runs, the counts of this one, with the tests that failed.
const fs = require("node:fs");
const { reporters, Runner } = require("mocha");

module.exports = class extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const faults = [];
    runner.on(Runner.constants.EVENT_TEST_FAIL, (test, { message = "" }) => {
      const lines = message.split("\n").filter((line) => line.trim() !== "");
      const said = lines.length > 8 ? [...lines.slice(0, 4), "…", ...lines.slice(-4)] : lines;
      faults.push(`${test.fullTitle()}: ${said.map((line) => line.slice(0, 400)).join(" | ")}`);
    });
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures } = this.stats;
      fs.writeFileSync(process.env.CI_COUNTS, [`${passes} ${failures}`, ...faults, ""].join("\n"));
    });
  }
};
