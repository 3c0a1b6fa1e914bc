import * as path from "node:path";
import { command, run } from "../../commands/cli";
import { ROOT } from "../../rehearsal/program/evaluate";
import { removeCgroups } from "../../rehearsal/node/node";
import { isolated } from "../support/isolated";
import { prepareSite } from "./harness/site";

/** The command line. */
export const program = command(
  "test:node",
  "Brings the stack `local` up on a real node of this machine: kubelet, containerd, real operators, real software.",
  ["npm run test:node"],
)
  .argument("[mocha...]", "arguments for mocha")
  .allowUnknownOption()
  .action(async (mochaArgs: string[]) => {
    const started = Date.now();
    await prepareSite("local", (line) => {
      console.log(`[${Math.round((Date.now() - started) / 1000)} s] ${line}`);
    });
    process.exitCode = await isolated(path.join(ROOT, ".mocharc.node.yaml"), mochaArgs).finally(removeCgroups);
  });

if (require.main === module) void run(program);
