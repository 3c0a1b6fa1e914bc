// Mocha's usual output, and the counts of the run for .ci/run, which adds up several runs.
const fs = require("node:fs");
const { reporters, Runner } = require("mocha");

module.exports = class extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures } = this.stats;
      fs.writeFileSync(process.env.CI_COUNTS, `${passes} ${failures}\n`);
    });
  }
};
