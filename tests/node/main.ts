import * as path from "node:path";
import { command, run } from "../../commands/cli";
import { ROOT } from "../../rehearsal/program/evaluate";
import { removeRemains } from "../../rehearsal/node/node";
import { isolated } from "../support/isolated";
import { checkMachine } from "../../rehearsal/node/machine";
import { prepareSite } from "../../rehearsal/node/site";

/** The command line. */
export const program = command(
  "test:node",
  "Brings the stack `local` up on a real node of this machine: kubelet, containerd, real operators, real software.",
  ["npm run test:node"],
)
  .argument("[mocha...]", "arguments for mocha")
  .allowUnknownOption()
  .addHelpText(
    "after",
    "\nThe first run builds kubelet, kube-proxy, CoreDNS and others from their Go modules, installs MLflow, Feast and Ray, and makes\n" +
      "their images on Debian's packages, all in the cache (CARBON_CACHE, or ~/.cache/254carbon). The node lives in namespaces of\n" +
      "its own and ends with the command.\n" +
      "Exit codes: 0 passed, 2 wrong usage or machine, otherwise the number of failed tests.",
  )
  .action(async (mochaArgs: string[]) => {
    checkMachine();
    const started = Date.now();
    await prepareSite("local", (line) => {
      console.log(`[${Math.round((Date.now() - started) / 1000)} s] ${line}`);
    });
    process.exitCode = await isolated(path.join(ROOT, ".mocharc.node.yaml"), mochaArgs).finally(removeRemains);
  });

if (require.main === module) void run(program);
